"""Which messages a mailbox holds, in arrays: a million of them take some 60 MB, and a look costs what is new.

What a volume holds never changes, so it is kept from one look to the next and a volume that grows is read on from
where the last look ended. None of it needs a key. A ``Maildrop`` (RFC 1939's word) is what one look found.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from itertools import repeat
from pathlib import Path

from appliance.mail.published import erased_folder
from appliance.store.archived import SealKey
from appliance.store.format import RecordType
from appliance.store.reader import LogReader, VolumeInfo
from appliance.store.refs import RecordRef

ID_SIZE = 16
UNKNOWN = -1
"""In place of a size that nobody has measured yet."""

_MOST_KEPT = 2_000_000
"""Records of all mailboxes whose places are kept in memory, 56 bytes each."""


class VolumeMessages:
    """The messages of one volume in the order of the file. It only ever grows at its end."""

    def __init__(self, volume: VolumeInfo) -> None:
        self.path = volume.path
        self.sizes = array("q")
        """What whoever reads them has found, in units of his own, or ``UNKNOWN``."""
        self.scanned_to = 0
        self.standing = False, 0
        """Whether an archive volume stood in its place at the last look, and the bytes of that."""
        self.finished = False
        self.absent = False
        """Whether it is on replicas only. If it was here before, its messages are known all the same."""
        self._mailbox = volume.mailbox
        self._ids = bytearray()
        self._offsets = array("Q")
        self._lengths = array("Q")
        self._times = array("Q")

    def __len__(self) -> int:
        return len(self._offsets)

    def add(self, ref: RecordRef) -> None:
        """One more at the end."""
        self._ids += ref.record_id
        self._times.append(ref.time)
        self._lengths.append(ref.length)
        self.sizes.append(UNKNOWN)
        self._offsets.append(ref.offset)  # last: it is the length that others see

    def record_id(self, index: int) -> bytes:
        """16 bytes."""
        return bytes(self._ids[index * ID_SIZE : (index + 1) * ID_SIZE])

    def time(self, index: int) -> int:
        """When it was received: microseconds since 1970-01-01 UTC."""
        return self._times[index]

    def offset(self, index: int) -> int:
        """Where the record begins in the volume."""
        return self._offsets[index]

    @property
    def unknown(self) -> bool:
        """Whether it has to be brought here before its messages can be listed."""
        return self.absent and not self.finished

    def first_behind(self, offset: int) -> int:
        """The first message that begins behind ``offset``; the number of messages where none does."""
        return bisect_right(self._offsets, offset)

    def find(self, record_id: bytes) -> int | None:
        """Which message has that id."""
        at = -1
        while (at := self._ids.find(record_id, at + 1)) >= 0:
            if at % ID_SIZE == 0:
                return at // ID_SIZE
        return None

    def ref(self, index: int) -> RecordRef:
        """Where to read it."""
        return RecordRef(
            volume=self.path, offset=self._offsets[index], length=self._lengths[index],
            record_id=self.record_id(index), type=RecordType.MESSAGE, time=self._times[index], mailbox=self._mailbox,
        )  # fmt: skip


class Maildrop:
    """The messages of one mailbox at one moment, numbered from 0 in the order of their volumes' creation."""

    def __init__(self, volumes: list[VolumeMessages], erased: Collection[bytes]) -> None:
        self._volumes = volumes
        self._volume_of = array("I")
        self._index_of = array("I")
        for number, volume in enumerate(volumes):
            kept: Iterable[int] = range(len(volume))
            if erased:
                kept = [index for index in kept if volume.record_id(index) not in erased]
            self._index_of.extend(kept)
            self._volume_of.extend(repeat(number, len(self._index_of) - len(self._volume_of)))

    def __len__(self) -> int:
        return len(self._index_of)

    def record_id(self, number: int) -> bytes:
        """16 bytes, the message's name for ever."""
        return self._volumes[self._volume_of[number]].record_id(self._index_of[number])

    def ref(self, number: int) -> RecordRef:
        """Where to read it."""
        return self._volumes[self._volume_of[number]].ref(self._index_of[number])

    def size(self, number: int) -> int:
        """What ``set_size`` said last for this message, in this look or an earlier one, or ``UNKNOWN``."""
        return self._volumes[self._volume_of[number]].sizes[self._index_of[number]]

    def set_size(self, number: int, size: int) -> None:
        """Remember a size for as long as the message's place is remembered."""
        self._volumes[self._volume_of[number]].sizes[self._index_of[number]] = size


class Maildrops:
    """Looks into mailboxes. Threads may share it."""

    def __init__(
        self,
        data: Path,
        seal_key: SealKey | None = None,
        *,
        fetch: Callable[[str], None] | None = None,
        most_kept: int = _MOST_KEPT,
    ) -> None:
        """Archive volumes count where ``seal_key`` signed them; without it they are believed as they are.

        ``fetch`` as for ``LogReader``.
        """
        self._data = data
        self._reader = LogReader(data / "volumes", seal_key=seal_key, fetch=fetch)
        self._most_kept = most_kept
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    def look(self, mailbox: bytes) -> Maildrop:
        """What the mailbox holds now on this disk, without what is erased. Raises StorageError."""
        erased = read_erased(self._data, mailbox)  # first: what is erased meanwhile may be seen once more, never less
        return Maildrop([volume for volume in self.volumes(mailbox) if not volume.absent], erased)

    def volumes(self, mailbox: bytes) -> list[VolumeMessages]:
        """The mailbox's volumes, oldest first, erased records among the rest. Raises StorageError."""
        with self._lock:
            kept = self._kept.setdefault(mailbox, _Kept())
            self._kept.move_to_end(mailbox)
        with kept.lock:
            found = [self._read_on(kept, volume) for volume in sorted(self._reader.volumes(mailbox), key=_age)]
            kept.volumes = {volume.path: volume for volume in found}
        self._forget()
        return found

    def bring(self, mailbox: bytes, path: str) -> VolumeMessages:
        """A volume that was on replicas only, here. Raises NotFoundError, StorageError, UnavailableError."""
        self._reader.bring(path)
        return next(one for one in self.volumes(mailbox) if one.path == path)

    def _read_on(self, kept: _Kept, volume: VolumeInfo) -> VolumeMessages:
        known = kept.volumes.get(volume.path)
        standing = volume.archived, volume.stored if volume.archived else 0
        if known is None or (standing != known.standing and not volume.absent):
            # Another file stands in its place now, from which erased records were dropped: then no list names them.
            known = VolumeMessages(volume)
            known.standing = standing
        known.absent = volume.absent
        if volume.absent:
            return known
        if not known.finished:
            for found in self._reader.listed(volume, known.scanned_to):
                if isinstance(found, RecordRef) and found.type == RecordType.MESSAGE:
                    known.add(found)
                known.scanned_to = found.end
            known.finished = volume.closed or volume.sealed
        return known

    def _forget(self) -> None:
        with self._lock:
            total = sum(len(kept) for kept in self._kept.values())
            while total > self._most_kept and len(self._kept) > 1:
                total -= len(self._kept.popitem(last=False)[1])


class _Kept:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.volumes: dict[str, VolumeMessages] = {}

    def __len__(self) -> int:
        return sum(map(len, self.volumes.values()))


def read_erased(data: Path, mailbox: bytes) -> frozenset[bytes]:
    """The ids of records that are erased though their bytes may still be there (docs/format.md).

    Raises OSError where the file is there and cannot be read: then nobody knows what is erased.
    """
    try:
        listed = (erased_folder(data) / mailbox.hex()).read_bytes()
    except FileNotFoundError:
        return frozenset()
    return frozenset(listed[start : start + ID_SIZE] for start in range(0, len(listed), ID_SIZE))


def _age(volume: VolumeInfo) -> tuple[int, str, int]:
    return volume.created, volume.writer, volume.sequence
