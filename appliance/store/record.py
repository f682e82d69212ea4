"""One record: sealing an original into encrypted frames, and opening them again. No input or output.

A record has its own key, made from the volume key and 32 random bytes of its header, and each frame's nonce is
drawn from the system's random source when the frame is sealed: a virtual machine that is set back to a snapshot,
or a process that forks, draws others, so no nonce meets the same key twice (docs/decisions/0011).
"""

from __future__ import annotations

import os
import threading
import time as clock
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import IO, Final, cast

import msgspec
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google_crc32c import extend as crc32c_extend
from google_crc32c import value as crc32c

from appliance.errors import DamageError
from appliance.files import Buffer
from appliance.keys.envelope import NONCE_SIZE, TAG_SIZE, derive
from appliance.mail.facts import Provenance
from appliance.store.format import (
    END_OF_DATA,
    FRAME,
    LARGEST_FRAME,
    LAST_FRAME,
    RECORD_HEADER_SIZE,
    TRAILER,
    IndexEntry,
    RecordHeader,
    RecordType,
    parse_record_header,
)
from appliance.store.merkle import LEAF_PREFIX

SALT_SIZE: Final = 32
COMPRESSED: Final = 1
"""Record flag: the original is one Zstandard frame (RFC 8878). Always set in format version 1."""
WITH_DICTIONARY: Final = 2
"""Record flag: the frame was made with the dictionary of the archive volume that it is in."""

_AROUND_FRAME: Final = RECORD_HEADER_SIZE + FRAME.size + TRAILER.size
LARGEST_OF_ONE_FRAME: Final = _AROUND_FRAME + LARGEST_FRAME + TAG_SIZE
"""Bytes that a record with one frame takes at most."""

_LARGEST_PROVENANCE: Final = 64 * 1024 * 1024
_CHUNK: Final = 256 * 1024
_NO_PROVENANCE: Final = Provenance()
_provenance_of = msgspec.msgpack.Decoder(Provenance).decode
_mine = threading.local()


class SealedRecord(msgspec.Struct, frozen=True):
    """A record ready for the disk: it can stand at any offset of its volume."""

    parts: list[bytes]
    length: int
    type: int
    record_id: bytes
    time: int
    leaf: bytes
    cipher_hash: bytes  # leaf hash of the record's bytes in the ciphertext tree

    def entry(self, offset: int) -> IndexEntry:
        """The record's line in the footer, once it has a place."""
        return IndexEntry(
            offset=offset, length=self.length, type=self.type, record_id=self.record_id, time=self.time,
            leaf=self.leaf,
        )  # fmt: skip


def new_record_id(microseconds: int) -> bytes:
    """A UUIDv7 (RFC 9562 section 5.7): milliseconds, then 74 random bits."""
    number = (microseconds // 1000 & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(os.urandom(10), "big")
    number = number & ~(0xF << 76) | 0x7 << 76
    return (number & ~(0x3 << 62) | 0x2 << 62).to_bytes(16, "big")


def encode_provenance(provenance: Provenance | None) -> bytes:
    """MessagePack of what the receiver knew; nothing where there is nothing to say."""
    return b"" if provenance is None or provenance == _NO_PROVENANCE else msgspec.msgpack.encode(provenance)


def decode_provenance(encoded: bytes) -> Provenance:
    """What ``encode_provenance`` gave. Raises DamageError."""
    try:
        return _provenance_of(encoded) if encoded else _NO_PROVENANCE
    except msgspec.DecodeError as error:
        raise DamageError("A record's provenance cannot be read.") from error


def record_key(volume_key: bytes, volume_id: bytes, header: RecordHeader) -> bytes:
    """The key of one record; it binds the record to its volume and its id."""
    return derive(volume_key, salt=header.salt, info=volume_id + header.record_id)


def seal(
    volume_key: bytes,
    volume_id: bytes,
    original: Buffer,
    provenance: Provenance | None = None,
    *,
    type: int = RecordType.MESSAGE,
    level: int = 1,
    dictionary: zstandard.ZstdCompressor | None = None,
    record_id: bytes | None = None,
) -> SealedRecord:
    """A whole original as one record; ``dictionary`` is a compressor that has one. ``record_id`` as in RecordSealer."""
    flags = COMPRESSED if dictionary is None else COMPRESSED | WITH_DICTIONARY
    sealer = RecordSealer(volume_key, volume_id, provenance, type=type, flags=flags, record_id=record_id)
    return sealer.finish(original, (dictionary or _compressor(level)).compress(original))


class RecordSealer:
    """Seals one record. For originals that arrive in pieces, see ``stream.StreamingRecord``."""

    def __init__(
        self,
        volume_key: bytes,
        volume_id: bytes,
        provenance: Provenance | None,
        *,
        type: int = RecordType.MESSAGE,
        flags: int = COMPRESSED,
        record_id: bytes | None = None,
    ) -> None:
        """``record_id`` is one of ``new_record_id`` that the caller has written down before; None makes one."""
        now = clock.time_ns() // 1000
        self._header = RecordHeader(
            type=type, flags=flags, record_id=record_id or new_record_id(now), salt=os.urandom(32), time=now
        )
        self._aad = self._header.pack()
        self._cipher = AESGCM(record_key(volume_key, volume_id, self._header))
        salt = os.urandom(SALT_SIZE)
        encoded = encode_provenance(provenance)
        self._waiting = b"".join((salt, len(encoded).to_bytes(4, "big"), encoded))
        self._commitment = sha256(salt)
        self._parts: list[bytes] = [self._aad]
        self._length = len(self._aad)
        self._crc = crc32c(self._aad)
        self._hash = sha256(LEAF_PREFIX + self._aad)
        self._original_length = 0
        self._frames = 0

    def add(self, original: Buffer, compressed: bytes) -> None:
        """More of the original, and what the compressor gave for it; whole frames are sealed."""
        self._commitment.update(original)
        self._original_length += len(original)
        waiting = b"".join((self._waiting, compressed)) if compressed else self._waiting
        start = 0
        while len(waiting) - start > LARGEST_FRAME - END_OF_DATA.size:
            self._frame(waiting[start : start + LARGEST_FRAME], 0)
            start += LARGEST_FRAME
        self._waiting = waiting[start:] if start else waiting

    def take(self) -> list[bytes]:
        """The bytes sealed since the last call; what is taken here is not in ``finish``'s parts."""
        parts, self._parts = self._parts, []
        return parts

    def finish(self, original: Buffer, compressed: bytes) -> SealedRecord:
        """The rest of the original, the last frame and the trailer."""
        self.add(original, compressed)
        self._frame(self._waiting + END_OF_DATA.pack(self._original_length, self._frames + 1), LAST_FRAME)
        leaf = self._commitment.digest()
        length = self._length + TRAILER.size
        trailer = leaf + length.to_bytes(8, "big")
        trailer += crc32c_extend(self._crc, trailer).to_bytes(4, "big")
        self._hash.update(trailer)
        self._parts.append(trailer)
        header = self._header
        return SealedRecord(
            parts=self._parts, length=length, type=header.type, record_id=header.record_id, time=header.time,
            leaf=leaf, cipher_hash=self._hash.digest(),
        )  # fmt: skip

    def _frame(self, plaintext: bytes, last: int) -> None:
        nonce = os.urandom(NONCE_SIZE)
        sealed = self._cipher.encrypt(nonce, plaintext, frame_aad(self._aad, self._frames, last != 0))
        prefix = FRAME.pack(len(sealed) | last, nonce)
        self._frames += 1
        self._parts += (prefix, sealed)
        self._length += len(prefix) + len(sealed)
        self._crc = crc32c_extend(crc32c_extend(self._crc, prefix), sealed)
        self._hash.update(prefix)
        self._hash.update(sealed)


def frame_aad(header: bytes, number: int, last: bool) -> bytes:
    """A frame's associated data: nothing can be moved, left out or added, nor the record given another header."""
    return b"%b%b%b" % (header, number.to_bytes(4, "big"), b"\x01" if last else b"\x00")


class Frame(msgspec.Struct, frozen=True):
    """One frame as it lies in the volume."""

    nonce: bytes
    sealed: bytes
    last: bool


class OneFrame(msgspec.Struct, frozen=True):
    """A record with one frame, as nearly all are, taken apart: it matches its checksums."""

    header: RecordHeader
    frame: Frame
    leaf: bytes
    length: int

    def entry(self, offset: int) -> IndexEntry:
        """The record's line in a footer."""
        header = self.header
        return IndexEntry(
            offset=offset, length=self.length, type=header.type, record_id=header.record_id, time=header.time,
            leaf=self.leaf,
        )  # fmt: skip


def parse_one_frame(raw: bytes) -> OneFrame | None:
    """The record that ``raw`` is as a whole; None where it has more frames or does not match its checksums."""
    header = parse_record_header(raw[:RECORD_HEADER_SIZE])
    if header is None or not _AROUND_FRAME + TAG_SIZE <= len(raw) <= LARGEST_OF_ONE_FRAME:
        return None
    prefix, nonce = FRAME.unpack_from(raw, RECORD_HEADER_SIZE)
    leaf, length, checksum = TRAILER.unpack_from(raw, len(raw) - TRAILER.size)
    if prefix != (len(raw) - _AROUND_FRAME) | LAST_FRAME or length != len(raw) or crc32c(raw[:-4]) != checksum:
        return None
    sealed = raw[RECORD_HEADER_SIZE + FRAME.size : -TRAILER.size]
    return OneFrame(header, Frame(nonce=nonce, sealed=sealed, last=True), leaf, length)


class RecordOpener:
    """Opens one record's frames in their order; raises DamageError at the first that does not open."""

    def __init__(self, volume_key: bytes, volume_id: bytes, header: RecordHeader, frames: Iterable[Frame]) -> None:
        self._aad = header.pack()
        self._cipher = AESGCM(record_key(volume_key, volume_id, header))
        self._pieces = self._open(frames)
        self._rest = b""
        self._original_length: int | None = None
        beginning = self._exactly(SALT_SIZE + 4)
        self.salt = beginning[:SALT_SIZE]
        size = int.from_bytes(beginning[SALT_SIZE:], "big")
        if size > _LARGEST_PROVENANCE:
            raise DamageError("A record's provenance is larger than any can be.")
        self.provenance = decode_provenance(self._exactly(size))
        self._with_dictionary = bool(header.flags & WITH_DICTIONARY)

    @property
    def size(self) -> int | None:
        """Bytes of the original; None while the last frame has not been opened. Of one frame it is at once."""
        return self._original_length

    def original(self, leaf: bytes, dictionary: zstandard.ZstdDecompressor | None = None) -> bytes:
        """The original as a whole, checked against its commitment ``leaf``.

        ``dictionary`` is a decompressor that has one, for a record that was made with it.
        """
        decompressor = dictionary if self._with_dictionary else _decompressor()
        if decompressor is None:
            raise DamageError("A record was compressed with a dictionary that is not there.")
        compressed = b"".join((self._rest, *self._pieces))
        length = self._length()
        try:
            if zstandard.frame_content_size(compressed) not in (-1, length):
                raise DamageError("A record's original has another length than the record says.")
            original = decompressor.decompress(compressed, max_output_size=max(length, 1), allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise DamageError("A record's original does not decompress.") from error
        self._check(sha256(self.salt + original).digest(), len(original), leaf)
        return original

    def stream(self, leaf: bytes) -> Iterator[bytes]:
        """The original in pieces of at most 256 KiB. Each is authentic when it comes; that nothing is missing is
        known when the iterator ends without DamageError."""
        commitment = sha256(self.salt)
        length = 0
        # Its own decompressor: a stream may lie open while others of this thread begin.
        source = cast("IO[bytes]", self)  # only ``read`` is called
        with zstandard.ZstdDecompressor().stream_reader(source, read_size=_CHUNK) as reader:
            while True:
                try:
                    piece = reader.read(_CHUNK)
                except zstandard.ZstdError as error:
                    raise DamageError("A record's original does not decompress.") from error
                if not piece:
                    break
                commitment.update(piece)
                length += len(piece)
                yield piece
        if self.read(1):
            raise DamageError("A record holds more than its original.")
        self._check(commitment.digest(), length, leaf)

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes of the plaintext not yet read; none only at its end. For zstandard's reader."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = piece
        if size < 0 or size >= len(self._rest):
            piece, self._rest = self._rest, b""
        else:
            piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def _open(self, frames: Iterable[Frame]) -> Iterator[bytes]:
        count = 0
        for frame in frames:
            try:
                aad = frame_aad(self._aad, count, frame.last)
                plaintext = self._cipher.decrypt(frame.nonce, frame.sealed, aad)
            except (InvalidTag, ValueError) as error:
                raise DamageError("An encrypted frame does not open: it has been altered or moved.") from error
            count += 1
            if not frame.last:
                yield plaintext
                continue
            if len(plaintext) < END_OF_DATA.size:
                raise DamageError("A record's last frame is too short.")
            length, frames_of_record = END_OF_DATA.unpack(plaintext[-END_OF_DATA.size :])
            if frames_of_record != count:
                raise DamageError("A record has another number of frames than it says.")
            self._original_length = length
            yield plaintext[: -END_OF_DATA.size]
            return

    def _length(self) -> int:
        if self._original_length is None:
            raise DamageError("A record's last frame is missing.")
        return self._original_length

    def _exactly(self, size: int) -> bytes:
        pieces = []
        while size:
            piece = self.read(size)
            if not piece:
                raise DamageError("A record ends before its original begins.")
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _check(self, commitment: bytes, length: int, leaf: bytes) -> None:
        if length != self._length() or commitment != leaf:
            raise DamageError("A record's original is not the one that its commitment names.")


def _compressor(level: int) -> zstandard.ZstdCompressor:
    # One for each thread: two threads in one compressor crash the process.
    compressors: dict[int, zstandard.ZstdCompressor] = _mine.__dict__.setdefault("compressors", {})
    if level not in compressors:
        compressors[level] = zstandard.ZstdCompressor(level=level)
    return compressors[level]


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_mine, "decompressor"):
        _mine.decompressor = zstandard.ZstdDecompressor()
    decompressor: zstandard.ZstdDecompressor = _mine.decompressor
    return decompressor
