"""Keys: whether systemd can keep one, and whether a keyfile lies where it must not."""

from __future__ import annotations

from appliance.host.machine import MACHINE, Machine
from appliance.language import _
from appliance.services.doctoring.finding import Finding
from appliance.services.paths import Paths

_CREDENTIALS = "systemd-creds"


def credentials(_paths: Paths, machine: Machine = MACHINE) -> Finding:
    """Whether systemd can keep the key for an unattended start."""
    if not machine.run(_CREDENTIALS, "--version").ok:
        text = _("Not there; passphrase, recovery key and keyfile work without it.")
        return Finding(_CREDENTIALS, "warning", text, _("systemd 250 or later has it."))
    if not machine.run(_CREDENTIALS, "has-tpm2", "--quiet").ok:
        return Finding(_CREDENTIALS, "ok", _("There, without a usable TPM 2: credentials are bound to this system."))
    return Finding(_CREDENTIALS, "ok", _("There, with a TPM 2: `mailkeep slot add systemd --with-key tpm2`."))


def keyfile(paths: Paths) -> Finding:
    """Whether a copy of the data folder could open itself, and whether others can read the keyfile."""
    inside = sorted(one for one in paths.data.glob("**/*.keyfile") if one.is_file())
    if inside:
        return Finding(
            "keyfile", "problem",
            _("{file} lies in the data folder: a copy of the folder opens itself.").format(file=inside[0]),
            _("Move it out of there."),
        )  # fmt: skip
    try:
        mode = paths.keyfile.stat().st_mode
    except FileNotFoundError:
        text = _("There is none beside the data folder: a restart asks for the passphrase.")
        return Finding("keyfile", "ok", text)
    if mode & 0o077:
        text = _("Others can read {file}.").format(file=paths.keyfile)
        return Finding("keyfile", "problem", text, f"`chmod 600 {paths.keyfile}`")
    text = _("This box unlocks itself with {file}. Leave it out of backups.")
    return Finding("keyfile", "ok", text.format(file=paths.keyfile))
