"""What somebody types into the form of an archiving profile, and what it means to the archiver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from appliance.errors import NotFoundError, UsageError
from appliance.services import api
from appliance.services.client import ProfileSettings
from appliance.services.sizes import in_bytes, typed
from appliance.settings.events import ProfilePut
from appliance.sources.base import SourceKind
from appliance.sources.kinds import kind
from webadmin.admin.option_fields import Asked, OptionFields
from webadmin.forms import items

Users = Literal["all", "only", "except"]

BY_TIMETABLE: Final = "cron"
"""What stands for a timetable where seconds between two runs are chosen."""
_TEXTS: Final = ("archive", "since", "before", "sender", "subject", "directory", "cron")
_NUMBERS: Final[Mapping[str, str]] = {
    "older_than_days": "the age of messages in days",
    "delete_after_days": "after how many days messages are deleted there",
    "parallel": "how many accounts are dealt with at a time",
}
_SIZES: Final = ("largest", "rate")
_LISTS: Final = ("include", "exclude")  # a pattern a line: names of folders have blanks
_USERS: Final[tuple[Users, ...]] = ("all", "only", "except")
_MOST_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class ProfileForm:
    """A profile's settings as typed."""

    kind: SourceKind
    name: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    only_read: bool = False
    options: OptionFields = field(default_factory=lambda: OptionFields(()))

    @classmethod
    def empty(cls, name: str) -> ProfileForm:
        """The form of a new profile of that kind, with what suits most. Raises NotFoundError."""
        try:
            found = kind(name)
        except UsageError as error:
            raise NotFoundError(error.message) from error
        return cls(found, values=_values(ProfilePut("", name)), options=OptionFields(found.fields))

    @classmethod
    def of(cls, one: api.ProfileInfo) -> ProfileForm:
        """The form of a profile as it is set up."""
        found = kind(one.kind)
        return cls(found, one.name, _values(one), one.only_read, OptionFields.of(found.fields, one.options))

    def typed(self, given: Mapping[str, Any]) -> ProfileForm:
        """This form with what a browser sent."""
        texts = {name: value for name, value in given.items() if isinstance(value, str)}
        return replace(
            self,
            name=texts.get("name", self.name).strip(),
            values={**self.values, **{key: texts[key].strip() for key in self.values if key in texts}},
            only_read="only_read" in texts,
            options=self.options.typed(texts),
        )

    def asked(self) -> tuple[Asked, ...]:
        """The fields of its kind, with what they hold, but for secrets."""
        return self.options.asked()

    @property
    def narrows(self) -> bool:
        """Whether some messages are left out by what they are."""
        narrow = ("since", "before", "older_than_days", "largest", "sender", "subject")
        return self.only_read or any(self.values[key] for key in narrow)

    def settings(self) -> ProfileSettings:
        """What the archiver is told beside name and kind. Raises UsageError for what is no number or size."""
        values = self.values
        by_timetable = values["interval"] == BY_TIMETABLE
        if by_timetable and not values["cron"]:
            raise UsageError("Enter the timetable, or choose how often the profile runs.")
        users: Users = next((one for one in _USERS if one == values["users"]), "all")
        return {
            "options": self.options.changed(),
            "archive": values["archive"],
            "users": users,
            "chosen": () if users == "all" else items(values["chosen"]),
            "include": _lines(values["include"]),
            "exclude": _lines(values["exclude"]),
            "since": values["since"],
            "before": values["before"],
            "older_than_days": self._number("older_than_days", _NUMBERS["older_than_days"]),
            "largest": in_bytes(values["largest"] or "0"),
            "only_read": self.only_read,
            "sender": values["sender"],
            "subject": values["subject"],
            "delete_after_days": self._number("delete_after_days", _NUMBERS["delete_after_days"]),
            "directory": values["directory"],
            "interval": 0 if by_timetable else self._number("interval", "the time between two runs"),
            "cron": values["cron"] if by_timetable else "",
            "parallel": self._number("parallel", _NUMBERS["parallel"]),
            "rate": in_bytes(values["rate"] or "0"),
        }

    def _number(self, key: str, what: str) -> int:
        text = self.values[key] or "0"
        if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
            raise UsageError(f"Enter {what} as a number.")
        return int(text)


def _values(one: ProfilePut | api.ProfileInfo) -> dict[str, str]:
    return {
        **{key: getattr(one, key) for key in (*_TEXTS, "users")},
        **{key: str(getattr(one, key) or "") for key in _NUMBERS},
        **{key: typed(size) if (size := getattr(one, key)) else "" for key in _SIZES},
        **{key: "\n".join(getattr(one, key)) for key in (*_LISTS, "chosen")},
        "interval": BY_TIMETABLE if one.cron else str(one.interval),
    }


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())
