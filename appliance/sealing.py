"""Sealed files: how the index lies on a disk and what names a replica on a remote. Compressed, encrypted, and bound to
its place.

A file is ``salt (32)`` and frames of ``length (4) ‖ GCM(key, nonce, zstd(block))``, one for each block of at most
1 MiB. Its key is HKDF-SHA256 (RFC 5869) of the owner's key, with the salt and the file's place as info; nonces count
the frames, whose number and whether it is the last are authenticated. So nothing can be cut off, moved, exchanged or
read at another place, and no nonce meets one key twice: each writing of a file has a key of its own.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from appliance.errors import DamageError
from appliance.files import Buffer, Files, read_exactly, write_file

BLOCK = 2**20
"""Most bytes of a block before it is compressed."""

SALT = 32
_TAG = 16
_LEVEL = 3  # of zstd: a seventh smaller than level 1 on segments of an index, and as fast to read
_LENGTH = struct.Struct(">I")
_BOUND = struct.Struct(">QB")  # a frame's number, and 1 where it is the last
_LARGEST_FRAME = BLOCK + BLOCK // 128 + 1024 + _TAG  # above what zstd makes of a block that it cannot compress


def write_sealed(
    files: Files, path: Path, key: bytes, place: bytes, pieces: Iterable[Buffer], *, mode: int = 0o600
) -> int:
    """A new file at ``path`` with ``pieces`` sealed in it; its size in bytes.

    The bytes are on disk on return, the name is durable once the caller has synced the directory. ``place`` names what
    the file is, and has to be given again to open it. FileExistsError where the name is taken.
    """
    salt = os.urandom(SALT)
    cipher = _cipher(key, salt, place)
    compressor = zstandard.ZstdCompressor(level=_LEVEL)

    def sealed() -> Iterator[Buffer]:
        yield salt
        for number, (block, last) in enumerate(_blocks(pieces)):
            frame = cipher.encrypt(_nonce(number), compressor.compress(block), _BOUND.pack(number, last))
            yield _LENGTH.pack(len(frame)) + frame

    return write_file(files, path, sealed(), mode)


def replace_sealed(
    files: Files, path: Path, key: bytes, place: bytes, pieces: Iterable[Buffer], *, mode: int = 0o600
) -> None:
    """``path`` holds ``pieces``, sealed, afterwards, or what it held before; durable on return. Raises OSError."""
    beside = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        files.unlink(beside)
    write_sealed(files, beside, key, place, pieces, mode=mode)
    files.rename(beside, path)
    files.sync_directory(path.parent)


def read_sealed(files: Files, path: Path, key: bytes, place: bytes, *, skip: int = 0) -> Iterator[bytes]:
    """The blocks of a sealed file from number ``skip`` on, in order. Each but the last has BLOCK bytes.

    Raises DamageError at the first that is not what was written there.
    """
    descriptor = files.open(path)
    try:
        size = files.size(descriptor)
        yield from _opened(
            lambda offset, count: read_exactly(files, descriptor, count, offset), size, key, place, path.name, skip
        )
    finally:
        files.close(descriptor)


def open_sealed(sealed: bytes, key: bytes, place: bytes, name: str) -> bytes:
    """What is in the bytes of a sealed file; ``name`` is for the error. Raises DamageError as ``read_sealed``."""
    held = memoryview(sealed)
    return b"".join(_opened(lambda offset, count: held[offset : offset + count], len(held), key, place, name))


def _opened(
    read: Callable[[int, int], Buffer], size: int, key: bytes, place: bytes, name: str, skip: int = 0
) -> Iterator[bytes]:
    """The blocks of ``size`` bytes, of which ``read`` gives some from an offset on, or what there is of them."""
    cipher = _cipher(key, bytes(read(0, SALT)), place)
    decompressor = zstandard.ZstdDecompressor()
    offset, number = SALT, 0
    while offset < size or not number:
        head = read(offset, _LENGTH.size)
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
        if not _TAG < length <= _LARGEST_FRAME:
            raise _damaged(name)
        start, offset = offset + _LENGTH.size, offset + _LENGTH.size + length
        if number >= skip:
            try:
                packed = cipher.decrypt(_nonce(number), read(start, length), _BOUND.pack(number, offset == size))
                block = decompressor.decompress(packed, max_output_size=BLOCK)
            except (InvalidTag, zstandard.ZstdError) as error:
                raise _damaged(name) from error
            yield block
        number += 1


def _cipher(key: bytes, salt: bytes, place: bytes) -> AESGCM:
    return AESGCM(HKDF(hashes.SHA256(), 32, salt, place).derive(key))


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


def _damaged(name: str) -> DamageError:
    return DamageError(
        f"{name} is not what was written there: it was altered or exchanged, or another archive's key sealed it."
    )
