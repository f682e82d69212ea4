"""What of a generation is restored, and when: pure rules about names, seals and times.

Only files of the shapes that docs/format.md names are ever written, so no manifest leads outside the data folder, and
none whose seal says that it is another file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from appliance.cloud.objects import Placed, Snapshot
from appliance.store.names import parse_archive, parse_volume, sealed_by
from appliance.store.seal import Chain

ROOT: Final = "volumes/"
SYSTEM: Final = bytes(16)
"""The mailbox of the system log."""

_BOX: Final = re.compile(
    r"tls/(certificate|key)\.pem|timestamps/[0-9]{8,}-[0-9]{4}-[0-9]{2}-[0-9]{2}\.tsr"
    r"|positions/[0-9a-f]{32}-[0-9a-f]{8}|gateway/erased/[0-9a-f]{32}"
)
_PROJECTION: Final = re.compile(r"projections/([0-9]{4,})/(catalogue\.db|index/[0-9]{5}/(manifest|[0-9a-f]{32}))")


class Span(NamedTuple):
    """When records came in, in microseconds; 0 is without an end."""

    since: int = 0
    until: int = 0  # not included

    def meets(self, first: int, last: int) -> bool:
        """Whether anything between these times, both included, is within."""
        return last >= self.since and (not self.until or first < self.until)


class Sorted(NamedTuple):
    """The volumes and archive volumes of a generation."""

    now: list[Placed]  # before the archive works
    later: list[Placed]  # while it works, the newest first
    quarantined: dict[str, str]  # not at all, with the reason


def log_name(path: str) -> str | None:
    """The path below volumes/ of a volume, an archive volume or a seal; None for any other path."""
    name = path.removeprefix(ROOT)
    if name == path or (parse_volume(name) is None and parse_archive(name) is None and sealed_by(name) is None):
        return None
    return name


def is_box_file(path: str) -> bool:
    """Whether a path is that of one of the box files."""
    return _BOX.fullmatch(path) is not None


def projections_of(snapshot: Snapshot) -> str | None:
    """The folder's name of a snapshot's catalogue and index; None where a file in it does not belong there, or where it
    has no catalogue."""
    names = {None if (found := _PROJECTION.fullmatch(one.path)) is None else found[1] for one in snapshot.files}
    has_catalogue = any(one.path.endswith("/catalogue.db") for one in snapshot.files)
    return snapshot.generation if has_catalogue and names == {snapshot.generation} else None


def is_pack_of(path: str, generation: str) -> bool:
    """Whether a path is that of a file of the index of the projections ``generation``."""
    found = _PROJECTION.fullmatch(path)
    return found is not None and found[1] == generation and found[2].startswith("index/")


def sort_volumes(contents: Mapping[str, Placed], chain: Chain) -> Sorted:
    """What becomes of each volume and archive volume, by the seals of the ``chain``.

    The system log comes at once, and so does what is not sealed yet: without a seal nothing is known of it.
    """
    now: list[Placed] = []
    later: list[tuple[int, Placed]] = []
    quarantined: dict[str, str] = {}
    standing = {seal.volume for seal in chain.archives}
    for path, placed in contents.items():
        name = log_name(path)
        if name is None:
            quarantined[path] = "it has a name that mailkeep gives to no file"
            continue
        if sealed_by(name) is not None:
            continue
        seal, volume = chain.seal_of(name), parse_volume(name)
        if seal is not None and (seal.size, seal.file_hash) != (placed.size, placed.hash):
            quarantined[path] = "its seal says that it is another file"
        elif volume is None and seal is None:
            quarantined[path] = "it is an archive volume without a seal"
        elif volume is None and name not in standing:
            continue  # another archive volume stands in its place
        elif (archive := chain.archive_of(name)) is not None and ROOT + archive.volume in contents:
            continue
        elif seal is None or (volume is not None and volume.mailbox == SYSTEM):
            now.append(placed)
        else:
            later.append((place_in_chain(name, chain), placed))
    later.sort(key=lambda one: one[0], reverse=True)
    return Sorted(now, [placed for _, placed in later], quarantined)


def place_in_chain(name: str, chain: Chain) -> int:
    """The number of the newest seal of what a volume, or an archive volume, holds; 0 where it has none."""
    seal = chain.seal_of(name)
    if seal is None:
        return 0
    return max((one.number for one in seal.replaces), default=seal.number)


def kept_back(
    later: Iterable[Placed],
    chain: Chain,
    times: Mapping[str, tuple[int, int]],
    mailboxes: Collection[bytes],
    span: Span,
) -> list[str]:
    """Volumes (paths below volumes/) that need not come by themselves: of other mailboxes, or of other times.

    ``times`` are of volumes as they were written: the first and the last record's. What it does not know of is
    within, unless its seal is too old. No ``mailboxes`` are all.
    """
    return [name for one in later if not _is_wanted(name := one.path.removeprefix(ROOT), chain, times, mailboxes, span)]


def _is_wanted(
    name: str, chain: Chain, times: Mapping[str, tuple[int, int]], mailboxes: Collection[bytes], span: Span
) -> bool:
    mailbox = bytes.fromhex(name.partition("/")[0])
    if mailboxes and mailbox not in mailboxes:
        return False
    seal = chain.seal_of(name)
    written = [one.volume for one in seal.replaces] if seal is not None and seal.replaces else [name]
    for volume in written:
        known, of = times.get(volume), chain.seal_of(volume)
        # Nothing came into a volume after it was sealed.
        first, last = known if known is not None else (0, of.sealed_at if of is not None else 2**63)
        if span.meets(first, last):
            return True
    return False
