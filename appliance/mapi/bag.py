"""Properties that have been read already, or are read when they are asked for, as ``mapi.base.Properties``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from appliance.mapi.base import Value

Name = tuple[UUID, int | str]
"""A named property's set and its number, or its name."""


class Bag:
    """A property bag over functions that read a value each; what has been read is not read again.

    A function raises ``DamagedValueError`` where its value cannot be read: that is noted, and it is as if it were not
    there.
    """

    def __init__(
        self,
        values: Mapping[int, Callable[[], Value | None]],
        names: Mapping[Name, Callable[[], Value | None]],
        damaged: Sequence[str] = (),
    ) -> None:
        self._values = values
        self._names = names
        self._read: dict[int | Name, Value | None] = {}
        self._damaged = list(damaged)

    @property
    def damaged(self) -> list[str]:
        """What could not be read so far, a few words each."""
        return self._damaged

    def get(self, id: int) -> Value | None:
        """The property of that number."""
        return self._once(id, self._values.get(id))

    def named(self, set: UUID, name: int | str) -> Value | None:
        """The named property; names of letters whatever their case (MS-OXPROPS section 1.3.2)."""
        key = named(set, name)
        return self._once(key, self._names.get(key))

    def note(self, damage: str) -> None:
        """Write down that something could not be read."""
        if damage not in self._damaged:
            self._damaged.append(damage)

    def _once(self, key: int | Name, read: Callable[[], Value | None] | None) -> Value | None:
        if read is None:
            return None
        if key not in self._read:
            try:
                self._read[key] = read()
            except DamagedValueError as damage:
                self.note(str(damage))
                self._read[key] = None
        return self._read[key]


class DamagedValueError(Exception):
    """A property's value cannot be read; its text says which and why, in a few words."""


def named(set: UUID, name: int | str) -> Name:
    """The key of a named property."""
    return set, name.lower() if isinstance(name, str) else name
