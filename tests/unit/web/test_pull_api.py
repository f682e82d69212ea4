"""The pull API from the route to the log: what a program lists, fetches and acknowledges with a mailbox's token."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from litestar.testing import TestClient

from appliance.errors import ForbiddenError, LockedError
from appliance.services import api, mailboxes
from appliance.services.client import ArchiveClient
from appliance.services.dispatch import Dispatcher
from appliance.services.pulling import Pulling
from appliance.services.server import Server
from appliance.settings import events
from tests.scratch import BOX, ScratchArchive, mail
from webadmin.api.document import describe
from webadmin.api.values import Acknowledged, Page, Problem
from webadmin.app import create_app

ROOT = "/api/pull/v1"


class Program:
    """A program with a token, at the routes of an application over a whole archive."""

    def __init__(self, archive: ScratchArchive) -> None:
        self.archive = archive
        self.client = TestClient(create_app(ArchiveClient(archive.paths.web_socket)), raise_server_exceptions=False)
        self.client.__enter__()
        self.mailbox: bytes = b""
        self.address = self.token = ""

    def with_mailbox(self, *, sealed: bool = False, deletes: bool = False) -> Program:
        self.address = f"pulled{len(mailboxes.mailboxes(self.archive.archive, BOX))}@archive.test"
        made = mailboxes.mailbox_create(
            self.archive.archive, BOX, name="Pulled", address=self.address, sealed=sealed, delete_after_pull=deletes
        )
        self.archive.mailbox = made.mailbox
        self.mailbox = bytes.fromhex(made.mailbox.id)
        keys = self.archive.archive.keyring
        self.token = keys.add_mailbox_token(self.mailbox, "test", password=made.password).token
        return self

    def get(self, path: str, token: str | None = None, **params: Any) -> httpx.Response:
        return self.client.get(ROOT + path, headers=self._headers(token), params=params)

    def page(self, **params: Any) -> Page:
        answer = self.get("/messages", **params)
        assert answer.status_code == 200, answer.text
        return msgspec.json.decode(answer.content, type=Page)

    def acknowledge(self, body: Any, token: str | None = None) -> httpx.Response:
        return self.client.post(ROOT + "/acknowledge", headers=self._headers(token), json=body)

    def _headers(self, token: str | None) -> dict[str, str]:
        given = self.token if token is None else token
        return {"Authorization": f"Bearer {given}"} if given else {}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchArchive]:
    """One for all: each test has a mailbox of its own."""
    archive = ScratchArchive(tmp_path_factory.mktemp("archive"))
    yield archive
    archive.close()


@pytest.fixture
def program(archive: ScratchArchive) -> Iterator[Program]:
    """Before services that have just been started."""
    archive.dispatcher = Dispatcher(archive.archive)
    server = Server(archive.dispatcher)
    server.start()
    program = Program(archive)
    yield program
    program.client.__exit__(None, None, None)
    server.close()


@pytest.mark.parametrize("sealed", [False, True])
def test_everything_is_listed_once_and_fetched_bit_for_bit(program: Program, sealed: bool) -> None:
    program.with_mailbox(sealed=sealed)
    originals = [mail(f"Number {n}") for n in range(23)] + [b"", b"\n.\nno header", os.urandom(3_000_000)]
    ids = program.archive.receive(*originals)
    listed, cursor = [], ""
    while True:
        page = program.page(cursor=cursor, limit=7)
        assert len(page.messages) <= 7
        listed += page.messages
        cursor = page.cursor
        if not page.more:
            break
    assert sorted(one.id for one in listed) == sorted(id_.hex() for id_ in ids)
    for id_, original in zip(ids, originals, strict=True):
        answer = program.get(f"/messages/{id_.hex()}")
        assert answer.content == original
        assert answer.headers["content-length"] == str(len(original))
        assert answer.headers["content-type"].startswith("message/rfc822")
    assert program.page(cursor=cursor).messages == ()


def test_a_cursor_goes_on_over_volumes_that_grow_close_and_come(program: Program) -> None:
    program.with_mailbox()
    seen: list[str] = []
    cursor = ""
    expected: list[str] = []
    for turn in range(6):
        expected += [one.hex() for one in program.archive.receive(mail(f"a {turn}"), mail(f"b {turn}"))]
        if turn % 2:
            program.archive.writer.roll()
        page = program.page(cursor=cursor, limit=1000)
        seen += [one.id for one in page.messages]
        cursor = page.cursor
        assert len(cursor) < 200
    assert sorted(seen) == sorted(expected)


def test_a_large_message_that_overtakes_a_growing_volume_is_not_missed(program: Program) -> None:
    program.with_mailbox()
    archive = program.archive
    first = archive.receive(mail("before"))
    cursor = program.page().cursor
    key = archive.archive.keyring.public_key(program.mailbox)
    with archive.writer.stream(program.mailbox, key) as stream:
        stream.write(b"large\r\n")
        large = stream.commit().record_id
    page = program.page(cursor=cursor)
    after = archive.receive(mail("after"))
    again = program.page(cursor=page.cursor)
    assert [one.id for one in page.messages] == [large.hex()]
    assert [one.id for one in again.messages] == [after[0].hex()]
    assert first[0].hex() not in {one.id for one in (*page.messages, *again.messages)}


def test_where_mail_is_kept_the_position_is(program: Program) -> None:
    program.with_mailbox()
    ids = program.archive.receive(mail("one"), mail("two"), mail("three"))
    page = program.page(limit=2)
    answer = program.acknowledge({"ids": [one.id for one in page.messages], "cursor": page.cursor})
    assert msgspec.json.decode(answer.content, type=Acknowledged) == Acknowledged(0, page.cursor)
    assert len(program.page().messages) == 1
    pulling = Pulling(program.archive.archive)
    assert len(pulling.list(secret=program.token, client="192.0.2.1").messages) == 1  # also after a restart
    assert len(program.page(cursor=page.cursor).messages) == 1
    assert {program.get(f"/messages/{id_.hex()}").status_code for id_ in ids} == {200}
    (kept,) = program.archive.paths.positions.glob(f"{program.mailbox.hex()}-*")
    assert re.fullmatch(r"[0-9a-f]{32}-[0-9a-f]{8}", kept.name)


def test_positions_of_removed_tokens_go(program: Program) -> None:
    program.with_mailbox()
    program.archive.receive(mail("one"))
    program.acknowledge({"cursor": program.page().cursor})
    keys = program.archive.archive.keyring
    keys.remove_mailbox_token(program.mailbox, keys.mailbox_tokens(program.mailbox)[0].id)
    assert program.get("/messages").status_code == 401
    program.token = keys.add_mailbox_token(program.mailbox, "another").token
    page = program.page()
    assert len(page.messages) == 1
    program.acknowledge({"cursor": page.cursor})
    assert len(list(program.archive.paths.positions.glob(f"{program.mailbox.hex()}-*"))) == 1


def test_where_mail_is_deleted_after_pulling_it_is_erased(program: Program) -> None:
    program.with_mailbox(sealed=True, deletes=True)
    ids = [one.hex() for one in program.archive.receive(mail("one"), mail("two"), mail("three"))]
    answer = program.acknowledge({"ids": ids[:2]})
    assert msgspec.json.decode(answer.content, type=Acknowledged).erased == 2
    assert [one.id for one in program.page().messages] == ids[2:]
    assert program.get(f"/messages/{ids[0]}").status_code == 404
    again = program.acknowledge({"ids": ids[:2]})
    assert again.status_code == 200 and again.json()["erased"] == 0


def test_a_legal_hold_keeps_what_was_acknowledged(program: Program) -> None:
    program.with_mailbox(sealed=True, deletes=True)
    ids = [one.hex() for one in program.archive.receive(mail("one"))]
    program.archive.archive.record(BOX, events.HoldPlaced(hold="h", reason="court"))
    answer = program.acknowledge({"ids": ids})
    program.archive.archive.record(BOX, events.HoldReleased(hold="h"))
    assert answer.status_code == 409
    assert "legal hold" in problem(answer).message
    assert program.get(f"/messages/{ids[0]}").status_code == 200


def test_tokens_open_their_own_mailbox_only(program: Program) -> None:
    other = Program(program.archive).with_mailbox(sealed=True)
    theirs = program.archive.receive(mail("theirs"))
    cursor = other.page().cursor
    program.with_mailbox()
    assert program.page().messages == ()
    assert program.get(f"/messages/{theirs[0].hex()}").status_code == 404
    assert program.get("/messages", cursor=cursor).status_code == 400
    other.client.__exit__(None, None, None)


def test_wrong_tokens_are_refused_and_then_slowed_down(program: Program) -> None:
    program.with_mailbox()
    wrong = program.token[:-2] + ("00" if program.token[-2:] != "00" else "11")
    for token in ("", "nonsense", wrong, f"mkp_{'0' * 104}", "mkp_" + "é"):
        answer = program.get("/messages", token=token.encode("ascii", "replace").decode())
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert problem(answer).code == "sign-in"
    for _ in range(50):
        answer = program.get("/messages", token=wrong)
    assert answer.status_code == 429
    assert answer.headers["retry-after"]
    assert problem(answer).code == "too-many-tries"


def test_a_program_with_a_wrong_token_does_not_keep_out_its_neighbour(program: Program) -> None:
    program.with_mailbox()
    wrong = program.token[:-2] + ("00" if program.token[-2:] != "00" else "11")
    for _ in range(60):
        answer = program.get("/messages", token=wrong)
    assert answer.status_code == 429
    assert program.get("/messages").status_code == 200


def test_who_fetches_slowly_holds_nothing_open(program: Program) -> None:
    program.with_mailbox()
    keys = program.archive.archive.keyring
    large = os.urandom(3_000_000)
    grants = []

    class Watching:
        def __getattr__(self, name: str) -> Any:
            return getattr(keys, name)

        def open_mailbox(self, *given: Any, **named: Any) -> Any:
            opened = keys.open_mailbox(*given, **named)
            grants.append(opened.grant)
            return opened

    archive = program.archive.archive
    archive.keyring, kept = Watching(), keys  # type: ignore[assignment]
    try:
        for original in (mail("small"), large):
            (id_,) = program.archive.receive(original)
            download = Pulling(archive).fetch(secret=program.token, id=id_.hex(), client="192.0.2.1")
            with pytest.raises(ForbiddenError):
                keys.granted(grants[-1])  # closed before the first octet is taken
            assert b"".join(download.chunks) == original
    finally:
        archive.keyring = kept


def test_neither_a_session_nor_a_password_is_a_token(program: Program) -> None:
    program.with_mailbox()
    keys = program.archive.archive.keyring
    password = keys.set_mailbox_password(program.mailbox)
    assert program.get("/messages", token=password).status_code == 401
    signed_in = program.archive.created
    assert signed_in.admin_password not in program.get("/messages", token=signed_in.admin_password).text


def test_a_disabled_mailbox_is_not_pulled_from_and_a_suspended_one_is(program: Program) -> None:
    program.with_mailbox()
    archive = program.archive.archive
    mailboxes.mailbox_change(archive, BOX, id=program.mailbox.hex(), state="suspended")
    assert program.get("/messages").status_code == 200
    mailboxes.mailbox_change(archive, BOX, id=program.mailbox.hex(), state="disabled")
    answer = program.get("/messages")
    assert answer.status_code == 403
    assert "disabled" in problem(answer).message


def test_what_makes_no_sense_is_400_or_404_in_json(program: Program) -> None:
    program.with_mailbox()
    for params in ({"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"limit": "٣"}, {"cursor": "x"},
                   {"cursor": "k5IBxA" * 20}, {"cursor": "A" * 40_000}):  # fmt: skip
        answer = program.get("/messages", **params)
        assert answer.status_code == 400, params
        assert problem(answer).code == "usage"
    for body in ([], {"ids": "x"}, {"ids": ["x"]}, {"idz": []}, {"ids": ["0" * 32] * 10_001}, {"cursor": "x"}, 7):
        answer = program.acknowledge(body)
        assert answer.status_code == 400, body
        assert problem(answer).code == "usage"
    for path in ("/messages/x", f"/messages/{'0' * 32}", "/nowhere", ""):
        answer = program.get(path)
        assert answer.status_code == 404, path
        assert problem(answer).code == "not-found"


def test_a_wrong_method_is_405_in_json(program: Program) -> None:
    answer = program.with_mailbox().client.delete(f"{ROOT}/messages")
    assert answer.status_code == 405
    assert problem(answer).message


def test_a_damaged_message_is_an_error_and_the_others_come(program: Program) -> None:
    program.with_mailbox()
    ids = program.archive.receive(mail("one" * 50), mail("two" * 50))
    (volume,) = (program.archive.paths.volumes / program.mailbox.hex()).glob("*.mkv")
    assert len(program.page().messages) == 2
    content = bytearray(volume.read_bytes())
    content[content.find(ids[0]) + 300] ^= 1
    volume.write_bytes(content)
    answer = program.get(f"/messages/{ids[0].hex()}")
    assert answer.status_code == 500
    assert problem(answer).code == "damage"
    assert program.get(f"/messages/{ids[1].hex()}").content == mail("two" * 50)


def test_pulling_stands_in_the_audit_trail_without_the_token(program: Program) -> None:
    program.with_mailbox()
    for id_ in program.archive.receive(mail("one"), mail("two")):
        program.get(f"/messages/{id_.hex()}")
    found = program.archive.dispatcher.from_box(_call("audit", find="mailbox.pull"), BOX).lines
    lines = [line for line in found if line.who == f"mailbox:{program.address}"]
    assert len(lines) == 1
    assert program.token[-64:] not in str(lines)


def test_a_locked_archive_says_so(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    program.with_mailbox()

    async def locked(*_: object, **__: object) -> api.PullPage:
        raise LockedError("The archive is locked.")

    monkeypatch.setattr(ArchiveClient, "pull_list", locked)
    answer = program.get("/messages")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert problem(answer).code == "locked"


# -- the document ------------------------------------------------------------------------------------------------


def test_the_document_is_true_to_the_routes(program: Program) -> None:
    document = program.client.get(f"{ROOT}/openapi.json").json()
    assert document["openapi"].startswith("3.1.")
    assert document["servers"] == [{"url": ROOT}]
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    served = {
        (re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path.removeprefix(ROOT)), method)
        for route in program.client.app.routes
        if route.path.startswith(f"{ROOT}/")
        for method in getattr(route, "methods", ())
        if method not in ("OPTIONS", "HEAD")
    }
    assert described == served


def test_every_answer_is_as_the_document_says(program: Program) -> None:
    document = describe()
    program.with_mailbox()
    ids = program.archive.receive(mail("one"))
    asked = [
        ("/messages", "get", program.get("/messages")),
        ("/messages", "get", program.get("/messages", token="mkp_")),
        ("/messages", "get", program.get("/messages", limit=0)),
        ("/messages/{id}", "get", program.get(f"/messages/{ids[0].hex()}")),
        ("/messages/{id}", "get", program.get(f"/messages/{'0' * 32}")),
        ("/acknowledge", "post", program.acknowledge({"ids": [ids[0].hex()]})),
        ("/acknowledge", "post", program.acknowledge({"ids": 7})),
        ("/acknowledge", "post", program.acknowledge({}, token="")),
    ]
    for path, method, answer in asked:
        described = document["paths"][path][method]["responses"][str(answer.status_code)]
        ((media_type, content),) = described["content"].items()
        assert answer.headers["content-type"].split(";")[0] == media_type
        if media_type == "application/json":
            conforms(answer.json(), content["schema"], document)


def test_every_reference_leads_somewhere(program: Program) -> None:
    document = describe()
    names = re.findall(r'"#/components/schemas/(\w+)"', msgspec.json.encode(document).decode())
    assert names and set(names) <= document["components"]["schemas"].keys()


def conforms(value: Any, schema: dict[str, Any], document: dict[str, Any]) -> None:
    """As much of JSON Schema as the document uses."""
    if "$ref" in schema:
        return conforms(value, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    match schema["type"]:
        case "object":
            assert (
                isinstance(value, dict)
                and set(schema.get("required", ())) <= value.keys() <= schema["properties"].keys()
            )
            for name, inner in value.items():
                conforms(inner, schema["properties"][name], document)
        case "array":
            assert isinstance(value, list)
            for inner in value:
                conforms(inner, schema["items"], document)
        case "string":
            assert isinstance(value, str) and re.search(schema.get("pattern", ""), value)
        case "boolean":
            assert isinstance(value, bool)
        case "integer":
            assert isinstance(value, int)
        case other:
            raise AssertionError(other)
    return None


def problem(answer: httpx.Response) -> Problem:
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["cache-control"] == "no-store"
    return msgspec.json.decode(answer.content, type=Problem)


def _call(method: str, **params: Any) -> Any:
    from appliance.services.wire import Call

    return Call(method=method, params=params)
