"""What somebody types into the form of a remote, and what it means: settings for the archiver, fields for the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from appliance.cloud.backends import Backend, backend
from appliance.cloud.remote import RemoteConfig
from appliance.errors import UsageError
from appliance.fields import Field
from appliance.services import api
from appliance.services.client import RemoteSettings
from webadmin.admin.option_fields import Asked, OptionFields

Number = Literal["interval", "snapshot_interval", "transfers", "lock_days", "keep_daily", "keep_weekly"]

_NUMBERS: Mapping[Number, str] = {
    "interval": "the time between two runs",
    "snapshot_interval": "the time between two copies of catalogue and index",
    "transfers": "how many files go at a time",
    "lock_days": "the days of object lock",
    "keep_daily": "the days of which a state is kept",
    "keep_weekly": "the weeks of which a state is kept",
}
_TEXTS = ("path", "bandwidth", "lock_mode")
_MOST_DIGITS = 9


@dataclass(frozen=True, slots=True)
class RemoteForm:
    """A remote's settings as typed."""

    type: str
    name: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    options: OptionFields = field(default_factory=lambda: OptionFields(()))

    @classmethod
    def empty(cls, kind: str) -> RemoteForm:
        """The form of a new remote, with what suits most."""
        return cls(kind, values=_values(RemoteConfig(name="", type=kind)), options=OptionFields(_fields(kind)))

    @classmethod
    def of(cls, remote: api.RemoteInfo) -> RemoteForm:
        """The form of a remote as it is set up."""
        return cls(remote.type, remote.name, _values(remote), OptionFields.of(_fields(remote.type), remote.options))

    def typed(self, given: Mapping[str, Any]) -> RemoteForm:
        """This form with what a browser sent."""
        texts = {name: value for name, value in given.items() if isinstance(value, str)}
        values = {key: texts[key].strip() for key in (*_NUMBERS, *_TEXTS) if key in texts}
        return replace(
            self,
            name=texts.get("name", self.name).strip(),
            values={**self.values, **values},
            options=self.options.typed(texts),
        )

    @property
    def backend(self) -> Backend | None:
        """What is known of its kind; None for another of rclone's, which was set up on the command line."""
        return backend(self.type)

    def asked(self) -> tuple[Asked, ...]:
        """The fields of its kind, then whatever else is set, with what they hold, but for secrets."""
        return tuple(
            replace(one, name="path", value=self.values["path"]) if one.field.key == "path" else one
            for one in self.options.asked()
        )

    def settings(self) -> RemoteSettings:
        """What the archiver is told beside name and type. Raises UsageError for what is no number."""
        return {
            "options": self.options.changed(),
            "path": self.values["path"],
            "bandwidth": self.values["bandwidth"],
            "lock_mode": self.values["lock_mode"],
            "interval": self._number("interval"),
            "snapshot_interval": self._number("snapshot_interval"),
            "transfers": self._number("transfers"),
            "lock_days": self._number("lock_days"),
            "keep_daily": self._number("keep_daily"),
            "keep_weekly": self._number("keep_weekly"),
        }

    def erased_stay_days(self) -> int:
        """The longest time that an erased message can survive there. Raises UsageError for what is no number."""
        return RemoteConfig(
            self.name, self.type, lock_days=self._number("lock_days"), keep_daily=self._number("keep_daily"),
            keep_weekly=self._number("keep_weekly"),
        ).erased_stay_days  # fmt: skip

    def _number(self, key: Number) -> int:
        text = self.values[key] or "0"
        if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
            raise UsageError(f"Enter {_NUMBERS[key]} as a number.")
        return int(text)


def _fields(kind: str) -> tuple[Field, ...]:
    known = backend(kind)
    return known.fields if known else (Field("path", "Path"),)


def _values(remote: RemoteConfig | api.RemoteInfo) -> dict[str, str]:
    return {key: str(getattr(remote, key)) for key in (*_NUMBERS, *_TEXTS)}
