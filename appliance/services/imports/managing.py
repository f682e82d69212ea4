"""Imports: what an administrator begins, feeds, looks at and stops. Reading the files is the collector's."""

from __future__ import annotations

import codecs
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Literal, Unpack

import msgspec

from appliance.errors import MailkeepError, NotFoundError, UsageError
from appliance.keys.agent_client import AgentKeys
from appliance.language import _, later
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.client import ImportSettings
from appliance.services.collector.asking import ask
from appliance.services.collector.importing_ledger import Announced, Imports, Plan
from appliance.services.collector.ledger import Ledger
from appliance.services.imports.arriving import Arriving
from appliance.services.imports.auditing import Auditing
from appliance.services.imports.reporting import as_csv, as_html
from appliance.services.principal import Principal
from appliance.services.profiles.telling import Telling, people
from appliance.services.repeating import Repeating
from appliance.services.users import find_user

log = logging.getLogger(__name__)

ROUND_SECONDS: Final = 5.0
"""Between two looks whether something is over."""
FORSAKEN_SECONDS: Final = 7 * 24 * 3600.0
"""After so long without a byte an import that waits for files is over, and what arrived of them goes."""
MOST_SHOWN: Final = 20_000
"""Problems that come along with an import; the report has more."""
LARGEST: Final = 2**43
"""Bytes of a file: 8 TiB."""
DEEPEST: Final = 32
"""Folders in one another that somebody may name."""
LONGEST_NAME: Final = 255
"""Characters of a folder's name."""


class ImportServices:
    """The services of one open archive."""

    def __init__(self, archive: Archive, telling: Telling) -> None:
        self._archive = archive
        self._telling = telling
        self._opening = threading.Lock()
        self._opened: Ledger | None = None
        self._imports: Imports | None = None
        self.arriving = Arriving(archive.paths.scratch, telling.keys, self.ledger)
        self.completed: Callable[[Sequence[api.ImportInfo]], tuple[api.ImportInfo, ...]] = tuple
        """Adds to imports what is known of files that the archive fetches by itself."""
        self._rounds = Repeating("imports", self.round, ROUND_SECONDS)

    def methods(self) -> Mapping[str, Callable[..., object]]:
        """The services by name."""
        return {
            "imports": self.list, "import_get": self.get, "import_begin": self.begin, "import_file": self.file,
            "import_write": self.write, "import_arrived": self.arrived, "import_complete": self.complete,
            "import_stop": self.stop, "import_report": self.report,
        }  # fmt: skip

    def start(self) -> None:
        """Look after what is over from now on."""
        self._rounds.start()

    def close(self) -> None:
        """End. What the collector does goes on."""
        self._rounds.close()
        self.arriving.close()
        if self._opened is not None:
            self._opened.close()

    def ledger(self) -> Imports:
        """Where both sides write down how far they are. Raises StorageError, UnavailableError."""
        with self._opening:
            if self._imports is None:
                self._opened = Ledger(self._archive.paths.ledger, self._telling.keys())
                self._imports = Imports(self._opened, clock=self._archive.clock)
            return self._imports

    # -- services ---------------------------------------------------------------------------------------------

    def list(self, principal: Principal, *, limit: int = 50) -> tuple[api.ImportInfo, ...]:
        """The imports that are remembered, newest first, without their files."""
        principal.require("admin")
        names = self._names()
        return self.completed([names.shown(one) for one in self.ledger().list(min(max(limit, 0), 1000))])

    def get(self, principal: Principal, *, id: int, problems: int = 1000) -> api.ImportInfo:
        """One import, with its files and so many of what was not archived, or not whole, what failed first. Raises
        NotFoundError."""
        principal.require("admin")
        return self._one(id, problems)

    def begin(self, principal: Principal, *, title: str, **settings: Unpack[ImportSettings]) -> api.ImportInfo:
        """A new import, which files are given to afterwards. Raises UsageError, NotFoundError for an archive."""
        principal.require("admin")
        owners, address = settings.get("owners", "archive"), settings.get("archive", "")
        if owners == "addresses" and address:
            raise UsageError(_BOTH)
        plan = Plan(
            title=title.strip()[:LONGEST_NAME], owners=owners, archive=self._user(address) if address else "",
            folder=_folder(settings.get("folder", ())), dry_run=settings.get("dry_run", False),
            recovered=settings.get("recovered", False), others=settings.get("others", False),
            code_page=_code_page(settings.get("code_page", "")),
        )  # fmt: skip
        self._telling.prepare()
        self._telling.tell()
        id = self.ledger().begin(plan, principal.id)
        whose = "by address" if owners == "addresses" else plan.archive or "an archive for each file"
        dry = ", dry run" if plan.dry_run else ""
        self._archive.note(principal, "import.begin", f"import {id} “{plan.title}”: {whose}{dry}")
        return self._one(id, 0)

    def file(
        self, principal: Principal, *, id: int, name: str, size: int, archive: str = "", folder: tuple[str, ...] = (),
        password: str = "",
    ) -> api.ImportFile:  # fmt: skip
        """A file that is to arrive. ``archive`` (an address) and ``folder`` where they are others than the import's.
        Raises NotFoundError, UsageError, DiskFullError where there is no room for it, ConflictError where the import
        takes no more files, UnavailableError while others have to be read first."""
        principal.require("admin")
        if not 0 <= size <= LARGEST:
            raise UsageError(later("A file has up to 8 TiB."))
        if not name.strip():
            raise UsageError(later("A file has a name."))
        plan = self.ledger().plan(id)
        if archive and plan.owners == "addresses":
            raise UsageError(_BOTH)
        user = self._user(archive) if archive else plan.archive
        if plan.owners == "archive" and not user:
            raise UsageError(later("Say which archive the file “{name}” goes to."), name=name)
        scratch = self.arriving.prepare(size, archives=not plan.dry_run)
        number = self.ledger().announce(
            id,
            Announced(
                name=name, size=size, archive=user, target=_folder(folder) or plan.folder, password=password,
                scratch=scratch,
            ),
        )  # fmt: skip
        return self._file(id, number)

    def write(self, principal: Principal, *, id: int, file: int, offset: int, data: bytes) -> int:
        """Some bytes of a file, at most ``api.IMPORT_CHUNK`` and, but for its end, at least 64 KiB; how many have
        arrived, durably, which is where to go on. What arrived before is passed over. Raises NotFoundError,
        ConflictError, DiskFullError, StorageError."""
        principal.require("admin")
        if len(data) > api.IMPORT_CHUNK:
            raise UsageError(later("Too many bytes at a time."))
        return self.arriving.write(id, file, offset, data)

    def arrived(self, principal: Principal, *, id: int, file: int, sha256: str = "") -> api.ImportFile:
        """All of a file has arrived; it is read as soon as those before it are. Asked once more it says the same.
        Raises NotFoundError, ConflictError where bytes are missing, DamageError where its SHA-256 (hex) is another."""
        principal.require("admin")
        now = self._file(id, file)
        if now.state == "arriving":
            self.arriving.whole(id, file, sha256)
            self._nudge()
            now = self._file(id, file)
        return now

    def complete(self, principal: Principal, *, id: int) -> api.ImportInfo:
        """No more files come; the import ends when all are read. Raises NotFoundError."""
        principal.require("admin")
        self.ledger().complete(id)
        return self._one(id, 0)

    def stop(self, principal: Principal, *, id: int) -> api.ImportInfo:
        """Ask an import to end. What was archived stays; who imports the files again goes on from there. Raises
        NotFoundError."""
        principal.require("admin")
        if self._one(id, 0).ended is None:
            self._archive.note(principal, "import.stop", f"import {id}")
            words = _("Stopped. What was archived stays; who imports the files again goes on from there.")
            self.ledger().stop(id, words)
            self.arriving.forget(id)
            self._nudge()
        return self._one(id, 0)

    def report(self, principal: Principal, *, id: int, form: Literal["csv", "html"]) -> bytes:
        """The report of an import, as a file (UTF-8). Raises NotFoundError."""
        principal.require("admin")
        one = self._one(id, 0)
        self._archive.note(principal, "import.report", f"import {id}, {form}")
        problems = self.ledger().problems(id)
        return as_csv(one, problems) if form == "csv" else as_html(one, problems, self._archive.clock())

    # -- what goes on beside ----------------------------------------------------------------------------------

    def round(self) -> None:
        """Write down what is over, end what was forsaken, remove what nobody needs."""
        if not self._archive.paths.ledger.exists():
            return
        ledger = self.ledger()
        for id in ledger.forsaken(self._archive.clock() - FORSAKEN_SECONDS):
            ledger.stop(id, _("Nothing more came of it for a week, so it was ended. What was archived stays."))
            self.arriving.forget(id)
        Auditing(self._archive, ledger).round()
        self.arriving.sweep()

    # -- helpers ----------------------------------------------------------------------------------------------

    def _nudge(self) -> None:
        """Have the collector look at once; where it is away, it looks when it comes."""
        if isinstance(self._archive.keyring, AgentKeys):
            threading.Thread(target=self._ask_to_look, name="import-nudge", daemon=True).start()

    def _ask_to_look(self) -> None:
        with suppress(MailkeepError):
            ask(self._archive.paths, "look_at_imports", type(None))

    def _one(self, id: int, problems: int) -> api.ImportInfo:
        (one,) = self.completed([self._names().shown(self.ledger().get(id, min(max(problems, 0), MOST_SHOWN)))])
        return one

    def _file(self, id: int, number: int) -> api.ImportFile:
        return self._names().file(self.ledger().file(id, number))

    def _user(self, address: str) -> str:
        try:
            return find_user(self._archive, address)
        except NotFoundError as error:
            text = later("No user has the address {address}. Create the user first, or synchronise a directory.")
            raise NotFoundError(text, address=address) from error

    def _names(self) -> _Names:
        known = people(self._archive.settings)
        return _Names({one.user: one.addresses[0] for one in known}, {one.user: one.name for one in known})


_BOTH: Final = later("Each message goes to those whose addresses it has, or all to one archive: not both.")


class _Names(msgspec.Struct, frozen=True):
    """What stands for users' ids: their primary addresses as archives, their names as callers."""

    addresses: dict[str, str]
    people: dict[str, str]

    def shown(self, one: api.ImportInfo) -> api.ImportInfo:
        """An import as people read it."""
        return msgspec.structs.replace(
            one, archive=self.addresses.get(one.archive, one.archive), by=self.people.get(one.by, one.by) or one.by,
            files=tuple(map(self.file, one.files)),
        )  # fmt: skip

    def file(self, one: api.ImportFile) -> api.ImportFile:
        """A file as people read it."""
        return msgspec.structs.replace(one, archive=self.addresses.get(one.archive, one.archive))


def _folder(names: Sequence[str]) -> tuple[str, ...]:
    """A folder's path as it was named. Raises UsageError."""
    path = tuple(name.strip() for name in names)
    if len(path) > DEEPEST or any(not name or len(name) > LONGEST_NAME or not name.isprintable() for name in path):
        raise UsageError(
            later("A folder's name has 1 to {longest} characters, and up to {deepest} lie in one another."),
            longest=LONGEST_NAME, deepest=DEEPEST,
        )  # fmt: skip
    return path


def _code_page(name: str) -> str:
    """The code page of that name. Raises UsageError."""
    if not name:
        return ""
    with suppress(LookupError, ValueError):
        "".encode(name)  # what is no text encoding (base64, …) is refused here
        return codecs.lookup(name).name
    raise UsageError(later("There is no code page called “{name}”; cp1252 or shift_jis would be one."), name=name)
