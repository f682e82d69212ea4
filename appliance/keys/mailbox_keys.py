"""A mailbox's keys: made, wrapped by its password and its tokens, opened by them. Pure functions on the keyring's data.

The password and each token wrap the private key alone, so a mailbox opens from ``keyring.json`` and volumes without
the appliance key. A password costs Argon2id for each try; a token has 256 random bits and costs nothing.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from typing import NamedTuple

import msgspec

from appliance.errors import (
    ConflictError,
    DamageError,
    ForbiddenError,
    LockedError,
    NotFoundError,
    SealedError,
    SignInError,
    UsageError,
)
from appliance.keys import crockford, slots
from appliance.keys.envelope import KEY_SIZE, MailboxKeyPair, unwrap, wrap
from appliance.keys.management import SHORTEST_PASSWORD, NewToken, TokenInfo
from appliance.keys.stored import Argon2, KeyringData, MailboxKeys, PasswordWrap, TokenWrap, now, secret_key

ID_SIZE = 16

_PASSWORD_CHARACTERS = 20  # 100 bits
_PASSWORD_GROUP = 4
_TOKEN = re.compile(r"mkp_([0-9a-f]{32})([0-9a-f]{8})([0-9a-f]{64})")
_PASSWORD_PURPOSE = "mailbox password"  # noqa: S105 - what a key is for
_TOKEN_PURPOSE = "mailbox token"  # noqa: S105 - what a key is for
_PRIVATE = "mailbox private"
_CONTENT = "mailbox content"


class _Token(NamedTuple):
    mailbox: bytes
    id: str
    secret: bytes


# -- making and changing ---------------------------------------------------------------------------------------------


def new(data: KeyringData, mailbox_id: bytes, wrapping: bytes, *, sealed: bool) -> tuple[MailboxKeys, bytes]:
    """A new mailbox's keys, without a password yet, and its private key. Raises ConflictError."""
    if len(mailbox_id) != ID_SIZE:
        raise UsageError(f"A mailbox's id has {ID_SIZE} bytes.")
    if mailbox_id.hex() in data.mailboxes:
        raise ConflictError("This mailbox has its keys already.")
    pair = MailboxKeyPair.generate()
    keys = MailboxKeys(public=pair.public, created=now())
    if not sealed:
        keys = _under_appliance_key(data, mailbox_id, keys, pair.private, os.urandom(KEY_SIZE), wrapping)
    return keys, pair.private


def new_password() -> str:
    """A generated password: 100 random bits in five groups of four."""
    characters = "".join(secrets.choice(crockford.ALPHABET) for _ in range(_PASSWORD_CHARACTERS))
    return crockford.grouped(characters, _PASSWORD_GROUP)


def require_good(password: str) -> None:
    """Raises UsageError for a chosen password that is too short."""
    if len(password) < SHORTEST_PASSWORD:
        raise UsageError(
            f"A mailbox's password has at least {SHORTEST_PASSWORD} characters: whoever has a copy of the keyring can "
            "try passwords without end. The generated ones are best."
        )


def with_password(
    data: KeyringData, mailbox_id: bytes, keys: MailboxKeys, private: bytes, password: str, argon2: Argon2
) -> MailboxKeys:
    """The keys with another password."""
    salt = slots.new_salt(())
    key = secret_key(_spelled(password), salt, argon2, _PASSWORD_PURPOSE)
    wrapped = wrap(key, private, data.aad(_PASSWORD_PURPOSE, mailbox_id))
    return msgspec.structs.replace(keys, password=PasswordWrap(salt, wrapped, now(), argon2))


def with_token(
    data: KeyringData, mailbox_id: bytes, keys: MailboxKeys, private: bytes, name: str
) -> tuple[MailboxKeys, NewToken]:
    """The keys with one more token, and its text."""
    salt = slots.new_salt(token.id for token in keys.tokens)
    secret = os.urandom(KEY_SIZE)
    key = secret_key(secret, salt, None, _TOKEN_PURPOSE)
    token = TokenWrap(salt, wrap(key, private, data.aad(_TOKEN_PURPOSE, mailbox_id)), now(), name)
    text = f"mkp_{mailbox_id.hex()}{token.id}{secret.hex()}"
    return msgspec.structs.replace(keys, tokens=(*keys.tokens, token)), NewToken(token.id, text)


def without_token(keys: MailboxKeys, id: str) -> MailboxKeys:
    """The keys without a token. Raises NotFoundError."""
    left = tuple(token for token in keys.tokens if token.id != id)
    if len(left) == len(keys.tokens):
        raise NotFoundError(f"The mailbox has no token {id}.")
    return msgspec.structs.replace(keys, tokens=left)


def tokens(keys: MailboxKeys) -> tuple[TokenInfo, ...]:
    """What may be told of the tokens."""
    return tuple(TokenInfo(token.id, token.name, token.created) for token in keys.tokens)


# -- under the appliance key -----------------------------------------------------------------------------------------


def private_key(data: KeyringData, mailbox_id: bytes, wrapping: bytes) -> bytes:
    """A mailbox's private key. Raises NotFoundError, DamageError, SealedError."""
    keys = _unsealed(data, mailbox_id)
    return unwrap(wrapping, keys.private, data.aad(_PRIVATE, mailbox_id))


def content_key(data: KeyringData, mailbox_id: bytes, wrapping: bytes) -> bytes:
    """The key of a mailbox's content hashes. Raises NotFoundError, DamageError, SealedError."""
    keys = _unsealed(data, mailbox_id)
    return unwrap(wrapping, keys.content, data.aad(_CONTENT, mailbox_id))


def rewrapped(data: KeyringData, mailbox_id: bytes, before: bytes, after: bytes) -> MailboxKeys:
    """The mailbox's keys around another wrapping key. Raises DamageError."""
    keys = data.mailbox(mailbox_id)
    if keys.is_sealed:
        return keys
    private, content = private_key(data, mailbox_id, before), content_key(data, mailbox_id, before)
    return _under_appliance_key(data, mailbox_id, keys, private, content, after)


# -- opening by the mailbox's own secrets ----------------------------------------------------------------------------


def is_token(secret: str) -> bool:
    """Whether a secret has the form of a token."""
    return _parse_token(secret) is not None


def token_mailbox(token: str) -> bytes:
    """The id of the mailbox that a token names; it proves nothing. Raises SignInError for what is no token."""
    found = _parse_token(token)
    if found is None:
        raise SignInError("That is no token of this archive.")
    return found.mailbox


def token_id(token: str) -> str:
    """The id by which ``tokens`` lists a token. Raises SignInError for what is no token."""
    found = _parse_token(token)
    if found is None:
        raise SignInError("That is no token of this archive.")
    return found.id


def open_private(data: KeyringData, mailbox_id: bytes, secret: str) -> bytes:
    """The private key that a password or a token opens. Raises SignInError."""
    keys = data.mailboxes.get(mailbox_id.hex())
    if keys is not None:
        token = _parse_token(secret)
        private = None
        if token is not None:
            private = _by_token(data, mailbox_id, keys, token)
        elif keys.password is not None:
            private = _by_password(data, mailbox_id, keys.password, secret)
        if private is not None:
            return private
    raise SignInError("The mailbox's password or token is not right.")


class Grants:
    """Which mailboxes are open, by the random texts that prove it. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, bytes] = {}

    def add(self, mailbox_id: bytes) -> str:
        """A new grant."""
        grant = secrets.token_hex(KEY_SIZE)
        with self._lock:
            self._open[grant] = mailbox_id
        return grant

    def remove(self, grant: str) -> None:
        """The mailbox was closed."""
        with self._lock:
            self._open.pop(grant, None)

    def mailbox(self, grant: str) -> bytes:
        """What is open under a grant. Raises ForbiddenError."""
        with self._lock:
            mailbox_id = self._open.get(grant)
        if mailbox_id is None:
            raise ForbiddenError("The mailbox is not open under this grant.")
        return mailbox_id


class UnlockedMailbox:
    """A mailbox with its private key in this process (``management.OpenedMailbox``). Threads may share it."""

    def __init__(self, mailbox_id: bytes, pair: MailboxKeyPair, grants: Grants | None = None) -> None:
        self._mailbox_id = mailbox_id
        self._pair: MailboxKeyPair | None = pair
        self._grants = grants or Grants()
        self._grant = self._grants.add(mailbox_id)

    @property
    def mailbox_id(self) -> bytes:
        """Which."""
        return self._mailbox_id

    @property
    def grant(self) -> str:
        """Random text that proves that the mailbox is open here."""
        return self._grant

    def volume_key(self, mailbox_id: bytes, sealed: bytes, info: bytes) -> bytes:
        """As ``management.OpenedMailbox``."""
        pair = self._pair
        if pair is None:
            raise LockedError("The mailbox was closed. Open it again with its password.")
        if mailbox_id != self._mailbox_id:
            raise ForbiddenError("Another mailbox is open here, not this one.")
        return data_key(pair, sealed, info)

    def close(self) -> None:
        """Forget the private key."""
        self._pair = None
        self._grants.remove(self._grant)


def data_key(pair: MailboxKeyPair, sealed: bytes, info: bytes) -> bytes:
    """The data key sealed in a volume's header. Raises DamageError."""
    key = pair.open_sealed(sealed, info)
    if len(key) != KEY_SIZE:
        raise DamageError("A volume's data key has another length than a key has.")
    return key


# -- how it is done --------------------------------------------------------------------------------------------------


def _by_token(data: KeyringData, mailbox_id: bytes, keys: MailboxKeys, token: _Token) -> bytes | None:
    for one in keys.tokens:
        if one.id == token.id and token.mailbox == mailbox_id:
            key = secret_key(token.secret, one.salt, None, _TOKEN_PURPOSE)
            return _opens(data, key, one.wrapped, _TOKEN_PURPOSE, mailbox_id)
    return None


def _by_password(data: KeyringData, mailbox_id: bytes, password: PasswordWrap, text: str) -> bytes | None:
    key = secret_key(_spelled(text), password.salt, password.argon2, _PASSWORD_PURPOSE)
    return _opens(data, key, password.wrapped, _PASSWORD_PURPOSE, mailbox_id)


def _opens(data: KeyringData, key: bytes, wrapped: bytes, what: str, mailbox_id: bytes) -> bytes | None:
    try:
        return unwrap(key, wrapped, data.aad(what, mailbox_id))
    except DamageError:
        return None


def _spelled(password: str) -> bytes:
    """A generated password however it is typed, another one as it is."""
    characters = crockford.plain(password)
    if len(characters) == _PASSWORD_CHARACTERS and set(characters) <= set(crockford.ALPHABET):
        return crockford.grouped(characters, _PASSWORD_GROUP).encode()
    return slots.spelled(password)


def _parse_token(text: str) -> _Token | None:
    found = _TOKEN.fullmatch(text.strip())
    return None if found is None else _Token(bytes.fromhex(found[1]), found[2], bytes.fromhex(found[3]))


def _under_appliance_key(
    data: KeyringData, mailbox_id: bytes, keys: MailboxKeys, private: bytes, content: bytes, wrapping: bytes
) -> MailboxKeys:
    return msgspec.structs.replace(
        keys,
        private=wrap(wrapping, private, data.aad(_PRIVATE, mailbox_id)),
        content=wrap(wrapping, content, data.aad(_CONTENT, mailbox_id)),
    )


def _unsealed(data: KeyringData, mailbox_id: bytes) -> MailboxKeys:
    keys = data.mailbox(mailbox_id)
    if keys.is_sealed:
        raise SealedError(
            "The mailbox is sealed: only its own password opens its mail, and the archive does not have it."
        )
    return keys
