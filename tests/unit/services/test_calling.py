"""What comes over a socket is checked before a service sees it: wrong types and sizes are mistakes of the caller."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.errors import UsageError
from appliance.services.calling import LONGEST_TEXT, MOST_VALUES
from appliance.services.wire import Call
from tests.scratch import BOX, ScratchArchive


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("search", {}),
        ("search", {"query": 5}),
        ("search", {"query": None}),
        ("search", {"query": "*", "offset": "0"}),
        ("search", {"query": "*", "limit": 2**60}),
        ("search", {"query": "*", "sort": "sideways"}),
        ("search", {"query": "*", "archive": "another"}),
        ("search", {"query": "*", "principal": {"roles": ["auditor"]}}),
        ("search", {"query": "x" * (LONGEST_TEXT + 1)}),
        ("message", {"id": ["a"]}),
        ("part", {"id": "a", "part": 1.5}),
        ("export_begin", {"ids": "abc"}),
        ("export_begin", {"ids": [{}]}),
        ("export_begin", {"ids": [""] * (MOST_VALUES + 1)}),
        ("user_create", {"name": "a", "primary": "a@b.example", "aliases": [None]}),
        ("user_import", {"csv": "primary"}),
        ("user_import", {"csv": ["primary"]}),
        ("mailbox_change", {"id": "a", "tls_required": "yes"}),
        ("role_decide", {"id": "a", "approve": 1}),
        ("profile_add", {"name": "a", "kind": "imap", "parallel": "4"}),
        ("profile_add", {"name": "a", "kind": "imap", "colour": "red"}),
        ("profile_change", {"name": "a", "users": "some"}),
        ("profile_change", {"name": "a", "chosen": ["x" * (LONGEST_TEXT + 1)]}),
        ("profile_change", {"name": "a", "options": {"host": "x" * (LONGEST_TEXT + 1)}}),
        ("no_such_service", {}),
    ],
)
def test_a_call_that_no_service_takes_is_refused_in_words(
    box: ScratchArchive, method: str, params: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        box.dispatcher.from_box(Call(method=method, params=params), BOX)


@pytest.mark.parametrize(
    "params",
    [{"address": "a", "password": b"b", "totp": ""}, {"address": "a", "password": "b"}, {"address": 1}, {}],
)
def test_so_is_one_of_somebody_who_is_not_signed_in(box: ScratchArchive, params: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        box.dispatcher.from_web(Call(method="sign_in", params=params))


def test_the_browsers_address_is_the_one_of_the_call(box: ScratchArchive) -> None:
    given = {"address": "admin", "password": box.created.admin_password, "totp": "", "client": "forged"}
    box.dispatcher.from_web(Call(method="sign_in", client="192.0.2.7", params=given))
    with box.archive.settings.read() as database:
        from appliance.settings.tables import AuditRow

        assert database.query(AuditRow).filter_by(action="sign-in").one().client == "192.0.2.7"
