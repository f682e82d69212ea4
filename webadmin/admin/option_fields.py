"""What somebody types into fields that something outside asks for (``appliance.fields``): a remote, a directory.

Secrets go one way: what was typed is sent to the archiver, and no page shows it again, nor what is stored. An empty
field keeps the secret that there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from appliance.fields import Field
from appliance.services import api

OPTION = "option."
"""What the names of these fields begin with."""
FORGET = "forget."
"""What the names of the ticks begin with that take a secret away."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A field on the page; ``kept`` says that an empty one keeps a secret that there is."""

    field: Field
    name: str
    value: str = ""
    kept: bool = False


@dataclass(frozen=True, slots=True)
class OptionFields:
    """Options as typed. ``stored`` are those that are set already, True for secrets."""

    known: tuple[Field, ...]
    values: Mapping[str, str] = field(default_factory=dict)
    stored: Mapping[str, bool] = field(default_factory=dict)
    forgotten: frozenset[str] = frozenset()

    @classmethod
    def of(cls, known: tuple[Field, ...], options: Iterable[api.RemoteOption]) -> OptionFields:
        """The fields with what is set; whatever is set beside the known ones comes after them."""
        found = tuple(options)
        others = sorted({one.key for one in found} - {one.key for one in known})
        stored = {one.key: one.secret for one in found}
        further = tuple(Field(key, key, secret=stored[key]) for key in others)
        return cls((*known, *further), {one.key: one.value for one in found if not one.secret}, stored)

    def typed(self, given: Mapping[str, str]) -> OptionFields:
        """These fields with what a browser sent."""
        verbatim = {OPTION + one.key for one in self.known if one.secret and not one.multiline}
        values = {
            name.removeprefix(OPTION): text if name in verbatim else text.replace("\r\n", "\n").strip()
            for name, text in given.items()
            if name.startswith(OPTION)
        }
        forgotten = frozenset(name.removeprefix(FORGET) for name in given if name.startswith(FORGET))
        return replace(self, values={**self.values, **values}, forgotten=forgotten)

    def asked(self) -> tuple[Asked, ...]:
        """The fields with what they hold, but for secrets."""
        return tuple(
            Asked(
                one, OPTION + one.key, "" if one.secret else self.values.get(one.key, ""),
                one.secret and one.key in self.stored,
            )
            for one in self.known
        )  # fmt: skip

    def changed(self) -> dict[str, str]:
        """The options for the archiver; an empty value takes one away, one that is left out stays as it is."""
        gone = {
            key: ""
            for key, secret in self.stored.items()
            if not self.values.get(key) and (key in self.forgotten or not secret)
        }
        return {key: text for key, text in self.values.items() if text} | gone
