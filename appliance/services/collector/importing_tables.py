"""The tables of imports in the collector's ledger (``importing_ledger``)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import CheckConstraint, Column, Integer, LargeBinary, MetaData, String, Table

from appliance.settings.columns import EncryptedText

COUNTS: Final = ("found", "archived", "already", "skipped", "failed", "bytes")
"""Columns of a file that are the fields of ``api.ImportCounts``, in their order."""

metadata = MetaData()

import_table = Table(
    "import_run", metadata,
    Column("id", Integer, primary_key=True),
    Column("title", EncryptedText, nullable=False),
    Column("owners", String, nullable=False),
    Column("archive", String, nullable=False),  # a user's id, or empty
    Column("folder", EncryptedText, nullable=False),
    Column("dry_run", Integer, nullable=False),
    Column("recovered", Integer, nullable=False),
    Column("others", Integer, nullable=False),
    Column("code_page", String, nullable=False),
    Column("asked_by", String, nullable=False),
    Column("queued", Integer, nullable=False),  # microseconds, as all times here
    Column("touched", Integer, nullable=False),  # when something last came, or was asked for
    Column("begun", Integer),
    Column("ended", Integer),
    Column("complete", Integer, nullable=False, default=0),  # 1 where no more files come
    Column("stopping", Integer, nullable=False, default=0),
    Column("problems", Integer, nullable=False, default=0),  # all of them, listed or not
    Column("words", EncryptedText, nullable=False, default=""),
    Column("audited", Integer, nullable=False, default=0),
    sqlite_autoincrement=True,  # no number comes twice
)  # fmt: skip
file_table = Table(
    "import_file", metadata,
    Column("import", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("name", EncryptedText, nullable=False),
    Column("size", Integer, nullable=False),
    Column("arrived", Integer, nullable=False, default=0),
    Column("sha256", EncryptedText, nullable=False, default=""),
    Column("archive", String, nullable=False),
    Column("target", EncryptedText, nullable=False),
    Column("password", EncryptedText, nullable=False),
    Column("scratch", String, nullable=False),  # name of the sealed file; empty once it may go
    Column("state", String, nullable=False),
    *(Column(name, Integer, nullable=False, default=0) for name in COUNTS),
    Column("dealt", Integer, nullable=False, default=0),  # items before this number are dealt with
    Column("expected", Integer),
    Column("format", String, nullable=False, default=""),
    Column("folder", EncryptedText, nullable=False, default=""),
    Column("words", EncryptedText, nullable=False, default=""),
    Column("again_at", Integer, nullable=False, default=0),  # not to be tried before
    Column("audited", Integer, nullable=False, default=0),
    CheckConstraint("found = archived + already + skipped + failed"),
)  # fmt: skip
problem_table = Table(
    "import_problem", metadata,
    Column("id", Integer, primary_key=True),
    Column("import", Integer, nullable=False, index=True),
    Column("file", Integer, nullable=False),
    Column("folder", EncryptedText, nullable=False),
    Column("item", EncryptedText, nullable=False),
    Column("what", String, nullable=False),
    Column("why", EncryptedText, nullable=False),
)  # fmt: skip
claim_table = Table(
    "import_claim", metadata,
    Column("import", Integer, primary_key=True),
    Column("file", Integer, primary_key=True),
    Column("content", LargeBinary, primary_key=True),
    Column("item", Integer, nullable=False),
    sqlite_with_rowid=False,
)  # fmt: skip
"""Contents that the batch under way is about to archive: after a crash they count as archived by it."""
seen_table = Table(
    "import_seen", metadata,
    Column("import", Integer, primary_key=True),
    Column("content", LargeBinary, primary_key=True),
    sqlite_with_rowid=False,
)  # fmt: skip
"""Contents that a dry run has counted: what comes again would not be archived again."""
