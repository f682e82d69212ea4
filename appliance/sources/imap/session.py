"""One mailbox, opened: the protocol of ``appliance.sources.base``, by IMAP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from appliance.errors import RemoteDeniedError
from appliance.language import _, later
from appliance.mail.folders import Role
from appliance.sources.base import Failed, Fetched, Folder, Item, Page
from appliance.sources.imap.answers import RefusedError
from appliance.sources.imap.bodies import Bodies
from appliance.sources.imap.changes import changes
from appliance.sources.imap.conversation import Conversation
from appliance.sources.imap.cursor import item_id, uid_of
from appliance.sources.imap.deleting import delete
from appliance.sources.imap.listing import Status, list_folders
from appliance.sources.imap.opening import Folders

_GMAIL: Final[Mapping[str, Role]] = {
    r"\INBOX": "inbox", r"\SENT": "sent", r"\DRAFT": "drafts", r"\DRAFTS": "drafts", r"\IMPORTANT": "important",
    r"\STARRED": "flagged", r"\TRASH": "trash", r"\SPAM": "junk",
}  # fmt: skip
"""What Gmail's own labels are, in capitals."""


class ImapSession:
    """A ``Session``. Who stops reading ``fetch`` before its end cannot use it any more."""

    def __init__(self, conversation: Conversation, *, foreign: bool) -> None:
        """``foreign``: folders of other users and shared ones too."""
        self.conversation = conversation
        self._foreign = foreign
        self._labels: dict[str, tuple[str, ...]] = {}
        self._folders = Folders(conversation, self._labels)
        self._status: dict[str, Status] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.conversation.close()
        else:
            self.conversation.hang_up()

    def folders(self) -> Sequence[Folder]:
        """All folders, and what the server tells of their state along with it."""
        with self._in_words():
            listing = list_folders(self.conversation, foreign=self._foreign)
        self._status = dict(listing.status)
        by_role = {folder.role: folder.path for folder in reversed(listing.folders)}
        self._labels |= {label: by_role[role] for label, role in _GMAIL.items() if role in by_role}
        return listing.folders

    def changes(self, folder: Folder, cursor: bytes) -> Iterator[Page]:
        """What has happened since. What the listing said of the folder counts once: it may save opening it."""
        with self._in_words():
            yield from changes(self._folders, folder.id, cursor, self._status.pop(folder.id, None))

    def fetch(self, folder: Folder, items: Sequence[Item]) -> Iterator[Fetched | Failed]:
        """The items' bytes, as the server once received them."""
        if not items:
            return
        with self._in_words():
            validity = self._folders.opened(folder.id).validity
            wanted = {uid: item for item in items if (uid := uid_of(item.id, validity)) is not None}
            for item in items:
                if uid_of(item.id, validity) is None:
                    why = _("The server has numbered the folder's messages anew; it is read again.")
                    yield Failed(item, why, gone=True)
            if wanted:
                yield from Bodies(self._folders, wanted)

    def delete(self, folder: Folder, ids: Sequence[str]) -> frozenset[str]:
        """Expunge these; ids of a time before the server has numbered its messages anew are left alone."""
        with self._in_words():
            return delete(self._folders, folder.id, ids) if ids else frozenset()

    def newest(self, folder: Folder) -> Item | None:
        """The folder's newest message, by its id alone; None if it is empty."""
        with self._in_words():
            opened = self._folders.opened(folder.id)
            uid = self._folders.last_uid() if opened.messages else 0
            return Item(item_id(opened.validity, uid)) if uid else None

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except RefusedError as error:
            text = later("{host} refuses: “{words}”.")
            raise RemoteDeniedError(text, host=self.conversation.wire.host, words=error.message) from error
