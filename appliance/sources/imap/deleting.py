"""Deleting messages, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from appliance.errors import RemoteDeniedError, UsageError
from appliance.language import later
from appliance.sources.imap.answers import RefusedError
from appliance.sources.imap.cursor import item_id, uid_of
from appliance.sources.imap.names import shown
from appliance.sources.imap.opening import Folders
from appliance.sources.imap.uids import UidSet

_AT_ONCE: Final = 500


def delete(folders: Folders, folder: str, ids: Sequence[str]) -> frozenset[str]:
    """Expunge these messages; the ids of those that are gone now. What could not be expunged is left as it was.

    Ids of another UIDVALIDITY are other messages' by now: they are neither touched nor said to be gone. Raises
    UsageError where the server cannot expunge single messages (UIDPLUS, RFC 4315), RemoteDeniedError, UnavailableError.
    """
    conversation = folders.conversation
    host = conversation.wire.host
    if not conversation.can("UIDPLUS", "IMAP4REV2"):
        text = later(
            "{host} cannot delete single messages (UIDPLUS): others that somebody has marked would go with them. "
            "Nothing was deleted. Choose to keep messages there."
        )
        raise UsageError(text, host=host)
    if conversation.can("X-GM-EXT-1"):
        text = later(
            "Gmail takes a label away where IMAP deletes, and keeps the message. Nothing was deleted. Choose to keep "
            "messages there."
        )
        raise UsageError(text)
    opened = folders.open(folder, writable=True)
    if opened.read_only:
        text = later("{host} lets nobody delete in “{folder}”. Nothing was deleted.")
        raise RemoteDeniedError(text, host=host, folder=shown(folder))
    uids = UidSet.of(uid for one in ids if (uid := uid_of(one, opened.validity)) is not None)
    gone: set[str] = set()
    for piece in uids.pieces(uids=_AT_ONCE):
        gone.update(item_id(opened.validity, uid) for uid in _expunged(folders, piece))
    return frozenset(gone)


def _expunged(folders: Folders, uids: UidSet) -> UidSet:
    conversation = folders.conversation
    there, marked = folders.searches(uids, b"", b"DELETED")
    if not there:
        return uids
    refused = None
    try:
        conversation.ask(b"UID STORE %b +FLAGS.SILENT (\\Deleted)" % there.text())
        conversation.ask(b"UID EXPUNGE %b" % there.text())
    except RefusedError as error:
        refused = error
    left = folders.search(uids)
    if unmark := left - marked:
        conversation.ask(b"UID STORE %b -FLAGS.SILENT (\\Deleted)" % unmark.text())
    if refused is not None and left == there:
        text = later("{host} deletes nothing here: “{words}”.")
        raise RemoteDeniedError(text, host=conversation.wire.host, words=refused.message)
    return uids - left
