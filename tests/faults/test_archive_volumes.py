"""Whatever fails while archive volumes are made, checked, signed and switched, and whenever: no mail is lost, each is
there once, and the next run brings it to its end."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import MailkeepError
from appliance.files import Files
from appliance.keys.keyring import Argon2, Keyring
from appliance.store.drop import drop
from appliance.store.reader import LogReader, RecordRef
from appliance.store.switch import clear
from appliance.store.verify import verify
from tests.archive_volumes import chain_of, compact_all, fill, names, office_mail
from tests.unit.store.conftest import Archive, FailingFiles, PowerCutFiles

pytestmark = pytest.mark.faults

MAILS = office_mail(8)
ERASED = slice(2, 5)


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], Archive]:
    keyring, _ = Keyring.create(tmp_path / "keyring.json", passphrase="x", argon2=Argon2(memory=64, passes=1))
    mailbox = bytes(range(16))
    keyring.create_mailbox(mailbox)
    count = itertools.count()
    return lambda: Archive(tmp_path / f"volumes-{next(count)}", keyring, mailbox)


def compacting(archive: Archive, files: Files) -> None:
    compact_all(archive, step_bytes=40_000, files=files)


def dropping(archive: Archive, files: Files) -> None:
    """Twice from one volume, so that one archive volume takes another's place."""
    refs = [one for one in LogReader(archive.volumes).scan(first(archive)) if isinstance(one, RecordRef)]
    for erased in ({MAILS_ERASED[archive.volumes][0]}, set(MAILS_ERASED[archive.volumes])):
        drop(archive.volumes, refs[0].volume, erased, chain_of(archive), archive.keyring, files=files, reserve=0)


MAILS_ERASED: dict[Path, list[bytes]] = {}


def first(archive: Archive) -> str:
    return LogReader(archive.volumes).volumes()[0].path


def prepared(make: Callable[[], Archive], work: Any) -> Archive:
    archive = make()
    whole = 1 << 20 if work is dropping else 25_000
    refs = fill(archive, MAILS, max_volume=whole)
    MAILS_ERASED[archive.volumes] = [ref.record_id for ref in refs[ERASED]]
    return archive


def all_is_there(archive: Archive, work: Any, what: str, *, finished: bool) -> None:
    found = archive.originals()
    wanted = [mail for mail in MAILS if mail not in MAILS[ERASED]] if work is dropping else MAILS
    if finished:
        assert found == wanted, what
    else:
        assert set(wanted) <= set(found) <= set(MAILS), what
        assert len(found) == len(set(found)), what
    errors = verify(archive.volumes, archive.keyring, deep=True).errors
    assert not errors, (what, errors)


def finish(archive: Archive, work: Any) -> None:
    """What the archiver does at its next start."""
    clear(archive.volumes, chain_of(archive))
    work(archive, Files())
    clear(archive.volumes, chain_of(archive))


@pytest.mark.parametrize("work", [compacting, dropping])
@pytest.mark.parametrize("how", ["fails", "killed"])
def test_each_call_may_fail(make: Callable[[], Archive], work: Any, how: str) -> None:
    for fail_at in itertools.count(1):
        archive = prepared(make, work)
        files = FailingFiles(fail_at, error=errno.EIO if fail_at % 2 else errno.ENOSPC, dead=how == "killed")
        failed = False
        try:
            work(archive, files)
        except MailkeepError:
            failed = True
        if len(files.calls) < fail_at:
            assert fail_at > 12, "the work does far fewer calls than it should"
            assert not failed
            all_is_there(archive, work, "nothing failed", finished=True)
            return
        what = f"{how} at call {fail_at}: {files.calls[fail_at - 1]}"
        all_is_there(archive, work, what, finished=False)
        finish(archive, work)
        all_is_there(archive, work, what, finished=True)
        left = [name for name in names(archive) if name.endswith(".new")]
        assert not left, what


@pytest.mark.parametrize("work", [compacting, dropping])
def test_the_power_may_go_at_each_call(make: Callable[[], Archive], work: Any) -> None:
    class Cut(PowerCutFiles):
        """Counts what changes something; at ``at`` the process dies, and then the power goes."""

        calls = 0
        at = 0

        def _count(self) -> None:
            self.calls += 1
            if self.at and self.calls >= self.at:
                raise OSError(errno.EIO, "no power")

    for name in ("create", "sync", "sync_directory", "rename", "unlink", "write"):

        def counted(self: Any, *given: Any, _name: str = name) -> Any:
            self._count()
            return getattr(PowerCutFiles, _name)(self, *given)

        setattr(Cut, name, counted)

    for at in itertools.count(1):
        archive = prepared(make, work)
        files = Cut()
        files.at = at
        try:
            work(archive, files)
        except MailkeepError:
            files.cut()
        if files.calls < at:
            return
        all_is_there(archive, work, f"power cut at call {at}", finished=False)
        finish(archive, work)
        all_is_there(archive, work, f"power cut at call {at}", finished=True)
