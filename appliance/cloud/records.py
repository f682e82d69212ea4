"""Whether a volume or archive volume that came from a replica is what was signed, and whether its mail opens.

Without a key its records are walked through and both Merkle roots are compared with the seal's. With one each record is
decrypted too and compared with its commitment, which is a leaf of that tree.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from appliance.errors import DamageError, KeyringError, NotFoundError, SealedError
from appliance.files import FILES, Files
from appliance.store.archived import SealKey, stands_for
from appliance.store.names import parse_volume
from appliance.store.reader import KeyOpener, LogReader
from appliance.store.refs import Damage, RecordRef
from appliance.store.seal import Seal
from appliance.store.survey import Survey, survey_archive, survey_volume


class Looked(NamedTuple):
    """What was looked into."""

    records: int = 0
    opened: int = 0
    unopened: int = 0  # of sealed mailboxes, which the archive cannot open
    wrong: str = ""  # what is not as it should be


def look_into(volumes: Path, path: str, seal: Seal | None, attested: Callable[[str], Seal | None], *,
              files: Files = FILES) -> Looked:  # fmt: skip
    """A volume or archive volume ``path`` below ``volumes``, and its seal where it has one. ``attested`` gives the
    seals of volumes that an archive volume stands for. Raises OSError."""
    if parse_volume(path) is None:
        return _archive(volumes / path, seal, attested, files)
    return _volume(volumes, path, seal, files)


def open_records(
    volumes: Path, opener: KeyOpener, seal_key: SealKey, *, only: Collection[str],
    fetch: Callable[[str], None] | None = None, files: Files = FILES,
) -> Looked:  # fmt: skip
    """Decrypt every record in these volumes and archive volumes below ``volumes``, and compare it with its commitment.

    ``fetch`` is as for a ``LogReader``: parts that several archive volumes share lie in one of them. Raises
    LockedError, StorageError, UnavailableError.
    """
    reader = LogReader(volumes, opener, seal_key=seal_key, fetch=fetch, files=files)
    opened = unopened = 0
    wrong = ""
    for volume in reader.volumes():
        if volume.absent or (not volume.archived and volume.path not in only):
            continue
        for found in reader.scan(volume):
            if isinstance(found, Damage) and found.kind == "corruption":
                wrong = wrong or f"{found.volume} at {found.offset}: {found.what}"
            if not isinstance(found, RecordRef):
                continue
            try:
                reader.read(found)
            except (SealedError, KeyringError):
                unopened += 1
            except (DamageError, NotFoundError) as error:
                wrong = wrong or error.message
            else:
                opened += 1
    return Looked(opened + unopened, opened, unopened, wrong)


def is_sound(found: Survey) -> bool:
    """Whether a volume that nobody signed yet holds together: nothing that was durable is damaged."""
    return found.header is not None and not found.disagreement() and not any(gap.durable for gap in found.gaps)


def _volume(volumes: Path, path: str, seal: Seal | None, files: Files) -> Looked:
    name = parse_volume(path)
    assert name is not None
    found, digest = survey_volume(files, volumes, name)
    records = len(found.entries)
    if found.header is None or (found.header.mailbox, found.header.writer, found.header.sequence) != tuple(name):
        return Looked(records, wrong="It begins as another volume does.")
    if seal is None:
        return Looked(records, wrong="" if is_sound(found) else "Records in it are damaged.")
    if (found.size, digest) != (seal.size, seal.file_hash):
        return Looked(records, wrong="It is not the file that was signed.")
    if (found.leaf_root, found.cipher_root, records) != (seal.leaf_root, seal.cipher_root, seal.records):
        return Looked(records, wrong="Its records are not those that were signed.")
    return Looked(records)


def _archive(path: Path, seal: Seal | None, attested: Callable[[str], Seal | None], files: Files) -> Looked:
    try:
        found = survey_archive(files, path)
        places = found.directory.places()
        records = sum(one.records for one in found.directory.replaced)
        if seal is None:
            return Looked(records, wrong="It has no seal, so it stands for nothing.")
        if (found.size, found.file_hash) != (seal.size, seal.file_hash):
            return Looked(records, wrong="It is not the file that was signed.")
        roots = found.leaf_root, found.cipher_root, len(found.entries), stands_for(found.directory.replaced)
        if roots != (seal.leaf_root, seal.cipher_root, seal.records, seal.replaces):
            return Looked(records, wrong="Its records are not those that were signed.")
        for one in found.directory.replaced:
            of = attested(one.volume)
            if of is None or of.leaf_root != places.leaf_root(one.volume):
                return Looked(records, wrong=f"It does not hold the records that the seal of {one.volume} names.")
    except DamageError as error:
        return Looked(wrong=error.message)
    return Looked(records)
