"""A web process that somebody has taken over gets the mail of the sessions it holds, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from appliance.errors import ForbiddenError, MailkeepError, NotFoundError, SignInError, UsageError
from appliance.services import users
from appliance.services.client import ArchiveClient
from appliance.services.server import Server
from appliance.services.wire import Call
from tests.scratch import BOX, ScratchArchive, mail, report


@pytest.fixture
def listening(box: ScratchArchive) -> Iterator[ScratchArchive]:
    box.user("anna@example.com")
    box.user("ben@example.com")
    box.receive(
        report(mail("Annas secret", to="x@y.example"), "To: x@y.example"),
        report(
            mail("Bens secret", to="ben@example.com", sender="x@y.example"), "To: ben@example.com", sender="x@y.example"
        ),
    )
    box.project()
    server = Server(box.dispatcher)
    server.start()
    yield box
    server.close()


def _session(box: ScratchArchive, address: str) -> str:
    user = users.find_user(box.archive, address)
    code = users.user_invite(box.archive, BOX, box.dispatcher.identity, ids=[user])[0].code
    return box.dispatcher.identity.accept_invitation(code=code, password="long enough pass", client="").token


def test_a_session_gets_its_owners_mail_and_nothing_else(listening: ScratchArchive) -> None:
    anna = _session(listening, "anna@example.com")
    bens = listening.search("*", "ben@example.com").hits[0].id

    async def attack() -> None:
        client = ArchiveClient(listening.paths.web_socket)
        page = await client.search(anna, query="*")
        assert [hit.subject for hit in page.hits] == ["Annas secret"]
        for refused in (
            client.search(anna, query="*", everywhere=True),
            client.message(anna, id=page.hits[0].id, everywhere=True),
            client.status(anna),
            client.users(anna),
            client.mailboxes(anna),
            client.audit(anna),
            client.role_grant(anna, id="x", role="auditor", reason="please"),
            client.user_import(anna, csv=b"primary\nx@y.example"),
            client.export_begin(anna, query="*", everywhere=True),
            client.original(anna, id=page.hits[0].id, report=True),
        ):
            with pytest.raises(ForbiddenError):
                await refused
        for unseen in (
            client.message(anna, id=bens),
            client.message_html(anna, id=bens),
            client.part(anna, id=bens, part=0),
            client.original(anna, id=bens),
        ):
            with pytest.raises(NotFoundError):
                await unseen
        for token in ("", "x" * 43, anna[:-1]):
            with pytest.raises(SignInError):
                await client.search(token, query="*")
        stream = await client.original(anna, id=page.hits[0].id)
        assert b"".join([chunk async for chunk in stream]) == listening.export(page.hits[0].id)
        await client.close()

    asyncio.run(attack())


def test_a_session_with_a_right_to_another_archive_gets_that_as_long_as_the_right_is_there(
    listening: ScratchArchive,
) -> None:
    anna = _session(listening, "anna@example.com")
    admin = listening.dispatcher.identity.sign_in(
        address="admin", password=listening.created.admin_password, totp="", client="c"
    ).token

    async def use() -> None:
        client = ArchiveClient(listening.paths.web_socket)
        me = await client.user_by_address(admin, address="anna@example.com")
        ben = await client.user_by_address(admin, address="ben@example.com")
        for refused in (
            client.user_by_address(anna, address="ben@example.com"),
            client.access_open(anna, user=me.id, whose=ben.id, reason="please"),
            client.access_close(anna, user=me.id, whose=ben.id),
            client.access_list(anna),
            client.search(anna, query="*", whose=ben.id),
            client.export_begin(anna, query="*", whose=ben.id),
        ):
            with pytest.raises(ForbiddenError):
                await refused
        opened = await client.access_open(admin, user=me.id, whose=ben.id, reason="on leave")
        assert await client.access_list(admin, user=me.id) == (opened,)
        (hit,) = (await client.search(anna, query="*", whose=ben.id)).hits
        assert hit.subject == "Bens secret"
        assert (await client.message(anna, id=hit.id, whose=ben.id)).others == (ben.id,)
        stream = await client.original(anna, id=hit.id, whose=ben.id)
        assert b"".join([chunk async for chunk in stream]) == listening.export(hit.id)
        for refused in (
            client.search(anna, query="*", whose="unassigned"),
            client.search(admin, query="*", whose=ben.id),
        ):
            with pytest.raises(ForbiddenError):
                await refused
        assert [one.name for one in await client.access_mine(_session(listening, "ben@example.com"))] == [me.name]
        await client.access_close(admin, user=me.id, whose=ben.id)
        with pytest.raises(ForbiddenError):
            await client.message(anna, id=hit.id, whose=ben.id)
        await client.close()

    asyncio.run(use())


@pytest.mark.parametrize(
    "method",
    [
        *("local_search", "local_show", "verify_begin", "proof", "timestamping_set", "create_user_from_mail"),
        *("gateway_set", "setup_code", "idle", "service_key", "service_key_write"),
    ],
)
def test_the_boxs_own_services_are_not_on_the_web_socket(listening: ScratchArchive, method: str) -> None:
    admin = listening.dispatcher.identity.sign_in(
        address="admin", password=listening.created.admin_password, totp="", client="c"
    )
    with pytest.raises(UsageError):
        listening.dispatcher.from_web(Call(method=method, token=admin.token))


def test_an_administrator_sees_numbers_and_not_mail(listening: ScratchArchive) -> None:
    admin = listening.dispatcher.identity.sign_in(
        address="admin", password=listening.created.admin_password, totp="", client="c"
    )

    async def look() -> None:
        client = ArchiveClient(listening.paths.web_socket)
        assert (await client.status(admin.token)).records == 2
        assert (await client.search(admin.token, query="*")).total == 0
        with pytest.raises(ForbiddenError):
            await client.search(admin.token, query="*", everywhere=True)
        await client.close()

    asyncio.run(look())


def test_nonsense_on_the_socket_is_answered_and_harms_nobody(listening: ScratchArchive) -> None:
    import socket
    import struct

    for frame in (
        b"\xff\xff\xff\xff",
        struct.pack(">I", 3) + b"abc",
        struct.pack(">I", 1) + b"\xc0",
        b"GET / HTTP/1.1\r\n\r\n",
    ):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(listening.paths.web_socket))
            connection.sendall(frame)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(10)
            connection.recv(1000)
    with pytest.raises(MailkeepError):
        listening.dispatcher.from_web(Call(method="sign_in", params={"address": "a", "password": "b", "totp": ""}))
