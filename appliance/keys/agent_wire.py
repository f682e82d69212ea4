"""What is said on the key agent's socket (frames: ``appliance.framing``), and who may say what.

A connection begins with a ``Hello`` that names a secret; which one it is decides the connection's role. Requests
follow, each answered by one ``Answer`` before the next is read. Roles are least privilege for processes of one user:
what the projector cannot do, nobody who takes it over can.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Union, get_args

import msgspec

from appliance.framing import Failure
from appliance.keys.management import SlotKind

LARGEST_HELLO = 1024
LARGEST_REQUEST = 4 * 1024 * 1024
"""Bytes; a seal that replaces many volumes is the longest thing that is signed."""
LARGEST_SMALL_REQUEST = 64 * 1024
"""Bytes of a request in a role that signs nothing: there may be a thousand such connections."""
LARGEST_ANSWER = 1024 * 1024
LONGEST_WAIT = 60.0
"""Seconds that ``Wait`` waits at most."""

Role = Literal["archiver", "projector", "box", "pull", "replica", "collector"]
ROLES: tuple[Role, ...] = get_args(Role)


def role_secret(folder: Path, role: str) -> Path:
    """Where the secret of a role lies: each in a folder of its own, so that each can have readers of its own."""
    return folder / role / "secret"


class Hello(msgspec.Struct, frozen=True):
    """The first frame: the secret that lies where only this role's processes can read it."""

    secret: str


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a ``Hello`` or a request: what it asked for, or an error."""

    result: msgspec.Raw = msgspec.Raw(b"\xc0")  # MessagePack's nil
    error: Failure | None = None


class AgentState(msgspec.Struct, frozen=True):
    """What the agent tells of itself. ``opened_by`` is the kind of slot, None while it is locked; ``archive`` the
    archive's id (16 bytes), for those who cannot read the keyring."""

    unlocked: bool
    memory_locked: bool
    opened_by: SlotKind | None = None
    archive: bytes = b""


class Request(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Base of all requests; the tag is the class's name."""


# -- of the agent itself ---------------------------------------------------------------------------------------------


class State(Request, frozen=True):
    """→ AgentState."""


class Wait(Request, frozen=True):
    """Wait until it is unlocked, at most ``LONGEST_WAIT`` → whether it is."""

    seconds: float


class Unlock(Request, frozen=True):
    """By the one of the secrets that is given. ``client`` is where it came from, empty for the box itself."""

    passphrase: str = ""
    recovery_key: str = ""
    keyfile: str = ""
    client: str = ""


class Lock(Request, frozen=True):
    """Forget everything: all connections end, and that is the answer. Where it is locked already: nothing."""


# -- using the keys --------------------------------------------------------------------------------------------------


class Vouch(Request, frozen=True):
    """Read the keyring again and check that it is authentic → its digest (``keyring.Unlocked.digest``)."""


class Key(Request, frozen=True):
    """→ 32 bytes."""

    purpose: str


class ContentKey(Request, frozen=True):
    """→ 32 bytes."""

    mailbox: bytes


class VolumeKey(Request, frozen=True):
    """→ 32 bytes."""

    mailbox: bytes
    sealed: bytes
    info: bytes


class CollectorKey(Request, frozen=True):
    """→ 32 bytes (``access.collector_key``)."""


class Sign(Request, frozen=True):
    """→ 64 bytes."""

    message: bytes


# -- slots -----------------------------------------------------------------------------------------------------------


class Slots(Request, frozen=True):
    """→ tuple of SlotInfo."""


class AddPassphrase(Request, frozen=True):
    """→ the slot's id."""

    passphrase: str
    name: str


class AddKeyfile(Request, frozen=True):
    """→ the slot's id."""

    path: str
    name: str


class AddCredential(Request, frozen=True):
    """→ the slot's id and the secret."""

    name: str


class BeginRecoveryKey(Request, frozen=True):
    """→ the key's text."""


class ConfirmRecoveryKey(Request, frozen=True):
    """→ the slot's id."""

    text: str


class ChangePassphrase(Request, frozen=True):
    """Another passphrase in a slot."""

    id: str
    passphrase: str


class RemoveSlot(Request, frozen=True):
    """Take a slot away."""

    id: str


class NewApplianceKey(Request, frozen=True):
    """→ the new recovery key's text."""

    passphrase: str
    keyfile: str


# -- mailboxes -------------------------------------------------------------------------------------------------------


class CreateMailbox(Request, frozen=True):
    """→ NewMailbox."""

    mailbox: bytes
    sealed: bool
    password: bool


class SetMailboxPassword(Request, frozen=True):
    """→ the password."""

    mailbox: bytes
    old: str
    new: str


class MailboxTokens(Request, frozen=True):
    """→ tuple of TokenInfo."""

    mailbox: bytes


class AddMailboxToken(Request, frozen=True):
    """→ NewToken."""

    mailbox: bytes
    name: str
    password: str


class RemoveMailboxToken(Request, frozen=True):
    """Take a token away."""

    mailbox: bytes
    id: str


class OpenMailbox(Request, frozen=True):
    """Open a mailbox for this connection, until it ends → the grant."""

    mailbox: bytes
    secret: str
    client: str


class OpenedVolumeKey(Request, frozen=True):
    """A volume key of the mailbox that is open on this connection → 32 bytes."""

    mailbox: bytes
    sealed: bytes
    info: bytes


class Granted(Request, frozen=True):
    """→ the id of the mailbox that is open under the grant."""

    grant: str


_Kinds = frozenset[type[Request]]

_SELF: _Kinds = frozenset({State, Wait})
_USING: _Kinds = frozenset({Vouch, Key, ContentKey, VolumeKey})
_SEALING_REPLICAS: _Kinds = frozenset({Vouch, Key})
_OPENING: _Kinds = frozenset({OpenMailbox, OpenedVolumeKey})
_CHANGING: _Kinds = frozenset({
    Slots, AddPassphrase, AddKeyfile, AddCredential, BeginRecoveryKey, ConfirmRecoveryKey, ChangePassphrase,
    RemoveSlot, NewApplianceKey, CreateMailbox, SetMailboxPassword, MailboxTokens, AddMailboxToken,
    RemoveMailboxToken,
})  # fmt: skip
_ALL: _Kinds = _SELF | _USING | _OPENING | _CHANGING | {Unlock, Lock, Sign, Granted, CollectorKey}

MAY: dict[Role, frozenset[type[Request]]] = {
    "archiver": _ALL,
    "box": _ALL,
    "projector": _SELF | _USING,
    "pull": _OPENING,
    "replica": _SELF | _SEALING_REPLICAS,
    "collector": _SELF | {CollectorKey},
}
"""What each role may ask."""

SERVICE = "service"
"""The purpose of the key that seals what names a replica; it opens no mail."""
PURPOSES: dict[Role, frozenset[str]] = {"replica": frozenset({SERVICE})}
"""Whose keys a role may have, where it may not have all."""

_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Union[tuple(_ALL)])  # noqa: UP007 - made from a set


def decode(raw: bytes) -> Request:
    """A request. Raises ValueError (msgspec.DecodeError) for what is none."""
    return _decoder.decode(raw)


def answer(value: Any) -> Answer:
    """The answer that carries ``value``."""
    return Answer(result=msgspec.Raw(msgspec.msgpack.encode(value)))
