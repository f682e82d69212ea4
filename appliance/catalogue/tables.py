"""The tables of the catalogue: which records there are, which message each is a form of, and whose they are.

It is a projection of the log, made anew by ``mailkeep rebuild``. Nothing in it can be read as mail: addresses and
contents appear as keyed hashes only, folders' paths are encrypted, what is displayed lives in the index.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table


class Base:
    """Where Alembic finds the tables."""

    metadata = MetaData()


meta = Table(
    "meta", Base.metadata,
    Column("key", String, primary_key=True),
    Column("value", Integer, nullable=False),
)  # fmt: skip
"""``change``: the last number given out in the change sequence; ``settings``: the settings entry up to which
owners are true; ``identity``: a random number that tells this catalogue, and with it its change sequence, from any
other."""

volume = Table(
    "volume", Base.metadata,
    Column("id", Integer, primary_key=True),
    Column("path", String, unique=True, nullable=False),  # relative to volumes/
    Column("cursor", Integer, nullable=False),  # offset behind the last projected record
    Column("finished", Boolean, nullable=False),  # closed and projected to its end
    Column("places", Integer, nullable=False, server_default="0"),  # records of type place before the cursor
)  # fmt: skip

message = Table(
    "message", Base.metadata,
    Column("n", Integer, primary_key=True),
    Column("id", LargeBinary, unique=True, nullable=False),  # keyed hash of MessageFacts.identity, 16 bytes
    Column("change", Integer, nullable=False),  # number in the change sequence
    Column("shard", Integer, nullable=False),  # of the index: the quarter of its first record, fixed for good
)  # fmt: skip
"""One row a message as a person sees it: a group of records whose originals say the same. Its id depends on what
the message says alone, so that a rebuild in another order gives every message its old id."""
Index("message_shard", message.c.shard, message.c.change)

record = Table(
    "record", Base.metadata,
    Column("n", Integer, primary_key=True),
    Column("id", LargeBinary, unique=True, nullable=False),  # 16 bytes
    Column("volume", ForeignKey("volume.id"), nullable=False),
    Column("offset", Integer, nullable=False),
    Column("length", Integer, nullable=False),
    Column("message", ForeignKey("message.n"), index=True, nullable=False),
    Column("mailbox", LargeBinary, index=True, nullable=False),  # 16 bytes
    Column("received_at", Integer, index=True, nullable=False),  # microseconds
    Column("content", LargeBinary, nullable=False),  # keyed hash of the original, under the mailbox's content key
    Column("size", Integer, nullable=False),  # bytes as received
    Column("report", Boolean, nullable=False),  # a journal report
    Column("unparsed", Boolean, nullable=False),
)  # fmt: skip

ownership = Table(
    "ownership", Base.metadata,
    Column("archive", String, primary_key=True),
    Column("record", ForeignKey("record.n"), primary_key=True),
    sqlite_with_rowid=False,
)  # fmt: skip
Index("ownership_record", ownership.c.record)

participation = Table(
    "participation", Base.metadata,
    Column("address", LargeBinary, primary_key=True),  # keyed hash
    Column("record", ForeignKey("record.n"), primary_key=True),
    Column("domain", LargeBinary, nullable=False),  # keyed hash of the address's domain
    sqlite_with_rowid=False,
)  # fmt: skip
"""Every address that would make its holder an owner of the record: by it late users receive their mail."""
Index("participation_record", participation.c.record)

folder = Table(
    "folder", Base.metadata,
    Column("n", Integer, primary_key=True),
    Column("id", LargeBinary, unique=True, nullable=False),  # keyed hash of archive and path, 16 bytes
    Column("archive", String, index=True, nullable=False),
    Column("parent", ForeignKey("folder.n"), index=True),  # the folder that it is in
    Column("path", LargeBinary, nullable=False),  # sealed, see FolderNames
    Column("role", String, nullable=False),  # as in mail.folders.Role
    Column("role_at", Integer, nullable=False),  # when it was found to have that role, microseconds
)  # fmt: skip
"""Folders of fetched mail, and those that they are in, each in one archive."""

place = Table(
    "place", Base.metadata,
    Column("record", LargeBinary, primary_key=True),  # 16 bytes
    Column("folder", ForeignKey("folder.n"), primary_key=True),
    Column("message", ForeignKey("message.n"), index=True),  # once the record is there
    sqlite_with_rowid=False,
)  # fmt: skip
"""Which records lay in which folders. A place may be known before its record is."""
Index("place_folder", place.c.folder, place.c.message)
