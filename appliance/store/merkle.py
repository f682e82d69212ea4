"""Merkle tree hashes as RFC 6962 section 2.1 defines them (the RFC 9162 tree is the same)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


def path(hashes: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Audit path (RFC 6962 section 2.1.1) of the leaf at ``index``: with the leaf it leads to ``root(hashes)``.

    Up to 64 hashes, the lowest first. Raises IndexError where there is no such leaf.
    """
    if not 0 <= index < len(hashes):
        raise IndexError(index)
    start, end, found = 0, len(hashes), []
    while end - start > 1:
        middle = start + _largest_power_below(end - start)
        if index < middle:
            found.append(root(hashes[middle:end]))
            end = middle
        else:
            found.append(root(hashes[start:middle]))
            start = middle
    return tuple(reversed(found))


def root_of_path(leaf: bytes, index: int, size: int, audit_path: Sequence[bytes]) -> bytes | None:
    """The tree hash that a leaf hash and its audit path lead to (RFC 9162 section 2.1.3.2); None where a path of
    that length cannot belong to the leaf at ``index`` of a tree of ``size`` leaves."""
    if not 0 <= index < size:
        return None
    node, last, result = index, size - 1, leaf
    for sibling in audit_path:
        if last == 0:
            return None
        if node & 1 or node == last:
            result = _node(sibling, result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            result = _node(result, sibling)
        node, last = node >> 1, last >> 1
    return result if last == 0 else None


def _largest_power_below(count: int) -> int:
    """The largest power of two smaller than ``count``, which is at least 2."""
    return 1 << (count - 1).bit_length() - 1


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE_PREFIX + left + right).digest()
