"""What somebody types into the form of a remote, and what it means: settings for the archiver, fields for the page.

Secrets go one way: what was typed is sent to the archiver, and no page shows it again, nor what is stored. An empty
field keeps the secret that there is.
"""

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

OPTION = "option."
"""What the names of the backend's own fields begin with."""
FORGET = "forget."
"""What the names of the ticks begin with that take a secret away."""

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
class Asked:
    """One of the backend's fields on the page; ``kept`` says that an empty field keeps a secret that there is."""

    field: Field
    name: str
    value: str = ""
    kept: bool = False


@dataclass(frozen=True, slots=True)
class RemoteForm:
    """A remote's settings as typed. ``stored`` are the options that it has already, True for secrets."""

    type: str
    name: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    stored: Mapping[str, bool] = field(default_factory=dict)
    forgotten: frozenset[str] = frozenset()

    @classmethod
    def empty(cls, kind: str) -> RemoteForm:
        """The form of a new remote, with what suits most."""
        return cls(kind, values=_values(RemoteConfig(name="", type=kind)))

    @classmethod
    def of(cls, remote: api.RemoteInfo) -> RemoteForm:
        """The form of a remote as it is set up."""
        return cls(
            remote.type, remote.name, _values(remote),
            options={one.key: one.value for one in remote.options if not one.secret},
            stored={one.key: one.secret for one in remote.options},
        )  # fmt: skip

    def typed(self, given: Mapping[str, Any]) -> RemoteForm:
        """This form with what a browser sent."""
        texts = {name: value for name, value in given.items() if isinstance(value, str)}
        passwords = {one.name for one in self.asked() if one.field.secret and not one.field.multiline}
        options = {
            name.removeprefix(OPTION): text if name in passwords else text.replace("\r\n", "\n").strip()
            for name, text in texts.items()
            if name.startswith(OPTION)
        }
        values = {key: texts[key].strip() for key in (*_NUMBERS, *_TEXTS) if key in texts}
        return replace(
            self,
            name=texts.get("name", self.name).strip(),
            values={**self.values, **values},
            options={**self.options, **options},
            forgotten=frozenset(name.removeprefix(FORGET) for name in texts if name.startswith(FORGET)),
        )

    @property
    def backend(self) -> Backend | None:
        """What is known of its kind; None for another of rclone's, which was set up on the command line."""
        return backend(self.type)

    def asked(self) -> tuple[Asked, ...]:
        """The fields of its kind, then whatever else is set, with what they hold, but for secrets."""
        known = self.backend.fields if self.backend else (Field("path", "Path"),)
        others = sorted(self.stored.keys() - {one.key for one in known})
        further = (Field(key, key, "An option of rclone’s.", secret=self.stored[key]) for key in others)
        return tuple(self._asked(one) for one in (*known, *further))

    def changed_options(self) -> dict[str, str]:
        """The options for the archiver; an empty value takes one away, one that is left out stays as it is."""
        gone = {
            key: ""
            for key, secret in self.stored.items()
            if not self.options.get(key) and (key in self.forgotten or not secret)
        }
        return {key: text for key, text in self.options.items() if text} | gone

    def settings(self) -> RemoteSettings:
        """What the archiver is told beside name and type. Raises UsageError for what is no number."""
        return {
            "options": self.changed_options(),
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

    def _asked(self, one: Field) -> Asked:
        if one.key == "path":
            return Asked(one, "path", self.values["path"])
        kept = one.secret and one.key in self.stored
        return Asked(one, OPTION + one.key, "" if one.secret else self.options.get(one.key, ""), kept)

    def _number(self, key: Number) -> int:
        text = self.values[key] or "0"
        if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
            raise UsageError(f"Enter {_NUMBERS[key]} as a number.")
        return int(text)


def _values(remote: RemoteConfig | api.RemoteInfo) -> dict[str, str]:
    return {key: str(getattr(remote, key)) for key in (*_NUMBERS, *_TEXTS)}
