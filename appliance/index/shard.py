"""Shards: the index of one quarter of a year each.

A message belongs to the quarter in which its first record came in, told by that record's id (a UUIDv7, RFC 9562
section 5.7). Never to that of its Date: field: a sender writes what he likes there, and a message that is put again
must meet its old document (docs/decisions/0074-shards-by-quarter.md).
"""

from __future__ import annotations

from datetime import UTC, datetime

_MOST_SECONDS = 253_402_300_799  # the end of the year 9999


def shard_of(record_id: bytes) -> int:
    """The quarter of a record's id as a number: 20264 is the fourth of 2026."""
    seconds = min(int.from_bytes(record_id[:6]) // 1000, _MOST_SECONDS)  # its first 48 bits are milliseconds
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.year * 10 + (moment.month + 2) // 3
