"""The part of the double that has imports: one that waits for its files, one at work, one over, one that failed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal, Unpack

from appliance.services import api
from appliance.services.client import ImportSettings
from tests.imports_double import ImportsDouble

SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class WebImportsDouble:
    """Imports in memory; mixed into ``ArchiveDouble``."""

    def _admin(self, token: str) -> None:
        raise NotImplementedError

    def begin_imports(self) -> None:
        """Four of them."""
        self.imported = ImportsDouble()
        self.imported.remotes = {
            "office-nas": {
                "Old mail/2009/anna-berg.pst": b"one\n", "Old mail/jonas-müller-2004-2012.pst": b"one\ntwo\n",
                "office.ost": b"one\ntwo\nthree\n", "Listserver archive (do not delete).zip": b"four\n",
            }
        }  # fmt: skip
        self.imported.watched = "/var/lib/mailkeep-import"
        self.imported.watched_entries = (
            api.ImportWatchEntry("anna.berg@example.org/old.pst", "running", "", 3),
            api.ImportWatchEntry("anna.berg@example.org/Letters", "settling"),
            api.ImportWatchEntry("Anna", "refused", "The folder's name is no address; it is left alone."),
        )
        now = int(time.time())
        done = api.ImportCounts(48_211, 31_077, 16_020, 1_102, 12, 2_911_004_512)
        files = (
            api.ImportFile(
                number=1, name="anna-berg-2009-2016.pst", size=4_911_004_512, arrived=4_911_004_512, state="done",
                counts=api.ImportCounts(30_000, 20_000, 9_990, 0, 10, 2_000_000_000), archive="anna.berg@example.org",
                sha256=SHA, format="pst", expected=30_000,
            ),
            api.ImportFile(
                number=2, name="anna-berg-2017-2021.pst", size=3_011_004_512, arrived=3_011_004_512, state="done",
                counts=api.ImportCounts(18_211, 11_077, 6_030, 1_102, 2, 911_004_512), archive="anna.berg@example.org",
                target=("Old mail",), sha256=SHA, format="pst", words="The folder “Journal” could not be read.",
            ),
        )  # fmt: skip
        problems = tuple(
            api.ImportProblem(
                1 + number % 2, "Top of Personal Folders / Inbox", str(2_097_188 + 32 * number), what,
                "Its body cannot be read: the block 0x4a11 is damaged." if what == "failed" else "It is a task.",
            )
            for number in range(240)
            for what in (("failed", "skipped", "warning")[number % 3],)
        )  # fmt: skip
        usual: dict[str, Any] = {
            "owners": "archive", "archive": "anna.berg@example.org", "folder": (), "dry_run": False,
            "recovered": False, "others": False, "by": "Jonas Müller", "queued": now - 5000,
        }  # fmt: skip
        self.imported.known = {
            1: api.ImportInfo(
                id=1, title="notes.docx", **usual, state="failed", begun=now - 9000, ended=now - 8990,
                counts=api.ImportCounts(), files_done=1, files_all=1, size=18_000,
                words="notes.docx is no file of mail. Choose PST, OST, MSG, EML, mbox, ZIP or tar.",
            ),
            2: api.ImportInfo(
                id=2, title="Anna Berg’s old Outlook files", **{**usual, "folder": ("Old mail", "Outlook")},
                state="done", begun=now - 4000, ended=now - 3400, counts=done, files_done=2, files_all=2,
                size=7_922_009_024, files=files, problems=problems, unlisted=874,
            ),
            3: api.ImportInfo(
                id=3, title="list.csv", **{**usual, "owners": "addresses", "archive": "", "dry_run": True},
                state="running", begun=now - 60, ended=None, counts=api.ImportCounts(9_000, 8_000, 600, 399, 1, 10**9),
                size=9_000_000_000, files_done=1, files_all=2,
                files=(
                    files[0],
                    api.ImportFile(
                        number=2, name="office.ost", size=4_000_000_000, arrived=4_000_000_000, state="running",
                        counts=api.ImportCounts(4_000, 3_990, 9, 0, 1), expected=16_000, folder="Inbox / Projects",
                        format="ost", sha256=SHA,
                    ),
                ),
            ),
        }  # fmt: skip
        self.imported.import_begin(title="Upload for anna.berg@example.org", archive="anna.berg@example.org")

    async def imports(self, token: str, *, limit: int = 50) -> tuple[api.ImportInfo, ...]:
        return self._imports(token, "imports", limit=limit)

    async def import_get(self, token: str, *, id: int, problems: int = 1000) -> api.ImportInfo:
        return self._imports(token, "import_get", id=id, problems=problems)

    async def import_begin(self, token: str, *, title: str, **settings: Unpack[ImportSettings]) -> api.ImportInfo:
        return self._imports(token, "import_begin", title=title, **settings)

    async def import_file(
        self, token: str, *, id: int, name: str, size: int, archive: str = "", folder: tuple[str, ...] = (),
        password: str = "",
    ) -> api.ImportFile:  # fmt: skip
        return self._imports(
            token, "import_file", id=id, name=name, size=size, archive=archive, folder=folder, password=password
        )

    async def import_write(self, token: str, *, id: int, file: int, offset: int, data: bytes) -> int:
        return self._imports(token, "import_write", id=id, file=file, offset=offset, data=data)

    async def import_arrived(self, token: str, *, id: int, file: int, sha256: str = "") -> api.ImportFile:
        return self._imports(token, "import_arrived", id=id, file=file, sha256=sha256)

    async def import_complete(self, token: str, *, id: int) -> api.ImportInfo:
        return self._imports(token, "import_complete", id=id)

    async def import_stop(self, token: str, *, id: int) -> api.ImportInfo:
        return self._imports(token, "import_stop", id=id)

    async def import_report(self, token: str, *, id: int, form: Literal["csv", "html"]) -> bytes:
        return self._imports(token, "import_report", id=id, form=form)

    async def import_from_remote(
        self, token: str, *, id: int, remote: str, paths: Sequence[str], archive: str = "",
        folder: tuple[str, ...] = (), password: str = "", last: bool = False,
    ) -> api.ImportInfo:  # fmt: skip
        return self._imports(
            token, "import_from_remote", id=id, remote=remote, paths=paths, archive=archive, folder=folder,
            password=password, last=last,
        )  # fmt: skip

    async def remote_files(self, token: str, *, name: str, folder: str = "") -> api.RemoteListing:
        return self._imports(token, "remote_files", name=name, folder=folder)

    async def import_watch(self, token: str) -> api.ImportWatch:
        return self._imports(token, "import_watch")

    async def import_watch_set(self, token: str, *, folder: str) -> api.ImportWatch:
        return self._imports(token, "import_watch_set", folder=folder)

    def _imports(self, token: str, method: str, **params: Any) -> Any:
        self._admin(token)
        return self.imported.ask(method, **params)
