"""The encrypted column: one SQLAlchemy type, and the keyed hash that stands beside it for looking things up."""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Any, Protocol, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import LargeBinary
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.types import TypeDecorator

from appliance.errors import DamageError

LOOKUP_BYTES = 16


class _Keyed(Protocol):
    mailkeep_cipher: AESGCM


def bind_cipher(engine: Engine, key: bytes) -> None:
    """Let the encrypted columns of this engine use ``key`` (32 bytes)."""
    cast(_Keyed, engine.dialect).mailkeep_cipher = AESGCM(key)


class EncryptedText(TypeDecorator[str]):
    """Text that is on disk only as AES-256-GCM with a random nonce; NULL stays NULL.

    Raises DamageError on reading what was not written with the engine's key.
    """

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        if value is None:
            return None
        nonce = os.urandom(12)
        return nonce + _cipher(dialect).encrypt(nonce, value.encode("utf-8", "surrogatepass"), b"")

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        if value is None:
            return None
        try:
            plain = _cipher(dialect).decrypt(value[:12], value[12:], b"")
        except InvalidTag as error:
            raise DamageError(
                "A setting cannot be read with this archive's key. Run `mailkeep rebuild` to make the settings "
                "anew from the log."
            ) from error
        return plain.decode("utf-8", "surrogatepass")


def _cipher(dialect: Dialect) -> AESGCM:
    return cast(_Keyed, dialect).mailkeep_cipher


def lookup(key: bytes, value: str) -> bytes:
    """A keyed hash (first 16 bytes of HMAC-SHA256) by which a value is found without being readable."""
    return hmac.new(key, value.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()[:LOOKUP_BYTES]
