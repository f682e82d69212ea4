"""Remotes of every kind that rclone knows, spoken to through one ``rclone rcd`` (see ``rcd`` and docs/decisions/0091).

What the remotes' interface promises and rclone does not do by itself is done here:

- An object is never overwritten: rclone's ``--immutable`` does not hold for single files, so each upload looks first.
- A half object never has a whole one's name. Most services and rclone's own ``.partial`` files see to that; where
  neither does (WebDAV), the upload has another name until it is complete.
- Trouble that passes is tried again as ``PATIENCE`` says. A transfer begins anew then; of a file over 200 MiB, which
  goes to most services in parts, only the part does.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import secrets
import sysconfig
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import msgspec

from appliance import decoding
from appliance.cloud.backends import SHOWS_HALF_FILES, is_secret, rclone_options, secret_values
from appliance.cloud.rcd import HELD, MEMORY, Daemon, RcError
from appliance.cloud.remote import Moved, RemoteConfig, RemoteEntry, RemoteFile, RemoteObject, Room
from appliance.cloud.words import explain, explain_refused_deletion, full, says_nothing
from appliance.errors import (
    ConflictError,
    DiskFullError,
    MailkeepError,
    NotFoundError,
    RemoteDeniedError,
    RemoteFullError,
    UnavailableError,
    UsageError,
)
from appliance.files import FILES, Files
from appliance.language import later


@dataclass(frozen=True, slots=True)
class Patience:
    """How often rclone makes a request, and after how many seconds a call that failed by then is made again."""

    requests: int
    pauses: tuple[float, ...]


PATIENCE: Final = Patience(3, (1.0, 5.0))
TEMPORARY: Final = ".partial"
"""Ends the names of uploads that are not complete, rclone's and ours; they are no objects."""
LEFTOVER_AGE: Final = timedelta(days=1)
"""After this, nobody is still at an upload that is not complete."""

_FLAGS: Final = ("--contimeout", "15s", "--timeout", "2m", "--user-agent", "mailkeep")
_STOP_PATIENCE: Final = 40  # looks (10 s) that rclone has to break off a transfer
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_COMPARED_AT_ONCE: Final = 8 * 1024 * 1024
_LARGEST_LISTING: Final = 32 * 1024 * 1024
"""Bytes in which rclone lists one folder, some 150,000 entries; a replica's own listings have no such limit."""
_HASHES: Final = ("sha256", "sha1", "md5")  # that rclone and hashlib share, the best first

T = TypeVar("T")
Explain = Callable[[RemoteConfig, int, str], MailkeepError]


class _Item(msgspec.Struct, rename="pascal"):
    """A file as rclone lists it."""

    path: str
    size: int
    mod_time: str
    hashes: dict[str, str] = {}
    is_dir: bool = False


class _Listing(msgspec.Struct):
    list: Sequence[_Item] | None = None


class _Stat(msgspec.Struct):
    item: _Item | None = None


class _About(msgspec.Struct):
    free: int | None = None
    used: int | None = None


class _Stats(msgspec.Struct):
    bytes: int = 0


class _Features(msgspec.Struct, frozen=True, rename="pascal"):
    slow_hash: bool = False  # it reads the whole object to tell


class _Service(msgspec.Struct, rename="pascal"):
    """What rclone says a service can do."""

    hashes: Sequence[str] | None = None
    features: _Features = _Features()

    @property
    def kind(self) -> str:
        """Of the hashes that it knows the best: one that can be made of a file here, if possible."""
        known = self.hashes or ()
        return next((kind for kind in _HASHES if kind in known), known[0] if known else "")


class Rclone:
    """rclone for this process: one child for all remotes, and one more for each bandwidth limit among them.

    ``run`` is made, mode 0700, and holds the children's sockets. ``binary`` is the rclone of this virtual environment
    unless given. Nothing is started before it is needed.
    """

    def __init__(
        self, run: Path, *, binary: Path | None = None, patience: Patience = PATIENCE, files: Files = FILES
    ) -> None:
        self._run = run
        self._binary = binary or Path(sysconfig.get_path("scripts")) / "rclone"
        self._patience = patience
        self._files = files
        self._lock = threading.Lock()
        # rclone has one limit for a process, and a timetable only for that one: so each limit has a process.
        self._daemons: dict[str, Daemon] = {}
        self._sections: dict[tuple[str, str], _Section] = {}

    def remote(self, config: RemoteConfig) -> RcloneRemote:
        """The remote of these settings. Nothing is asked of it yet. Raises UnavailableError where rclone is missing."""
        if not self._binary.is_file():
            raise UnavailableError(
                f"rclone, which moves files to and from remotes, is not installed ({self._binary}). Nothing is lost, "
                "but nothing is replicated either until it is."
            )
        with self._lock:
            daemon = self._daemon(config.bandwidth)
            made = _Section(daemon, config)
            section = self._sections.setdefault((config.bandwidth, made.name), made)
            section.users += 1
        return RcloneRemote(config, section, self._given_back, pauses=self._patience.pauses, files=self._files)

    def tokens(self) -> Mapping[str, Mapping[str, str]]:
        """Options of open remotes that rclone changed itself, by remote: refreshed OAuth tokens, a new host's SSH key.

        They belong into the remote's settings, soon: some services take a refreshed token's predecessor no more.
        """
        with self._lock:
            sections = [section for section in self._sections.values() if section.users]
        changed = {section.remote: section.changed() for section in sections}
        return {remote: options for remote, options in changed.items() if options}

    def pids(self) -> Sequence[int]:
        """The children that run."""
        with self._lock:
            return [daemon.pid for daemon in self._daemons.values() if daemon.pid is not None]

    def close(self) -> None:
        """End the children."""
        with self._lock:
            for daemon in self._daemons.values():
                daemon.close()

    def _daemon(self, bandwidth: str) -> Daemon:
        if bandwidth not in self._daemons:
            flags = [*_FLAGS, "--low-level-retries", str(self._patience.requests)]
            if bandwidth:
                flags += ["--bwlimit", bandwidth]
            name = f"rc{len(self._daemons)}"
            self._daemons[bandwidth] = Daemon(self._run, name, self._binary, flags, files=self._files)
        return self._daemons[bandwidth]

    def _given_back(self, section: _Section) -> None:
        with self._lock:
            section.users -= 1
            if not section.users:
                section.daemon.forget(section.name)


class _Section:
    """A remote's settings in rclone's memory, shared by all that have the same."""

    def __init__(self, daemon: Daemon, config: RemoteConfig) -> None:
        self.daemon = daemon
        self.remote = config.name
        self.users = 0
        self._type = config.type
        self._given = rclone_options(config)
        self._first: dict[str, str] = {}
        self._changed: dict[str, str] = {}
        # Other settings are another section: rclone keeps what it made of a name, and tokens stay with their settings.
        settings = msgspec.json.encode([config.type, sorted(self._given.items())])
        self.name = f"{config.name}-{hashlib.sha256(settings).hexdigest()[:12]}"
        daemon.hide(secret_values(config))

    def ready(self) -> str:
        """The name by which the child that runs now knows it. Raises RemoteDeniedError where an option is unknown."""
        if self.daemon.knows(self.name):
            return self.name
        self._check()
        if self.daemon.section(self.name, self._type, {**self._given, **self._changed}):
            self._first = self._now()
        return self.name

    def changed(self) -> Mapping[str, str]:
        """What is other than it was given; from then on a child that is started again gets that."""
        if self.daemon.knows(self.name):
            with contextlib.suppress(RcError, UnavailableError):
                now = self._now()
                self._changed.update(
                    (key, value)
                    for key, value in now.items()
                    if self._first.get(key) != value and (is_secret(key) or key == "host_keys")
                )
        return dict(self._changed)

    def _check(self) -> None:
        """rclone passes over what it does not know: a misspelt option would have no effect, and nobody be told."""
        known = self.daemon.options(self._type)
        if known is None:
            raise RemoteDeniedError(f"rclone knows no type “{self._type}”; the remote “{self.remote}” cannot be used.")
        for key in self._given.keys() - known:
            close = get_close_matches(key, known, 1)
            raise RemoteDeniedError(
                f"The remote “{self.remote}” cannot be used: “{self._type}” has no option “{key}”."
                + (f" Is “{close[0]}” meant?" if close else "")
            )

    def _now(self) -> dict[str, str]:
        return decoding.from_json(self.daemon.call("config/get", {"name": self.name}), dict[str, str])


class RcloneRemote:
    """One remote; see ``remote.Remote`` for what each call promises."""

    def __init__(
        self,
        config: RemoteConfig,
        section: _Section,
        given_back: Callable[[_Section], None],
        *,
        pauses: Sequence[float],
        files: Files,
    ) -> None:
        self._config = config
        self._section = section
        self._given_back = given_back
        self._pauses = pauses
        self._files = files
        self._groups = itertools.count(1)
        self._stops = 0
        self._stopped = threading.Condition()
        self._closed = False

    @property
    def config(self) -> RemoteConfig:
        """What it was made from."""
        return self._config

    def list(self, folder: str = "") -> Sequence[RemoteObject]:
        """All objects below a folder; leftovers of uploads that broke off a day ago are removed on the way."""
        try:
            items = self._again(lambda: self._listed(folder))
        except NotFoundError:
            return ()
        objects = []
        for item in items:
            modified = datetime.fromisoformat(item.mod_time)
            if not item.path.endswith(TEMPORARY):
                objects.append(RemoteObject(item.path, item.size, _microseconds(modified)))
            elif modified < datetime.now(UTC) - LEFTOVER_AGE:
                with contextlib.suppress(MailkeepError):  # tried again at the next listing
                    self.delete(item.path)
        return objects

    def entries(self, folder: str) -> Sequence[RemoteEntry]:
        """What is in a folder, and not below it. Raises NotFoundError, UsageError where it is too much to list."""
        return [
            RemoteEntry(item.path, item.is_dir, item.size, _modified(item))
            for item in self._again(lambda: self._looked_into(folder))
        ]

    def file(self, name: str) -> RemoteFile | None:
        """What is known of a file without reading it; None where there is none."""
        service = self._again(self._asked)
        kind = "" if service.features.slow_hash else service.kind
        item = self._again(lambda: self._stat(name, hashes=(kind,) if kind else (), modified=True))
        if item is None or item.is_dir:
            return None
        hash = item.hashes.get(kind, "")
        return RemoteFile(name, item.size, _modified(item), kind if hash else "", hash)

    def hashes(self, folder: str) -> Mapping[str, tuple[str, str]]:
        """The hashes of all objects below a folder that the service keeps, of the best kind that it has."""
        service = self._again(self._asked)
        if not service.kind or service.features.slow_hash:
            return {}
        try:
            items = self._again(lambda: self._listed(folder, service.kind))
        except NotFoundError:
            return {}
        return {item.path: (service.kind, hash) for item in items if (hash := item.hashes.get(service.kind))}

    def hash_of(self, name: str) -> tuple[str, str] | None:
        """The hash of one object, of the best kind that the service has or makes."""
        item = self._again(lambda: self._stat(name, hashes=_HASHES))
        return next(((kind, item.hashes[kind]) for kind in _HASHES if item and item.hashes.get(kind)), None)

    def put(self, source: Path, name: str, moved: Moved | None = None, *, lock_until: int = 0) -> None:
        """Upload a file under a name that is free, or has these bytes already (ConflictError)."""
        stops = self._stops
        try:
            self._again(lambda: self._put(source, name, moved, lock_until, stops))
        except UnavailableError as error:
            if says_nothing(error.message) and self._is_full(source.stat().st_size):
                raise full(self._config) from error
            raise
        if self._config.type == "local":
            self._sync_locally(name)

    def store(self, name: str, data: bytes) -> bool:
        """Upload bytes under a name that is free; False where these bytes are there already. They are on no disk of
        this box meanwhile. Raises ConflictError where other bytes are there, and as ``put``."""
        stops = self._stops
        return self._again(lambda: self._store(name, data, stops))

    def get(self, name: str, target: Path, moved: Moved | None = None) -> None:
        """Download to a new file."""
        beside = target.with_name(target.name + ".new")
        try:
            stops = self._stops
            self._again(lambda: self._get(name, beside, moved, stops))
        except RemoteFullError as error:
            raise DiskFullError(
                f"There is no room for {target.name} on this box's disk. It is still on the remote."
            ) from error
        descriptor = self._files.open(beside)
        try:
            self._files.sync(descriptor)
        finally:
            self._files.close(descriptor)
        self._files.rename(beside, target)
        self._files.sync_directory(target.parent)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """Bytes of an object."""
        stops = self._stops
        return self._again(lambda: self._read(name, offset, size, stops))

    def delete(self, name: str) -> None:
        """Remove an object."""
        with contextlib.suppress(NotFoundError):
            self._again(
                lambda: self._call("operations/deletefile", fs=self._fs(), remote=name),
                explained=explain_refused_deletion,
            )

    def room(self) -> Room:
        """How much there is; nothing known where the service does not tell."""
        try:
            answer = self._again(self._about)
        except NotFoundError:
            return Room()
        return Room(answer.free, answer.used)

    def stop(self) -> None:
        """Break off transfers and pauses of other threads."""
        with self._stopped:
            self._stops += 1
            self._stopped.notify_all()

    def close(self) -> None:
        """Break off what is under way, and have rclone forget the settings if nobody else uses them."""
        if self._closed:
            return
        self._closed = True
        self.stop()
        self._given_back(self._section)

    def _again(self, action: Callable[[], T], explained: Explain = explain) -> T:
        """What ``action`` gives; tried again where the trouble may pass. Raises our errors instead of rclone's."""
        stops = self._stops
        for pause in (*self._pauses, None):
            try:
                return action()
            except RcError as error:
                if self._stops != stops:
                    raise self._broken_off() from error
                trouble = explained(self._config, error.status, error.text)
                if pause is None or not isinstance(trouble, UnavailableError):
                    raise trouble from error
            with self._stopped:
                if self._stopped.wait_for(lambda: self._stops != stops, pause):
                    raise self._broken_off()
        raise AssertionError("the last try returns or raises")

    def _broken_off(self) -> UnavailableError:
        return UnavailableError(
            f"The transfer with the remote “{self._config.name}” was stopped. It goes on next time."
        )

    def _asked(self) -> _Service:
        return decoding.from_json(self._call("operations/fsinfo", fs=self._fs()), _Service)

    def _listed(self, folder: str, hash: str = "") -> Sequence[_Item]:
        options: dict[str, Any] = {"recurse": True, "filesOnly": True, "noMimeType": True}
        if hash:
            options |= {"showHash": True, "hashTypes": [hash]}
        answer = self._call(
            "operations/list",
            fs=self._fs(),
            remote=folder,
            opt=options,
            # What the server says it received when; S3 would need a request for each object to tell the file's time.
            _config={"UseServerModTime": True},
        )
        return decoding.from_json(answer, _Listing).list or ()

    def _put(self, source: Path, name: str, moved: Moved | None, lock_until: int, stops: int) -> None:
        there = self._stat(name)
        if there is not None:
            if not self._same(source, name, there, stops):
                raise ConflictError(
                    f"“{name}” on the remote “{self._config.name}” has other bytes than it should. Nothing was "
                    "overwritten; a check of the replica tells more."
                )
            return
        self._upload(
            {"srcFs": str(source.absolute().parent), "srcRemote": source.name}, name, source.stat().st_size, moved,
            stops, lock_until,
        )  # fmt: skip

    def _store(self, name: str, data: bytes, stops: int) -> bool:
        there = self._stat(name)
        if there is not None:
            if there.size != len(data) or self._read(name, 0, None, stops) != data:
                text = later("There is another file called “{path}” on the remote “{name}”. It was not overwritten.")
                raise ConflictError(text, path=name, name=self._config.name)
            return False
        held = secrets.token_hex(16)
        self._section.ready()  # what is held is lost with the child
        self._section.daemon.hold(held, data)
        try:
            self._upload({"srcFs": MEMORY, "srcRemote": f"{HELD}/{held}"}, name, len(data), None, stops)
        finally:
            with contextlib.suppress(RcError, UnavailableError):
                self._call("operations/deletefile", fs=MEMORY, remote=f"{HELD}/{held}")
        return True

    def _upload(
        self, source: Mapping[str, str], name: str, size: int, moved: Moved | None, stops: int, lock_until: int = 0
    ) -> None:
        """Copy what rclone knows as ``source`` to a name that is free."""
        free = name + TEMPORARY if self._config.type in SHOWS_HALF_FILES else name
        upload = {
            **source,
            "dstFs": self._fs(self._lock(lock_until)),
            "dstRemote": free,
            "_config": {"NoCheckDest": True},
        }
        try:
            self._transfer(upload, size, moved, stops)
        except RcError as error:
            if not isinstance(explain(self._config, error.status, error.text), NotFoundError):
                raise
            self._make_place()
            self._transfer(upload, size, moved, stops)
        if free != name:
            self._call("operations/movefile", srcFs=self._fs(), srcRemote=free, dstFs=self._fs(), dstRemote=name)

    def _get(self, name: str, beside: Path, moved: Moved | None, stops: int) -> None:
        there = self._stat(name)
        if there is None:
            raise NotFoundError(f"There is no “{name}” on the remote “{self._config.name}”.")
        with contextlib.suppress(FileNotFoundError):
            self._files.unlink(beside)
        try:
            self._transfer(
                {
                    "srcFs": self._fs(),
                    "srcRemote": name,
                    "dstFs": str(beside.absolute().parent),
                    "dstRemote": beside.name,
                    "_config": {"NoCheckDest": True, "Inplace": True},
                },
                there.size,
                moved,
                stops,
            )
            if beside.stat().st_size != there.size:
                raise RcError(502, f"{name} has another length than was listed")
        except BaseException:
            with contextlib.suppress(OSError):
                self._files.unlink(beside)
            raise

    def _read(self, name: str, offset: int, size: int | None, stops: int) -> bytes:
        def waiting() -> None:
            if self._stops != stops:
                raise self._broken_off()

        return self._section.daemon.read(self._fs(), name, offset, size, waiting)

    def _transfer(self, parameters: Mapping[str, Any], size: int, moved: Moved | None, stops: int) -> None:
        """Have rclone copy a file, tell how far it is, break off when there were more than ``stops``."""
        group = f"{self._section.name}-{next(self._groups)}"
        patience = _STOP_PATIENCE

        def waiting() -> None:
            nonlocal patience
            if self._stops != stops:
                if patience == _STOP_PATIENCE:
                    self._section.daemon.call("job/stopgroup", {"group": group})
                patience -= 1
                if not patience:
                    raise self._broken_off()
            elif moved is not None:
                stats = decoding.from_json(self._section.daemon.call("core/stats", {"group": group}), _Stats)
                moved(min(stats.bytes, size))

        self._section.daemon.call("operations/copyfile", {**parameters, "_group": group}, waiting)
        if moved is not None:
            moved(size)

    def _looked_into(self, folder: str) -> Sequence[_Item]:
        asked = {
            "fs": self._fs(), "remote": folder, "opt": {"noMimeType": True}, "_config": {"UseServerModTime": True},
        }  # fmt: skip
        try:
            answer = self._section.daemon.call("operations/list", asked, largest=_LARGEST_LISTING)
        except OverflowError as error:
            text = later("There are too many files in “{folder}” on the remote “{name}” to list them. Name the file.")
            raise UsageError(text, folder=folder, name=self._config.name) from error
        except RcError as error:
            if error.status != 404:
                raise
            text = later("There is no folder “{folder}” on the remote “{name}”.")
            raise NotFoundError(text, folder=folder, name=self._config.name) from error
        return decoding.from_json(answer, _Listing).list or ()

    def _stat(self, name: str, *, hashes: Sequence[str] = (), modified: bool = False) -> _Item | None:
        options: dict[str, Any] = {"filesOnly": True, "noMimeType": True, "noModTime": not modified}
        if hashes:
            options |= {"showHash": True, "hashTypes": hashes}
        settings = {"UseServerModTime": True} if modified else {}
        try:
            answer = self._call("operations/stat", fs=self._fs(), remote=name, opt=options, _config=settings)
        except RcError as error:
            if error.status == 404:
                return None
            raise
        return decoding.from_json(answer, _Stat).item

    def _same(self, source: Path, name: str, there: _Item, stops: int) -> bool:
        """Whether an object has the bytes of a file, by a hash that the service keeps, else by reading it."""
        if there.size != source.stat().st_size:
            return False
        known = self._stat(name, hashes=_HASHES)
        hashes = known.hashes if known else {}
        for kind in _HASHES:
            if hashes.get(kind):
                with source.open("rb") as file:
                    return hashlib.file_digest(file, kind).hexdigest() == hashes[kind]
        with source.open("rb") as file:
            for offset in range(0, there.size, _COMPARED_AT_ONCE):
                piece = file.read(_COMPARED_AT_ONCE)
                if self._read(name, offset, len(piece), stops) != piece:
                    return False
        return True

    def _make_place(self) -> None:
        """The bucket or folder did not exist."""
        bucket = {}
        if self._config.type == "s3":
            bucket["no_check_bucket"] = "false"
            if self._config.lock_days:
                bucket["bucket_object_lock_enabled"] = "true"
        self._call("operations/mkdir", fs=self._fs(bucket), remote="")

    def _is_full(self, size: int) -> bool:
        """Whether the service says that it has no room for so many bytes."""
        with contextlib.suppress(RcError, UnavailableError):
            free = self._about().free
            return free is not None and free < size
        return False

    def _about(self) -> _About:
        try:
            return decoding.from_json(self._call("operations/about", fs=self._fs()), _About)
        except RcError as error:
            if "support about" in error.text:
                return _About()
            raise

    def _call(self, path: str, **parameters: Any) -> bytes:
        return self._section.daemon.call(path, parameters)

    def _lock(self, until: int) -> Mapping[str, str]:
        """Options that have S3 lock what is uploaded, until a full second at or after ``until``."""
        if not until or self._config.type != "s3":
            return {}
        moment = _EPOCH + timedelta(seconds=-(-until // 1_000_000))
        return {
            "object_lock_mode": self._config.lock_mode,
            "object_lock_retain_until_date": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def _fs(self, overrides: Mapping[str, str] = MappingProxyType({})) -> str:
        """The remote as rclone names it: ``section,option="value":path``."""
        options = "".join(f',{key}="{value}"' for key, value in overrides.items())
        path = self._config.path
        if self._config.type == "s3" and path:
            # A root that ends with a slash is known to be a folder; else each session begins by asking whether it is.
            path = path.rstrip("/") + "/"
        return f"{self._section.ready()}{options}:{path}"

    def _sync_locally(self, name: str) -> None:
        """rclone does not sync what it writes to a disk of this machine; without that a power cut could take it."""
        path = Path(self._config.path) / name
        descriptor = self._files.open(path)
        try:
            self._files.sync(descriptor)
        finally:
            self._files.close(descriptor)
        for folder in itertools.takewhile(lambda one: one != Path(self._config.path).parent, path.parents):
            self._files.sync_directory(folder)


def _modified(item: _Item) -> int:
    return _microseconds(datetime.fromisoformat(item.mod_time))


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
