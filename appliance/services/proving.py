"""Proofs: a small file with which anybody who has the archive's public key can check one message without mailkeep.

The chain of what is shown goes from the message over its salted commitment and the Merkle path to the leaf root that
the volume's seal attests, and from that seal along the chain to one that has a timestamp, or to the newest
(docs/format.md, "Proofs"; docs/verify_proof.py checks it). Of other mail a proof holds hashes, and the sizes and times
that seals name; nothing of it can be computed from them, as each commitment is salted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from appliance.catalogue.store import RecordRow
from appliance.errors import ConflictError, DamageError
from appliance.mail.facts import Reading
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.client import StreamHead
from appliance.services.principal import Principal
from appliance.services.reading import Download, visible_rows
from appliance.services.seals import SealFile
from appliance.services.timestamping import Stamp, Stamps
from appliance.services.wire import CHUNK
from appliance.store import merkle
from appliance.store.reader import Record
from appliance.store.seal import Chain, Seal

FORMAT = "mailkeep proof v1"


class ProvenRecord(msgspec.Struct, frozen=True):
    """The record that holds the message. ``commitment`` is SHA-256 of the salt and of what was received."""

    id: str
    type: int
    time: int  # microseconds since 1970-01-01 UTC
    commitment: bytes


class Enclosed(msgspec.Struct, frozen=True):
    """What was received round the message: a journal report's bytes before and after it."""

    before: bytes
    after: bytes


class Timestamped(msgspec.Struct, frozen=True):
    """The authority's answer (TimeStampResp, DER) about the last seal of the proof."""

    seal: int
    response: bytes


class Proof(msgspec.Struct, frozen=True):
    """The proof file, as JSON; byte strings are base64."""

    proof: str
    archive: str
    key: str  # SHA-256 of the public key, hex
    record: ProvenRecord
    volume: str
    index: int  # of the record among the volume's, from 0
    records: int
    salt: bytes
    enclosed: Enclosed | None  # None: the message is what was received
    path: tuple[bytes, ...]  # Merkle path, the lowest hash first
    seals: tuple[tuple[str, str], ...]  # each the two lines of a seal's file; the volume's first
    timestamp: Timestamped | None


class Proofs:
    """Makes proofs of an open archive's messages, for auditors."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._stamps = Stamps(archive.paths.timestamps)

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {"proof_key": self.key, "proof_state": self.state, "proof": self.proof}

    def key(self, principal: Principal) -> api.PublicKey:
        """The archive's public key, to be kept elsewhere: proofs are checked with it."""
        principal.require("auditor")
        key = self._archive.keyring.verify_key
        return api.PublicKey(str(self._archive.keyring.archive_id), key.hex(), sha256(key).hexdigest())

    def state(self, principal: Principal, *, id: str) -> api.ProofState:
        """Whether the message can be proven yet. Raises NotFoundError."""
        row = self._row(principal, id)
        return api.ProofState(row.record_id.hex(), self._archive.seals.of_volume(row.volume) is not None)

    def proof(self, principal: Principal, *, id: str, report: bool = False) -> Download:
        """The proof of a message as it is exported, or with ``report`` of the journal report as it was received.

        The id of a record proves that copy, the id of a message the first that came in. Where the message does not
        lie in the report bit for bit, only the report can be proven (ConflictError says so). Raises NotFoundError,
        ConflictError while the volume is not sealed, DamageError where the archive does not bear the proof out.
        """
        row = self._row(principal, id)
        seal = self._archive.seals.of_volume(row.volume)
        if seal is None:
            raise ConflictError(
                "This message came in so recently that its volume is still being written. It can be proven when the "
                "volume is closed and sealed: within about an hour, or when the gateway stops. The message is safe."
            )
        record = self._archive.reader.read(row.volume, row.offset)
        encoded = msgspec.json.encode(self._prove(record, seal, None if report else self._enclosed(record)))
        self._archive.note(principal, "message.prove", id)
        head = StreamHead(f"{row.record_id.hex()}.proof.json", "application/json", len(encoded) + 1)
        return Download(head, _slices(encoded + b"\n"))

    def _row(self, principal: Principal, id: str) -> RecordRow:
        rows = visible_rows(self._archive, principal.looking(everywhere=True), id)
        plain = id.replace("-", "").lower()
        return next((row for row in rows if row.record_id.hex() == plain), rows[0])

    def _enclosed(self, record: Record) -> Enclosed | None:
        """Where the message lies in what was received; None where it is all of it."""
        raw = record.original
        reading = self._archive.pool.describe(raw, attachments=False).result().reading
        if reading.original == (0, len(raw)):
            return None
        place = _place(raw, reading)
        if place is None:
            raise ConflictError(
                "This message does not lie in its journal report bit for bit as it is exported, so it cannot be "
                "proven by itself. Prove the report with --report, and export it with `mailkeep export ID --report`."
            )
        return Enclosed(raw[: place[0]], raw[place[1] :])

    def _prove(self, record: Record, seal_file: SealFile, enclosed: Enclosed | None) -> Proof:
        keyring = self._archive.keyring
        seal = self._checked(seal_file)
        entries = self._archive.reader.entries(record.ref.volume)
        index, entry = next(
            (place for place in enumerate(entries) if place[1].record_id == record.ref.record_id), (-1, None)
        )
        if entry is None:
            raise DamageError(f"{record.ref.volume} at {record.ref.offset}: the volume does not list the record.")
        hashes = [merkle.leaf_hash(one.committed()) for one in entries]
        path = merkle.path(hashes, index)
        if (
            merkle.root_of_path(hashes[index], index, seal.records, path) != seal.leaf_root
            or sha256(record.salt + record.original).digest() != entry.leaf
        ):
            raise DamageError(
                f"{record.ref.volume}: its records are not those that were signed. Run `mailkeep verify`."
            )
        stamp = self._stamps.first_from(seal.number)
        chain = tuple(self._chain(seal_file, stamp))
        return Proof(
            proof=FORMAT,
            archive=str(keyring.archive_id),
            key=sha256(keyring.verify_key).hexdigest(),
            record=ProvenRecord(entry.record_id.hex(), entry.type, entry.time, entry.leaf),
            volume=record.ref.volume,
            index=index,
            records=seal.records,
            salt=record.salt,
            enclosed=enclosed,
            path=path,
            seals=tuple(one.lines for one in chain),
            timestamp=None if stamp is None else Timestamped(stamp.number, stamp.response),
        )

    def _chain(self, first: SealFile, stamp: Stamp | None) -> Iterator[SealFile]:
        """The seals from ``first`` to the stamped one, or to the newest; each names the one before."""
        head = self._archive.seals.newest()
        last = stamp.number if stamp is not None else head.number if head is not None else first.number
        before = first
        yield first
        for number in range(first.number + 1, last + 1):
            seal_file = self._archive.seals.read(number)
            if self._checked(seal_file).previous != before.hash:
                raise DamageError(f"Seal {number} does not follow the one before it. Run `mailkeep verify`.")
            yield seal_file
            before = seal_file
        if stamp is not None and stamp.read()[0] != before.hash:
            raise DamageError(f"The timestamp {stamp.name} is not of its seal. Run `mailkeep verify`.")

    def _checked(self, seal_file: SealFile) -> Seal:
        keyring = self._archive.keyring
        return Chain(keyring.archive_id, keyring.verify_key).check(seal_file.path, seal_file.raw)


def _place(raw: bytes, reading: Reading) -> tuple[int, int] | None:
    """Start and end of the message in its report, where it is enclosed there in the plain way that a proof can show:
    as the second part of a multipart report, of type message/rfc822 or message/global, its boundary nowhere within."""
    if reading.kind != "journal" or reading.original is None:
        return None
    start, end = reading.original
    before, message, after = raw[:start], raw[start:end], raw[end:]
    head = _unfolded(before.replace(b"\r\n", b"\n").partition(b"\n\n")[0])
    boundary = _BOUNDARY.search(head)
    if boundary is None or not _REPORT_FIELD.search(head):
        return None
    delimiter = rb"(?:^|\n)--" + re.escape(boundary[1] or boundary[2])
    parts = re.split(delimiter, before)
    plain = (
        len(parts) == 3
        and _MESSAGE_PART.fullmatch(_unfolded(parts[-1].replace(b"\r\n", b"\n")))
        and not re.search(delimiter, message)
        and (not after or re.match(rb"\r?" + delimiter, after))
    )
    return (start, end) if plain else None


def _unfolded(head: bytes) -> bytes:
    return re.sub(rb"\n[ \t]+", b" ", head)


def _slices(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), CHUNK):
        yield content[start : start + CHUNK]


_BOUNDARY = re.compile(rb"(?im)^content-type:.*?boundary=(?:\"([^\"\n]+)\"|([^\s;\"]+))")
_REPORT_FIELD = re.compile(rb"(?im)^x-(?:ms|wm)-journal-report[ \t]*:")
_MESSAGE_PART = re.compile(
    rb"(?i)[ ]*\n(?:[^\n]+\n)*content-type:[ \t]*message/(?:rfc822|global)\b[^\n]*\n(?:[^\n]+\n)*\n"
)
"""The header of the part that encloses the message, unfolded, from the rest of the boundary line to the empty line."""
