"""The kinds of source that there are, and how one is made from what the administrator gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from appliance.errors import UsageError
from appliance.language import later
from appliance.sources.base import Memory, Source, SourceKind
from appliance.sources.ews import options as ews
from appliance.sources.gmail import options as gmail
from appliance.sources.graph import options as graph
from appliance.sources.imap import options as imap
from appliance.sources.pop3 import options as pop3

_Opener = Callable[[Mapping[str, str], Memory | None], Source]

_MADE_BY: Final[Mapping[str, tuple[SourceKind, _Opener]]] = {
    imap.KIND.kind: (imap.KIND, lambda options, _memory: imap.open_source(options)),
    pop3.KIND.kind: (pop3.KIND, lambda options, _memory: pop3.open_source(options)),
    graph.KIND.kind: (graph.KIND, graph.open_source),
    ews.KIND.kind: (ews.KIND, ews.open_source),
    gmail.GMAIL.kind: (gmail.GMAIL, gmail.open_gmail),
    gmail.GOOGLE.kind: (gmail.GOOGLE, lambda options, _memory: gmail.open_google(options)),
}

KINDS: Final[tuple[SourceKind, ...]] = tuple(kind for kind, _ in _MADE_BY.values())


def kind(name: str) -> SourceKind:
    """The kind of that name. Raises UsageError."""
    found = next((one for one in KINDS if one.kind == name), None)
    if found is None:
        known = ", ".join(one.kind for one in KINDS)
        raise UsageError(later("There is no kind of source “{name}”. There are: {known}."), name=name, known=known)
    return found


def check_options(name: str, options: Mapping[str, str]) -> None:
    """Whether a source of the kind can be made of the options; what they lead to is not asked. Raises UsageError."""
    asked = kind(name)
    known = {field.key for field in asked.fields}
    if strange := sorted(options.keys() - known):
        text = later("{kind} has no option “{option}”. It has: {known}.")
        raise UsageError(text, kind=asked.title, option=strange[0], known=", ".join(sorted(known)))
    if missing := [field.label for field in asked.fields if field.required and not options.get(field.key, "").strip()]:
        raise UsageError(later("{kind} needs: {fields}."), kind=asked.title, fields=", ".join(missing))
    open_source(name, options)


def open_source(name: str, options: Mapping[str, str], memory: Memory | None = None) -> Source:
    """A source, set up; nothing is connected yet. Without a ``memory`` what a provider changes is used and then
    forgotten. Raises UsageError for options that make no sense."""
    return _MADE_BY[kind(name).kind][1](options, memory)
