"""The few cryptographic forms mailkeep uses: HPKE to a mailbox, AES-256-GCM under a key, HKDF between keys.

- ``seal`` / ``open_sealed``: HPKE base mode (RFC 9180) with MLKEM768-X25519 (X-Wing), HKDF-SHA256, AES-256-GCM:
  who has the public key can seal, only the private key opens, and a quantum computer does not change that.
- ``wrap`` / ``unwrap``: AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce, for small things at rest.
- ``derive``: HKDF-SHA256 (RFC 5869).
"""

from __future__ import annotations

import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from appliance.errors import DamageError, UsageError

KEY_SIZE = 32
NONCE_SIZE = 12
TAG_SIZE = 16
PUBLIC_KEY_SIZE = 1184 + 32
PRIVATE_KEY_SIZE = 64 + 32
SEAL_OVERHEAD = 1088 + 32 + TAG_SIZE
"""Bytes that ``seal`` adds: ML-KEM-768 ciphertext, X25519 public key, tag."""

_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_LONGEST_DERIVED = 255 * 32  # RFC 5869 section 2.3


class PublicKey:
    """A mailbox's public key: mail can be sealed to it. ``encoded`` is 1,216 bytes: ML-KEM-768, then X25519."""

    __slots__ = ("_key", "encoded")

    def __init__(self, encoded: bytes) -> None:
        """Raises UsageError where ``encoded`` is no public key."""
        if len(encoded) != PUBLIC_KEY_SIZE:
            raise UsageError(f"A mailbox's public key has {PUBLIC_KEY_SIZE} bytes; this one has {len(encoded)}.")
        try:
            self._key = hpke.MLKEM768X25519PublicKey(
                MLKEM768PublicKey.from_public_bytes(encoded[:1184]),
                X25519PublicKey.from_public_bytes(encoded[1184:]),
            )
        except ValueError as error:
            raise UsageError("These bytes are not a mailbox's public key.") from error
        self.encoded = encoded

    def seal(self, plaintext: bytes, info: bytes) -> bytes:
        """``plaintext`` for the holder of the private key; ``info`` must be the same at opening."""
        return _SUITE.encrypt(plaintext, self._key, info)


class MailboxKeyPair:
    """A mailbox's key pair. ``private`` is 96 secret bytes: ML-KEM seed, X25519 scalar."""

    __slots__ = ("_key", "private", "public")

    def __init__(self, private: bytes) -> None:
        """Raises UsageError where ``private`` does not have 96 bytes."""
        if len(private) != PRIVATE_KEY_SIZE:
            raise UsageError(f"A mailbox's private key has {PRIVATE_KEY_SIZE} bytes; this one has {len(private)}.")
        mlkem = MLKEM768PrivateKey.from_seed_bytes(private[:64])
        x25519 = X25519PrivateKey.from_private_bytes(private[64:])
        self._key = hpke.MLKEM768X25519PrivateKey(mlkem, x25519)
        self.private = private
        self.public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> MailboxKeyPair:
        """A new pair from the system's random source."""
        return cls(MLKEM768PrivateKey.generate().private_bytes_raw() + X25519PrivateKey.generate().private_bytes_raw())

    def open_sealed(self, sealed: bytes, info: bytes) -> bytes:
        """What ``seal`` took. Raises DamageError: not for this key, not whole, or sealed with another ``info``."""
        try:
            return _SUITE.decrypt(sealed, self._key, info)
        except (InvalidTag, ValueError) as error:
            raise DamageError(
                "A sealed key does not open: it was made for another mailbox, or it has been altered."
            ) from error


def seal(public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """Seal to an encoded public key; ``SEAL_OVERHEAD`` bytes longer than ``plaintext``."""
    return PublicKey(public).seal(plaintext, info)


def open_sealed(private: bytes, sealed: bytes, info: bytes) -> bytes:
    """Open with an encoded private key; raises DamageError."""
    return MailboxKeyPair(private).open_sealed(sealed, info)


def derive(key: bytes, *, salt: bytes = b"", info: bytes, length: int = KEY_SIZE) -> bytes:
    """``length`` bytes from a secret ``key`` by HKDF-SHA256, independent for each ``salt`` and ``info``."""
    if not 0 < length <= _LONGEST_DERIVED:
        raise UsageError(f"HKDF-SHA256 derives 1 to {_LONGEST_DERIVED} bytes, not {length}.")
    # Two HMAC calls of the standard library; the same bytes as cryptography's HKDF object.
    secret = hmac.digest(salt or bytes(32), key, "sha256")
    block = hmac.digest(secret, info + b"\x01", "sha256")
    output = block
    counter = 1
    while len(output) < length:
        counter += 1
        block = hmac.digest(secret, block + info + bytes((counter,)), "sha256")
        output += block
    return output[:length]


def wrap(key: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """Nonce (12 bytes), ciphertext and tag (16 bytes). ``aad`` says what and whose it is, and is not stored."""
    nonce = os.urandom(NONCE_SIZE)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, aad)


def unwrap(key: bytes, wrapped: bytes, aad: bytes) -> bytes:
    """What ``wrap`` took. Raises DamageError with a wrong key, altered bytes or another ``aad``."""
    try:
        return AESGCM(key).decrypt(wrapped[:NONCE_SIZE], wrapped[NONCE_SIZE:], aad)
    except (InvalidTag, ValueError) as error:
        raise DamageError("An encrypted value does not open: wrong key, or it has been altered.") from error
