"""Where an unpacked message goes in a cloud folder: a template, and names that every cloud takes.

What services refuse is taken out of names: OneDrive and SharePoint ("Restrictions and limitations in OneDrive and
SharePoint"), Windows shares ("Naming Files, Paths, and Namespaces"), Dropbox and Google Drive refuse less.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from string import Formatter
from typing import Final

import msgspec

from appliance.errors import UsageError
from appliance.language import later

DEFAULT: Final = "{archive}/{folder}/{date} {subject}"
PLACEHOLDERS: Final = ("archive", "folder", "year", "month", "day", "date", "time", "subject", "sender", "id")
MESSAGE: Final = "message.eml"

_LONGEST_PATH: Final = 350  # characters; OneDrive takes 400 with what the user's own folders come to
_LENGTHS: Final = (80, 48, 32, 20)
"""Most characters of one name: the first that makes the path short enough."""
_MOST_BYTES: Final = 200  # of one name in UTF-8: file systems take 255
_LONGEST_ENDING: Final = 12
_REFUSED: Final = re.compile(r'[<>:"/\\|?*#%\x00-\x1f\x7f]')
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|\.lock|desktop\.ini|_vti_.*|~\$.*)(\.|$)", re.IGNORECASE)

_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})  # categories of Unicode: nothing to be seen, or not for all


class Facts(msgspec.Struct, frozen=True):
    """What a template may name of a message. ``archive`` is an address, ``date`` in seconds (UTC), ``sender`` an
    address, ``id`` 32 hex digits."""

    archive: str
    folder: tuple[str, ...]
    date: int
    subject: str
    sender: str
    id: str


def check(template: str) -> None:
    """Raise UsageError, in words, where a template cannot be used."""
    try:
        fields = [tuple(rest) for _, *rest in Formatter().parse(template) if rest[0] is not None]
    except ValueError as error:
        raise UsageError(later("“{template}” is no template: its braces do not match."), template=template) from error
    for name, spec, conversion in fields:
        if name not in PLACEHOLDERS or spec or conversion:
            text = later("“{name}” cannot stand in a template. These can: {all}.")
            raise UsageError(text, name=name, all=", ".join(PLACEHOLDERS))
    if not template.strip("/ "):
        raise UsageError(later("A template names at least one folder."))
    if not {"subject", "id", "date", "time"} & {name for name, *_ in fields}:
        raise UsageError(later("A template needs something that tells messages apart: subject, date, time or id."))


def place(template: str, facts: Facts, number: int = 1) -> str:
    """The folder of a message, without slashes at its ends; the ``number``-th of those that would have the same."""
    for length in _LENGTHS:
        parts = [part for level in template.split("/") for part in _level(level, facts, length)]
        path = "/".join(parts)
        if len(path) <= _LONGEST_PATH:
            break
    return path if number == 1 else f"{path} ({number})"


def file_names(names: Sequence[str]) -> list[str]:
    """Names for a message's attachments beside ``MESSAGE``, each once."""
    taken = {MESSAGE}
    found = []
    for index, name in enumerate(names, 1):
        stem, ending = _split(safe(name) if name.strip() else f"attachment {index}")
        one, number = stem + ending, 1
        while one.casefold() in taken:
            number += 1
            one = f"{stem} ({number}){ending}"
        taken.add(one.casefold())
        found.append(one)
    return found


def safe(name: str, longest: int = _LENGTHS[0], *, has_ending: bool = True) -> str:
    """A name that every cloud takes, with the same ending if it may have one."""
    shown = _REFUSED.sub(" ", unicodedata.normalize("NFC", name))
    shown = "".join(one for one in shown if unicodedata.category(one) not in _UNSEEN)
    shown = " ".join(shown.split()).rstrip(". ")
    if not shown:
        return "_"
    stem, ending = _split(shown) if has_ending else (shown, "")
    stem = _cut(stem, longest - len(ending), _MOST_BYTES - len(ending.encode())).rstrip(". ") or "_"
    whole = stem + ending
    return f"_{whole}" if _RESERVED.match(whole) else whole


def _level(level: str, facts: Facts, longest: int) -> list[str]:
    """A level of the template: none where it comes to nothing, several for a folder that lies in others."""
    if level.strip() == "{folder}":
        return [safe(name, longest, has_ending=False) for name in facts.folder]
    when = datetime.fromtimestamp(facts.date, UTC)
    text = level.format(
        archive=facts.archive, folder=" - ".join(facts.folder), year=f"{when:%Y}", month=f"{when:%m}",
        day=f"{when:%d}", date=f"{when:%Y-%m-%d}", time=f"{when:%H.%M.%S}",
        subject=facts.subject.strip() or "no subject", sender=facts.sender or "nobody", id=facts.id,
    )  # fmt: skip
    return [safe(text, longest, has_ending=False)] if text.strip() else []


def _split(name: str) -> tuple[str, str]:
    stem, dot, ending = name.rpartition(".")
    is_ending = dot and stem and 0 < len(ending) <= _LONGEST_ENDING and ending.isalnum()
    return (stem, f".{ending}") if is_ending else (name, "")


def _cut(text: str, characters: int, most_bytes: int) -> str:
    text = text[: max(characters, 1)]
    while len(text.encode()) > most_bytes:
        text = text[:-1]
    return text
