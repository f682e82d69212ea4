"""Sealed files: how anything of the index lies on a disk. Compressed, encrypted, and bound to its place.

A file is ``salt (32)`` and frames of ``length (4) ‖ GCM(key, nonce, zstd(block))``, one for each block of at most
1 MiB. Its key is HKDF-SHA256 (RFC 5869) of the index key, with the salt and the file's place as info; nonces count the
frames, whose number and whether it is the last are authenticated. So nothing can be cut off, moved, exchanged or read
at another place, and no nonce meets one key twice: each writing of a file has a key of its own.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from appliance.errors import DamageError
from appliance.files import Buffer, Files, read_exactly, write_all

BLOCK = 2**20
"""Most bytes of a block before it is compressed."""

SALT = 32
_TAG = 16
_LEVEL = 3  # of zstd: a seventh smaller than level 1 on segments of an index, and as fast to read
_LENGTH = struct.Struct(">I")
_BOUND = struct.Struct(">QB")  # a frame's number, and 1 where it is the last
_LARGEST_FRAME = BLOCK + BLOCK // 128 + 1024 + _TAG  # above what zstd makes of a block that it cannot compress
_INFO = b"mailkeep index v1\x00"


def write_sealed(files: Files, path: Path, key: bytes, place: bytes, pieces: Iterable[Buffer]) -> int:
    """A new file at ``path`` with ``pieces`` sealed in it; its size in bytes.

    The bytes are on disk on return, the name is durable once the caller has synced the directory. ``place`` names what
    the file is, and has to be given again to open it. FileExistsError where the name is taken.
    """
    salt = os.urandom(SALT)
    cipher = _cipher(key, salt, place)
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    descriptor = files.create(path, 0o600)
    try:
        end = write_all(files, descriptor, [salt], 0)
        for number, (block, last) in enumerate(_blocks(pieces)):
            frame = cipher.encrypt(_nonce(number), compressor.compress(block), _BOUND.pack(number, last))
            end = write_all(files, descriptor, [_LENGTH.pack(len(frame)), frame], end)
        files.sync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            files.unlink(path)
        raise
    finally:
        files.close(descriptor)
    return end


def read_sealed(files: Files, path: Path, key: bytes, place: bytes) -> Iterator[bytes]:
    """The blocks of a sealed file, in order. Raises DamageError at the first that is not what was written there."""
    descriptor = files.open(path)
    try:
        salt = read_exactly(files, descriptor, SALT, 0)
        cipher = _cipher(key, salt, place)
        decompressor = zstandard.ZstdDecompressor()
        size, offset, number = files.size(descriptor), SALT, 0
        while offset < size or not number:
            head = read_exactly(files, descriptor, _LENGTH.size, offset)
            length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
            if not _TAG < length <= _LARGEST_FRAME:
                raise _damaged(path)
            frame = read_exactly(files, descriptor, length, offset + _LENGTH.size)
            offset += _LENGTH.size + length
            try:
                packed = cipher.decrypt(_nonce(number), frame, _BOUND.pack(number, offset == size))
                block = decompressor.decompress(packed, max_output_size=BLOCK)
            except (InvalidTag, zstandard.ZstdError) as error:
                raise _damaged(path) from error
            number += 1
            yield block
    finally:
        files.close(descriptor)


def _cipher(key: bytes, salt: bytes, place: bytes) -> AESGCM:
    return AESGCM(HKDF(hashes.SHA256(), 32, salt, _INFO + place).derive(key))


def _nonce(number: int) -> bytes:
    return number.to_bytes(12)


def _blocks(pieces: Iterable[Buffer]) -> Iterator[tuple[bytes, bool]]:
    """The bytes of ``pieces`` in blocks, each with whether it is the last; one empty block where there are none."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) > BLOCK:
            yield bytes(held[:BLOCK]), False
            del held[:BLOCK]
    yield bytes(held), True


def _damaged(path: Path) -> DamageError:
    return DamageError(
        f"{path.name} of the sealed index is not what was written there. The mail itself is safe in the log; this part "
        "of the index is made anew from it."
    )
