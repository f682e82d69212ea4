"""Gmail: tokens as Google gives them, each message once with its labels, and what a person is told to do."""

from __future__ import annotations

import http.server
import json
import re
import threading
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from appliance.checks import Check
from appliance.errors import MailkeepError, RemoteDeniedError, UsageError
from appliance.mail.folders import LEFT_OUT
from appliance.settings.events import ProfilePut
from appliance.sources.base import Account, Fetched, Folder, Item, Page
from appliance.sources.gmail.options import open_gmail, open_google
from appliance.sources.gmail.session import GmailSession
from appliance.sources.gmail.signing_in import SCOPE
from appliance.sources.gmail.source import GmailSource
from appliance.sources.imap.session import ImapSession
from appliance.sources.kinds import check_options
from tests.collector import ANNA as ARCHIVE
from tests.collector import Bench
from tests.doubles.google import CLIENT, DESKTOP, MAIL, SECRET, GoogleDouble
from tests.doubles.https import Said, on, serving
from tests.dovecot import running
from tests.unit.sources.imap_double import BASIC, Double

ANNA = "anna@example.com"
OPTIONS = {"user": ANNA, "client": DESKTOP, "secret": SECRET}


@pytest.fixture
def google(tmp_path: Path) -> Iterator[GoogleDouble]:
    """Google's token service, which found nothing to complain about."""
    double = GoogleDouble(tmp_path / "google")
    double.delegated = {MAIL}
    with serving(double):
        yield double
    assert double.complaints == []


class Kept:
    """A memory, kept in memory."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str) -> str:
        return self.values.get(key, "")

    def put(self, key: str, value: str) -> None:
        self.values[key] = value


class Anna:
    """Her mailbox, set up by its options, run after run."""

    def __init__(self, google: GoogleDouble) -> None:
        self.google = google
        self.memory = Kept()
        self.where: Mapping[str, str] = {"host": "127.0.0.1", "port": "1"}

    def source(self, **more: str) -> GmailSource:
        options = {**OPTIONS, "token_address": f"{self.google.url}/token", **self.where, **more}
        check_options("gmail", options)
        return open_gmail(options, self.memory, tls=self.google.tls)

    def tested(self, **more: str) -> Check:
        """What a test says of the sign-in."""
        return next(iter(self.source(**more).check([])))

    def token(self, **more: str) -> str:
        return self.source(**more)._signer.token(ANNA)


@pytest.fixture
def anna(google: GoogleDouble) -> Anna:
    return Anna(google)


def address(check: Check) -> str:
    """The address that a person is told to open."""
    assert check.state == "problem"
    found = re.search(r"Open (https://\S+) in a browser", check.text)
    assert found is not None, check.text
    return found[1]


def test_a_person_signs_in_once_and_runs_go_on_by_what_is_kept(google: GoogleDouble, anna: Anna) -> None:
    with pytest.raises(RemoteDeniedError, match="has not signed in yet"):
        anna.token()
    shown = address(anna.tested())
    assert address(anna.tested()) == shown, "whoever tests twice has not two addresses to choose from"
    code = google.allow(shown, by=ANNA)
    assert anna.tested(code=code).state == "ok"
    assert google.given[anna.token(code=code)] == google.given[anna.token()] == ANNA


def test_the_code_alone_will_do(google: GoogleDouble, anna: Anna) -> None:
    answer = google.allow(address(anna.tested()), by=ANNA)
    [code] = urllib.parse.parse_qs(urllib.parse.urlsplit(answer).query)["code"]
    assert anna.tested(code=f" {code} ").state == "ok"


def test_an_answer_to_another_sign_in_is_not_taken(google: GoogleDouble, anna: Anna) -> None:
    foreign = google.allow(address(Anna(google).tested()), by="mallory@example.com")
    anna.tested()
    said = anna.tested(code=foreign)
    assert said.state == "problem" and "another sign-in" in said.text
    assert google.given == {}
    assert anna.tested(code=google.allow(address(said), by=ANNA)).state == "ok"


def test_a_sign_in_that_was_withdrawn_is_done_once_more(google: GoogleDouble, anna: Anna) -> None:
    first = google.allow(address(anna.tested()), by=ANNA)
    assert anna.tested(code=first).state == "ok"
    google.withdraw_sign_ins()
    with pytest.raises(RemoteDeniedError, match="Sign in once more"):
        anna.token(code=first)
    again = google.allow(address(anna.tested(code=first)), by=ANNA)
    assert anna.tested(code=again).state == "ok"
    assert google.given[anna.token(code=first)] == ANNA, "a run after it"


def test_who_does_not_allow_mail_or_declines_is_told_so(google: GoogleDouble, anna: Anna) -> None:
    shown = address(anna.tested())
    half = google.allow(shown, by=ANNA, scopes="openid")
    assert "did not allow reading mail" in anna.tested(code=half).text
    declined = re.sub(r"code=[^&]+", "error=access_denied", google.allow(shown, by=ANNA))
    assert "declined" in anna.tested(code=declined).text
    for nonsense in ("what?", "https://www.example.com/", "x y"):
        with pytest.raises(MailkeepError):
            anna.token(code=nonsense)


def test_a_wrong_secret_says_where_to_look_and_forgets_nothing(google: GoogleDouble, anna: Anna) -> None:
    assert anna.tested(code=google.allow(address(anna.tested()), by=ANNA)).state == "ok"
    said = anna.tested(secret="another")
    assert said.state == "problem" and DESKTOP in said.text and "another" not in said.text.split()
    assert anna.tested().state == "ok"


def test_anothers_sign_in_is_not_used_for_a_profile_that_was_changed(google: GoogleDouble, anna: Anna) -> None:
    assert anna.tested(code=google.allow(address(anna.tested()), by=ANNA)).state == "ok"
    with pytest.raises(RemoteDeniedError):
        anna.token(user="berta@example.com")


def test_a_token_is_asked_for_once_an_hour(google: GoogleDouble, anna: Anna) -> None:
    anna.tested(code=google.allow(address(anna.tested()), by=ANNA))
    source, asked = anna.source(), len(google.asked)
    assert len({source._signer.token(ANNA) for _ in range(5)}) == 1
    assert len(google.asked) == asked + 1


def test_a_service_account_acts_for_each_mailbox_by_its_own_token(google: GoogleDouble) -> None:
    source = open_google({"key": google.key()}, tls=google.tls)
    assert list(source.accounts()) == []
    tokens = {user: source._signer.token(user) for user in (ANNA, "berta@example.com", ANNA)}
    assert {user: google.given[token] for user, token in tokens.items()} == {user: user for user in tokens}
    assert google.paths() == ["/token", "/token"]


def test_without_delegation_the_test_has_the_scope_and_the_client_to_paste(google: GoogleDouble) -> None:
    source = open_google({"key": google.key(), "user": ANNA}, tls=google.tls)
    google.delegated = set()
    said = list(source.check(list(source.accounts())))
    assert [one.state for one in said] == ["problem"], "IMAP is not tried without a token"
    assert SCOPE in said[0].text and CLIENT in said[0].text
    [nobody, *_] = source.check([])
    assert nobody.state == "warning" and SCOPE in nobody.text and CLIENT in nobody.text


def test_options_that_make_no_sense_are_refused(google: GoogleDouble) -> None:
    for kind, options in (
        ("gmail", {**OPTIONS, "user": "anna"}),
        ("gmail", {**OPTIONS, "secret": ""}),
        ("gmail", {**OPTIONS, "token_address": "http://tokens.example"}),
        ("gmail", {**OPTIONS, "port": "none"}),
        ("google", {"key": "{}"}),
        ("google", {"key": google.key(), "user": "anna"}),
    ):
        with pytest.raises(UsageError):
            check_options(kind, options)


def test_without_a_place_to_keep_it_no_sign_in_is_begun(google: GoogleDouble) -> None:
    source = open_gmail({**OPTIONS, "token_address": f"{google.url}/token"}, tls=google.tls)
    [said] = source.check([])
    assert said.state == "problem" and "Save the profile first" in said.text


def test_where_google_does_not_answer_that_is_said(google: GoogleDouble, anna: Anna) -> None:
    anna.tested(code=google.allow(address(anna.tested()), by=ANNA))
    for _ in range(4):
        google.faults.append(on("/token", Said(200, b"<html>a proxy</html>")))
    said = anna.tested()
    assert said.state == "problem" and "Open https" not in said.text


# -- mailboxes -----------------------------------------------------------------------------------------------------


LISTED = (
    b'* LIST (\\HasNoChildren) "/" "INBOX"\r\n* LIST (\\HasChildren \\Noselect) "/" "[Gmail]"\r\n'
    b'* LIST (\\HasNoChildren \\Sent) "/" "[Gmail]/Gesendet"\r\n* LIST (\\HasNoChildren) "/" "Kunden"\r\n'
    b'* LIST (\\Drafts) "/" "[Gmail]/Entw&APw-rfe"\r\n* LIST (\\Trash) "/" "[Gmail]/Papierkorb"\r\n'
    b'* LIST (\\Junk) "/" "[Gmail]/Spam"\r\n'
)
ALL = b'* LIST (\\All \\HasNoChildren) "/" "[Gmail]/Alle Nachrichten"\r\n'
DETAILS = {
    1: b'X-GM-LABELS ("\\\\Inbox" Kunden) FLAGS (\\Seen)',
    2: b'X-GM-LABELS ("\\\\Draft") FLAGS (\\Draft)',
    3: b'X-GM-LABELS ("\\\\Sent") FLAGS ()',
    4: b"X-GM-LABELS () FLAGS ()",
}


class _Signer:
    """Gives a token to everybody."""

    def token(self, user: str) -> str:
        return f"token of {user}"

    def check(self, _accounts: object) -> Iterator[Check]:
        yield from ()


@contextmanager
def gmail(listed: bytes = LISTED + ALL) -> Iterator[tuple[Double, GmailSession]]:
    """A mailbox of four messages at a double of Gmail's IMAP."""
    lines = b"".join(
        b"* %d FETCH (X-GM-MSGID %d %b UID %d RFC822.SIZE 6)\r\n" % (uid, uid, told, uid)
        for uid, told in DETAILS.items()
    )
    double = Double(
        {uid: b"mail %d" % uid for uid in DETAILS},
        {rb"LIST.*": listed + b"TAG OK\r\n", rb"UID FETCH [\d:,]+ \(UID FLAGS.*": lines + b"TAG OK\r\n"},
        capabilities=f"{BASIC} AUTH=XOAUTH2 X-GM-EXT-1",
    )
    try:
        with GmailSource(double.server, _Signer()).open(Account(ANNA, ANNA)) as session:
            assert isinstance(session, GmailSession)
            yield double, session
    finally:
        double.close()


def test_each_message_is_read_once_and_lies_where_its_labels_say() -> None:
    with gmail() as (_double, session):
        read = [folder for folder in session.folders() if folder.holds_mail]
        assert {folder.role for folder in read} == {"all", "drafts", "trash", "junk"}
        [everything] = [folder for folder in read if folder.role == "all"]
        items = [item for page in session.changes(everything, b"") for item in page.items]
        got = [one.item.id for one in session.fetch(everything, items) if isinstance(one, Fetched) and any(one.chunks)]
    assert {item.id.partition(":")[2]: item.labels for item in items} == {
        "1": (("INBOX",), ("Kunden",)), "3": (("[Gmail]", "Gesendet"),), "4": (),
    }  # fmt: skip
    assert got == [item.id for item in items], "a draft is none of them"


def test_drafts_can_be_read_by_whoever_asks_for_them() -> None:
    with gmail() as (_double, session):
        [drafts] = [folder for folder in session.folders() if folder.role == "drafts"]
        items = [item for page in session.changes(drafts, b"") for item in page.items]
    assert len(items) == 4, "the double has the same messages in every folder"


def test_nothing_is_left_out_in_silence_where_all_mail_is_hidden() -> None:
    with gmail(LISTED) as (_double, session), pytest.raises(RemoteDeniedError, match="Show in IMAP"):
        session.folders()


def test_a_draft_that_was_sent_under_its_own_number_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = Item("7:2", labels=(("[Gmail]", "Gesendet"),))
    changed = Item("7:1", labels=(("INBOX",),), flags=("seen",))
    draft = Item("7:5", flags=("draft",))
    with gmail() as (_double, session):
        [everything] = [folder for folder in session.folders() if folder.role == "all"]
        monkeypatch.setattr(ImapSession, "changes", lambda *_: iter([Page((), b"c", changed=(sent, changed, draft))]))
        [page] = session.changes(everything, b"b")
    assert (page.items, page.changed) == ((sent,), (sent, changed))


def test_nothing_is_deleted_at_gmail() -> None:
    with gmail() as (double, session):
        [everything] = [folder for folder in session.folders() if folder.role == "all"]
        with pytest.raises(UsageError):
            session.delete(everything, ["7:1"])
        assert not double.count(rb"UID STORE|UID EXPUNGE|EXPUNGE")


def test_a_profile_archives_each_message_once_in_a_folder_for_each_label(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.tell(ProfilePut("gmail", "gmail", OPTIONS, archive=ARCHIVE.user))
    with gmail() as (double, _session):
        source = GmailSource(double.server, _Signer(), [Account(ANNA, ANNA)])
        with bench.running(opener=lambda *_: source):
            run, again = bench.run("gmail"), bench.run("gmail")
    assert (run.state, run.counts.seen, run.counts.new, again.counts.new) == ("done", 3, 3, 0)
    everything = ("[Gmail]", "Alle Nachrichten")
    where = {1: [everything, ("INBOX",), ("Kunden",)], 3: [everything, ("[Gmail]", "Gesendet")], 4: [everything]}
    assert bench.archived() == Counter(
        (ARCHIVE.user, folder, sha256(b"mail %d" % uid).digest())
        for uid, folders in where.items()
        for folder in folders
    )


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        ({"include": ("Kunden",)}, {1}),
        ({"exclude": (*LEFT_OUT, "kunden")}, {3, 4}),
        ({"include": (r"\Sent", r"\Inbox")}, {1, 3}),
        ({"include": ("Kunden/*",)}, set()),
    ],
)
def test_a_profile_chooses_by_labels(tmp_path: Path, patterns: Mapping[str, tuple[str, ...]], wanted: set[int]) -> None:
    bench = Bench(tmp_path)
    bench.tell(ProfilePut("gmail", "gmail", OPTIONS, archive=ARCHIVE.user, **patterns))
    with gmail() as (double, _session):
        source = GmailSource(double.server, _Signer(), [Account(ANNA, ANNA)])
        with bench.running(opener=lambda *_: source):
            run = bench.run("gmail")
    assert set(bench.records()[0].values()) == {b"mail %d" % uid for uid in wanted}
    if wanted:
        assert (run.counts.seen, run.counts.new, run.counts.filtered) == (3, len(wanted), 3 - len(wanted))
    else:
        assert "None of its folders is wanted" in run.words


class _Introspection:
    """Tells Dovecot whose a token is (RFC 7662), as far as Google's double gave it."""

    def __init__(self, google: GoogleDouble) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                whose = google.given.get(form.get("token", [""])[0])
                known = {"active": "true", "username": whose} if whose else {"active": "false"}
                body = json.dumps(known).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/introspect"

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self.url

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.integration
def test_a_real_server_lets_the_tokens_in_and_the_test_tries_it_all(google: GoogleDouble, anna: Anna) -> None:
    with _Introspection(google) as url, running(tokens=url) as dovecot:
        for user in (ANNA, "berta@example.com"):
            dovecot.fill(user, "Alles", [f"Subject: for {user}\r\n\r\ntext\r\n".encode()])
        anna.where = {"host": "localhost", "port": str(dovecot.tls), "ca": dovecot.ca}
        anna.tested(code=google.allow(address(anna.tested()), by=ANNA))
        assert _read(anna.source(), ANNA) == [f"Subject: for {ANNA}"]
        workspace = open_google({"key": google.key(), **anna.where}, tls=google.tls)
        assert _read(workspace, "berta@example.com") == ["Subject: for berta@example.com"]
        for source in (anna.source(), workspace):
            said = list(source.check([Account(ANNA, ANNA)]))
            assert {one.what for one in said} == {
                "Google", "connection", "encryption", "sign-in", "capabilities", "folders", "message",
            }  # fmt: skip
            assert {one.state for one in said} == {"ok"}
        with pytest.raises(RemoteDeniedError):
            anna.source().open(Account("berta@example.com", ""))


def _read(source: GmailSource, user: str) -> list[str]:
    """The subjects of what is there."""
    with source.open(Account(user, user)) as session:
        [everything] = [folder for folder in session.folders() if folder.role == "all"]
        assert isinstance(everything, Folder)
        items = [item for page in session.changes(everything, b"") for item in page.items]
        return [
            b"".join(one.chunks).split(b"\r\n")[0].decode()
            for one in session.fetch(everything, items)
            if isinstance(one, Fetched)
        ]
