"""The Unix accounts of an installed appliance, and which of them owns what of an archive.

As a package mailkeep runs under several users, so that what faces the internet cannot even open what the archive's
own processes work with (docs/decisions/0119 has the whole table). Run by hand, or in a container, everything belongs
to whoever runs it: without the accounts every function here does nothing.

Whoever works on the files as root (set-up, restore, rebuild while nothing is served) calls ``settle`` afterwards.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Any, Final

import msgspec

ARCHIVE: Final = "mailkeep"
"""Archiver, projector, replicator; owns the archive. Also the group of these and of the key agent."""
AGENT: Final = "mailkeep-agent"
GATEWAY: Final = "mailkeep-gateway"
PULL: Final = "mailkeep-pop3"
WEB: Final = "mailkeep-web"
COLLECT: Final = "mailkeep-collect"
"""The collector. Also the group of it and of the archive's own processes, for what they share."""
MAIL: Final = "mailkeep-mail"
"""Group of those who work in the log: the archive's own processes, the gateway, the collector, the POP3 server."""
KEYS: Final = "mailkeep-keys"
"""Group of those who ask the key agent: the archive's own processes, the collector, the POP3 server."""
TLS: Final = "mailkeep-tls"
"""Group of those who talk TLS: the gateway, the POP3 server, the web."""
AUDIT: Final = "mailkeep-audit"
"""Group of the people who may use the command line."""

USERS: Final = (ARCHIVE, AGENT, GATEWAY, PULL, WEB, COLLECT)
_GROUPS: Final = (ARCHIVE, MAIL, TLS, KEYS, AUDIT)
IMPORTS: Final = f"volumes/{'0' * 31}1"
"""Where fetched and imported mail lies: the one folder of the log that the collector writes in."""
_UMASK = 0o007


class Account(msgspec.Struct, frozen=True):
    """A Unix user with all groups."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


class Place(msgspec.Struct, frozen=True):
    """Who owns a folder of an archive and what is in it, and with which modes.

    ``keeps`` are users whose files are left to them. ``folders`` is the mode of the folders, ``files`` of the files;
    where it is None a mode stays, but for what others might do. Places below have a line of their own.
    """

    path: str
    owner: str
    group: str
    folders: int | None = None
    files: int | None = None
    keeps: tuple[str, ...] = ()
    made: bool = True


PLACES: Final = (
    # Sticky: the key agent may make and replace its keyring.json here, and nothing that is somebody else's.
    Place("", ARCHIVE, ARCHIVE, 0o1771),
    Place("volumes", ARCHIVE, MAIL, 0o2770, 0o660, keeps=(GATEWAY,)),
    Place(IMPORTS, ARCHIVE, MAIL, 0o2770, 0o660, keeps=(COLLECT,)),
    Place("collecting", COLLECT, COLLECT, 0o2770, 0o660, keeps=(ARCHIVE,)),
    Place("gateway", ARCHIVE, MAIL, 0o2750, 0o640),
    Place("tls", ARCHIVE, TLS, 0o2750, 0o640),
    Place("run", ARCHIVE, ARCHIVE, 0o711),
    Place("run/agent", AGENT, KEYS, 0o2710),
    *(
        Place(f"run/agent/{role}", AGENT, ARCHIVE, 0o2750, 0o640)
        for role in ("archiver", "projector", "box", "replica")
    ),
    Place("run/agent/pull", AGENT, PULL, 0o2750, 0o640),
    Place("run/agent/collector", AGENT, COLLECT, 0o2750, 0o640),
    Place("run/local", ARCHIVE, AUDIT, 0o2750),
    Place("run/web", ARCHIVE, WEB, 0o2750),
    Place("run/acme", ARCHIVE, WEB, 0o2750, 0o640),
    Place("run/pull", ARCHIVE, PULL, 0o2750),
    Place("run/pull/locks", PULL, PULL, 0o700, 0o600),
    Place("run/collector", COLLECT, COLLECT, 0o2750, 0o640),
    Place("run/gateway", GATEWAY, ARCHIVE, 0o2750, 0o640),
    Place("keyring.json", AGENT, ARCHIVE, files=0o640, made=False),
)
"""What is in no line belongs to the nearest folder above it that is."""


def installed() -> bool:
    """Whether this box has the accounts."""
    try:
        for name in USERS:
            pwd.getpwnam(name)
        for name in _GROUPS:
            grp.getgrnam(name)
    except KeyError:
        return False
    return True


def account(uid: int) -> Account:
    """The user with that number, who may have no name."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(str(uid), uid, uid, ())
    return Account(entry.pw_name, uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)))


def owner(data: Path) -> Account:
    """Whose the archive is; of a folder that is not there yet, whose the nearest one above it is. Raises OSError."""
    place = data.absolute()
    while not place.exists():
        place = place.parent
    return account(place.stat().st_uid)


def as_owner(data: Path) -> dict[str, Any]:
    """Arguments for ``subprocess.Popen`` that run a program as the archive's owner; none where we are it already.

    Only root can run something as somebody else: for others there are none either.
    """
    whose = owner(data)
    if os.geteuid() != 0 or whose.uid == 0:
        return {}
    return {"user": whose.uid, "group": whose.gid, "extra_groups": list(whose.groups), "umask": _UMASK}


def settle(data: Path) -> None:
    """Give every file of the archive its owner and mode as ``PLACES`` says, and make the folders that are missing.

    Does nothing without the accounts, and for others than root. Symbolic links are never followed: users whom the
    archive is kept from may write in some of the folders. Raises OSError.
    """
    if os.geteuid() != 0 or not installed():
        return
    data = data.absolute()
    for place in PLACES:
        if place.made:
            (data / place.path).mkdir(0o700, parents=True, exist_ok=True)
    _Settling(data).all()
    _own(data.with_name(data.name + ".keyfile"), AGENT, AGENT, 0o600)
    _own(data.with_name(data.name + ".servicekey"), ARCHIVE, COLLECT, 0o640)


class _Settling:
    """One walk through an archive, folder by folder, each reached by the descriptor of the one above."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._users = {name: pwd.getpwnam(name).pw_uid for name in USERS}
        self._groups = {place.group: grp.getgrnam(place.group).gr_gid for place in PLACES}
        self._places = {place.path: place for place in PLACES}

    def all(self) -> None:
        """Every folder and every file."""
        for folder, _names, files, descriptor in os.fwalk(self._data, follow_symlinks=False):
            path = os.path.relpath(folder, self._data)
            here = "" if path == "." else path
            place = self._place(here)
            # On the folder itself, by its descriptor: there is no name in between that could be exchanged.
            self._apply(place, os.fstat(descriptor), descriptor, exact=place.path == here)
            for name in files:
                self._file(self._place(f"{here}/{name}" if here else name), name, descriptor)

    def _place(self, path: str) -> Place:
        while path not in self._places:
            path = path.rpartition("/")[0]
        return self._places[path]

    def _apply(self, place: Place, status: os.stat_result, descriptor: int, *, exact: bool) -> None:
        self._chown(place, status, descriptor)
        # Through the top and run/ everybody may pass, but not through the archive's own folders below them.
        _chmod(status, descriptor, place.folders if exact or place.path not in ("", "run") else None)

    def _file(self, place: Place, name: str, folder: int) -> None:
        try:
            descriptor = _found(name, folder)
        except FileNotFoundError:
            return
        try:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):  # links, sockets, pipes are their maker's affair
                self._chown(place, status, descriptor)
                _chmod(status, descriptor, place.files)
        finally:
            os.close(descriptor)

    def _chown(self, place: Place, status: os.stat_result, descriptor: int) -> None:
        kept = {self._users[name] for name in place.keeps}
        uid = status.st_uid if status.st_uid in kept else self._users[place.owner]
        gid = self._groups[place.group]
        if (uid, gid) != (status.st_uid, status.st_gid):
            os.chown(_through(descriptor), uid, gid)


def _chmod(status: os.stat_result, descriptor: int, mode: int | None) -> None:
    wanted = mode if mode is not None else stat.S_IMODE(status.st_mode) & ~_UMASK
    if stat.S_IMODE(status.st_mode) != wanted:
        os.chmod(_through(descriptor), wanted)  # noqa: PTH101 - a Path would be another name for the same


def _own(path: Path, user: str, group: str, mode: int) -> None:
    try:
        descriptor = _found(path)
    except FileNotFoundError:
        return
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.chown(_through(descriptor), pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid)
            os.chmod(_through(descriptor), mode)  # noqa: PTH101 - as above
    finally:
        os.close(descriptor)


def _found(path: Path | str, folder: int | None = None) -> int:
    """What has the name, whatever it is, without following or opening it.

    Opened, it could be a pipe that waits; closed again, it would take this process's locks of a database with it.
    """
    return os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)


def _through(descriptor: int) -> str:
    """The very thing that is open, under no name that somebody could exchange (proc(5))."""
    return f"/proc/self/fd/{descriptor}"
