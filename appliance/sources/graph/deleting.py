"""Deleting messages, and nothing else.

    POST /messages/{id}/permanentDelete

https://learn.microsoft.com/en-us/graph/api/message-permanentdelete: the message leaves the mailbox for the part of it
that nobody sees, and that at the end of its time for good, unless a hold of Exchange Online's keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import quote

import msgspec

from appliance.decoding import from_values
from appliance.errors import UnavailableError
from appliance.language import later
from appliance.sources.base import Folder
from appliance.sources.graph.mailbox import WRITE, Mailbox
from appliance.vendor.graph import Reply
from appliance.vendor.web import RefusedError

_NO_MESSAGE = "mailkeep-asks-whether-it-may-delete"
_AT_A_TIME = 20


class _Lying(msgspec.Struct, frozen=True, rename="camel"):
    parent_folder_id: str | None = None
    is_draft: bool | None = None


def delete(mailbox: Mailbox, folder: Folder, ids: Sequence[str]) -> frozenset[str]:
    """Delete these messages, as far as they lie in that folder (an id goes with its message wherever somebody moves it)
    and are no drafts, which may be others by now. Raises RemoteDeniedError, UnavailableError."""
    gone: set[str] = set()
    with mailbox.refusing(WRITE):
        for begin in range(0, len(ids), _AT_A_TIME):
            some = ids[begin : begin + _AT_A_TIME]
            replies = mailbox.batch([(_path(one), {"$select": "parentFolderId,isDraft"}) for one in some])
            for id, reply in zip(some, replies, strict=True):
                if reply.status == HTTPStatus.NOT_FOUND:
                    gone.add(id)
                elif (found := _lying(reply)).parent_folder_id == folder.id and not found.is_draft:
                    _delete(mailbox, id)
                    gone.add(id)
    return frozenset(gone)


def may_delete(mailbox: Mailbox) -> bool:
    """Whether messages could be deleted, found out by deleting one that cannot exist. Raises RefusedError where the
    answer says neither, UnavailableError."""
    try:
        mailbox.act(f"{_path(_NO_MESSAGE)}/permanentDelete")
    except RefusedError as error:
        if error.status == HTTPStatus.FORBIDDEN:
            return False
        if error.status in {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST}:
            return True
        raise
    return True


def _delete(mailbox: Mailbox, id: str) -> None:
    try:
        mailbox.act(f"{_path(id)}/permanentDelete")
    except RefusedError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise


def _lying(reply: Reply) -> _Lying:
    if reply.status != HTTPStatus.OK:
        said = later("Microsoft Graph refused to say where a message lies ({words}). Nothing more was deleted.")
        raise RefusedError(reply.status, reply.reason, said, words=f"{reply.status} {reply.reason}".strip())
    try:
        return from_values(reply.body, _Lying)
    except msgspec.ValidationError as error:
        raise UnavailableError(later("Microsoft Graph answered with something that cannot be read.")) from error


def _path(id: str) -> str:
    return f"/messages/{quote(id, safe='')}"
