"""Timestamps (RFC 3161): once a day an authority outside attests the head of the chain of seals.

Each seal names the one before it, so a timestamp of the newest says of everything sealed until then that it was there
at that time; who holds the archive's keys cannot rewrite it any more. The authority learns a hash, nothing else.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from appliance.errors import ConflictError, DamageError, MailkeepError, UnavailableError, UsageError
from appliance.files import FILES, Files, create_directory, read_file, replace_file
from appliance.services import api, rfc3161, tsa
from appliance.services.archive import Archive
from appliance.services.principal import Principal
from appliance.services.seals import SealFile, SealFiles
from appliance.settings import events
from appliance.store.failures import storage_error
from appliance.store.refs import Finding
from appliance.store.seal import Chain

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
RETRY_SECONDS = 3600.0
LATE_DAYS = 3
"""Days that a seal may wait for a timestamp before there is an alarm."""

_DAY = 24 * 3600
_NAME = re.compile(r"([0-9]{8,})-[0-9]{4}-[0-9]{2}-[0-9]{2}\.tsr")


class Stamp(msgspec.Struct, frozen=True):
    """A timestamp: ``response`` is the authority's answer (TimeStampResp, DER) about the seal ``number``."""

    number: int
    name: str
    response: bytes

    def read(self) -> tuple[bytes, float]:
        """The hash that was stamped, and when (seconds since 1970). Raises DamageError."""
        try:
            answer = rfc3161.read(self.response)
            return answer.imprint, answer.at.timestamp()
        except ValueError as error:
            raise DamageError("the timestamp cannot be read") from error


class Stamps:
    """The timestamps of a data folder: ``<number of the seal, 8 digits or more>-<date>.tsr``."""

    def __init__(self, folder: Path, *, files: Files = FILES) -> None:
        self._folder = folder
        self._files = files

    def names(self) -> tuple[tuple[int, str], ...]:
        """Seal numbers and file names, oldest first. Raises StorageError."""
        try:
            found = ((_NAME.fullmatch(name), name) for name in self._files.names(self._folder))
        except OSError as error:
            raise storage_error(error) from error
        return tuple(sorted((int(match[1]), name) for match, name in found if match))

    def newest(self) -> int:
        """Number of the newest seal that has a timestamp; 0 where none has."""
        return max((number for number, _ in self.names()), default=0)

    def first_from(self, number: int) -> Stamp | None:
        """The first timestamp that covers the seal ``number``: its own, or that of a later one."""
        for stamped, name in self.names():
            if stamped >= number:
                return self.load(stamped, name)
        return None

    def load(self, number: int, name: str) -> Stamp:
        """One timestamp. Raises StorageError."""
        try:
            return Stamp(number, name, read_file(self._files, self._folder / name))
        except OSError as error:
            raise storage_error(error) from error

    def keep(self, number: int, at: float, response: bytes) -> Stamp:
        """Store an answer, durable on return. Raises StorageError."""
        name = f"{number:08d}-{datetime.fromtimestamp(at, UTC):%Y-%m-%d}.tsr"
        try:
            create_directory(self._files, self._folder)
            for left in (one for one in self._files.names(self._folder) if one.endswith(".new")):
                self._files.unlink(self._folder / left)  # by a crash
            replace_file(self._files, self._folder / name, response, 0o640)
        except OSError as error:
            raise storage_error(error) from error
        return Stamp(number, name, response)


def check(seals: SealFiles, stamps: Stamps) -> Iterator[Finding]:
    """What is wrong with the timestamps; needs no key. The authority's signature is for whoever trusts it to check."""
    for number, name in stamps.names():
        try:
            imprint, _ = stamps.load(number, name).read()
            if imprint != seals.read(number).hash:
                raise DamageError(f"the timestamp is not of seal {number} as it is now")
        except MailkeepError as error:
            yield Finding(file=f"timestamps/{name}", offset=0, record_id=None, what=error.message)


class Timestamping:
    """Has the chain's head stamped once a day, on a thread of the archiver, and when somebody asks for it."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._seals = archive.seals
        self._stamps = Stamps(archive.paths.timestamps)
        self._one_at_a_time = threading.Lock()
        self._stop = threading.Event()
        self._next = 0.0
        self._thread = threading.Thread(target=self._run, name="timestamping", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End. A request on its way is given up: the authority is asked again after the next start."""
        self._stop.set()

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {"timestamping_set": self.set, "timestamp_now": self.now, "timestamps": self.list}

    def set(self, principal: Principal, *, url: str) -> None:
        """Where timestamps come from; empty for nowhere."""
        principal.require("admin")
        self._archive.record(principal, events.TimestampingSet(tsa.check_url(url) if url else ""))
        self._next = 0.0

    def now(self, principal: Principal) -> api.TimestampInfo:
        """Have the newest seal stamped now. Raises ConflictError where there is nothing to stamp, UsageError where
        no authority is set, UnavailableError where it gives no good answer."""
        principal.require("admin")
        stamp = self._stamp()
        self._archive.note(principal, "timestamp", f"seal {stamp.number}")
        return _info(stamp)

    def list(self, principal: Principal) -> tuple[api.TimestampInfo, ...]:
        """All timestamps, newest first."""
        principal.require("admin")
        return tuple(_info(self._stamps.load(*one)) for one in reversed(self._stamps.names()))

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self.round()
            except Exception:  # a day without a timestamp is told of; a thread that has ended would not be
                log.exception("no timestamp")

    def round(self) -> None:
        """Have the head stamped if it is time."""
        now = self._archive.clock()
        if not self._next <= now or not self._archive.settings.timestamping():
            return
        self._next = now + RETRY_SECONDS
        if self._stamped_today(now):
            return
        try:
            stamp = self._stamp()
            log.info("seal %d has a timestamp", stamp.number)
        except ConflictError:
            return  # nothing was sealed since
        except (MailkeepError, OSError) as error:
            log.warning("no timestamp: %s", error)

    def _stamped_today(self, now: float) -> bool:
        today = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"
        return any(name.endswith(f"-{today}.tsr") for _, name in self._stamps.names())

    def _stamp(self) -> Stamp:
        url = self._archive.settings.timestamping()
        if not url:
            raise UsageError("No time-stamping authority is set. Set one with `mailkeep timestamp set URL`.")
        with self._one_at_a_time:
            head = self._seals.newest()
            if head is None or head.number <= self._stamps.newest():
                raise ConflictError("Nothing was sealed since the last timestamp, so there is nothing to stamp.")
            self._check_head(head)
            response = _answer(url, head.hash)
            return self._stamps.keep(head.number, self._archive.clock(), response)

    def _check_head(self, head: SealFile) -> None:
        keyring = self._archive.keyring
        Chain(keyring.archive_id, keyring.verify_key).check(head.path, head.raw)


def overdue(archive: Archive) -> int | None:
    """Days for which the oldest seal without a timestamp has waited for one, where they are too many."""
    if not archive.settings.timestamping():
        return None
    newest, stamped = archive.seals.newest(), Stamps(archive.paths.timestamps).newest()
    if newest is None or newest.number <= stamped:
        return None
    keyring = archive.keyring
    try:
        waiting = archive.seals.read(stamped + 1)
        sealed_at = Chain(keyring.archive_id, keyring.verify_key).check(waiting.path, waiting.raw).sealed_at
    except DamageError:
        return None  # for ``verify`` to tell of
    days = int((archive.clock() - sealed_at / 1e6) // _DAY)
    return days if days >= LATE_DAYS else None


def _answer(url: str, digest: bytes) -> bytes:
    """The authority's answer, checked: granted, about this hash, to this request, and whole."""
    nonce = secrets.randbits(rfc3161.NONCE_BITS)
    response = tsa.ask(url, rfc3161.request(digest, nonce))
    try:
        rfc3161.check(response, digest, nonce)
    except ValueError as error:
        raise UnavailableError(
            f"{url} gave no timestamp that holds: {error}. Nothing was stored. It is asked again later."
        ) from error
    return response


def _info(stamp: Stamp) -> api.TimestampInfo:
    try:
        at = int(stamp.read()[1])
    except DamageError:
        at = 0
    return api.TimestampInfo(seal=stamp.number, file=stamp.name, at=at, size=len(stamp.response))
