"""What came of imports, in the audit trail: a line for each file with its SHA-256 and sums, and one for the import.

The ledger may be lost, the trail may not. A crash between the two writes a line twice rather than never.
"""

from __future__ import annotations

from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.collector.importing_ledger import Imports
from appliance.services.principal import SYSTEM


class Auditing:
    """What one open archive notes."""

    def __init__(self, archive: Archive, imports: Imports) -> None:
        self._archive = archive
        self._imports = imports

    def round(self) -> None:
        """Note what is over and was not noted yet. Raises StorageError, UnavailableError."""
        files, over = self._imports.unaudited()
        for one in files:
            self._archive.note(SYSTEM, "import.file", _of_file(one.id, one.file))
            self._imports.note_audited(one.id, one.file.number)
        for id in over:
            self._archive.note(SYSTEM, "import.end", _of_import(self._imports.get(id)))
            self._imports.note_audited(id)


def sums(counts: api.ImportCounts) -> str:
    """What became of the items, in one line."""
    return (
        f"{counts.found} found: {counts.archived} archived, {counts.already} already there, {counts.skipped} skipped, "
        f"{counts.failed} failed"
    )


def _of_file(id: int, file: api.ImportFile) -> str:
    digest = f"SHA-256 {file.sha256}" if file.sha256 else "did not arrive"
    return f"import {id}, “{file.name}”, {file.size} bytes, {digest}: {file.state}, {sums(file.counts)}"


def _of_import(one: api.ImportInfo) -> str:
    dry = ", dry run" if one.dry_run else ""
    return f"import {one.id} “{one.title}”{dry}: {one.state}, {one.files_all} files, {sums(one.counts)}"
