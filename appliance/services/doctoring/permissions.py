"""Permissions: that secrets are readable by those only who need them, and folders belong to whom they should."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from appliance.host import accounts
from appliance.language import _
from appliance.services.doctoring.finding import Finding
from appliance.services.paths import Paths

MOST_NAMED = 5


def secrets(paths: Paths) -> Finding:
    """Whether somebody on this machine who is not meant to can read a secret."""
    if not paths.data.exists():
        return Finding("permissions", "ok", _("There is no archive here yet."))
    open_to_others = [one for one in _secrets(paths) if _mode(one) & 0o007]
    if _mode(paths.data) & 0o006:  # those who may only pass through cannot see what is there
        open_to_others.insert(0, paths.data)
    if open_to_others:
        named = " ".join(map(str, open_to_others[:MOST_NAMED]))
        text = _("Every user of this machine can read or change {files}.")
        return Finding("permissions", "problem", text.format(files=named), f"`chmod o-rwx {named}`")
    wrong = list(_misplaced(paths)) if accounts.installed() and _is_installed_one(paths) else []
    if wrong:
        text = _("{count} places do not belong to whom they should: {places}.")
        return Finding(
            "permissions", "problem",
            text.format(count=len(wrong), places=", ".join(wrong[:MOST_NAMED])),
            _("`systemctl restart mailkeep-prepare.service` puts every owner and mode right."),
        )  # fmt: skip
    return Finding("permissions", "ok", _("Secrets are readable by those only who need them."))


def _secrets(paths: Paths) -> Iterator[Path]:
    yield from (one for one in (paths.keyfile, paths.service_keyfile) if one.exists())
    if not os.access(paths.data, os.R_OK | os.X_OK):
        return
    named = (paths.settings, paths.jobs, paths.ledger, paths.keyring, paths.tls / "key.pem")
    yield from (one for one in named if one.exists())
    for folder, _names, files in os.walk(paths.run):
        yield from (Path(folder, name) for name in files if name == "secret" or name.endswith(".key"))


def _misplaced(paths: Paths) -> Iterator[str]:
    """Folders and files of which owner, group or mode are not as the table of accounts says."""
    for place in accounts.PLACES:
        path = paths.data / place.path
        try:
            status = path.lstat()
        except OSError:
            continue
        mode = place.folders if stat.S_ISDIR(status.st_mode) else place.files
        owner, group = pwd.getpwnam(place.owner).pw_uid, grp.getgrnam(place.group).gr_gid
        fits = status.st_uid == owner and status.st_gid == group
        if not fits or (mode is not None and stat.S_IMODE(status.st_mode) != mode):
            yield str(path)


def _is_installed_one(paths: Paths) -> bool:
    return paths.data.stat().st_uid == pwd.getpwnam(accounts.ARCHIVE).pw_uid


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.lstat().st_mode)
    except OSError:
        return 0
