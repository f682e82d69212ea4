"""However garbled a server's answers are: an error in words, at once, and no message that only seems to be whole."""

from __future__ import annotations

import io
import random
import socket
from contextlib import suppress

import pytest

from appliance.errors import MailkeepError
from appliance.sources.base import Fetched, Folder, Item
from appliance.sources.imap.conversation import Conversation
from appliance.sources.imap.session import ImapSession
from appliance.sources.imap.wire import Wire

_MAILS = {uid: b"Subject: %d\r\n\r\nMARK%d\r\n" % (uid, uid) for uid in range(1, 6)}
_DETAILS = b"".join(
    b'* %d FETCH (UID %d FLAGS (\\Seen) INTERNALDATE " 1-Feb-2024 10:00:00 +0100" RFC822.SIZE %d)\r\n' % (u, u, len(m))
    for u, m in _MAILS.items()
)
_BODIES = b"".join(b"* %d FETCH (UID %d BODY[] {%d}\r\n%b)\r\n" % (u, u, len(m), m) for u, m in _MAILS.items())
_TALK = (
    b'* NAMESPACE (("" "/")) NIL NIL\r\nk0 OK done\r\n'
    b'* LIST (\\HasNoChildren) "/" INBOX\r\n* STATUS INBOX (MESSAGES 5 UIDNEXT 6 UIDVALIDITY 7 HIGHESTMODSEQ 9)\r\n'
    b'* LIST (\\Sent) "/" "Sent {3}"\r\n* STATUS "Sent {3}" (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 7)\r\nk1 OK done\r\n'
    b"* 5 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 6] x\r\n* OK [HIGHESTMODSEQ 9] x\r\nk2 OK [READ-ONLY] x\r\n"
    b'* ESEARCH (TAG "k3") UID ALL 1:5\r\nk3 OK done\r\n' + _DETAILS + b"k4 OK done\r\n" + _BODIES + b"k5 OK done\r\n"
)
_TOKENS = [
    b"{5}",
    b"{99999999999}",
    b"~{0}",
    b"NIL",
    b"(",
    b")",
    b'"',
    b"\r\n",
    b"* ",
    b"k5 ",
    b" UID 3",
    b"\0",
    b"\xff",
    b"BODY[] ",
]


def _garbled(chance: random.Random) -> bytes:
    octets = bytearray(_TALK)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(octets))
        match chance.randrange(4):
            case 0:
                octets[at] = chance.randrange(256)
            case 1:
                del octets[at : at + chance.randrange(1, 40)]
            case 2:
                octets[at:at] = chance.choice(_TOKENS)
            case _:
                octets[at:at] = octets[at : at + chance.randrange(1, 200)]
    return bytes(octets)


def _talk(octets: bytes) -> list[tuple[Item, bytes]]:
    """What is read of a server that says this, whatever it is told."""
    ours, theirs = socket.socketpair()
    got: list[tuple[Item, bytes]] = []
    with ours, theirs, suppress(MailkeepError):
        capabilities = frozenset({"IMAP4REV1", "NAMESPACE", "CONDSTORE", "ESEARCH", "LIST-STATUS", "SPECIAL-USE"})
        session = ImapSession(Conversation(Wire(ours, io.BytesIO(octets), "double"), capabilities), foreign=False)
        session.folders()
        inbox = Folder("INBOX", ("INBOX",), "inbox")
        for page in session.changes(inbox, b""):
            for one in session.fetch(inbox, page.items):
                if isinstance(one, Fetched):
                    got += [(one.item, b"".join(one.chunks))]
    return got


def test_what_is_not_garbled_is_read() -> None:
    assert [mail for _, mail in _talk(_TALK)] == list(_MAILS.values())


@pytest.mark.fuzz
def test_garbled_answers() -> None:
    """Message by message: what is handed over as whole is the literal that the server announced, and it is handed over
    once for each message that was asked for."""
    chance = random.Random(20)
    for _ in range(3_000):
        octets = _garbled(chance)
        got = _talk(octets)
        for _, mail in got:
            announced = (b"{%d}\r\n%b" % (len(mail), mail), b"{%d}\n%b" % (len(mail), mail), b'"%b"' % mail)
            assert any(one in octets for one in announced), (mail, octets)
        ids = [item.id for item, _ in got]
        assert len(ids) == len(set(ids)), octets
