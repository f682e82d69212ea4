"""A real IMAP server, Dovecot: every message comes out as it lies there, once, whatever happens in between."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
import tracemalloc
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import RemoteDeniedError, UnavailableError
from appliance.sources.base import CHUNK, Account, CursorLostError, Failed, Fetched, Folder, Item, Page
from appliance.sources.imap.options import open_source
from appliance.sources.imap.session import ImapSession
from appliance.sources.imap.signing_in import Bearer
from appliance.sources.imap.source import ImapSource
from appliance.sources.imap.wire import Wire
from tests.dovecot import MASTER, MASTER_PASSWORD, PASSWORD, Dovecot, running

pytestmark = pytest.mark.integration

_BASE = "IMAP4rev1 SASL-IR LITERAL+ ENABLE NAMESPACE UNSELECT UIDPLUS SPECIAL-USE CHILDREN"
_SERVERS = {
    "QRESYNC": "",
    "CONDSTORE": f"{_BASE} CONDSTORE ESEARCH LIST-EXTENDED LIST-STATUS",
    "CONDSTORE alone": f"{_BASE} CONDSTORE",
    "nothing": _BASE,
}


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    with running() as server:
        yield server


@pytest.fixture(scope="module", params=list(_SERVERS))
def servers(request: pytest.FixtureRequest) -> Iterator[Dovecot]:
    """Dovecot, as much of it as a server has that can only do so much."""
    with running(capability=_SERVERS[request.param]) as server:
        yield server


def source(server: Dovecot, **options: str) -> ImapSource:
    """Anna's mailbox there, over TLS."""
    given = {"host": "localhost", "port": str(server.tls), "ca": server.ca, "password": PASSWORD, "timeout": "30"}
    return open_source({**given, **options})


def anna(server: Dovecot, user: str = "anna") -> ImapSession:
    """A session."""
    return source(server).open(Account(user, ""))


def folder(session: ImapSession, name: str = "INBOX") -> Folder:
    """The folder of that path."""
    [found] = [one for one in session.folders() if "/".join(one.path) == name]
    return found


def run(server: Dovecot, user: str, cursor: bytes = b"", name: str = "INBOX") -> tuple[list[Page], bytes]:
    """One run through a folder in a session of its own; its pages and its last cursor."""
    with anna(server, user) as session:
        pages = list(session.changes(folder(session, name), cursor))
    return pages, pages[-1].cursor


def subjects(session: ImapSession, where: Folder, items: list[Item]) -> list[bytes]:
    """What was fetched, by the subjects."""
    found = []
    for one in session.fetch(where, items):
        assert isinstance(one, Fetched)
        found.append(b"".join(one.chunks).split(b"\r\n")[0].removeprefix(b"Subject: "))
    return found


def mail(subject: object, size: int = 20) -> bytes:
    """A message."""
    return b"Subject: %b\r\n\r\n%b\r\n" % (str(subject).encode(), b"x" * size)


def test_the_nastiest_mail_comes_out_bit_for_bit(dovecot: Dovecot, corpora: Path) -> None:
    """As Dovecot serves it: lines that end in LF alone get CRLF, and NUL, which no literal may hold, becomes 0x80."""
    mails = [path.read_bytes() for path in sorted((corpora / "eml").iterdir()) if path.is_file()]
    mails = [one for one in mails if one]
    dovecot.fill("nasty", "INBOX", mails)
    expected = sorted(hashlib.sha256(_served(one)).hexdigest() for one in mails)
    with anna(dovecot, "nasty") as session:
        inbox = folder(session)
        items = [item for page in session.changes(inbox, b"") for item in page.items]
        got = []
        for one in session.fetch(inbox, items):
            assert isinstance(one, Fetched)
            octets = b"".join(one.chunks)
            assert (one.size, one.exact) == (len(octets), True)
            got.append(hashlib.sha256(octets).hexdigest())
    assert sorted(got) == expected


def _served(mail: bytes) -> bytes:
    return re.sub(rb"(?<!\r)\n", b"\r\n", mail).replace(b"\0", b"\x80")


def test_a_run_after_another_tells_what_is_new_changed_and_gone_and_nothing_else(servers: Dovecot) -> None:
    user = "runs"
    servers.fill(user, "INBOX", [mail(number) for number in range(1, 8)])
    servers.admin("flags", "add", "-u", user, "\\Seen", "mailbox", "INBOX", "uid", "1:3")
    pages, first = run(servers, user)
    items = [item for page in pages for item in page.items]
    ids = [item.id for item in items]
    assert [item.flags for item in items] == [("seen",)] * 3 + [()] * 4
    assert all(item.size and item.received for item in items)

    pages, again = run(servers, user, first)
    assert [(page.items, page.changed, page.gone) for page in pages] == [((), (), ())]

    servers.admin("expunge", "-u", user, "mailbox", "INBOX", "uid", "2,6")
    servers.admin("flags", "remove", "-u", user, "\\Seen", "mailbox", "INBOX", "uid", "3")
    servers.admin("flags", "add", "-u", user, "\\Flagged", "mailbox", "INBOX", "uid", "5")
    servers.save(user, "INBOX", mail("new"))
    pages, then = run(servers, user, again)
    assert {one for page in pages for one in page.gone} == {ids[1], ids[5]}
    assert {(item.id, item.flags) for page in pages for item in page.changed} == {(ids[2], ()), (ids[4], ("flagged",))}
    assert [item.id.partition(":")[2] for page in pages for item in page.items] == ["8"]

    pages, _ = run(servers, user, then)
    assert [(page.items, page.changed, page.gone) for page in pages] == [((), (), ())]


def test_only_the_flags_have_changed(servers: Dovecot) -> None:
    servers.fill("flags", "INBOX", [mail(number) for number in range(4)])
    _, cursor = run(servers, "flags")
    servers.admin("flags", "add", "-u", "flags", "\\Seen", "mailbox", "INBOX", "uid", "4")
    pages, _ = run(servers, "flags", cursor)
    assert [item.flags for page in pages for item in page.changed] == [("seen",)]


def test_a_folder_that_was_emptied_and_one_that_is_empty(servers: Dovecot) -> None:
    servers.fill("empty", "INBOX", [mail(1), mail(2)])
    _, cursor = run(servers, "empty")
    servers.admin("expunge", "-u", "empty", "mailbox", "INBOX", "all")
    pages, cursor = run(servers, "empty", cursor)
    assert sum(len(page.gone) for page in pages) == 2
    pages, cursor = run(servers, "empty", cursor)
    assert not any(page.items or page.gone or page.changed for page in pages)
    servers.save("empty", "INBOX", mail(3))
    pages, _ = run(servers, "empty", cursor)
    assert sum(len(page.items) for page in pages) == 1


def test_a_first_run_that_was_interrupted_goes_on_where_it_was(servers: Dovecot) -> None:
    servers.fill("broken", "INBOX", [mail(number) for number in range(1_200)])
    seen: list[str] = []
    cursor, rounds = b"", 0
    while True:
        with anna(servers, "broken") as session:
            page = next(iter(session.changes(folder(session), cursor)))
        seen += [item.id for item in page.items]
        if page.cursor == cursor:
            break
        cursor, rounds = page.cursor, rounds + 1
        if rounds == 1:  # and something happens to what was read already
            servers.admin("expunge", "-u", "broken", "mailbox", "INBOX", "uid", "7")
    assert (len(seen), len(set(seen))) == (1_200, 1_200)


def test_a_folder_made_anew_has_other_messages(servers: Dovecot) -> None:
    servers.admin("mailbox", "create", "-u", "anew", "Box")
    servers.save("anew", "Box", mail("old"))
    pages, cursor = run(servers, "anew", name="Box")
    [old] = [item for page in pages for item in page.items]
    servers.admin("mailbox", "delete", "-u", "anew", "Box")
    servers.admin("mailbox", "create", "-u", "anew", "Box")
    servers.save("anew", "Box", mail("other"))
    with pytest.raises(CursorLostError):
        run(servers, "anew", cursor, name="Box")
    with anna(servers, "anew") as session:
        box = folder(session, "Box")
        [failed] = list(session.fetch(box, [old]))
        assert isinstance(failed, Failed)
        assert failed.gone
        assert session.delete(box, [old.id]) == frozenset()
        [item] = [item for page in session.changes(box, b"") for item in page.items]
        assert subjects(session, box, [item]) == [b"other"]


def test_pages_can_be_read_while_other_folders_are_open(dovecot: Dovecot) -> None:
    dovecot.fill("mixed", "INBOX", [mail(f"a{number}") for number in range(700)])
    dovecot.fill("mixed", "Box", [mail("b")])
    with anna(dovecot, "mixed") as session:
        inbox, box = folder(session), folder(session, "Box")
        [other] = [item for page in session.changes(box, b"") for item in page.items]
        got = []
        for page in session.changes(inbox, b""):
            got += subjects(session, inbox, list(page.items))
            assert subjects(session, box, [other]) == [b"b"]
    assert sorted(got) == sorted(b"a%d" % number for number in range(700))


def test_folders_by_their_names_and_roles(dovecot: Dovecot) -> None:
    for name in ("Entw&APw-rfe", "Sent", "M&APw-ll", "A/B & C", "日本語", "Spam"):
        dovecot.admin("-o", "mail_plugins=", "mailbox", "create", "-u", "names", name.replace("&APw-", "ü"))
    with anna(dovecot, "names") as session:
        found = {"/".join(one.path): (one.role, one.holds_mail, one.messages) for one in session.folders()}
    assert found == {
        "INBOX": ("inbox", True, 0), "Entwürfe": ("drafts", True, 0), "Sent": ("sent", True, 0),
        "Müll": ("trash", True, 0), "A": ("", False, None), "A/B & C": ("", True, 0), "日本語": ("", True, 0),
        "Spam": ("junk", True, 0),
    }  # fmt: skip


def test_nothing_new_in_many_folders_takes_no_folder_open(dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        dovecot.fill("many", f"Folder {number}", [mail(number)])
    with anna(dovecot, "many") as session:
        cursors = {one.id: [*session.changes(one, b"")][-1].cursor for one in session.folders()}
    sent: list[bytes] = []
    send = Wire.send
    monkeypatch.setattr(Wire, "send", lambda self, octets: (sent.append(octets), send(self, octets))[1])
    with anna(dovecot, "many") as session:
        for one in session.folders():
            assert [*session.changes(one, cursors[one.id])] == [Page((), cursors[one.id])]
    assert not [one for one in sent if b"EXAMINE" in one or b"SELECT" in one]
    assert len(sent) <= 6  # sign-in, ENABLE, NAMESPACE, LIST, LOGOUT


def test_a_large_message_takes_little_memory(dovecot: Dovecot) -> None:
    large = mail("large") + b"0123456789abcdef" * (4 << 20)
    dovecot.fill("large", "INBOX", [mail("before"), large, mail("behind")])
    sizes, hashed = [], hashlib.sha256()
    with anna(dovecot, "large") as session:
        inbox = folder(session)
        items = [item for page in session.changes(inbox, b"") for item in page.items]
        tracemalloc.start()
        for one in session.fetch(inbox, items):
            assert isinstance(one, Fetched)
            for chunk in one.chunks:
                assert len(chunk) <= CHUNK
                if one.size == len(large):
                    hashed.update(chunk)
            sizes.append(one.size)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert sorted(size or 0 for size in sizes) == sorted([len(mail("before")), len(large), len(mail("behind"))])
    assert hashed.digest() == hashlib.sha256(large).digest()
    assert peak < 8 << 20


def test_a_message_that_nobody_reads_does_not_disturb_the_next(dovecot: Dovecot) -> None:
    dovecot.fill("unread", "INBOX", [mail("a", 3 << 20), mail("b", 600_000), mail("c")])
    with anna(dovecot, "unread") as session:
        inbox = folder(session)
        items = [item for page in session.changes(inbox, b"") for item in page.items]
        read = {}
        for number, one in enumerate(session.fetch(inbox, items)):
            assert isinstance(one, Fetched)
            if number == 0:
                next(iter(one.chunks))
            if number == 2:
                read = {one.item.id: b"".join(one.chunks)}
        assert list(read.values()) == [mail("c")]


def test_reading_changes_nothing_there(dovecot: Dovecot) -> None:
    dovecot.fill("still", "INBOX", [mail(1)])
    with anna(dovecot, "still") as session:
        inbox = folder(session)
        [item] = [item for page in session.changes(inbox, b"") for item in page.items]
        assert subjects(session, inbox, [item]) == [b"1"]
    assert "\\Seen" not in dovecot.admin("fetch", "-u", "still", "flags", "mailbox", "INBOX", "all")


def test_only_what_was_named_is_deleted(dovecot: Dovecot) -> None:
    dovecot.fill("delete", "INBOX", [mail(number) for number in range(1, 6)])
    dovecot.admin("flags", "add", "-u", "delete", "\\Deleted", "mailbox", "INBOX", "uid", "5")
    with anna(dovecot, "delete") as session:
        inbox = folder(session)
        ids = [item.id for page in session.changes(inbox, b"") for item in page.items]
        dovecot.admin("expunge", "-u", "delete", "mailbox", "INBOX", "uid", "3")
        assert session.delete(inbox, [ids[1], ids[2]]) == {ids[1], ids[2]}
        assert session.delete(inbox, []) == frozenset()
    left = dovecot.admin("-f", "tab", "fetch", "-u", "delete", "uid", "mailbox", "INBOX", "all").split()[1:]
    assert left == ["1", "4", "5"]


def test_a_master_opens_everybodys_mailbox(dovecot: Dovecot) -> None:
    dovecot.fill("bob", "INBOX", [mail("for bob")])
    for options in ({"sign_in": "master"}, {"sign_in": "proxy"}):
        master = source(dovecot, master=MASTER, password=MASTER_PASSWORD, **options)
        with master.open(Account("bob", "bob@example.org")) as session:
            inbox = folder(session)
            items = [item for page in session.changes(inbox, b"") for item in page.items]
            assert subjects(session, inbox, items) == [b"for bob"]


@pytest.mark.parametrize(
    "options",
    [
        {"password": "wrong"},
        {"sign_in": "master", "master": MASTER, "password": PASSWORD},
        {"sign_in": "proxy", "master": "x"},
    ],
)
def test_wrong_passwords_are_denied(dovecot: Dovecot, options: dict[str, str]) -> None:
    with pytest.raises(RemoteDeniedError, match="did not let “bob"):
        source(dovecot, **options).open(Account("bob", ""))


def test_connections_are_encrypted_or_not_made(dovecot: Dovecot) -> None:
    bob = Account("bob", "")
    with source(dovecot, port=str(dovecot.plain), security="starttls").open(bob) as session:
        assert folder(session)
    with source(dovecot, port=str(dovecot.plain), security="none", ca="").open(bob) as session:
        assert folder(session)
    with pytest.raises(UnavailableError, match="cannot be trusted"):
        source(dovecot, ca="").open(bob)
    with pytest.raises(UnavailableError, match="cannot be trusted"):
        source(dovecot, host="127.0.0.1").open(bob)
    with pytest.raises(UnavailableError, match="does not speak TLS"):
        source(dovecot, port=str(dovecot.plain)).open(bob)
    with pytest.raises(UnavailableError, match="cannot be reached"):
        source(dovecot, port="1").open(bob)


def test_a_check_of_a_server_that_is_well(dovecot: Dovecot) -> None:
    dovecot.fill("checked", "INBOX", [mail(1)])
    found = list(source(dovecot).check([Account("checked", ""), Account("bob", "")]))
    assert {one.state for one in found} <= {"ok", "warning"}
    assert [one.what for one in found][:4] == ["connection", "encryption", "sign-in", "capabilities"]
    assert "TLS 1." in found[1].text
    assert PASSWORD not in str(found)


def test_the_servers_answers_come_through_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """COMPRESS is not used towards this machine, so the test has the client believe that the server is far away."""
    monkeypatch.setattr(Wire, "near", property(lambda self: False))
    asked: list[bool] = []
    compress = Wire.compress
    monkeypatch.setattr(Wire, "compress", lambda self: (asked.append(True), compress(self))[1])
    with running(plugins="zlib imap_zlib") as server:
        mails = [mail(number, 50_000) for number in range(30)] + [mail("large", 5 << 20)]
        server.fill("small", "INBOX", mails)
        with anna(server, "small") as session:
            inbox = folder(session)
            items = [item for page in session.changes(inbox, b"") for item in page.items]
            got = [b"".join(one.chunks) for one in session.fetch(inbox, items) if isinstance(one, Fetched)]
    assert asked
    assert sorted(got) == sorted(mails)


def test_a_token_signs_in() -> None:
    with _tokens({"good": "carla"}) as url, running(tokens=url) as server:
        server.fill("carla", "INBOX", [mail("for carla")])
        where = open_source({"host": "localhost", "port": str(server.tls), "ca": server.ca, "password": "none"})._server
        for mechanism in ("", "XOAUTH2", "OAUTHBEARER"):
            given = iter(["good", "stale"])
            signed = ImapSource(where, Bearer(lambda user, given=given: next(given), mechanism))  # type: ignore
            with signed.open(Account("carla", "")) as session:
                assert folder(session).messages == 1
            with pytest.raises(RemoteDeniedError):
                signed.open(Account("carla", ""))


class _tokens:  # noqa: N801 - used as a context manager
    """A token server: whose a token is (RFC 7662)."""

    def __init__(self, tokens: dict[str, str]) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                token = urllib.parse.parse_qs(form).get("token", [""])[0]
                known = {"active": "true", "username": tokens[token]} if token in tokens else {"active": "false"}
                body = json.dumps(known).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}/introspect"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
