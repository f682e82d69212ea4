"""Certificate and key as they lie in ``tls/``: two files that change together, whenever the power goes.

Programs read ``certificate.pem`` and ``key.pem``. A new pair is first written whole into ``pair.new``, then into the
two; what finds ``pair.new`` at the next start does the second step again.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from appliance.errors import DamageError, NotFoundError, UsageError
from appliance.files import FILES, Files, read_file, replace_file
from appliance.keys.certificate import ensure_certificate
from appliance.language import _
from appliance.services.certificates.pair import Pair, read_pair
from appliance.services.paths import Paths
from appliance.store.failures import storage_error

CERTIFICATE, KEY, PENDING = "certificate.pem", "key.pem", "pair.new"

_FOR_THE_REDIRECT = 0o750
_FOR_THE_GATEWAY = 0o640
"""For the group of the folder: those who talk TLS under users of their own."""


def prepare(paths: Paths, host_name: str, *, files: Files = FILES) -> tuple[Path, Path]:
    """The paths of certificate and key, which are there and fit each other afterwards: called before anything listens.

    Finishes what a power cut broke off, makes a self-signed pair where there is none, and the folder that challenges
    are answered from. Raises StorageError, UsageError for a key that cannot be used.
    """
    try:
        paths.challenges.mkdir(_FOR_THE_REDIRECT, parents=True, exist_ok=True)
        _finish(paths.tls, files)
        return ensure_certificate(paths.tls, host_name)
    except OSError as error:
        raise storage_error(error) from error


def store(tls: Path, pair: Pair, *, files: Files = FILES) -> None:
    """Use ``pair`` from now on; those who listen take it within a minute. Raises StorageError.

    Where that fails in the middle, ``prepare`` finishes it.
    """
    try:
        replace_file(files, tls / PENDING, pair.key_pem() + pair.chain_pem())
        _finish(tls, files)
    except OSError as error:
        raise storage_error(error) from error


def load(tls: Path) -> Pair:
    """The pair in use. Raises NotFoundError, DamageError where it is no pair, StorageError."""
    try:
        contents = [read_file(FILES, tls / name) for name in (KEY, CERTIFICATE)]
    except FileNotFoundError:
        raise NotFoundError(_("There is no certificate yet. `mailkeep tls self-signed` makes one.")) from None
    except OSError as error:
        raise storage_error(error) from error
    try:
        return read_pair(contents)
    except UsageError as error:
        text = _("Certificate and key in {folder} cannot be used together. `mailkeep tls self-signed` makes new ones.")
        raise DamageError(text.format(folder=tls)) from error


def _finish(tls: Path, files: Files) -> None:
    pending = tls / PENDING
    try:
        pair = read_pair([read_file(files, pending)])
    except FileNotFoundError:
        return
    except UsageError:  # half of it: it was never confirmed, and the pair before it is whole
        _remove(pending, files)
        return
    replace_file(files, tls / KEY, pair.key_pem(), _FOR_THE_GATEWAY)
    replace_file(files, tls / CERTIFICATE, pair.chain_pem(), _FOR_THE_GATEWAY)
    _remove(pending, files)


def _remove(path: Path, files: Files) -> None:
    with contextlib.suppress(FileNotFoundError):
        files.unlink(path)
    files.sync_directory(path.parent)
