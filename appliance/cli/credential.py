"""systemd's encrypted credentials (systemd-creds(1)): a secret that only this box, or its TPM, gives out again."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from appliance.errors import UnavailableError, UsageError
from appliance.files import FILES, replace_file
from appliance.keys.agent import CREDENTIAL

PROGRAM = "systemd-creds"
SECONDS = 60.0


def has_systemd_creds() -> bool:
    """Whether systemd's program for credentials is there (systemd 250 and later)."""
    return shutil.which(PROGRAM) is not None


def has_tpm2() -> bool:
    """Whether systemd can bind a credential to this box's TPM 2."""
    return has_systemd_creds() and _run("has-tpm2", "--quiet").returncode == 0


def require_systemd_creds(with_key: str) -> None:
    """Raises UnavailableError where systemd cannot keep a credential bound to ``with_key``."""
    if not has_systemd_creds():
        raise UnavailableError(
            "There is no systemd-creds on this box (systemd 250 or later has it). Nothing was changed. A keyfile or a "
            "passphrase unlocks the archive as well: `mailkeep slot add keyfile`."
        )
    if "tpm2" in with_key and not has_tpm2():
        raise UnavailableError(
            "systemd finds no usable TPM 2 on this box. Nothing was changed. `--with-key host` binds the credential to "
            "this installation instead."
        )


def encrypt_for_systemd(secret: bytes, place: Path, with_key: str, *, name: str = CREDENTIAL) -> None:
    """Write ``secret`` to ``place``, encrypted by systemd as the credential ``name``.

    Raises UnavailableError, UsageError: nothing was written.
    """
    done = _run("encrypt", f"--name={name}", f"--with-key={with_key}", "-", "-", given=secret)
    if done.returncode != 0 or not done.stdout:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise UnavailableError(
            f"systemd-creds could not encrypt the secret ({said[-1] if said else 'it does not say why'}). Nothing was "
            "changed. It usually has to be run as root."
        )
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(FILES, place, done.stdout)
    except OSError as error:
        raise UsageError(f"{place} cannot be written ({error.strerror}). Nothing was changed.") from error


def _run(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run([PROGRAM, *words], input=given, capture_output=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"systemd-creds does not work here ({error}). Nothing was changed.") from error
