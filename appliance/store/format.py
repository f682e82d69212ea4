"""The bytes of a volume: its fixed structures, packed and unpacked. No input or output, no keys.

docs/format.md is the specification; where the two differ, one of them has a bug. All numbers are big-endian. Each
structure ends in the CRC32C of the bytes before it (RFC 3720 appendix B.4), so rot is found without a key; a
forger is kept out by the encryption and by the seals, not by these.
"""

from __future__ import annotations

import enum
import struct
from typing import Final

import msgspec
from google_crc32c import value as crc32c

from appliance.errors import DamageError

FORMAT_VERSION: Final = 1

VOLUME_MAGIC: Final = b"\x89MKV\r\n\x1a\n"
MAGIC_PREFIX: Final = b"\xabMK"
MARKER_MAGIC: Final = MAGIC_PREFIX + b"B"
RECORD_MAGIC: Final = MAGIC_PREFIX + b"R"
INDEX_MAGIC: Final = MAGIC_PREFIX + b"X"
END_MAGIC: Final = MAGIC_PREFIX + b"E"
DIRECTORY_MAGIC: Final = MAGIC_PREFIX + b"D"
LAST_MAGIC: Final = MAGIC_PREFIX + b"Z"

SEALED_KEY_SIZE: Final = 1168
KEY_INFO: Final = b"mailkeep volume key v1\x00"

LARGEST_FRAME: Final = 1 << 20
"""Bytes of plaintext in one frame."""
LAST_FRAME: Final = 1 << 31
"""The bit of a frame's length field that marks the record's last frame."""
FRAME_OVERHEAD: Final = 12 + 16

_CRC: Final = struct.Struct(">I")
_VOLUME: Final = struct.Struct(">8sH16s16s16sQQ32sH")
_MARKER: Final = struct.Struct(">4sQQ")
_RECORD: Final = struct.Struct(">4sBBH16s32sQ")
FRAME: Final = struct.Struct(">I12s")
END_OF_DATA: Final = struct.Struct(">QI")
"""Closes the last frame's plaintext: bytes of the original, frames of the record."""
TRAILER: Final = struct.Struct(">32sQI")
_INDEX: Final = struct.Struct(">4sI")
_ENTRY: Final = struct.Struct(">QQB16sQ32s")
_END: Final = struct.Struct(">32s32sQI4s")
COMMITTED: Final = struct.Struct(">B16sQ32s")
"""What a leaf of the leaf tree commits to: type, record id, time, leaf commitment."""

FIXED_HEADER_SIZE: Final = _VOLUME.size
HEADER_SIZE: Final = _VOLUME.size + SEALED_KEY_SIZE + _CRC.size
MARKER_SIZE: Final = _MARKER.size + _CRC.size
RECORD_HEADER_SIZE: Final = _RECORD.size + _CRC.size
END_SIZE: Final = _END.size
INDEX_ENTRY_SIZE: Final = _ENTRY.size
NO_PREVIOUS: Final = bytes(32)


class RecordType(enum.IntEnum):
    """What a record's original is."""

    MESSAGE = 1  # mail, as it was received
    SETTINGS = 2  # a change of settings
    AUDIT = 3  # a line of the audit trail
    PLACE = 4  # a folder, sync cursor or right
    DICTIONARY = 5  # archive volumes only: what Zstandard is given before each group
    PART = 6  # archive volumes only: up to 768 KiB of what stood in mail as base64
    GROUP = 7  # archive volumes only: records, compressed together
    PART_LIST = 8  # archive volumes only: which parts there are


class VolumeHeader(msgspec.Struct, frozen=True):
    """What a volume says of itself. ``previous`` is the SHA-256 of the same writer's header before it."""

    volume_id: bytes  # 16
    mailbox: bytes  # 16
    writer: str  # 1 to 16 ASCII characters
    sequence: int  # from 1, gapless for one mailbox and writer
    created: int  # microseconds since 1970-01-01 UTC
    previous: bytes  # 32; zeros for the first
    sealed_key: bytes = b""  # HPKE to the mailbox's public key

    def fixed(self) -> bytes:
        """The header's bytes before the sealed key."""
        return _VOLUME.pack(
            VOLUME_MAGIC, FORMAT_VERSION, self.volume_id, self.mailbox, self.writer.encode("ascii"),
            self.sequence, self.created, self.previous, SEALED_KEY_SIZE,
        )  # fmt: skip

    def key_info(self) -> bytes:
        """HPKE's ``info``: it binds the sealed key to everything else in the header."""
        return KEY_INFO + self.fixed()

    def pack(self) -> bytes:
        """The ``HEADER_SIZE`` bytes at the start of the volume."""
        return with_crc(self.fixed() + self.sealed_key)


class RecordHeader(msgspec.Struct, frozen=True):
    """The clear part before a record's frames."""

    type: int
    flags: int
    record_id: bytes  # 16, UUIDv7
    salt: bytes  # 32 random bytes; with the volume key they make the record key
    time: int  # microseconds since 1970-01-01 UTC

    def pack(self) -> bytes:
        """The ``RECORD_HEADER_SIZE`` bytes, which are also the frames' associated data."""
        return with_crc(_RECORD.pack(RECORD_MAGIC, self.type, self.flags, 0, self.record_id, self.salt, self.time))


class IndexEntry(msgspec.Struct, frozen=True):
    """One record as the footer lists it."""

    offset: int
    length: int
    type: int
    record_id: bytes
    time: int
    leaf: bytes

    def committed(self) -> bytes:
        """What the leaf tree's leaf is made of: it survives re-encryption, so no offset and no length."""
        return COMMITTED.pack(self.type, self.record_id, self.time, self.leaf)


class Footer(msgspec.Struct, frozen=True):
    """What closing wrote: the record index and the two Merkle roots. It begins at ``logical_end``."""

    entries: tuple[IndexEntry, ...]
    leaf_root: bytes
    cipher_root: bytes
    logical_end: int

    def pack(self) -> bytes:
        """The bytes from ``logical_end`` to the end of the file."""
        body = _INDEX.pack(INDEX_MAGIC, len(self.entries)) + b"".join(
            _ENTRY.pack(e.offset, e.length, e.type, e.record_id, e.time, e.leaf) for e in self.entries
        )
        roots = self.leaf_root + self.cipher_root + self.logical_end.to_bytes(8, "big")
        return body + roots + _CRC.pack(crc32c(body + roots)) + END_MAGIC


def with_crc(data: bytes) -> bytes:
    """``data`` and the CRC32C of it."""
    return data + _CRC.pack(crc32c(data))


def crc_holds(data: bytes) -> bool:
    """Whether the last four bytes are the CRC32C of those before."""
    return len(data) > _CRC.size and _CRC.pack(crc32c(data[: -_CRC.size])) == data[-_CRC.size :]


def parse_header(data: bytes) -> VolumeHeader:
    """The header in the first ``HEADER_SIZE`` bytes of a volume. Raises DamageError that says what is wrong."""
    if len(data) < HEADER_SIZE:
        raise DamageError(f"The volume's header is cut short: {len(data)} of {HEADER_SIZE} bytes are there.")
    magic, version, volume_id, mailbox, writer, sequence, created, previous, size = _VOLUME.unpack_from(data)
    if magic != VOLUME_MAGIC:
        raise DamageError("The file does not begin as a volume does.")
    if version != FORMAT_VERSION or size != SEALED_KEY_SIZE:
        raise DamageError(f"The volume has format version {version}; this program reads version {FORMAT_VERSION}.")
    if not crc_holds(data[:HEADER_SIZE]):
        raise DamageError("The volume's header does not match its checksum.")
    try:
        name = writer.rstrip(b"\x00").decode("ascii")
    except UnicodeDecodeError as error:
        raise DamageError("The volume's header names no writer.") from error
    return VolumeHeader(
        volume_id=volume_id, mailbox=mailbox, writer=name, sequence=sequence, created=created,
        previous=previous, sealed_key=data[FIXED_HEADER_SIZE : HEADER_SIZE - _CRC.size],
    )  # fmt: skip


def pack_marker(batch: int, durable: int) -> bytes:
    """A batch marker: the batch's number, and the offset before which everything is known to be on disk."""
    return with_crc(_MARKER.pack(MARKER_MAGIC, batch, durable))


def parse_marker(data: bytes) -> tuple[int, int] | None:
    """(batch number, durable offset), or None where ``data`` is no whole marker."""
    if len(data) != MARKER_SIZE or data[:4] != MARKER_MAGIC or not crc_holds(data):
        return None
    _, batch, durable = _MARKER.unpack_from(data)
    return batch, durable


def parse_record_header(data: bytes) -> RecordHeader | None:
    """The record header in ``data``, or None where it is no whole one."""
    if len(data) != RECORD_HEADER_SIZE or data[:4] != RECORD_MAGIC or not crc_holds(data):
        return None
    _, kind, flags, _, record_id, salt, time = _RECORD.unpack_from(data)
    return RecordHeader(type=kind, flags=flags, record_id=record_id, salt=salt, time=time)


def parse_end(data: bytes) -> int | None:
    """The logical end that a volume's last ``END_SIZE`` bytes give, or None where they close no volume."""
    if len(data) != END_SIZE or data[-4:] != END_MAGIC:
        return None
    end: int = _END.unpack(data)[2]
    return end


def parse_footer(data: bytes, logical_end: int) -> Footer | None:
    """The footer that ``data`` is as a whole, or None where it is damaged or belongs elsewhere."""
    if len(data) < _INDEX.size + END_SIZE or data[:4] != INDEX_MAGIC or data[-4:] != END_MAGIC:
        return None
    if not crc_holds(data[:-4]):
        return None
    _, count = _INDEX.unpack_from(data)
    leaf_root, cipher_root, end, _, _ = _END.unpack_from(data, len(data) - END_SIZE)
    if end != logical_end or len(data) != footer_size(count):
        return None
    entries = tuple(
        IndexEntry(offset=offset, length=length, type=kind, record_id=record_id, time=time, leaf=leaf)
        for offset, length, kind, record_id, time, leaf in _ENTRY.iter_unpack(data[_INDEX.size : -END_SIZE])
    )
    return Footer(entries=entries, leaf_root=leaf_root, cipher_root=cipher_root, logical_end=end)


def footer_size(records: int) -> int:
    """Bytes of a footer over so many records."""
    return _INDEX.size + records * INDEX_ENTRY_SIZE + END_SIZE
