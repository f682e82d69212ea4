"""Signing in to somebody's mailbox: by his own password, a token, or the credentials of one who may open them all."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import msgspec

from appliance.errors import RemoteDeniedError
from appliance.language import later
from appliance.sources.imap.answers import sign_in_refusal
from appliance.sources.imap.conversation import Conversation
from appliance.sources.imap.grammar import Response, quoted

TokenFor: TypeAlias = Callable[[str], str]
"""Gives an access token for that user's mailbox, fresh enough for a sign-in now. May raise RemoteDeniedError and
UnavailableError."""

_LONGEST_INITIAL: Final = 7000
"""Octets of a SASL answer sent along with its command: lines of over 8,192 need not be taken (RFC 7162, section 4)."""


class Password(msgspec.Struct, frozen=True):
    """The user's own password."""

    password: str


class MasterUser(msgspec.Struct, frozen=True):
    """Signs in as ``user*master`` with the master's password: Dovecot's master users, and what does as they do."""

    master: str
    password: str
    separator: str = "*"


class Proxy(msgspec.Struct, frozen=True):
    """Signs in as ``admin`` and acts as the user: SASL PLAIN with an authorisation identity (RFC 4616), as Cyrus'
    admins and Dovecot's master users may."""

    admin: str
    password: str


class Bearer(msgspec.Struct, frozen=True):
    """A token of OAuth 2.0: SASL XOAUTH2 or OAUTHBEARER (RFC 7628); for "" whichever the server offers."""

    token: TokenFor
    mechanism: Literal["", "XOAUTH2", "OAUTHBEARER"] = ""


Credentials: TypeAlias = Password | MasterUser | Proxy | Bearer


def sign_in(conversation: Conversation, user: str, credentials: Credentials) -> None:
    """Sign in to the user's mailbox, and learn what the server can do for him. Raises RemoteDeniedError,
    UnavailableError."""
    if "\0" in user:
        raise RemoteDeniedError(later("A user name with a NUL character is none."))
    match credentials:
        case Password(password):
            answers = _by_password(conversation, user, password)
        case MasterUser(master, password, separator):
            answers = _by_password(conversation, f"{user}{separator}{master}", password)
        case Proxy(admin, password):
            answers = _authenticate(conversation, user, "PLAIN", f"{user}\0{admin}\0{password}")
        case Bearer():
            answers = _by_token(conversation, user, credentials)
    conversation.capabilities = _capabilities(answers) or _capabilities(conversation.ask(b"CAPABILITY"))


def _by_password(conversation: Conversation, user: str, password: str) -> list[Response]:
    if conversation.can("AUTH=PLAIN"):
        return _authenticate(conversation, user, "PLAIN", f"\0{user}\0{password}")
    host = conversation.wire.host
    if conversation.can("LOGINDISABLED"):
        text = later("{host} takes no passwords over this connection: choose tls or starttls.")
        raise RemoteDeniedError(text, host=host)
    if not (user + password).isascii() or any(char in user + password for char in "\0\r\n"):
        text = later("{host} takes names and passwords in ASCII only, and these are not.")
        raise RemoteDeniedError(text, host=host)
    return _said(conversation, user, b"LOGIN %b %b" % (quoted(user.encode()), quoted(password.encode())), [])


def _by_token(conversation: Conversation, user: str, credentials: Bearer) -> list[Response]:
    mechanism = credentials.mechanism or ("XOAUTH2" if conversation.can("AUTH=XOAUTH2") else "OAUTHBEARER")
    if not conversation.can(f"AUTH={mechanism}"):
        text = later("{host} takes no tokens ({mechanism}).")
        raise RemoteDeniedError(text, host=conversation.wire.host, mechanism=mechanism)
    token = credentials.token(user)
    if mechanism == "XOAUTH2":
        return _authenticate(conversation, user, mechanism, f"user={user}\1auth=Bearer {token}\1\1")
    name = user.replace("=", "=3D").replace(",", "=2C")  # RFC 5801, section 4: saslname
    return _authenticate(conversation, user, mechanism, f"n,a={name},\1auth=Bearer {token}\1\1")


def _authenticate(conversation: Conversation, user: str, mechanism: str, answer: str) -> list[Response]:
    """SASL with one answer of the client (RFC 9051, section 6.2.2; SASL-IR, RFC 4959)."""
    octets = b64encode(answer.encode())
    initial = conversation.can("SASL-IR", "IMAP4REV2") and len(octets) <= _LONGEST_INITIAL
    command = b"AUTHENTICATE " + mechanism.encode()
    no_more = b"AQ==" if mechanism == "OAUTHBEARER" else b""  # RFC 7628, section 3.2.3; XOAUTH2: an empty line
    if initial:
        return _said(conversation, user, command + b" " + octets, [no_more])
    return _said(conversation, user, command, [octets, no_more])


def _said(conversation: Conversation, user: str, command: bytes, more: list[bytes]) -> list[Response]:
    """Say a command that signs in, and ``more`` as it is asked for; what was answered."""
    [tag] = conversation.send(command)
    heard: list[Response] = []
    reason = ""
    while not heard or heard[-1].tag != tag:
        heard.append(answer := conversation.respond())
        if answer.tag == b"+":
            with conversation.hanging_up():
                conversation.wire.send((more.pop(0) if more else b"*") + b"\r\n")  # *: RFC 9051, section 6.2.2
            if not more:  # the last request tells what is wrong with a token
                reason = _reason(answer)
    if heard[-1].name != b"OK":
        raise sign_in_refusal(conversation.wire.host, user, heard[-1], reason)
    return heard


def _reason(response: Response) -> str:
    """What a server tells of a token that it does not take: JSON, mostly."""
    try:
        return b64decode(response.rest[0]).decode("utf-8", "replace").strip()
    except ValueError:
        return ""


def _capabilities(answers: list[Response]) -> frozenset[str]:
    found: set[str] = set()
    for answer in answers:
        code, behind = answer.code()
        line = answer.rest[0] if answer.name == b"CAPABILITY" else behind if code == b"CAPABILITY" else b""
        found.update(line.decode("ascii", "replace").upper().split())
    return frozenset(found)
