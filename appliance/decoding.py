"""Reading msgspec structs from MessagePack, JSON and plain values, in as many threads as one likes.

msgspec finds out what it has to know of a struct type when a value of it is first read. A second thread that reads one
meanwhile meets that knowledge half made, and the process dies of it (msgspec 0.22: a segmentation fault in one of
twenty tries with threads that change places often). So a type is made known here first, under a lock; nothing else of
the product calls msgspec's own functions (ruff holds it).
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")

_lock = threading.Lock()
_known: set[Any] = set()


@overload
def from_msgpack(data: bytes | bytearray | memoryview, type: type[T]) -> T: ...
@overload
def from_msgpack(data: bytes | bytearray | memoryview, type: Any) -> Any: ...
def from_msgpack(data: bytes | bytearray | memoryview, type: Any) -> Any:
    """A value of ``type``. Raises msgspec.DecodeError where the bytes are none."""
    _make_known(type)
    return msgspec.msgpack.decode(data, type=type)


@overload
def from_json(data: bytes | bytearray | memoryview | str, type: type[T]) -> T: ...
@overload
def from_json(data: bytes | bytearray | memoryview | str, type: Any) -> Any: ...
def from_json(data: bytes | bytearray | memoryview | str, type: Any) -> Any:
    """A value of ``type``. Raises msgspec.DecodeError where the text is none."""
    _make_known(type)
    return msgspec.json.decode(data, type=type)


@overload
def from_values(value: object, type: type[T]) -> T: ...
@overload
def from_values(value: object, type: Any) -> Any: ...
def from_values(value: object, type: Any) -> Any:
    """A value of ``type``, from dicts, lists and so on. Raises msgspec.ValidationError where it is none."""
    _make_known(type)
    return msgspec.convert(value, type)


def _make_known(type: Any) -> None:
    if type not in _known:
        with _lock:
            msgspec.msgpack.Decoder(type)
            _known.add(type)
