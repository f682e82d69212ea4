"""Reading another's archive: what a right to it gives, that it gives no more, and that it ends when it is closed."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from appliance.errors import (
    ConflictError,
    ForbiddenError,
    MailkeepError,
    NotFoundError,
    UsageError,
)
from appliance.services import access, api, auditing, exporting, reading, searching, users
from appliance.services.api import ALL
from appliance.services.principal import Principal
from appliance.services.wire import Call
from tests.fetched import Fetched
from tests.scratch import BOX, ScratchArchive, mail, report

PASSWORD = "long enough pass"
QUERIES = (
    "*", "from:anna@example.com", "to:ben", "bcc:boss@example.com", "participant:boss", "boss", "bos*", "-boss",
    "bcc:example.com", '"quarterly figures"', "figures OR roof", "has:attachment", "-has:attachment",
)  # fmt: skip


def _mails(box: ScratchArchive) -> None:
    """Mail between four users, with hidden recipients of every kind, and two copies of one message."""
    original = mail("Copied", to="mallory@example.com", message_id="copied@x")
    box.receive(
        report(mail("Roof", "The roof leaks.", message_id="roof@x"), "To: ben@example.com", "Bcc: boss@example.com"),
        report(
            mail("Figures", "The quarterly figures.", sender="ben@example.com", to="carla@example.com"),
            "To: carla@example.com", "Bcc: dora@example.com", sender="ben@example.com",
        ),
        report(
            mail("For the board", to="board@example.com", sender="ben@example.com"),
            "To: boss@example.com, Expanded: board@example.com", "To: carla@example.com, Expanded: board@example.com",
            sender="ben@example.com",
        ),
        report(original, "To: mallory@example.com", "Bcc: boss@example.com"),
        report(original, "To: dora@example.com", sender="mallory@example.com"),
        mail("Plain", sender="x@elsewhere.example", to="dora@example.com", headers="Bcc: boss@example.com"),
        _with_file("Attached", sender="carla@example.com", to="boss@example.com"),
    )  # fmt: skip
    box.project()


def _with_file(subject: str, *, sender: str, to: str) -> bytes:
    return (
        f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\nDate: Fri, 20 Nov 2026 08:15:03 +0000\r\n"
        'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/html\r\n\r\n<p>See the file</p>\r\n"
        '--b\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename="plan.txt"\r\n\r\nthe plan\r\n'
        "--b--\r\n"
    ).encode()


NAMES = ("anna", "ben", "boss", "carla", "dora", "mallory")


def _peopled(box: ScratchArchive) -> ScratchArchive:
    for name in NAMES:
        box.user(f"{name}@example.com", name=name.title())
    _mails(box)
    return box


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchArchive]:
    """Six people with mail, for tests that change nothing but rights."""
    made = _peopled(ScratchArchive(tmp_path_factory.mktemp("office")))
    yield made
    made.close()


@pytest.fixture
def office(shared: ScratchArchive) -> Iterator[ScratchArchive]:
    """The shared one, without any rights."""
    yield shared
    for one in access.access_list(shared.archive, BOX):
        access.access_close(shared.archive, BOX, user=one.user, whose=one.archive)


@pytest.fixture
def own_office(box: ScratchArchive) -> ScratchArchive:
    """The same, for one test alone."""
    return _peopled(box)


def _id(box: ScratchArchive, name: str) -> str:
    return users.find_user(box.archive, f"{name}@example.com")


def _open(box: ScratchArchive, reader: str, whose: str) -> None:
    access.access_open(box.archive, BOX, user=_id(box, reader), whose=_id(box, whose), reason="on leave")


def _close(box: ScratchArchive, reader: str, whose: str) -> None:
    access.access_close(box.archive, BOX, user=_id(box, reader), whose=_id(box, whose))


def _session(box: ScratchArchive, name: str) -> str:
    code = users.user_invite(box.archive, BOX, box.dispatcher.identity, ids=[_id(box, name)])[0].code
    return box.dispatcher.identity.accept_invitation(code=code, password=PASSWORD, client="").token


def _asks(box: ScratchArchive, token: str) -> Callable[..., Any]:
    """Asks the archiver as the web process does, with a session."""

    def ask(method: str, **params: Any) -> Any:
        return box.dispatcher.from_web(Call(method=method, token=token, params=params))

    return ask


def _principal(box: ScratchArchive, name: str) -> Principal:
    id = _id(box, name)
    return Principal(id=id, roles=frozenset({"user"}), archives=box.archive.settings.opened_to(id) | {id})


def _last(box: ScratchArchive, who: Principal = BOX) -> api.AuditLine:
    return auditing.audit(box.archive, who, limit=1).lines[0]


def _seen(box: ScratchArchive, who: Principal, whose: str) -> dict[str, Any]:
    """All that somebody finds out in an archive: results, numbers and facets of queries, each message as it opens."""
    found: dict[str, Any] = {}
    for query in QUERIES:
        for sort in ("date", "date-asc", "relevance"):
            page = searching.search(box.archive, who, query=query, sort=sort, whose=whose)
            found[f"{query} {sort}"] = msgspec.structs.replace(page, milliseconds=0.0)
    for hit in found["* date"].hits:
        message = reading.message(box.archive, who, id=hit.id, whose=whose)
        found[hit.id] = msgspec.structs.replace(message, others=())
        found[f"{hit.id} html"] = reading.message_html(box.archive, who, id=hit.id, whose=whose)
        for part in message.attachments:
            chunks = reading.part(box.archive, who, id=hit.id, part=part.part, whose=whose).chunks
            found[f"{hit.id} {part.part}"] = b"".join(chunks)
        for copy in message.copies:
            try:
                download = reading.original(box.archive, who, id=copy.record, whose=whose)
                found[f"{copy.record} original"] = (download.head, b"".join(download.chunks))
            except ForbiddenError as refused:
                found[f"{copy.record} original"] = refused.message
    return found


def test_who_may_read_an_archive_sees_of_it_what_its_owner_sees(office: ScratchArchive) -> None:
    owners = [name for name in NAMES if name != "anna"]
    own = _seen(office, _principal(office, "anna"), "")
    for owner in owners:
        _open(office, "anna", owner)
    for owner in owners:
        theirs = _seen(office, _principal(office, "anna"), _id(office, owner))
        assert theirs == _seen(office, _principal(office, owner), ""), owner
        assert theirs["* date"].total > 0
    assert _seen(office, _principal(office, "anna"), "") == own, "one's own mail is as it was before"


def test_a_deputy_of_the_recipient_learns_of_the_hidden_copy_and_a_deputy_of_another_does_not(
    office: ScratchArchive,
) -> None:
    _open(office, "mallory", "boss")
    _open(office, "dora", "ben")
    for query in ("bcc:boss@example.com", "participant:boss"):
        found = searching.search(
            office.archive, _principal(office, "mallory"), query=f"{query} subject:roof", whose=_id(office, "boss")
        )
        assert found.total == 1, query
        assert searching.search(
            office.archive, _principal(office, "dora"), query=f"{query} subject:roof", whose=_id(office, "ben")
        ).total == 0, query  # fmt: skip


def test_several_archives_together_tell_no_more_than_one_by_one(office: ScratchArchive) -> None:
    """“Copied” is in Mallory's archive by a report without the Bcc to Boss, and in Boss's by one with it; “Plain” names
    Boss as hidden and is in Dora's archive alone, whoever Boss is."""
    for reader, whose in (("mallory", "boss"), ("dora", "boss"), ("dora", "carla")):
        _open(office, reader, whose)
    for reader in ("mallory", "dora"):
        who = _principal(office, reader)
        for query in (one for one in QUERIES if not one.startswith("-")):
            apart = {
                hit.id
                for whose in who.archives
                for hit in searching.search(office.archive, who, query=query, whose=whose).hits
            }
            together = searching.search(office.archive, who, query=query, whose=ALL)
            assert {hit.id for hit in together.hits} == apart, query
            assert together.total == len(apart)
        for hit in searching.search(office.archive, who, query="*", whose=ALL).hits:
            views = [
                reading.message(office.archive, who, id=hit.id, whose=whose)
                for whose in who.archives
                if whose in hit.archives
            ]
            both = reading.message(office.archive, who, id=hit.id, whose=ALL)
            assert set(both.bcc) == {one for view in views for one in view.bcc}
            lines = {one for view in views if view.envelope for one in view.envelope.recipients}
            assert set(both.envelope.recipients if both.envelope else ()) == lines
            assert {one.record for one in both.copies} == {one.record for view in views for one in view.copies}


def test_what_one_archive_may_know_is_not_told_of_a_copy_that_only_the_other_has(own_office: ScratchArchive) -> None:
    """Fetched mail is whose folders it lay in: a sent copy that names Boss as hidden may be in Carla's alone."""
    carla, boss = _id(own_office, "carla"), _id(own_office, "boss")
    kept = mail("Kept", sender="anna@example.com", to="ben@example.com", headers="Bcc: boss@example.com")
    fetched = Fetched(own_office)
    fetched.fetch(kept, carla, "Old mail of Anna’s")
    fetched.close()
    own_office.project()
    _open(own_office, "carla", "boss")
    who = _principal(own_office, "carla")
    for whose in ("", ALL):
        assert searching.search(own_office.archive, who, query="bcc:boss subject:kept", whose=whose).total == 0
        (hit,) = searching.search(own_office.archive, who, query="subject:kept", whose=whose).hits
        assert "boss@" not in str(reading.message(own_office.archive, who, id=hit.id, whose=whose))
        with pytest.raises(ForbiddenError, match="names recipients"):
            reading.original(own_office.archive, who, id=hit.id, whose=whose)
    assert searching.search(own_office.archive, who, query="subject:kept", whose=boss).total == 0
    assert own_office.total("bcc:boss subject:kept") == 1


def test_hits_in_several_archives_tell_whose_they_are(office: ScratchArchive) -> None:
    _open(office, "dora", "boss")
    who = _principal(office, "dora")
    found = {hit.subject: hit.archives for hit in searching.search(office.archive, who, query="*", whose=ALL).hits}
    dora, boss = _id(office, "dora"), _id(office, "boss")
    assert found["Attached"] == (boss,)
    assert found["Figures"] == (dora,)
    assert found["Copied"] == tuple(sorted((dora, boss)))
    one_by_one = searching.search(office.archive, who, query="*", whose=boss)
    assert one_by_one.hits and not any(hit.archives for hit in one_by_one.hits)


def test_without_the_right_nothing_of_an_archive_is_found_by_any_way(office: ScratchArchive) -> None:
    boss = _id(office, "boss")
    theirs = [
        (
            hit.id,
            [copy.record for copy in reading.message(office.archive, _principal(office, "boss"), id=hit.id).copies],
        )
        for hit in searching.search(office.archive, _principal(office, "boss"), query="subject:attached").hits
    ]
    assert theirs
    _open(office, "dora", "carla")  # a right to another archive is none to this one
    ask = _asks(office, _session(office, "anna"))
    for whose in (boss, "unassigned", "x", f"{boss} ", "auditor"):
        for method, params in (
            ("search", {"query": "*"}),
            ("message", {"id": theirs[0][0]}),
            ("message_html", {"id": theirs[0][0]}),
            ("part", {"id": theirs[0][0], "part": 1}),
            ("original", {"id": theirs[0][0]}),
            ("export_begin", {"query": "*"}),
            ("export_begin", {"ids": [theirs[0][0]]}),
        ):
            with pytest.raises(ForbiddenError, match="not open to you"):
                ask(method, whose=whose, **params)
    for whose in ("", ALL, _id(office, "anna")):
        assert ask("search", query="subject:attached", whose=whose).total == 0
        for id in (theirs[0][0], *theirs[0][1]):
            for method, params in (("message", {}), ("message_html", {}), ("part", {"part": 1}), ("original", {})):
                with pytest.raises(NotFoundError):
                    ask(method, id=id, whose=whose, **params)
        made = ask("export_begin", ids=[theirs[0][0]], whose=whose)
        assert _bundle(ask, made) == ["manifest.csv"]


def _bundle(ask: Callable[..., Any], job: api.JobInfo) -> list[str]:
    """The names in a finished export."""
    _finished(ask, job)
    with zipfile.ZipFile(io.BytesIO(b"".join(ask("job_download", id=job.id).chunks))) as bundle:
        return bundle.namelist()


def _finished(ask: Callable[..., Any], job: api.JobInfo) -> api.JobInfo:
    while (job := ask("job", id=job.id)).finished_at is None:
        time.sleep(0.01)
    return job


def test_a_right_begins_and_ends_within_one_session(office: ScratchArchive) -> None:
    boss = _id(office, "boss")
    ask = _asks(office, _session(office, "anna"))
    assert ask("caller").opened == ()
    _open(office, "anna", "boss")
    assert ask("caller").opened == (api.OtherArchive(boss, "Boss", "boss@example.com"),)
    page = ask("search", query="*", whose=boss, limit=2)
    (hit,) = ask("search", query="subject:attached", whose=boss).hits
    assert ask("message", id=hit.id, whose=boss).subject == "Attached"
    assert ask("message", id=hit.id, whose=ALL).others == (boss,)
    with pytest.raises(NotFoundError):
        ask("message", id=hit.id)
    made = ask("export_begin", query="*", whose=boss)
    assert len(_bundle(ask, made)) == page.total + 1
    stream = ask("job_download", id=made.id)
    _close(office, "anna", "boss")
    assert ask("caller").opened == ()
    with pytest.raises(ForbiddenError):
        b"".join(stream.chunks)
    for method, params in (
        ("search", {"query": "*", "offset": 2, "whose": boss}),
        ("message", {"id": hit.id, "whose": boss}),
        ("part", {"id": hit.id, "part": 1, "whose": boss}),
        ("original", {"id": hit.id, "whose": boss}),
        ("job_download", {"id": made.id}),
    ):
        with pytest.raises(ForbiddenError):
            ask(method, **params)
    with pytest.raises(NotFoundError):
        ask("message", id=hit.id, whose=ALL)


def test_an_export_under_way_ends_with_the_right(office: ScratchArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    _open(office, "anna", "boss")
    whole = exporting.open_for_export
    opened: list[str] = []

    def closing(archive: Any, who: Principal, view: Any, id: str) -> Iterator[Any]:
        opened.append(id)
        if len(opened) == 2:
            _close(office, "anna", "boss")
        return whole(archive, who, view, id)

    monkeypatch.setattr(exporting, "open_for_export", closing)
    ask = _asks(office, _session(office, "anna"))
    before = set(office.paths.exports.iterdir())
    job = _finished(ask, ask("export_begin", query="*", whose=_id(office, "boss")))
    assert (job.state, len(opened)) == ("failed", 2)
    assert "not open to you" in job.message
    assert set(office.paths.exports.iterdir()) <= before


def test_each_look_into_anothers_archive_is_written_down_with_its_name(office: ScratchArchive) -> None:
    _open(office, "anna", "boss")
    who, boss = _principal(office, "anna"), _id(office, "boss")
    assert (_last(office).action, _last(office).what, _last(office).reason) == (
        "access.open",
        "Boss to Anna",
        "on leave",
    )
    (hit,) = searching.search(office.archive, who, query="subject:attached", whose=boss).hits
    line = _last(office)
    assert (line.who, line.action, line.what) == ("Anna", "search.other", "Boss: subject:attached → 1")
    admin = Principal(id="x", roles=frozenset({"admin"}))
    assert _last(office, admin).what == "Boss", "whose mail was searched, and not for what"
    searching.search(office.archive, who, query="Boss: nothing", whose="")
    assert (_last(office).action, _last(office, admin).what) == ("search", "")
    for look, action, what in (
        (lambda: reading.message(office.archive, who, id=hit.id, whose=ALL), "message.open", f"Boss: {hit.id}"),
        (lambda: reading.message_html(office.archive, who, id=hit.id, whose=boss), "message.html", f"Boss: {hit.id}"),
        (lambda: reading.part(office.archive, who, id=hit.id, part=1, whose=boss), "attachment.open", "Boss: "),
        (lambda: reading.original(office.archive, who, id=hit.id, whose=boss), "message.download", f"Boss: {hit.id}"),
    ):
        look()  # type: ignore[no-untyped-call]
        assert _last(office).action == f"{action}.other"
        assert _last(office).what.startswith(what)
    ask = _asks(office, _session(office, "anna"))
    job = ask("export_begin", query="figures", whose=ALL)
    _bundle(ask, job)
    lines = {line.action: line.what for line in auditing.audit(office.archive, BOX, find="export", limit=2).lines}
    assert lines["export.begin.other"] == "Boss: all hits of “figures”"
    assert lines["export.download.other"].startswith("Boss: ")
    assert {line.what for line in auditing.audit(office.archive, admin, find="export", limit=2).lines} == {"Boss"}


def test_a_look_at_ones_own_mail_is_written_down_as_before(office: ScratchArchive) -> None:
    _open(office, "anna", "boss")
    who = _principal(office, "anna")
    (hit,) = searching.search(office.archive, who, query="subject:roof", whose="").hits
    assert _last(office).action == "search"
    reading.message(office.archive, who, id=hit.id)
    assert (_last(office).action, _last(office).what) == ("message.open", hit.id)
    number = _last(office).number
    reading.message_html(office.archive, who, id=hit.id)
    assert _last(office).number == number
    # A message of one's own that the other has as well is a look into the other's archive, where that is asked for.
    reading.message(office.archive, who, id=hit.id, whose=ALL)
    assert (_last(office).action, _last(office).what) == ("message.open.other", f"Boss: {hit.id}")


def test_nobody_opens_an_archive_to_themself(own_office: ScratchArchive) -> None:
    ask = own_office.dispatcher.from_web
    signed_in = own_office.dispatcher.identity.sign_in(
        address="admin", password=own_office.created.admin_password, totp="", client="c"
    )
    admin, boss = signed_in.caller.user_id, _id(own_office, "boss")

    def try_it(user: str, reason: str = "curious") -> Any:
        params = {"user": user, "whose": boss, "reason": reason}
        return ask(Call(method="access_open", token=signed_in.token, params=params))

    with pytest.raises(ForbiddenError, match="no other administrator"):
        try_it(admin)
    users.role_grant(own_office.archive, BOX, id=_id(own_office, "mallory"), role="admin", reason="once")
    users.user_change(own_office.archive, BOX, id=_id(own_office, "mallory"), state="disabled")
    with pytest.raises(ForbiddenError, match="no other administrator"):
        try_it(admin)
    users.role_grant(own_office.archive, BOX, id=_id(own_office, "carla"), role="admin", reason="second")
    with pytest.raises(ForbiddenError, match="another administrator"):
        try_it(admin)
    assert try_it(_id(own_office, "dora")).opened_by
    carla = Principal(id=_id(own_office, "carla"), roles=frozenset({"admin"}))
    access.access_open(own_office.archive, carla, user=admin, whose=boss, reason="asked for")
    assert ask(Call(method="search", token=signed_in.token, params={"query": "*", "whose": boss})).total > 0


def test_opening_and_closing_is_for_administrators_and_needs_a_reason(office: ScratchArchive) -> None:
    anna, boss = _principal(office, "anna"), _id(office, "boss")
    carla = _id(office, "carla")
    for refused in (
        lambda: access.access_open(office.archive, anna, user=carla, whose=anna.id, reason="mine"),
        lambda: access.access_close(office.archive, anna, user=carla, whose=anna.id),
        lambda: access.access_list(office.archive, anna),
        lambda: users.user_by_address(office.archive, anna, address="nobody@example.com"),
    ):
        with pytest.raises(ForbiddenError):
            refused()  # type: ignore[no-untyped-call]
    for error, user, whose, reason in (
        (UsageError, carla, boss, " "),
        (UsageError, boss, boss, "why"),
        (NotFoundError, carla, "u0", "why"),
        (NotFoundError, "u0", boss, "why"),
    ):
        with pytest.raises(error):
            access.access_open(office.archive, BOX, user=user, whose=whose, reason=reason)
    before = _last(office).number
    _open(office, "carla", "boss")
    with pytest.raises(ConflictError):
        _open(office, "carla", "boss")
    _close(office, "carla", "boss")
    with pytest.raises(NotFoundError):
        _close(office, "carla", "boss")
    assert _last(office).number == before + 2
    assert (_last(office).action, _last(office).what) == ("access.close", "Boss to Carla")


def test_the_owner_sees_who_may_read_and_an_administrator_both_ways(office: ScratchArchive) -> None:
    _open(office, "carla", "boss")
    _open(office, "anna", "boss")
    _open(office, "carla", "ben")
    readers = access.access_mine(office.archive, _principal(office, "boss"))
    assert [one.name for one in readers] == ["Carla", "Anna"]
    assert all(abs(one.since - time.time()) < 600 for one in readers)
    assert access.access_mine(office.archive, _principal(office, "carla")) == ()
    listed = access.access_list(office.archive, BOX, user=_id(office, "carla"))
    assert [(one.archive_name, one.reason, one.opened_by) for one in listed] == [
        ("Ben", "on leave", "local:test"), ("Boss", "on leave", "local:test")
    ]  # fmt: skip
    assert [one.user_name for one in access.access_list(office.archive, BOX, whose=_id(office, "boss"))] == [
        "Anna", "Carla"
    ]  # fmt: skip
    assert len(access.access_list(office.archive, BOX)) == 3


def test_rights_come_back_with_the_log_and_the_last_word_counts(own_office: ScratchArchive) -> None:
    for _ in range(2):
        _open(own_office, "carla", "boss")
        _close(own_office, "carla", "boss")
    _open(own_office, "carla", "boss")
    _open(own_office, "anna", "ben")
    _close(own_office, "anna", "ben")
    before = access.access_list(own_office.archive, BOX)
    own_office.close()
    for file in own_office.paths.settings.parent.glob(f"{own_office.paths.settings.name}*"):
        file.unlink()
    own_office.open()
    assert access.access_list(own_office.archive, BOX) == before
    assert [(one.user_name, one.archive_name) for one in before] == [("Carla", "Boss")]


def test_a_disabled_user_reads_nothing_and_a_disabled_users_archive_can_be_read(
    own_office: ScratchArchive,
) -> None:
    boss = _id(own_office, "boss")
    _open(own_office, "anna", "boss")
    ask = _asks(own_office, _session(own_office, "anna"))
    users.user_change(own_office.archive, BOX, id=boss, state="disabled")
    assert ask("search", query="*", whose=boss).total > 0
    users.user_change(own_office.archive, BOX, id=_id(own_office, "anna"), state="disabled")
    with pytest.raises(MailkeepError):
        ask("search", query="*", whose=boss)
