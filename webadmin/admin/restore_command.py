"""The command that gets the archive back from a remote, as somebody can copy it: without secrets, for which it names
files, and without the recovery key, for which it asks."""

from __future__ import annotations

import shlex

from appliance.services import api

FOLDER = "/var/lib/mailkeep/archive"
"""The empty folder on the new machine: where the package has its archive."""


def restore_command(remote: api.RemoteInfo) -> str:
    """The lines of the command, for a shell. A secret is read from a file of its name in the present folder."""
    options = [f"{one.key}=@{one.key}" if one.secret else f"{one.key}={one.value}" for one in remote.options]
    lines = [
        f"mailkeep --data {FOLDER} restore",
        f"--type {shlex.quote(remote.type)}",
        *(shlex.quote(option) for option in options),
        *([shlex.quote(f"path={remote.path}")] if remote.path else []),
    ]
    return " \\\n  ".join(lines)
