"""What a MAPI item is to those who make a message of it, wherever it lies: in a PST or OST, an MSG file, a TNEF stream.

Properties go by the upper half of their tag (MS-OXPROPS), named ones by their set and their name or number
(MS-OXPROPS section 1.3.2); their types are Python's: int, bool, float, str (decoded), bytes, datetime (aware, UTC; None
where the stored time is none), and tuples of these for properties with several values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

One = int | bool | float | str | bytes | datetime
Value = One | tuple[One, ...]

Kind = Literal["mail", "calendar", "contact", "task", "journal", "note", "other"]
"""What an item is, after its message class (MS-OXCMSG section 2.2.1.3); "note" is a sticky note."""


class ItemError(Exception):
    """An item cannot be read; its text says why, in a sentence for an administrator."""


class Properties(Protocol):
    """A property bag. What cannot be read is as if it were not there, and stands in ``damaged``."""

    def get(self, id: int) -> Value | None:
        """The property of that number (0x0037 for the subject)."""
        ...

    def named(self, set: UUID, name: int | str) -> Value | None:
        """The named property."""
        ...

    @property
    def damaged(self) -> Sequence[str]:
        """What could not be read so far, a few words each."""
        ...


class Attachment(Protocol):
    """An attachment (MS-OXCMSG section 2.2.2)."""

    @property
    def properties(self) -> Properties: ...

    def pieces(self) -> Iterator[bytes]:
        """Its bytes (PidTagAttachDataBinary, or the OLE storage as a compound file), in pieces, from the beginning each
        time it is called; none where it is an item. Raises ItemError where they cannot be read to their end."""
        ...

    def item(self) -> Item | None:
        """The item that is embedded (PidTagAttachMethod 5), None for any other attachment."""
        ...


class Item(Protocol):
    """A message, appointment, contact, …"""

    @property
    def properties(self) -> Properties: ...

    @property
    def recipients(self) -> Sequence[Properties]: ...

    @property
    def attachments(self) -> Sequence[Attachment]: ...


class AddressBook(Protocol):
    """Which SMTP address somebody has whom an item knows only by a name in Exchange (``/O=…/CN=…``)."""

    def smtp(self, exchange: str) -> str:
        """The address, "" where it is not known."""
        ...
