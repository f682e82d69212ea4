"""``mailkeep rebuild``: everything that can be derived, made anew from volumes and keyring."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from appliance.keys.management import KeyManagement
from appliance.services.archive import Archive
from appliance.services.box import running_box
from appliance.services.paths import Paths
from appliance.services.projecting import rebuild
from appliance.services.unlock import Secret, agent_keys, unlock


def rebuild_all(paths: Paths, secret: Secret | None, progress: Callable[[int], None] | None) -> int:
    """Catalogue and index anew, and, where nothing runs that uses it, settings.db. Returns the records.

    While the archive is served the keys come from its key agent. Raises LockedError where that is locked.
    """
    report = progress or (lambda _records: None)
    running = running_box(paths)
    if running is None:
        keyring = unlock(paths, secret)
        _renew_settings(paths, keyring)
        return rebuild(paths, keyring, report)
    running.close()
    return rebuild(paths, agent_keys(paths, "box"), report)


def _renew_settings(paths: Paths, keyring: KeyManagement) -> None:
    """Put settings.db aside and replay the system log into a new one; back with the old one if that fails."""
    aside = [(file, file.with_name(file.name + ".before")) for file in _settings_files(paths) if file.exists()]
    for file, before in aside:
        file.rename(before)
    try:
        Archive(paths, keyring).close()
    except BaseException:
        for file, before in aside:
            before.replace(file)
        raise
    for _, before in aside:
        before.unlink()


def _settings_files(paths: Paths) -> list[Path]:
    return [paths.settings.with_name(paths.settings.name + suffix) for suffix in ("", "-wal", "-shm")]
