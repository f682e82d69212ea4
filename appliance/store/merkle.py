"""Merkle tree hashes as RFC 6962 section 2.1 defines them (the RFC 9162 tree is the same)."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

EMPTY = sha256(b"").digest()
LEAF_PREFIX = b"\x00"
_NODE_PREFIX = b"\x01"


def leaf_hash(data: bytes) -> bytes:
    """Hash of one entry."""
    return sha256(LEAF_PREFIX + data).digest()


def root(hashes: Iterable[bytes]) -> bytes:
    """Tree hash over leaf hashes in their order; memory grows with the logarithm of their number."""
    peaks: list[bytes] = []
    for count, leaf in enumerate(hashes, start=1):
        peaks.append(leaf)
        while count % 2 == 0:
            right = peaks.pop()
            peaks[-1] = _node(peaks[-1], right)
            count //= 2
    if not peaks:
        return EMPTY
    top = peaks.pop()
    while peaks:
        top = _node(peaks.pop(), top)
    return top


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE_PREFIX + left + right).digest()
