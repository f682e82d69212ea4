"""Compaction: many volumes of one mailbox become one archive volume that says the same in a fraction of the bytes.

What stands in mail as base64 is kept once, as bytes, for all mails of the mailbox in which it occurs; everything
else is compressed together with mail of the same thread, after a sample of the mailbox's other mail. Each record
keeps its commitment, so leaf roots, seals and proofs of the volumes that were replaced stay true.

This module writes; whether what it wrote is right is for ``switch.put_in_place`` to find out, from the file alone.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec
import zstandard

from appliance.errors import DamageError, UsageError
from appliance.files import FILES, Files
from appliance.keys.envelope import seal as seal_key
from appliance.store import group, parts
from appliance.store.archive_file import ArchiveFile, next_name
from appliance.store.archived import attested, dictionary_of
from appliance.store.directory import Contents, Place
from appliance.store.failures import storage_error
from appliance.store.format import NO_PREVIOUS, RecordType, VolumeHeader
from appliance.store.group import Member
from appliance.store.names import COMPACTED, ArchiveName
from appliance.store.parts import Reference
from appliance.store.reader import LogReader, VolumeInfo
from appliance.store.record import SealedRecord, encode_provenance, seal
from appliance.store.refs import RecordRef
from appliance.store.seal import Chain
from appliance.store.volume import VolumeKey

LEVEL: Final = 19
GROUP_SIZE: Final = 256 * 1024
"""Bytes of text from which on a group is closed. Opening one message costs opening its group."""
STEP_BYTES: Final = 256 * 1024 * 1024
"""Bytes of volumes that one archive volume replaces."""
LARGEST_VOLUME: Final = 72 * 1024 * 1024
"""A volume over this holds one huge message, which compaction would need in memory: it is left as it is."""
RESERVE: Final = 512 * 1024 * 1024
"""Bytes that stay free for mail that comes in meanwhile."""

_LARGEST_DICTIONARY: Final = 1024 * 1024
_DICTIONARY_SHARE: Final = 64
"""A dictionary is at most this part of the texts that it helps to compress."""
_MOST_OF_A_SAMPLE: Final = 16 * 1024
_HASH: Final = 16
_ROW: Final = _HASH + 8
_SUBJECT: Final = re.compile(rb"^subject:[ \t]*([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.IGNORECASE | re.MULTILINE)
_REPLY: Final = re.compile(rb"^(?:\s*(?:re|fwd?|aw|wg|sv|antw|tr)\s*:\s*)+", re.IGNORECASE)
_HEAD: Final = 16 * 1024
_LONGEST_THREAD: Final = 100
_SAMPLE: Final = 64 * 1024
_WORTH_IT: Final = 0.95


class CompactionKeys(Protocol):
    """What compaction needs of the keys; ``access.Keys`` has it."""

    def public_key(self, mailbox_id: bytes) -> bytes:
        """A mailbox's public key. Raises NotFoundError."""
        ...

    def content_key(self, mailbox_id: bytes) -> bytes:
        """The key of a mailbox's content hashes. Raises NotFoundError, SealedError."""
        ...


class Step(msgspec.Struct, frozen=True):
    """The volumes that one archive volume is to replace."""

    mailbox: bytes
    volumes: tuple[str, ...]
    sizes: tuple[int, ...]  # bytes of each

    @property
    def size(self) -> int:
        """Bytes of all volumes."""
        return sum(self.sizes)

    def halves(self) -> tuple[Step, ...]:
        """The same in two steps; nothing where it is one volume."""
        middle = len(self.volumes) // 2
        halves = (slice(None, middle), slice(middle, None)) if middle else ()
        return tuple(Step(self.mailbox, self.volumes[half], self.sizes[half]) for half in halves)


def plan(volumes: Sequence[VolumeInfo], *, before: int, step_bytes: int = STEP_BYTES) -> list[Step]:
    """Steps over one mailbox's volumes (as ``LogReader.volumes`` lists them) that were made before ``before``
    (microseconds), oldest first: sealed ones on this disk that no archive volume stands for."""
    fit = [
        one
        for one in volumes
        if one.sealed
        and not (one.archived or one.absent or one.damage)
        and one.created < before
        and one.size <= LARGEST_VOLUME
    ]
    steps: list[Step] = []
    waiting: list[VolumeInfo] = []
    for one in sorted(fit, key=lambda one: (one.created, one.path)):
        if waiting and sum(other.size for other in waiting) + one.size > step_bytes:
            steps.append(_step(waiting))
            waiting = []
        waiting.append(one)
    return [*steps, _step(waiting)] if waiting else steps


class Throttle:
    """Holds work to a rate, so that it leaves the disk to others."""

    def __init__(self, bytes_per_second: int = 0) -> None:
        """0 is without a limit."""
        self._rate = bytes_per_second
        self._begun = time.monotonic()
        self._bytes = 0

    def passed(self, count: int) -> None:
        """So many bytes more were read or written: wait until the rate allows for them."""
        if self._rate:
            self._bytes += count
            ahead = self._bytes / self._rate - (time.monotonic() - self._begun)
            if ahead > 0:
                time.sleep(ahead)


class StoppedError(Exception):
    """The work was told to stop; nothing is left of it."""


def compact(
    volumes: Path,
    step: Step,
    chain: Chain,
    reader: LogReader,
    keys: CompactionKeys,
    *,
    files: Files = FILES,
    reserve: int = RESERVE,
    throttle: Throttle | None = None,
    progress: Callable[[int], None] = lambda _bytes: None,
    stopped: Callable[[], bool] = lambda: False,
) -> ArchiveName:
    """Make the archive volume of a step; durable on return, but of no account before it is put in place.

    ``progress`` gets the bytes of volumes done. Raises StoppedError; DamageError where a record cannot be opened: then
    its volumes stay as they are; ConflictError where the mailbox is compacted already, DiskFullError, LockedError,
    SealedError, StorageError.
    """
    try:
        name = next_name(files, volumes, step.mailbox, COMPACTED)
        with ArchiveFile(files, volumes, name, reserve=reserve) as file:
            work = _Compaction(step, chain, reader, keys, file)
            work.run(throttle or Throttle(), progress, stopped)
        return name
    except OSError as error:
        raise storage_error(error) from error


class _Found(msgspec.Struct, frozen=True):
    """A record to be moved, and what it should lie next to."""

    number: int  # in the order of the volumes
    thread: bytes
    ref: RecordRef


class _Compaction:
    """One step."""

    def __init__(self, step: Step, chain: Chain, reader: LogReader, keys: CompactionKeys, file: ArchiveFile) -> None:
        self._step = step
        self._chain = chain
        self._reader = reader
        self._file = file
        self._content_key = keys.content_key(step.mailbox)
        self._key = VolumeKey.generate()
        self._header = _header(file.name, self._key, keys.public_key(step.mailbox))
        self._known = known_parts(reader, step.mailbox)
        self._new: dict[bytes, int] = {}
        self._places: dict[int, tuple[int, int]] = {}
        self._compressor: zstandard.ZstdCompressor | None = None

    def run(self, throttle: Throttle, progress: Callable[[int], None], stopped: Callable[[], bool]) -> None:
        """Both passes: look at all records for their order and a dictionary, then move them."""
        found, dictionary = self._survey(throttle, stopped)
        total = sum(one.ref.length for one in found) or 1
        self._file.add([self._header])
        if dictionary:
            self._add(RecordType.DICTIONARY, dictionary)
            self._compressor = _compressor(dictionary)
        done = 0
        members: list[Member] = []
        texts: list[bytes] = []
        numbers: list[int] = []
        for one in sorted(found, key=lambda one: (one.thread, one.number)):
            if stopped():
                raise StoppedError
            record = self._reader.read(one.ref)
            text, runs = parts.cut(record.original, self._part)
            provenance = encode_provenance(record.provenance)
            members.append(Member(record.salt, provenance, len(record.original), len(text), runs))
            texts.append(text)
            numbers.append(one.number)
            if sum(map(len, texts)) >= GROUP_SIZE:
                self._group(members, texts, numbers)
                members, texts, numbers = [], [], []
            done += one.ref.length
            throttle.passed(one.ref.length)
            progress(self._step.size * done // total)
        if members:
            self._group(members, texts, numbers)
        part_list = self._part_list()
        self._file.finish(self._contents(part_list), self._directory(found))

    def _survey(self, throttle: Throttle, stopped: Callable[[], bool]) -> tuple[list[_Found], bytes]:
        """All records with their threads, and the dictionary."""
        refs = [ref for volume in self._step.volumes for ref in self._refs(volume)]
        wanted = _LARGEST_DICTIONARY // (_MOST_OF_A_SAMPLE // 2)
        every = max(len(refs) // wanted, 1)
        found: list[_Found] = []
        samples: list[bytes] = []
        length = 0
        for number, ref in enumerate(refs):
            if stopped():
                raise StoppedError
            original = self._reader.read(ref).original
            text = b"".join(_text(original))
            length += len(text)
            if number % every == 0:
                samples.append(text[:_MOST_OF_A_SAMPLE])
            found.append(_Found(number, _thread(original), ref))
            throttle.passed(ref.length)
        return found, b"".join(samples)[: min(length // _DICTIONARY_SHARE, _LARGEST_DICTIONARY)]

    def _refs(self, volume: str) -> Iterator[RecordRef]:
        seal = self._chain.seal_of(volume)
        entries = list(self._reader.scan(volume))
        refs = [one for one in entries if isinstance(one, RecordRef)]
        if seal is None or len(refs) != seal.records:
            raise DamageError(f"{volume}: the volume is not the one that was signed.")
        if self._chain.archive_of(volume) is not None:
            raise UsageError(f"{volume} was compacted already.")
        yield from refs

    def _part(self, data: bytes) -> Reference:
        """Where a part is; it is added where the mailbox does not have it yet."""
        digest = hmac.digest(self._content_key, data, "sha256")[:_HASH]
        known = self._known.get(digest)
        if known is not None:
            return known
        offset = self._new[digest] = self._add(RecordType.PART, data, level=_level_for(data))
        reference = self._known[digest] = Reference(self._file.name.sequence, offset)
        return reference

    def _group(self, members: Sequence[Member], texts: Sequence[bytes], numbers: Sequence[int]) -> None:
        offset = self._write(
            seal(
                self._key.key, self._key.volume_id, group.pack(members, texts), type=RecordType.GROUP, level=LEVEL,
                dictionary=self._compressor,
            )
        )  # fmt: skip
        self._places.update((number, (offset, member)) for member, number in enumerate(numbers))

    def _part_list(self) -> int:
        if not self._new:
            return 0
        rows = sorted(self._new.items())
        return self._add(RecordType.PART_LIST, b"".join(digest + at.to_bytes(8, "big") for digest, at in rows), level=1)

    def _add(self, type: RecordType, data: bytes, *, level: int = LEVEL) -> int:
        return self._write(seal(self._key.key, self._key.volume_id, data, type=type, level=level))

    def _write(self, record: SealedRecord) -> int:
        return self._file.add(record.parts)

    def _contents(self, part_list: int) -> Contents:
        replaced = []
        for volume in self._step.volumes:
            seal = self._chain.seal_of(volume)
            if seal is None:
                raise DamageError(f"{volume} has no seal.")
            replaced.append(attested(seal, self._reader.header(volume)))
        return Contents(tuple(replaced), part_list)

    def _directory(self, found: Sequence[_Found]) -> Iterator[Place]:
        entries = (entry for volume in self._step.volumes for entry in self._reader.entries(volume))
        for entry, one in zip(entries, found, strict=True):
            yield Place(entry, *self._places[one.number])


def known_parts(reader: LogReader, mailbox: bytes) -> dict[bytes, Reference]:
    """The parts that the mailbox's archive volumes hold, by keyed hash. Raises as ``LogReader.read`` does."""
    found: dict[bytes, Reference] = {}
    for sequence, rows in reader.part_lists(mailbox):
        for start in range(0, len(rows), _ROW):
            row = rows[start : start + _ROW]
            found.setdefault(row[:_HASH], Reference(sequence, int.from_bytes(row[_HASH:], "big")))
    return found


def _step(volumes: Sequence[VolumeInfo]) -> Step:
    return Step(volumes[0].mailbox, tuple(one.path for one in volumes), tuple(one.size for one in volumes))


def _header(name: ArchiveName, key: VolumeKey, public_key: bytes) -> bytes:
    header = VolumeHeader(
        volume_id=key.volume_id, mailbox=name.mailbox, writer=name.kind, sequence=name.sequence,
        created=time.time_ns() // 1000, previous=NO_PREVIOUS,
    )  # fmt: skip
    return msgspec.structs.replace(header, sealed_key=seal_key(public_key, key.key, header.key_info())).pack()


def _compressor(dictionary: bytes) -> zstandard.ZstdCompressor:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        LEVEL, source_size=GROUP_SIZE, dict_size=len(dictionary)
    )
    return zstandard.ZstdCompressor(dict_data=dictionary_of(dictionary), compression_params=parameters)


def _level_for(data: bytes) -> int:
    """What is compressed already, as most attachments are, is not worth the time."""
    sample = data[:_SAMPLE]
    shorter = len(zstandard.ZstdCompressor(level=1).compress(sample)) < _WORTH_IT * len(sample)
    return LEVEL if shorter else 1


def _text(original: bytes) -> Iterator[bytes]:
    """An original without its runs of base64."""
    position = 0
    for run in parts.find(original):
        yield original[position : run.start]
        position = run.end
    yield original[position:]


def _thread(original: bytes) -> bytes:
    """Something that mails of one thread have in common: most of what they quote is in one another."""
    found = _SUBJECT.search(original, 0, _HEAD)
    subject = b" ".join(found[1].split()) if found is not None else b""
    return _REPLY.sub(b"", subject)[:_LONGEST_THREAD]
