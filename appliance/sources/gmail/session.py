"""A Gmail mailbox, opened: “All Mail” has each message once, and the labels say where it lies.

https://developers.google.com/workspace/gmail/imap/imap-extensions
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from appliance.errors import RemoteDeniedError
from appliance.language import later
from appliance.sources.base import Folder, Item, Page
from appliance.sources.imap.session import ImapSession

_ALONE = frozenset({"all", "drafts", "junk", "trash"})
"""What is read as a folder: drafts are in “All Mail” too and are left out there; spam and trash are not."""


class GmailSession(ImapSession):
    """A ``Session`` in which folders that are labels hold no mail: their messages are in “All Mail”."""

    def folders(self) -> Sequence[Folder]:
        """All folders. Raises RemoteDeniedError where “All Mail” is hidden."""
        listed = super().folders()
        if not any(folder.role == "all" for folder in listed):
            text = later(
                "Gmail does not show “All Mail” over IMAP, so nothing is fetched. In Gmail's settings, under Labels, "
                "tick “Show in IMAP” for All Mail."
            )
            raise RemoteDeniedError(text)
        return [
            msgspec.structs.replace(folder, holds_mail=folder.role in _ALONE, by_labels=folder.role == "all")
            for folder in listed
        ]

    def changes(self, folder: Folder, cursor: bytes) -> Iterator[Page]:
        """What has happened since. A draft that was sent counts as new: it was left out until then."""
        for page in super().changes(folder, cursor):
            if folder.role != "all":
                yield page
                continue
            sent = self._labels.get(r"\SENT")
            yield msgspec.structs.replace(
                page,
                items=tuple(item for item in (*page.items, *_sent(page.changed, sent)) if "draft" not in item.flags),
                changed=tuple(item for item in page.changed if "draft" not in item.flags),
            )


def _sent(changed: Sequence[Item], sent: tuple[str, ...] | None) -> Iterator[Item]:
    return (item for item in changed if sent in item.labels)
