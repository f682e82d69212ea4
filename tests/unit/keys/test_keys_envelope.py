"""HPKE, HKDF and wrapping: standard answers, and nothing opens that was not made for it."""

from __future__ import annotations

import pytest

from appliance.errors import DamageError, UsageError
from appliance.keys.envelope import (
    PUBLIC_KEY_SIZE,
    SEAL_OVERHEAD,
    MailboxKeyPair,
    derive,
    open_sealed,
    seal,
    unwrap,
    wrap,
)


def test_derive_gives_rfc_5869_appendix_a():
    first = derive(b"\x0b" * 22, salt=bytes(range(13)), info=bytes(range(0xF0, 0xFA)), length=42)  # A.1
    assert first.hex() == ("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
    third = derive(b"\x0b" * 22, info=b"", length=42)  # A.3: no salt, no info
    assert third.hex() == ("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8")
    with pytest.raises(UsageError):
        derive(b"k", info=b"", length=255 * 32 + 1)


def test_what_is_sealed_opens_for_its_mailbox_and_purpose_only():
    pair, other = MailboxKeyPair.generate(), MailboxKeyPair.generate()
    sealed = seal(pair.public, b"k" * 32, b"volume 1")
    assert len(pair.public) == PUBLIC_KEY_SIZE and len(sealed) == 32 + SEAL_OVERHEAD
    assert open_sealed(pair.private, sealed, b"volume 1") == b"k" * 32
    assert MailboxKeyPair(pair.private).public == pair.public
    for private, bytes_, info in (
        (other.private, sealed, b"volume 1"),
        (pair.private, sealed, b"volume 2"),
        (pair.private, sealed[:-1], b"volume 1"),
        (pair.private, b"", b"volume 1"),
        (pair.private, sealed[:40] + bytes([sealed[40] ^ 1]) + sealed[41:], b"volume 1"),
        (pair.private, sealed[:1100] + bytes([sealed[1100] ^ 1]) + sealed[1101:], b"volume 1"),
    ):
        with pytest.raises(DamageError):
            open_sealed(private, bytes_, info)
    assert seal(pair.public, b"k" * 32, b"volume 1") != sealed
    assert pair.private.hex() not in repr(pair)


@pytest.mark.parametrize("public", [b"", b"x" * 10, b"\xff" * PUBLIC_KEY_SIZE])
def test_a_thing_that_is_no_key_is_refused(public):
    with pytest.raises(UsageError):
        seal(public, b"x", b"")
    with pytest.raises(UsageError):
        MailboxKeyPair(b"short")


def test_what_is_wrapped_opens_with_its_key_and_context_only():
    wrapped = wrap(b"k" * 32, b"value", b"user 7")
    assert unwrap(b"k" * 32, wrapped, b"user 7") == b"value"
    assert wrap(b"k" * 32, b"value", b"user 7") != wrapped
    for key, bytes_, aad in (
        (b"x" * 32, wrapped, b"user 7"),
        (b"k" * 32, wrapped, b"user 8"),
        (b"k" * 32, wrapped[:-1], b"user 7"),
        (b"k" * 32, b"", b"user 7"),
    ):
        with pytest.raises(DamageError):
            unwrap(key, bytes_, aad)
