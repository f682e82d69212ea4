"""What an LDAP server may send, by mistake or on purpose: every wait ends, memory is bounded, no listing is cut."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import msgspec
import pytest
import sansldap

from appliance.directory.base import Listing
from appliance.directory.ldap_connection import Limits
from appliance.directory.ldap_directory import LdapDirectory
from appliance.directory.ldap_options import read
from appliance.errors import MailkeepError, UnavailableError

LIMITS = Limits(connect=0.4, answer=0.4, search=1, message=65536)
Answer = Callable[["Peer", sansldap.LDAPMessage], None]


class Peer:
    """The server's end of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.session = sansldap.LDAPServer()

    def bound(self, asked: sansldap.LDAPMessage, code: int) -> None:
        """The answer to a sign-in. sansldap cannot write a code that it does not know."""
        body = bytes([2, 1, asked.message_id, 0x61, 8, 10, 2, *code.to_bytes(2, "big"), 4, 0, 4, 0])
        self.session = sansldap.LDAPServer()
        self.socket.sendall(bytes([0x30, len(body)]) + body)

    def entry(self, asked: sansldap.LDAPMessage, uid: str, **attributes: str) -> None:
        """An entry."""
        values = [sansldap.PartialAttribute(name, [value.encode()]) for name, value in attributes.items()]
        values.append(sansldap.PartialAttribute("uid", [uid.encode()]))
        self.session.search_result_entry(asked.message_id, f"uid={uid},dc=example", values)
        self.send()

    def done(self, asked: sansldap.LDAPMessage, cookie: bytes = b"", code: int = 0) -> None:
        """The end of a page."""
        self.session.search_result_done(
            asked.message_id,
            result_code=sansldap.LDAPResultCode(code),
            controls=[sansldap.PagedResultControl(False, 0, cookie)],
        )
        self.send()

    def send(self) -> None:
        """What the session has for the client."""
        self.socket.sendall(self.session.data_to_send())


@contextlib.contextmanager
def _server(answer: Answer | bytes, *, signs_in: Mapping[str, int] | None = None) -> Iterator[str]:
    """A server that signs everybody in (but for those whose result code is given) and answers searches so; or that says
    only those bytes, to everybody."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, sansldap.LDAPError):
            peer = Peer(connection)
            if isinstance(answer, bytes):
                connection.recv(65536)
                connection.sendall(answer)
                connection.recv(65536)
                return
            while data := connection.recv(65536):
                for message in peer.session.receive(data):
                    if isinstance(message, sansldap.BindRequest):
                        peer.bound(message, (signs_in or {}).get(message.name, 0))
                    else:
                        answer(peer, message)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"ldap://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _directory(at: str, *, limits: Limits = LIMITS, **changed: str) -> LdapDirectory:
    options = {"url": at, "security": "none", "preset": "custom", "base": "dc=example", "bind_dn": "cn=x"}
    options |= {"bind_password": "y", "filter": "(uid=*)", "id": "uid", "addresses": "mail"}
    return LdapDirectory(read(options | changed), limits)


def _read(at: str, **changed: str) -> Listing:
    return _directory(at, **changed).people(lambda _done, _total: None)


def _two_pages(peer: Peer, asked: sansldap.LDAPMessage) -> None:
    assert isinstance(asked, sansldap.SearchRequest)
    cookie = next(one.cookie for one in asked.controls if isinstance(one, sansldap.PagedResultControl))
    name = "ben" if cookie else "anna"
    peer.entry(asked, name, mail=f"{name}@example.org")
    peer.done(asked, b"" if cookie else b"more")


def test_the_double_gives_people() -> None:
    with _server(_two_pages) as url:
        assert [one.id for one in _read(url).people] == ["anna", "ben"]


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        b"* OK IMAP4rev1 ready\r\n",
        b"220 mail.example.com ESMTP\r\n",
        bytes(range(256)) * 64,
        b"\x30\x84\x7f\xff\xff\xff\x02\x01\x01",  # a message of two gigabytes begins
        b"\x30\x0c\x02\x01\x01\x61\x84\x7f\xff\xff\xff\x0a\x01\x00\x04",  # its inside is longer than it
        b"\x30\x80\x02\x01\x01\x61\x80",  # a length that is not known, which LDAP does not have
        b"\x30" * 70_000,
        b"\x30\x0c\x02\x01\x63\x61\x07\x0a\x01\x00\x04\x00\x04\x00",  # the answer to another question
        b"\x30\x0b\x02\x00\x61\x07\x0a\x01\x00\x04\x00\x04\x00",  # a number without digits
        b"",
    ],
    ids=["http", "imap", "smtp", "bytes", "huge", "inside", "endless", "nested", "other", "number", "nothing"],
)
def test_garbage_is_not_taken_for_an_answer(said: bytes) -> None:
    with _server(said) as url:
        for changed in ({}, {"security": "starttls"}, {"url": url.replace("ldap:", "ldaps:"), "security": ""}):
            with pytest.raises(UnavailableError):
                _read(url, **changed)
        with pytest.raises(UnavailableError):
            _directory(url).sign_in("anna", "secret")
        assert [one.state for one in _directory(url).check()][-1] == "problem"


def test_a_server_that_drips_is_not_waited_for() -> None:
    def drip(peer: Peer, asked: sansldap.LDAPMessage) -> None:
        peer.session.search_result_entry(asked.message_id, "uid=anna", [])
        for byte in peer.session.data_to_send() * 1000:
            peer.socket.sendall(bytes([byte]))
            time.sleep(0.2)

    with _server(drip) as url, pytest.raises(UnavailableError, match="does not answer"):
        _read(url)


def test_an_entry_without_an_end_does_not_fill_the_memory() -> None:
    sent = 0

    def endless(peer: Peer, _asked: sansldap.LDAPMessage) -> None:
        nonlocal sent
        peer.socket.sendall(b"\x30\x84\x7f\xff\xff\xff")
        while sent < 200_000_000:
            peer.socket.sendall(bytes(100_000))
            sent += 100_000

    patient = msgspec.structs.replace(LIMITS, answer=60)
    with _server(endless) as url, pytest.raises(UnavailableError, match="not LDAP"):
        _directory(url, limits=patient).people(lambda _done, _total: None)
    assert sent < 50_000_000


def test_pages_that_never_end() -> None:
    def same(peer: Peer, asked: sansldap.LDAPMessage) -> None:
        peer.entry(asked, "anna", mail="anna@example.org")
        peer.done(asked, b"again")

    def empty(peer: Peer, asked: sansldap.LDAPMessage) -> None:
        time.sleep(0.1)
        peer.done(asked, b"again")

    with _server(same) as url, pytest.raises(UnavailableError, match="twice"):
        _read(url)
    with _server(empty) as url, pytest.raises(UnavailableError, match="in time"):
        _read(url)


def test_a_page_that_never_ends() -> None:
    def flood(peer: Peer, asked: sansldap.LDAPMessage) -> None:
        for number in range(1_000_000):
            peer.entry(asked, str(number))

    patient = msgspec.structs.replace(LIMITS, answer=60)
    with _server(flood) as url, pytest.raises(UnavailableError, match="not LDAP"):
        _directory(url, limits=patient).people(lambda _done, _total: None)


@pytest.mark.parametrize("code", [1, 3, 4, 8, 10, 11, 12, 50, 51, 52, 53, 80, 4242])
def test_a_page_that_ends_in_trouble_makes_no_listing(code: int) -> None:
    def half(peer: Peer, asked: sansldap.LDAPMessage) -> None:
        assert isinstance(asked, sansldap.SearchRequest)
        if any(isinstance(one, sansldap.PagedResultControl) and one.cookie for one in asked.controls):
            peer.done(asked, code=code)
        else:
            peer.entry(asked, "anna", mail="anna@example.org")
            peer.done(asked, b"more")

    with _server(half) as url, pytest.raises(MailkeepError):
        _read(url)


def test_a_sign_in_that_is_answered_with_what_nobody_knows_is_none() -> None:
    """RFC 4511 section 4.1.9 lets servers have result codes of their own: none of them is a success."""

    def one(peer: Peer, asked: sansldap.LDAPMessage) -> None:
        peer.entry(asked, "anna", mail="anna@example.org")
        peer.done(asked)

    for code, right in ((0, True), (49, False), (53, False), (4242, None), (14, None), (80, None), (10, None)):
        with _server(one, signs_in={"uid=anna,dc=example": code}) as url:
            if right is None:
                with pytest.raises(MailkeepError):
                    _directory(url).sign_in("anna", "secret")
            else:
                assert _directory(url).sign_in("anna", "secret") is right


def test_a_part_of_the_addresses_is_not_taken_for_all() -> None:
    """Active Directory gives 1500 values of an attribute and says so in its name ([MS-ADTS] section 3.1.1.3.1.3.3)."""

    def part(peer: Peer, asked: sansldap.LDAPMessage) -> None:
        peer.entry(asked, "anna", **{"mail;range=0-1499": "anna@example.org"})
        peer.done(asked)

    with _server(part) as url, pytest.raises(UnavailableError, match="only a part"):
        _read(url)


def test_a_server_that_ends_the_connection_says_why() -> None:
    def ends(peer: Peer, _asked: sansldap.LDAPMessage) -> None:
        result = sansldap.LDAPResult(sansldap.LDAPResultCode.UNAVAILABLE, "", "going down for repair", None)
        notice = sansldap.ExtendedOperations.LDAP_NOTICE_OF_DISCONNECTION.value
        said = sansldap.ExtendedResponse(0, [], result, notice, None)
        peer.socket.sendall(said.pack(peer.session._packing_options))

    with _server(ends) as url, pytest.raises(UnavailableError, match="going down for repair"):
        _read(url)


def test_what_is_said_before_encryption_is_not_believed() -> None:
    """Somebody on the line answers StartTLS and puts a success for the sign-in behind it."""
    starttls = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"
    bound = b"\x30\x0c\x02\x01\x02\x61\x07\x0a\x01\x00\x04\x00\x04\x00"
    with _server(starttls + bound) as url, pytest.raises(UnavailableError):
        _read(url, security="starttls")


def test_text_from_the_server_is_short_and_on_one_line() -> None:
    def says(peer: Peer, asked: sansldap.LDAPMessage) -> None:
        peer.session.search_result_done(
            asked.message_id,
            result_code=sansldap.LDAPResultCode.BUSY,
            diagnostics_message="no\n\x00\x1b[31m" + "x" * 100_000,
        )
        peer.send()

    with _server(says) as url, pytest.raises(UnavailableError) as raised:
        _read(url)
    assert len(raised.value.message) < 500
    assert raised.value.message.isprintable()


def test_hostile_entries_are_people_or_left_out() -> None:
    def odd(peer: Peer, asked: sansldap.LDAPMessage) -> None:
        peer.entry(asked, "a", mail="a@example.org", displayName="\x00\x1b]0;x\x07\n<b>" + "y" * 30_000)
        peer.entry(asked, "b", mail="b@example.org", userAccountControl="99999999999999999999", nsAccountLock="?")
        peer.entry(asked, "c", mail="smtp:@example.org")
        peer.entry(asked, "d", mail="d@")
        peer.entry(asked, "e", mail="x400:c=de;a= ;p=example")
        peer.done(asked)

    with _server(odd) as url:
        listing = _read(url)
    assert [one.id for one in listing.people] == ["a", "b"]
    assert listing.people[0].name.isprintable() and len(listing.people[0].name) <= 256
    assert len(listing.left_out) == 3
    assert all(f"{one.who} {one.why}".isprintable() for one in listing.left_out)


@pytest.mark.fuzz
def test_broken_answers_are_told_in_words() -> None:
    chance = random.Random(7)

    def broken(peer: Peer, asked: sansldap.LDAPMessage) -> None:
        for name in ("anna", "ben"):
            values = [sansldap.PartialAttribute(one, [name.encode()]) for one in ("uid", "mail", "displayName")]
            peer.session.search_result_entry(asked.message_id, f"uid={name}", values)
        peer.session.search_result_reference(asked.message_id, ["ldap://other.example/"])
        peer.session.search_result_done(asked.message_id, controls=[sansldap.PagedResultControl(False, 0, b"")])
        answer = bytearray(peer.session.data_to_send())
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(answer))
            match chance.randrange(3):
                case 0:
                    answer[place] = chance.randrange(256)
                case 1:
                    del answer[place : place + chance.randint(1, 6)]
                case _:
                    answer[place:place] = chance.randbytes(chance.randint(1, 6))
        peer.socket.sendall(answer)
        peer.socket.shutdown(socket.SHUT_WR)

    ended = Counter[str]()
    with _server(broken) as url:
        directory = _directory(url, referrals="ignore")
        for _ in range(300):
            try:
                directory.people(lambda _done, _total: None)
                ended["listing"] += 1
            except MailkeepError as error:
                assert error.message.isprintable()
                ended["error"] += 1
    assert ended["error"] > 100, "most of what is broken is noticed"
