"""Erasing mail of sealed mailboxes: after it was pulled, or when it is older than the mailbox keeps it.

A record is erased by an entry of the system log; from then on it counts as gone. Two things follow, and are made
good at the next start or round where a crash came between: the pull server is told by a list of its own, and the
ciphertext is dropped from the log as soon as its volume is closed and sealed. Nothing else in the product erases mail.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Iterable
from typing import Literal

import msgspec

from appliance.errors import DamageError, ForbiddenError, NotFoundError, UnavailableError
from appliance.files import FILES, Files, create_directory, read_file, replace_file
from appliance.mail import published
from appliance.services.archive import Archive
from appliance.services.principal import SYSTEM, Principal
from appliance.settings import events
from appliance.store.absent import held
from appliance.store.drop import drop
from appliance.store.seal import Chain

log = logging.getLogger(__name__)

LARGEST_ENTRY = 1000
"""Records that one entry of the system log erases."""
DAY = 24 * 3600 * 1_000_000


class Erasure(msgspec.Struct, frozen=True):
    """What became of a wish to erase. ``held`` records stay: a legal hold keeps them. Those that are erased already,
    or were never there, are in neither."""

    erased: tuple[bytes, ...]
    held: tuple[bytes, ...]


def erase(
    archive: Archive,
    principal: Principal,
    mailbox: bytes,
    records: Iterable[bytes],
    why: Literal["pulled", "retention"],
) -> Erasure:
    """Erase these records (16-byte ids) of a sealed mailbox; durable on return.

    Raises NotFoundError for a mailbox that is not there, ForbiddenError where its settings do not let its mail be
    erased for that reason, StorageError.
    """
    _require_erasable(archive, mailbox, why)
    erased: list[bytes] = []
    with archive.directory:  # so that no hold comes between the question and the entry
        holds = archive.settings.holds()
        times = archive.sealed.times(mailbox, frozenset(records))
        held = tuple(record for record, time in times.items() if not holds.may_erase(frozenset(), time))
        wanted = sorted(times.keys() - set(held))
        for start in range(0, len(wanted), LARGEST_ENTRY):
            batch = tuple(wanted[start : start + LARGEST_ENTRY])
            archive.record(principal, events.RecordsErased(mailbox, batch, why))
            erased += batch
        if erased:
            _tell(archive)
    return Erasure(tuple(erased), held)


def _require_erasable(archive: Archive, mailbox: bytes, why: str) -> None:
    for put in archive.settings.mailboxes():
        if put.mailbox == mailbox:
            if not put.sealed or not (put.delete_after_pull if why == "pulled" else put.retention_days):
                raise ForbiddenError(
                    f"Mail of {put.address} is not deleted: the mailbox is not set to. Nothing was changed."
                )
            return
    raise NotFoundError("There is no such mailbox.")


def _tell(archive: Archive) -> None:
    try:
        publish_erased(archive)
    except OSError as error:
        log.error("the pull server is told later what was erased: %s", error)
        archive.gateway_is_told = False


def apply_retention(archive: Archive) -> int:
    """Erase the mail of sealed mailboxes that is older than they keep it. Returns how many records that were."""
    now = int(archive.clock() * 1_000_000)
    count = 0
    for put in archive.settings.mailboxes():
        if put.sealed and put.retention_days:
            old = archive.sealed.older(put.mailbox, now - put.retention_days * DAY)
            count += len(erase(archive, SYSTEM, put.mailbox, old, "retention").erased)
    return count


def drop_erased(archive: Archive, chain: Chain) -> int:
    """Drop the ciphertext of erased records from the volumes that are sealed. Returns how many records that were.

    What is on replicas only is dropped when it is back, and what others work on when they are done.
    ``chain`` is the one that the archiver signs into. A volume that is damaged is left as it is: ``verify`` tells.
    Raises StorageError.
    """
    volumes = archive.paths.volumes
    dropped: Counter[bytes] = Counter()
    for path, (volume, records) in archive.sealed.erased().items():
        if not volume.sealed or volume.absent:
            continue
        try:
            with held(volumes / volume.mailbox.hex(), seconds=0):  # so that the volume is not let go of meanwhile
                drop(volumes, path, records, chain, archive.keyring)
        except UnavailableError:
            continue  # its mailbox is being compacted, which waits for this chain: next round
        except DamageError as error:
            log.error("erased mail stays in a damaged volume: %s", error.message)
            continue
        archive.sealed.dropped(path, records)
        dropped[volume.mailbox] += len(records)
    addresses = {put.mailbox: put.address for put, _, _ in archive.settings.all_mailboxes()}
    for mailbox, count in dropped.items():
        archive.note(SYSTEM, "records.drop", f"{count} of {addresses.get(mailbox, mailbox.hex())}")
    if dropped:
        with archive.directory:
            _tell(archive)
    return dropped.total()


def publish_erased(archive: Archive, files: Files = FILES) -> None:
    """Tell the pull server which records are erased whose ciphertext is there still, or may come back from a replica:
    a file of 16-byte ids for each mailbox that has any. Raises OSError."""
    folder = published.erased_folder(archive.paths.data)
    create_directory(files, folder)
    wanted = {mailbox.hex(): records for mailbox, records in archive.sealed.hidden().items()}
    for name, ids in wanted.items():
        content = b"".join(sorted(ids))
        with contextlib.suppress(FileNotFoundError):
            if read_file(files, folder / name) == content:
                continue
        replace_file(files, folder / name, content, 0o640)
    for name in files.names(folder):
        if name not in wanted:
            files.unlink(folder / name)
