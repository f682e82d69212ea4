"""What a check of a replica finds, in words: each finding names the object or file, and the mail that is in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from appliance.cloud.objects import Placed
from appliance.store.names import SEAL_SUFFIX

Kind = Literal[
    "missing",  # an object is not there
    "truncated",  # an object is shorter than it was
    "altered",  # an object has other bytes
    "swapped",  # an object has the bytes of another one
    "earlier",  # any of these, told of before, in an object that only earlier generations need
    "generation-missing",  # a manifest that should be kept is not there
    "rolled-back",  # the newest manifest is an older one than this box wrote
    "generation-altered",  # a manifest does not open
    "epoch-missing",  # the mark of this box's epoch is not there
    "epoch-forged",  # a mark does not open
    "stranger",  # something that mailkeep did not put there
    "unnamed",  # an object that no generation needs
    "unreadable",  # a volume is as it was written there, and is still not what was signed
    "unopened",  # a record of a volume that is as it was signed does not open, or is not what was committed to
    "differs",  # a seal was made anew here, and the replica has the one before
    "damaged-here",  # a file of this box is not what it was
    "lost-here",  # a file of this box is not there
]

HERE: Final = frozenset({"damaged-here", "lost-here"})
HARMLESS: Final = frozenset({"earlier", "unnamed"})
_MOST_NAMES: Final = 3


class ReplicaFinding(msgspec.Struct, frozen=True):
    """One thing that is not as it should be. ``name`` is an object's, or a path in the data folder."""

    kind: Kind
    name: str
    words: str
    files: tuple[str, ...] = ()  # of the archive, that are hit
    records: int = 0  # in them
    is_spare: bool = False  # an object that no file of the log is in: all of it can be made anew

    @property
    def is_serious(self) -> bool:
        """Whether something is lost, damaged or forged."""
        return self.kind not in HARMLESS

    @property
    def is_here(self) -> bool:
        """Whether it is this box's copy that is hit."""
        return self.kind in HERE


def about_object(
    kind: Kind, name: str, what: str, hit: Sequence[Placed], labels: Sequence[str] = (), *, is_spare: bool
) -> ReplicaFinding:
    """A finding about an object; ``what`` goes on after its name, ``labels`` are what it is if it is no mail."""
    words = f"{name} {what} {contents_in_words(hit, labels)}"
    return ReplicaFinding(kind, name, words, (*labels, *(one.path for one in hit)), _records(hit), is_spare)


def contents_in_words(hit: Sequence[Placed], labels: Sequence[str] = ()) -> str:
    """What is hit: at most a few names, and how many there are."""
    if labels:
        return f"It is {_listed(labels)}."
    if not hit:
        return "No file that is needed is hit."
    names = [one.path.removeprefix("volumes/") for one in hit]
    count = _records(hit)
    mail = f" with {count} record{'' if count == 1 else 's'}" if count else ""
    return f"Hit {'is' if len(names) == 1 else f'are {len(names)} files:'} {_listed(names)}{mail}."


def when(at: int) -> str:
    """A moment (microseconds) for a person, in UTC."""
    return datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _records(files: Iterable[Placed]) -> int:
    return sum(one.records for one in files if not one.path.endswith(SEAL_SUFFIX))


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
