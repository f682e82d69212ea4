"""The support bundle: what somebody needs who is to help, in one ZIP, and nothing that is nobody's business.

Versions, how the processes and their logs are, what the doctor finds, numbers, alarms, settings without secrets, the
list of files. Addresses, host names and people are pseudonyms (``pseudonyms``). Never mail, subjects, what was searched
for, keys, passwords or tokens. It is a job; the ZIP waits encrypted, as an export does.
"""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import secrets
import shutil
import socket
import sqlite3
import ssl
import stat
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import select

from appliance import __version__
from appliance.errors import UsageError
from appliance.host.units import Units
from appliance.language import later
from appliance.mail.addresses import domain
from appliance.services import api, metrics
from appliance.services.archive import Archive
from appliance.services.client import StreamHead
from appliance.services.exporting import EncryptedFile
from appliance.services.jobs import Jobs, Progress
from appliance.services.looking import Looking
from appliance.services.paths import Paths
from appliance.services.principal import Principal
from appliance.services.profiles.checking import named
from appliance.services.pseudonyms import Pseudonyms
from appliance.services.reading import Download
from appliance.settings import events, tables

Part = tuple[str, Callable[[], str]]
"""A file of the bundle: its name, and what makes its content."""

KIND = "support"
LOG_LINES = 2000
"""Of each process."""
MOST_FILES = 200_000
_WITHOUT_NAMES = frozenset({"README.txt", "versions.json", "audit.csv"})
"""Parts of words of the program alone, some of which look like host names."""
ABOUT = """This is a support bundle of a mailkeep archive.

It holds versions, the state and the logs of the processes, findings of `mailkeep doctor`, numbers, alarms, settings
without secrets, and the names and sizes of the archive's files.

It holds no mail, no subjects, nothing that was searched for, no keys, passwords or tokens. Addresses, host names, IP
addresses and names of people are replaced by pseudonyms; equal ones look equal, in this bundle and in later ones of the
same archive. Look through it before you hand it on: it is plain text.
"""


class Support:
    """The services about support bundles of one open archive."""

    def __init__(self, archive: Archive, jobs: Jobs, looking: Looking) -> None:
        self._archive = archive
        self._jobs = jobs
        self._looking = looking

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {"support_begin": self.begin, "support_download": self.download}

    def begin(self, principal: Principal) -> api.JobInfo:
        """Start to make a bundle."""
        principal.require("admin")
        file = EncryptedFile(self._archive.paths.exports / secrets.token_hex(8))
        name = name_at(self._archive.clock())

        def work(progress: Progress) -> str:
            left_out = write_bundle(self._archive, self._jobs, self._looking, file, progress)
            file.finish()
            progress.result = _Finished(name, file)
            return f"Not in it: {', '.join(left_out)}." if left_out else ""

        title = later("Support bundle")
        return self._jobs.begin(
            principal, KIND, title, work, what=title, download=name, shared_with="admin", gone=file.remove
        )

    def download(self, principal: Principal, *, id: str) -> Download:
        """The finished ZIP."""
        principal.require("admin")
        made = self._jobs.result(principal, id=id)
        if not isinstance(made, _Finished):
            raise UsageError("That job made no support bundle.")
        self._archive.note(principal, "support.download", made.name)
        return Download(StreamHead(made.name, "application/zip", made.file.size), made.file.read())


class _Finished(NamedTuple):
    """A bundle that can be fetched."""

    name: str
    file: EncryptedFile


def name_at(now: float) -> str:
    """What a bundle of that time is called."""
    return datetime.fromtimestamp(now).strftime("mailkeep-support-%Y-%m-%d-%H%M.zip")


def write_bundle(archive: Archive, jobs: Jobs, looking: Looking, sink: Any, progress: Progress) -> list[str]:
    """Write the ZIP into ``sink``; the names of the parts that could not be made.

    A part that fails is left out and says why in its place: a bundle is made when something is wrong.
    """
    return write_parts(tuple(_parts(archive, jobs, looking)), ABOUT, _pseudonyms(archive), sink, progress)


def write_parts(parts: Sequence[Part], about: str, pseudonyms: Pseudonyms, sink: Any, progress: Progress) -> list[str]:
    """As ``write_bundle``, of these parts; ``about`` is what README.txt says."""
    left_out = []
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("README.txt", about)
        for done, (name, make) in enumerate(parts):
            if progress.stopped():
                break
            progress.report(done, len(parts))
            try:
                content = make()
            except Exception as error:  # whatever is broken on this box is no reason not to tell of the rest
                left_out.append(name)
                content = pseudonyms.redact(f"{type(error).__name__}: {error}\n")
            bundle.writestr(name, content if name in _WITHOUT_NAMES else pseudonyms.redact(content))
        progress.report(len(parts), len(parts))
    return left_out


def parts_of_box(paths: Paths) -> Iterator[Part]:
    """What can be told of the box without any key."""
    yield "versions.json", _versions
    yield "system.json", lambda: _system(paths)
    yield "files.csv", lambda: _files(paths.data)
    yield "doctor.json", lambda: _doctor(paths)
    yield "services.json", lambda: as_json(Units().states())
    yield "log.txt", _log


def _parts(archive: Archive, jobs: Jobs, looking: Looking) -> Iterator[Part]:
    yield from parts_of_box(archive.paths)
    yield "status.json", lambda: as_json(looking.now())
    yield "alarms.json", lambda: as_json(archive.alarms.book)
    yield "metrics.txt", lambda: metrics.Metrics(archive, jobs, looking).text()
    yield "settings.json", lambda: _settings(archive)
    yield "jobs.json", lambda: as_json([_job(one) for one in jobs.all()])
    yield "replication.json", lambda: as_json(archive.replica_states.history.runs())
    yield "audit.csv", lambda: _audit(archive)


def _versions() -> str:
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    packages = {one.metadata["Name"]: one.version for one in metadata.distributions()}
    return as_json({
        "mailkeep": __version__, "python": sys.version, "system": release.get("PRETTY_NAME", ""),
        "kernel": platform.release(), "machine": platform.machine(), "sqlite": sqlite3.sqlite_version,
        "openssl": ssl.OPENSSL_VERSION, "packages": dict(sorted(packages.items())),
    })  # fmt: skip


def _system(paths: Paths) -> str:
    def read(path: str) -> list[str]:
        try:
            return Path(path).read_text("utf-8", "replace").splitlines()
        except OSError:
            return []

    places = {"data": paths.data, "live index": paths.live.parent}
    return as_json({
        "processors": os.cpu_count(), "load": os.getloadavg(), "memory": read("/proc/meminfo")[:8],
        "swaps": read("/proc/swaps"), "uptime": read("/proc/uptime"), "uid": os.getuid(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "disks": {name: shutil.disk_usage(place)._asdict() for name, place in places.items() if place.exists()},
        "mounts": [line.split()[:4] for line in read("/proc/self/mounts") if line.split()[0].startswith("/dev/")],
    })  # fmt: skip


def _settings(archive: Archive) -> str:
    """What is set, but for secrets, passwords and the texts that people wrote."""
    settings = archive.settings
    notifying, since = settings.notifying()
    with settings.read() as database:
        grants = [row.role for row in database.scalars(select(tables.Grant))]
    return as_json({
        "gateway": settings.gateway(),
        "mailboxes": [_without(one, "name", "description") for one in settings.mailboxes()],
        "users": settings.count_users(),
        "roles": {role: grants.count(role) for role in sorted(set(grants))},
        "remotes": [_remote(one) for one in settings.remotes()],
        "replication": settings.replication(),
        "profiles": [_profile(one) for one in settings.profiles()],
        "watch": [_without(one) for one in settings.watches().values()],
        "notifying": {**_without(notifying, "password", "secret", "user", "url"), "webhook": bool(notifying.url),
                      "since": since},
        "timestamps": bool(settings.timestamping()),
        "metrics_token": bool(settings.metrics_token()),
        "holds": len(settings.holds().held),
    })  # fmt: skip


def _remote(put: events.RemotePut) -> dict[str, Any]:
    """Which options a remote has, not what is in them: there are credentials among them."""
    return {**_without(put, "options", "path"), "options": sorted(put.options)}


def _profile(put: events.ProfilePut) -> dict[str, Any]:
    """Which options a profile has, and how it runs; not whose mail, from where, or which."""
    plain = _without(put, "options", "archive", "chosen", "include", "exclude", "sender", "subject")
    return {**plain, "options": sorted(put.options), "chosen": len(put.chosen)}


def _without(value: msgspec.Struct, *names: str) -> dict[str, Any]:
    plain = msgspec.structs.asdict(value)
    return {name: one.hex() if isinstance(one, bytes) else one for name, one in plain.items() if name not in names}


def _job(job: api.JobInfo) -> dict[str, Any]:
    """A job without its title, which can hold what somebody searched for."""
    return _without(job, "title", "download", "message")


def _audit(archive: Archive) -> str:
    """What was done when, of the last entries; not by whom and not about what."""
    with archive.settings.read() as database:
        newest = select(tables.AuditRow).order_by(tables.AuditRow.number.desc()).limit(LOG_LINES)
        rows = [(row.number, row.at, row.action) for row in database.scalars(newest)]
    return _table(("number", "at", "action"), rows)


def _files(data: Path) -> str:
    """Every file with its size; names hold ids, and names of remotes."""
    rows = []
    for folder, folders, names in os.walk(data):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            try:
                found = path.lstat()
            except OSError:
                continue
            rows.append((
                path.relative_to(data).as_posix(), found.st_size, int(found.st_mtime), stat.filemode(found.st_mode),
                found.st_uid, found.st_gid,
            ))  # fmt: skip
            if len(rows) == MOST_FILES:
                return _table(("path", "size", "changed", "mode", "uid", "gid"), rows)
    return _table(("path", "size", "changed", "mode", "uid", "gid"), rows)


def _doctor(paths: Paths) -> str:
    from appliance.services import doctoring  # it brings much with it, and few ask for a bundle

    return as_json(list(doctoring.examine(paths)))


def _log() -> str:
    units = Units()
    parts = dict.fromkeys(unit.part for unit in units.states())
    # Each by itself: the one that says most, which is the gateway, would leave no room for the others.
    lines = sorted((line for part in parts for line in units.logs(part, lines=LOG_LINES)), key=lambda line: line.at)
    return "".join(
        f"{datetime.fromtimestamp(one.at / 1e6, UTC).isoformat()} {one.part} {one.level} {one.text}\n" for one in lines
    )


def _pseudonyms(archive: Archive) -> Pseudonyms:
    """Knows every name that is in the settings."""
    settings = archive.settings
    with settings.read() as database:
        people = [row.name for row in database.scalars(select(tables.User))]
        addresses = [row.address for row in database.scalars(select(tables.Address))]
        doors = [row.address for row in database.scalars(select(tables.Door))]
    notifying, _since = settings.notifying()
    addresses += [*doors, notifying.sender, *notifying.recipients]
    options = [value for put in settings.remotes() for value in (*put.options.values(), put.path)]
    options += [value for put in settings.profiles() for value in named(put)]
    hosts = {
        settings.gateway().hostname, socket.gethostname(), socket.getfqdn(), notifying.host,
        *(domain(address) for address in addresses if "@" in address),
        *(name for one in settings.mailboxes() for name in (*one.domains, *one.catch_all)),
        *(value for value in options if len(value) > 3),
    }  # fmt: skip
    return Pseudonyms(
        archive.keyring.key("support"),
        addresses=addresses,
        hosts=(one for one in hosts if one and one != "localhost"),
        people=people,
    )


def as_json(value: Any) -> str:
    """A value as the bundle's files have it."""
    plain = msgspec.to_builtins(value, enc_hook=str)
    return json.dumps(plain, indent=1, ensure_ascii=False, default=str) + "\n"


def _table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(heads)
    lines.writerows(rows)
    return text.getvalue()
