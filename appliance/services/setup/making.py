"""Making the archive in set-up so that a power cut at any moment leaves either none or one whose recovery key is kept.

Before the first key exists ``making`` is written down. Only when the recovery key was typed back, or lies in its file,
does the archive count as made and may be served. What is found ``making`` at the next start held no mail, and goes.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from appliance.errors import KeyringError, StorageError, UsageError
from appliance.files import FILES, Files, replace_file
from appliance.host import accounts
from appliance.keys import recovery
from appliance.keys.keyring import Keyring
from appliance.keys.slots import spelled
from appliance.language import _
from appliance.services.paths import Paths
from appliance.services.setup.create import create, discard
from appliance.services.setup.progress import Progress, save
from appliance.services.slots import SHORTEST_PASSPHRASE


def require_good_passphrase(passphrase: str) -> None:
    """Raises UsageError for one that is too short."""
    if len(spelled(passphrase)) < SHORTEST_PASSPHRASE:
        raise UsageError(
            _(
                "Choose a passphrase of at least {count} characters: whoever has a copy of the disk can try them "
                "without end. A few unrelated words are good."
            ).format(count=SHORTEST_PASSPHRASE)
        )


def words(key: str) -> tuple[str, ...]:
    """The recovery key as eighteen words."""
    return recovery.to_words(key)


def begin(
    paths: Paths, progress: Progress, *, passphrase: str, unlocks_itself: bool, files: Files = FILES
) -> tuple[Progress, str]:
    """A new archive that does not count yet, and its recovery key, which is kept nowhere.

    An empty ``passphrase`` makes none, where the box unlocks itself. Raises UsageError, ConflictError, StorageError.
    """
    if passphrase or not unlocks_itself:
        require_good_passphrase(passphrase)
    if progress.archive == "making":
        discard(paths, files=files)
    making = msgspec.structs.replace(progress, archive="making")
    save(paths, making, files=files)
    created = create(
        paths, passphrase=passphrase or None, keyfile=unlocks_itself, administrator=False, hostname=progress.host_name
    )
    accounts.settle(paths.data)
    return making, created.recovery_key


def confirm(paths: Paths, progress: Progress, *, key: str, typed: str, files: Files = FILES) -> Progress:
    """The archive counts, since its recovery key was typed back. Raises KeyringError where it is not that.

    The archive itself is asked, too: somebody at another console may have begun it anew meanwhile.
    """
    if recovery.from_text(typed) != recovery.from_text(key):
        raise KeyringError(_("That is another recovery key. Compare it with the one you wrote down."))
    Keyring.load(paths.keyring).unlock_with_recovery_key(typed)
    return keep(paths, progress, files=files)


def keep(paths: Paths, progress: Progress, *, files: Files = FILES) -> Progress:
    """The archive counts from now on."""
    made = msgspec.structs.replace(progress, archive="made")
    save(paths, made, files=files)
    return made


def write_down(path: Path, secret: str, *, files: Files = FILES) -> None:
    """A secret in a file that only its owner reads, durably. Raises StorageError."""
    try:
        replace_file(files, path, secret.encode() + b"\n", 0o600)
    except OSError as error:
        raise StorageError(
            _("{path} cannot be written ({reason}). Set-up can be started again.").format(
                path=path, reason=error.strerror
            )
        ) from error
