"""What servers do that they should not, or seldom do: nothing is lost, nothing is made up, and people are told."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence

import pytest

from appliance.checks import Check
from appliance.errors import RemoteDeniedError, ThrottledError, UnavailableError, UsageError
from appliance.sources.base import CHUNK, CursorLostError, Failed, Fetched, Folder, Item, Page
from appliance.sources.imap.session import ImapSession
from appliance.sources.imap.signing_in import Bearer, Password
from appliance.sources.imap.source import ImapSource
from tests.unit.sources.imap_double import ACCOUNT, BASIC, Answer, Double, body, opened

INBOX = Folder("INBOX", ("INBOX",), "inbox")
MAILS = {uid: b"Subject: %d\r\n\r\n%b\r\n" % (uid, b"x" * uid) for uid in (1, 2, 5, 9)}
FETCH = rb"UID FETCH [\d:,]+ \(UID BODY.PEEK\[\]\)"


def read(session: ImapSession, items: Sequence[Item]) -> tuple[dict[int, bytes], dict[int, Failed]]:
    """What was fetched, and what was not, by UID."""
    got, failed = {}, {}
    for one in session.fetch(INBOX, items):
        uid = int(one.item.id.partition(":")[2])
        if isinstance(one, Fetched):
            got[uid] = b"".join(one.chunks)
            assert one.size == len(got[uid])
        else:
            failed[uid] = one
    return got, failed


def all_of(session: ImapSession, cursor: bytes = b"") -> list[Page]:
    """Every page."""
    return list(session.changes(INBOX, cursor))


def items_of(session: ImapSession) -> list[Item]:
    """Everything in the INBOX."""
    return [item for page in all_of(session) for item in page.items]


def fetched_by(answers: dict[bytes, Answer]) -> tuple[dict[int, bytes], dict[int, Failed]]:
    """What comes of a server that answers so."""
    with opened(Double(MAILS, answers)) as session:
        return read(session, items_of(session))


def test_a_plain_server_is_read_to_the_last_byte() -> None:
    got, failed = fetched_by({})
    assert (got, failed) == (MAILS, {})


@pytest.mark.parametrize(
    "bodies",
    [
        b"".join(b"* 1 FETCH (BODY[] {%d}\r\n%b UID %d FLAGS (\\Seen))\r\n" % (len(m), m, u) for u, m in MAILS.items()),
        b"".join(b"* 1 FETCH (FLAGS () uid %d Body[] ~{%d}\r\n%b)\r\n" % (u, len(m), m) for u, m in MAILS.items()),
        b"".join(body(uid, mail) for uid, mail in sorted(MAILS.items(), reverse=True)),
        b"* 3 EXPUNGE\r\n* 9 EXISTS\r\n* OK hm\r\n* 1 FETCH (FLAGS (\\Seen))\r\n* 2 FETCH (UID 2 FLAGS ())\r\n"
        + b"".join(body(uid, mail) + b"* VANISHED 77\r\n" for uid, mail in MAILS.items()),
        b"".join(body(uid, mail) for uid, mail in [(4, b"a stranger"), *MAILS.items(), (9, b"once more")]),
    ],
    ids=["UID behind", "literal8, small letters", "backwards", "things between", "things nobody asked for"],
)
def test_messages_are_told_apart_however_the_answer_is_put(bodies: bytes) -> None:
    got, failed = fetched_by({FETCH: bodies + b"TAG OK\r\n"})
    assert (got, failed) == (MAILS, {})


def test_answers_to_two_commands_may_be_mixed() -> None:
    """The second command's answer comes first, and the first one's in the middle of it."""
    large = 3 << 20  # so large that each is asked for by itself
    mixed = body(2, MAILS[2]) + body(1, MAILS[1]) + b"TAG OK done\r\nPREVIOUS OK done\r\n"
    answers: dict[bytes, Answer] = {rb"UID FETCH 1 \(UID BODY.*": b"", rb"UID FETCH 2 \(UID BODY.*": mixed}
    with opened(Double(MAILS, answers)) as session:
        assert read(session, [Item("7:1", large), Item("7:2", large)]) == ({1: MAILS[1], 2: MAILS[2]}, {})


def test_a_message_in_a_quoted_string_is_one() -> None:
    mails = {1: b'"a\\b"'}
    with opened(Double(mails, {FETCH: b'* 1 FETCH (UID 1 BODY[] "\\"a\\\\b\\"")\r\nTAG OK\r\n'})) as session:
        assert read(session, items_of(session)) == (mails, {})


@pytest.mark.parametrize("content", [b"NIL", b'""', b"{0}\r\n", b"atom", b"{21}\r"])
def test_no_content_is_a_failure_that_is_told_and_the_others_are_read(content: bytes) -> None:
    nothing = b"* 2 FETCH (UID 2 BODY[] %b)\r\n" % content
    others = b"".join(body(uid, mail) for uid, mail in MAILS.items() if uid != 2)
    got, failed = fetched_by({FETCH: nothing + others + b"TAG OK\r\n"})
    assert got.keys() == {1, 5, 9}
    assert (failed[2].gone, "does not give its content" in failed[2].why) == (False, True)


def test_a_message_that_the_server_stumbles_over_does_not_stop_the_others() -> None:
    stumbles = {
        rb"UID FETCH 5 \(UID BODY.*": b"TAG NO [SERVERBUG] Internal error occurred\r\n",
        rb"UID FETCH [\d,:]*[,:][\d,:]* \(UID BODY.*": body(1, MAILS[1])
        + b"TAG NO [SERVERBUG] Internal error occurred\r\n",
    }
    got, failed = fetched_by(stumbles)
    assert got == {uid: MAILS[uid] for uid in (1, 2, 9)}
    assert (failed.keys(), failed[5].gone) == ({5}, False)
    assert "Internal error occurred" in failed[5].why


def test_a_passing_trouble_with_one_message_is_its_failure_and_no_end() -> None:
    answers: dict[bytes, Answer] = {rb"UID FETCH (?:5|[\d:,]*5[\d:,]*) \(UID BODY.*": b"TAG NO Temporary failure\r\n"}
    got, failed = fetched_by(answers)
    assert (got.keys(), failed.keys()) == ({1, 2, 9}, {5})


def test_what_was_expunged_meanwhile_is_gone_and_no_failure() -> None:
    double = Double(MAILS)
    with opened(double) as session:
        items = items_of(session)
        del double.mails[5]
        got, failed = read(session, items)
    assert got.keys() == {1, 2, 9}
    assert failed[5].gone


@pytest.mark.parametrize("size", [40, CHUNK + 1000], ids=["small", "large"])
@pytest.mark.parametrize("lie", [-8, 8])
def test_a_literal_of_another_length_than_announced_is_never_a_whole_message(size: int, lie: int) -> None:
    mail = b"x" * size
    answer = b"* 1 FETCH (UID 1 BODY[] {%d}\r\n%b)\r\nTAG OK done\r\n" % (size + lie, mail)
    with opened(Double({1: mail}, {FETCH: answer})) as session, pytest.raises(UnavailableError):
        read(session, items_of(session))


def test_a_connection_that_breaks_in_a_message_leaves_those_before_it() -> None:
    got = []
    answer = body(1, MAILS[1]) + b"* 2 FETCH (UID 2 BODY[] {100}\r\nhalf"
    double = Double(MAILS, {FETCH: lambda _: answer})
    with opened(double) as session, pytest.raises(UnavailableError, match="did not answer in time"):
        for one in session.fetch(INBOX, items_of(session)):
            assert isinstance(one, Fetched)
            got.append(b"".join(one.chunks))
    assert got == [MAILS[1]]


def test_leaving_a_fetch_in_the_middle_leaves_no_half_answer_to_the_next() -> None:
    with opened(Double(MAILS)) as session:
        fetching = session.fetch(INBOX, items_of(session))
        next(iter(fetching))
        fetching.close()  # type: ignore[attr-defined]
        with pytest.raises(UnavailableError):
            all_of(session)


def test_the_rest_of_a_message_is_never_taken_for_an_answer() -> None:
    """A message may hold what looks like one: who stops reading it in the middle must not get it as the next one."""
    forged = b"x" * CHUNK + b"\r\n" + body(2, b"forged") * 60_000
    with opened(Double({1: forged, 2: b"real"})) as session, pytest.raises(UnavailableError):
        for one in session.fetch(INBOX, items_of(session)):
            assert isinstance(one, Fetched)
            assert one.item.id == "7:1"
            next(iter(one.chunks))
            one.chunks.close()  # type: ignore[attr-defined]
            assert session.conversation.closed


@pytest.mark.parametrize(
    "answer",
    [
        b"* 1 FETCH (UID 1 BODY[] {5\r\n",
        b"hello\r\n",
        b"* 1 FETCH UID\r\nTAG OK\r\n",
        b"* 1 FETCH (UID\r\n",
        b"zz OK\r\n",
        b"\0",
    ],
)
def test_garbage_is_an_error_in_words(answer: bytes) -> None:
    with opened(Double(MAILS, {FETCH: answer})) as session, pytest.raises(UnavailableError):
        read(session, items_of(session))


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (b"NO [THROTTLED] slow down", 60),
        (b"NO [LIMIT] enough", 60),
        (b"BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds", 299.961),
        (b"NO Server Busy", 60),
        (b"NO [ALERT] Account exceeded command or bandwidth limits. (Failure)", 3600),
    ],
)
def test_a_server_that_asks_for_patience_is_given_it(said: bytes, seconds: float) -> None:
    for answer in (b"TAG %b\r\n" % said, b"* BYE %b\r\n" % said.partition(b" ")[2]):
        with opened(Double(MAILS, {FETCH: answer})) as session, pytest.raises(ThrottledError) as caught:
            read(session, items_of(session))
        assert caught.value.seconds == seconds


def test_a_goodbye_is_told_in_the_servers_words() -> None:
    bye = b"* BYE Session invalidated - AccessTokenExpired\r\n"
    with opened(Double(MAILS, {FETCH: bye})) as session, pytest.raises(UnavailableError, match="AccessTokenExpired"):
        read(session, items_of(session))


@pytest.mark.parametrize(
    ("greeting", "error"),
    [
        (b"* BYE Too many connections from your IP\r\n", ThrottledError),
        (b"* BYE come back later\r\n", UnavailableError),
        (b"* PREAUTH you are root\r\n", UnavailableError),
        (b"220 smtp.example ESMTP\r\n", UnavailableError),
    ],
)
def test_a_server_that_does_not_greet_as_it_should(greeting: bytes, error: type[Exception]) -> None:
    double = Double(greeting=greeting)
    try:
        with pytest.raises(error):
            ImapSource(double.server, Password("secret")).open(ACCOUNT)
    finally:
        double.close()
    assert not double.count(b"AUTHENTICATE|LOGIN")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"NO [AUTHENTICATIONFAILED] no", RemoteDeniedError),
        (b"NO LOGIN failed.", RemoteDeniedError),
        (b"NO [ALERT] Too many simultaneous connections. (Failure)", ThrottledError),
        (b"NO [UNAVAILABLE] LDAP is down", UnavailableError),
        (b"NO [AUTHENTICATIONFAILED] Temporary lock of the account", RemoteDeniedError),
    ],
)
def test_a_sign_in_that_fails_for_good_is_told_from_one_that_may_work_later(
    said: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught, opened(Double(answers={rb"AUTHENTICATE.*": b"TAG %b\r\n" % said})):
        pass
    assert type(caught.value) is error
    assert "secret" not in str(caught.value)


def test_a_password_goes_to_a_server_without_plain_as_it_should() -> None:
    double = Double(MAILS, capabilities="IMAP4rev1")
    with opened(double, Password('with "quotes" and \\')):
        pass
    assert double.heard[1] == rb'LOGIN "anna" "with \"quotes\" and \\"'


@pytest.mark.parametrize("password", ["schön", "a\r\nb"])
def test_a_password_that_login_cannot_carry_is_not_sent(password: str) -> None:
    double = Double(capabilities="IMAP4rev1")
    with pytest.raises(RemoteDeniedError, match="ASCII"), opened(double, Password(password)):
        pass
    assert not double.count(b"LOGIN")


def test_a_password_is_kept_back_where_login_is_disabled() -> None:
    double = Double(capabilities="IMAP4rev1 LOGINDISABLED STARTTLS")
    with pytest.raises(RemoteDeniedError, match="starttls"), opened(double):
        pass
    assert not double.count(b"LOGIN|AUTHENTICATE")


def test_without_sasl_ir_the_answer_waits_to_be_asked_for() -> None:
    answers: dict[bytes, Answer] = {rb"AUTHENTICATE PLAIN": b"+ \r\n", rb"": b"k0 OK in\r\n"}
    double = Double(capabilities="IMAP4rev1 AUTH=PLAIN", answers=answers)
    with opened(double, Password("schön")):
        pass
    assert base64.b64decode(double.heard[2]) == "\0anna\0schön".encode()


def test_a_token_that_is_not_taken_is_told_with_the_servers_reason() -> None:
    reason = base64.b64encode(b'{"status":"400","scope":"https://mail.google.com/"}')
    answers: dict[bytes, Answer] = {rb"AUTHENTICATE XOAUTH2.*": b"+ %b\r\n" % reason, rb"": b"k0 NO bad\r\n"}
    double = Double(capabilities=f"{BASIC} AUTH=XOAUTH2 AUTH=OAUTHBEARER", answers=answers)
    with pytest.raises(RemoteDeniedError, match=r"mail\.google\.com"), opened(double, Bearer(lambda user: f"t-{user}")):
        pass
    assert base64.b64decode(double.heard[1].split()[2]) == b"user=anna\1auth=Bearer t-anna\1\1"


def test_other_uids_mean_that_the_cursor_is_lost() -> None:
    double = Double(MAILS)
    with opened(double) as session:
        cursor = all_of(session)[-1].cursor
        old = items_of(session)
    for validity, mails in ((8, MAILS), (7, {1: b"x"})):  # numbered anew; numbers given once more
        with opened(Double(mails, validity=validity)) as session, pytest.raises(CursorLostError):
            all_of(session, cursor)
    renumbered = Double(MAILS, validity=8)
    with opened(renumbered) as session:
        got, failed = read(session, old)
        assert (got, all(one.gone for one in failed.values()), len(failed)) == ({}, True, 4)
        assert session.delete(INBOX, [item.id for item in old]) == frozenset()
    assert not renumbered.count(b"UID (STORE|EXPUNGE)")


def test_a_cursor_that_is_none_is_lost() -> None:
    for cursor in (b"x", b"\x90", b"\x94\x07\x01\x00\x91\xc4\x01x"):
        with opened(Double(MAILS)) as session, pytest.raises(CursorLostError):
            all_of(session, cursor)


def test_a_message_of_which_a_server_tells_nothing_is_not_lost() -> None:
    def details(found: object) -> bytes:
        return b"TAG NO cannot\r\n"

    answers: dict[bytes, Answer] = {rb"UID FETCH (?:5|[\d:,]*[,:][\d:,]*) \(UID FLAGS.*": details}
    with opened(Double(MAILS, answers)) as session:
        items = items_of(session)
        assert [item.id for item in items] == ["7:1", "7:2", "7:5", "7:9"]
        assert [item.size for item in items] == [len(MAILS[1]), len(MAILS[2]), None, len(MAILS[9])]
        assert read(session, items) == (MAILS, {})


def test_a_search_that_leaves_something_out_is_found_out_by_the_count() -> None:
    seen = []

    def forgetful(found: object) -> bytes:
        seen.append(found)
        return b"* SEARCH 1 2 9\r\nTAG OK\r\n" if len(seen) == 1 else b"* SEARCH 1 2 5 9\r\nTAG OK\r\n"

    with opened(Double(MAILS, {rb"UID SEARCH UID 1:9": forgetful})) as session:
        assert sorted(item.id for item in items_of(session)) == ["7:1", "7:2", "7:5", "7:9"]


def test_a_server_that_does_not_tell_the_next_uid() -> None:
    state = b"* 4 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\nTAG OK open\r\n"
    with opened(Double(MAILS, {rb"EXAMINE.*": state})) as session:
        assert len(items_of(session)) == 4


def test_a_search_that_finds_others_too_deletes_none_of_them() -> None:
    double = Double(
        MAILS, {rb"UID SEARCH.*": b"* SEARCH 1 2 5 9\r\nTAG OK\r\n", rb"UID (?:STORE|EXPUNGE) .*": b"TAG OK\r\n"}
    )
    with opened(double) as session:
        assert session.delete(INBOX, ["7:2"]) == frozenset()
    told = [command for command in double.heard if re.match(b"UID (STORE|EXPUNGE)", command)]
    assert told == [
        rb"UID STORE 2 +FLAGS.SILENT (\Deleted)", b"UID EXPUNGE 2",
    ]  # fmt: skip


def test_a_mailbox_of_four_billion_messages_is_not_believed() -> None:
    answers: dict[bytes, Answer] = {
        rb"UID SEARCH.*": b'* ESEARCH (TAG "TAG") UID ALL 1:4294967294\r\nTAG OK\r\n',
        rb"EXAMINE.*": b"* 4 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 4294967295] x\r\nTAG OK\r\n",
    }
    double = Double(MAILS, answers, capabilities=f"{BASIC} ESEARCH")
    with opened(double) as session, pytest.raises(UnavailableError):
        items_of(session)


def test_without_uidplus_nothing_is_marked_and_nothing_expunged() -> None:
    double = Double(MAILS, capabilities="IMAP4rev1 AUTH=PLAIN")
    with opened(double) as session, pytest.raises(UsageError, match="UIDPLUS"):
        session.delete(INBOX, ["7:1"])
    assert not double.count(b"SELECT|UID STORE|EXPUNGE|CLOSE")


def test_gmail_is_asked_for_its_own_words() -> None:
    details = (
        b"* 1 FETCH (X-GM-MSGID 1278455344230334865 X-GM-LABELS "
        b'("\\\\Inbox" "\\\\Sent" \\Important "Kunden/Gr&APYA3w-e" {7}\r\na "b" c) UID 1 RFC822.SIZE 9 '
        b'INTERNALDATE "17-Jul-1996 02:44:25 -0700" FLAGS (\\Seen $Forwarded NonJunk))\r\nTAG OK\r\n'
    )
    listed = (
        b'* LIST (\\HasNoChildren) "/" "INBOX"\r\n* LIST (\\HasChildren \\Noselect) "/" "[Gmail]"\r\n'
        b'* LIST (\\HasNoChildren \\Sent) "/" "[Gmail]/Gesendet"\r\n'
        b'* LIST (\\All \\HasNoChildren) "/" "[Gmail]/Alle Nachrichten"\r\nTAG OK\r\n'
    )
    double = Double(
        {1: b"123456789"},
        {rb"UID FETCH 1 \(UID FLAGS.*": details, rb"LIST.*": listed},
        capabilities=f"{BASIC} X-GM-EXT-1",
    )
    with opened(double) as session:
        folders = {folder.path: folder for folder in session.folders()}
        [item] = items_of(session)
        with pytest.raises(UsageError, match="Gmail"):
            session.delete(INBOX, ["7:1"])
    assert folders["[Gmail]", "Gesendet"].role == "sent"
    assert not folders["[Gmail]",].holds_mail
    assert item.same == "1278455344230334865"
    assert item.labels == (
        ("INBOX",), ("[Gmail]", "Gesendet"), ("Important",), ("Kunden", "Größe"), ('a "b" c',),
    )  # fmt: skip
    assert (item.flags, item.received) == (("seen", "forwarded"), 837_596_665_000_000)


def test_an_emailid_tells_copies_of_a_message() -> None:
    details = b"* 1 FETCH (UID 1 RFC822.SIZE 9 EMAILID (M6d99ac3275bb4e) FLAGS ())\r\nTAG OK\r\n"
    double = Double(
        {1: b"123456789"}, {rb"UID FETCH 1 \(UID FLAGS.*EMAILID.*": details}, capabilities=f"{BASIC} OBJECTID"
    )
    with opened(double) as session:
        assert items_of(session)[0].same == "M6d99ac3275bb4e"


def test_names_in_utf8_and_in_modified_utf7_are_the_same_folder() -> None:
    ids = []
    for capabilities, name in (
        (BASIC, b"Entw&APw-rfe &- mehr"),
        (f"{BASIC} ENABLE UTF8=ACCEPT", "Entwürfe & mehr".encode()),
    ):
        double = Double(
            MAILS,
            {rb"LIST.*": b'* LIST () "/" {%d}\r\n%b\r\nTAG OK\r\n' % (len(name), name)},
            capabilities=capabilities,
        )
        with opened(double) as session:
            [folder] = session.folders()
            list(session.changes(folder, b""))
        ids.append(folder.id)
        assert folder.path == ("Entwürfe & mehr",)
        assert double.count(b'EXAMINE "%b"' % name) == 1
    assert ids[0] == ids[1]


@pytest.mark.parametrize("name", [b"a&b", b"\xe9t\xe9", b"&2D0-", b'with \\"quotes\\" and \\\\', b"%*(){}"])
def test_a_folder_whose_name_is_no_name_can_be_opened(name: bytes) -> None:
    double = Double(MAILS, {rb"LIST.*": b'* LIST () "." "%b"\r\nTAG OK\r\n' % name})
    with opened(double) as session:
        [folder] = session.folders()
        "".join(folder.path).encode()
        list(session.changes(folder, b""))
    assert (
        double.count(b'EXAMINE "' + name.replace(b"\\", b"\\\\").replace(b"*", rb"\*").replace(b"(){}", rb"\(\)\{\}"))
        == 1
    )


def test_a_name_with_a_line_end_is_no_command() -> None:
    capabilities = f"{BASIC} CONDSTORE"
    double = Double(
        MAILS, {rb"LIST.*": b'* LIST () "/" {15}\r\na"\r\nk9 DELETE b\r\nTAG OK\r\n'}, capabilities=capabilities
    )
    with opened(double) as session:
        [folder] = session.folders()
        with pytest.raises(RemoteDeniedError, match="line end"):
            list(session.changes(folder, b""))
    assert not double.count(b"DELETE")


def test_a_server_that_refuses_what_it_offers_is_read_all_the_same() -> None:
    answers: dict[bytes, Answer] = {rb"ENABLE.*|COMPRESS.*|LIST .* RETURN .*|NAMESPACE": b"TAG BAD what?\r\n"}
    capabilities = f"{BASIC} ENABLE QRESYNC LIST-STATUS LIST-EXTENDED SPECIAL-USE NAMESPACE"
    with opened(Double(MAILS, answers, capabilities=capabilities)) as session:
        assert [folder.id for folder in session.folders()] == ["INBOX"]


def test_folders_of_others_are_left_out_unless_they_are_wanted() -> None:
    spaces = b'* NAMESPACE (("INBOX." ".")) (("user." ".")) (("shared." "."))\r\nTAG OK\r\n'
    listed = b"".join(
        b'* LIST () "." "%b"\r\n' % name for name in (b"INBOX", b"INBOX.Sent", b"INBOX.a.b", b"user.bob", b"shared.x")
    )
    answers: dict[bytes, Answer] = {rb"NAMESPACE": spaces, rb"LIST.*": listed + b"TAG OK\r\n"}
    double = Double(answers=answers, capabilities=f"{BASIC} NAMESPACE")
    with opened(double) as session:
        assert [folder.path for folder in session.folders()] == [("INBOX",), ("Sent",), ("a", "b")]
    double = Double(answers=answers, capabilities=f"{BASIC} NAMESPACE")
    with double_session(double) as session:
        assert {folder.path for folder in session.folders()} >= {("user", "bob"), ("shared", "x")}
    assert double.count(rb'LIST "" "user\.\*"') == 1


def double_session(double: Double) -> ImapSession:
    """A session that asks for everybody's folders."""
    return ImapSource(double.server, Password("secret"), foreign=True).open(ACCOUNT)


def test_xlist_tells_roles_where_nothing_better_is_there() -> None:
    listed = b'* XLIST (\\Inbox) "/" "Posteingang"\r\n* XLIST (\\Spam) "/" "Werbung"\r\nTAG OK\r\n'
    with opened(Double(answers={rb"XLIST.*": listed}, capabilities=f"{BASIC} XLIST")) as session:
        assert [folder.role for folder in session.folders()] == ["inbox", "junk"]


def test_a_name_tells_a_role_only_where_no_folder_is_marked_with_it() -> None:
    listed = (
        b'* LIST () "/" INBOX\r\n* LIST (\\Sent) "/" "Ausgang"\r\n* LIST () "/" Sent\r\n* LIST () "/" Papierkorb\r\n'
        b'* LIST () "/" INBOX/Entw&APw-rfe\r\n* LIST () "/" a/b/Spam\r\nTAG OK\r\n'
    )
    with opened(Double(answers={rb"LIST.*": listed}, capabilities=f"{BASIC} SPECIAL-USE")) as session:
        roles = {"/".join(folder.path): folder.role for folder in session.folders()}
    assert roles == {
        "INBOX": "inbox", "Ausgang": "sent", "Sent": "", "Papierkorb": "trash", "INBOX/Entwürfe": "drafts",
        "a/b/Spam": "",
    }  # fmt: skip


def test_a_check_says_what_is_not_well() -> None:
    double = Double(MAILS, capabilities="IMAP4rev1 AUTH=PLAIN")
    found = list(ImapSource(double.server, Password("secret")).check([ACCOUNT]))
    double.close()
    assert states(found) == {
        "connection": "ok", "encryption": "warning", "sign-in": "ok", "capabilities": "warning", "folders": "ok",
        "message": "ok",
    }  # fmt: skip
    denied = Double(answers={rb"AUTHENTICATE.*": b"TAG NO [AUTHENTICATIONFAILED] no\r\n"})
    found = list(ImapSource(denied.server, Password("secret")).check([ACCOUNT]))
    denied.close()
    assert states(found)["anna"] == "problem"
    found = list(ImapSource(denied.server, Password("secret")).check([ACCOUNT]))
    assert states(found) == {"connection": "problem"}


def states(found: list[Check]) -> dict[str, str]:
    """What was looked at, and how it is."""
    return {one.what: one.state for one in found}
