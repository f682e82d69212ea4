"""What folders are called in the catalogue: a keyed hash to find them by, and their paths sealed.

A folder is one of one archive: two people's folders of the same path have different ids, so an id tells of nobody else.
"""

from __future__ import annotations

import hmac
import os
from collections import OrderedDict

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from appliance import decoding
from appliance.errors import DamageError
from appliance.keys.access import Keys
from appliance.mail.folders import Path

DEEPEST = 32
"""Levels of folders. What lies deeper stands in the last of them, its names joined by slashes."""

_ID = 16
_NONCE = 12
_REMEMBERED = 10_000
_MARK = b"folder\x00"  # keeps ids of folders apart from whatever else is hashed with this key


class Step(msgspec.Struct, frozen=True):
    """A folder on the way to one that is in it: its id (16 bytes) and its sealed path."""

    id: bytes
    path: bytes


class FolderNames:
    """Ids and sealed paths of folders, with the keys of one archive. Not for several threads at a time."""

    def __init__(self, keys: Keys) -> None:
        self._lookup_key = keys.key("catalogue-lookup")
        self._cipher = AESGCM(keys.key("catalogue-folders"))
        self._steps: OrderedDict[tuple[str, Path], Step] = OrderedDict()

    def id(self, archive: str, path: Path) -> bytes:
        """The first 16 bytes of HMAC-SHA256, under the key ``catalogue-lookup``, of ``folder``, a zero byte, and the
        archive and each of the path's names in UTF-8, each after its length in 4 bytes."""
        names = (name.encode() for name in (archive, *path))
        told = b"".join(len(name).to_bytes(4) + name for name in names)
        return hmac.digest(self._lookup_key, _MARK + told, "sha256")[:_ID]

    def steps(self, archive: str, path: Path) -> tuple[Step, ...]:
        """The folder and those that it is in, from the top."""
        path = _shallow(path)
        return tuple(self._step(archive, path[:length]) for length in range(min(len(path), 1), len(path) + 1))

    def seal(self, id: bytes, path: Path) -> bytes:
        """``nonce ‖ GCM`` of the path as a MessagePack array, bound to the folder's id."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, msgspec.msgpack.encode(path), id)

    def open(self, id: bytes, sealed: bytes) -> Path:
        """Reverse of ``seal``. Raises DamageError."""
        try:
            return decoding.from_msgpack(self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], id), Path)
        except (InvalidTag, ValueError) as error:
            raise DamageError(
                "The name of a folder cannot be read with this archive's key. The mail itself is safe. Run `mailkeep "
                "rebuild` to make the catalogue anew from the log."
            ) from error

    def _step(self, archive: str, path: Path) -> Step:
        known = self._steps.get((archive, path))
        if known is None:
            id = self.id(archive, path)
            known = self._steps[archive, path] = Step(id, self.seal(id, path))
            if len(self._steps) > _REMEMBERED:
                self._steps.popitem(last=False)
        return known


def _shallow(path: Path) -> Path:
    return path if len(path) <= DEEPEST else (*path[: DEEPEST - 1], "/".join(path[DEEPEST - 1 :]))
