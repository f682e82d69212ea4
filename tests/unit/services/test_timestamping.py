"""Timestamps: once a day, only answers that hold are kept, and trouble is told after some days."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from appliance.errors import ConflictError, ForbiddenError, StorageError, UnavailableError, UsageError
from appliance.files import Buffer, Files
from appliance.services import auditing, rfc3161, status
from appliance.services.principal import Principal
from appliance.services.timestamping import RETRY_SECONDS, Stamps, Timestamping
from tests.authority import Authority, serving
from tests.scratch import BOX, ScratchArchive, mail

DAY = 24 * 3600.0


class Clock:
    """The archive's clock, set by a test."""

    def __init__(self, archive: ScratchArchive) -> None:
        self.now = archive.archive.clock()
        archive.archive.clock = lambda: self.now


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa") / "authority")


@pytest.fixture
def authority(made: Authority) -> Iterator[Authority]:
    made.asked.clear()
    made.status, made.change = 200, lambda answer: answer
    with serving(made):
        yield made


def _sealed(box: ScratchArchive, text: str = "Hello") -> None:
    box.receive(mail(text))
    box.sign()


def _files(box: ScratchArchive) -> list[Path]:
    folder = box.paths.timestamps
    return sorted(folder.iterdir()) if folder.exists() else []


def _round(timestamping: Timestamping) -> None:
    """As the thread does it, without waiting for the next try."""
    timestamping._next = 0.0
    timestamping.round()


def test_the_head_is_stamped_once_a_day_and_only_when_it_changed(box: ScratchArchive, authority: Authority) -> None:
    clock, timestamping = Clock(box), Timestamping(box.archive)
    _sealed(box)
    _round(timestamping)
    assert not authority.asked  # no authority is set
    timestamping.set(BOX, url=authority.url)
    box.archive.writer.roll()
    box.sign()
    _round(timestamping)
    _sealed(box, "The same day")
    _round(timestamping)
    assert len(_files(box)) == len(authority.asked) == 1
    clock.now += DAY
    _round(timestamping)
    _round(timestamping)
    assert len(_files(box)) == len(authority.asked) == 2
    clock.now += DAY
    _round(timestamping)
    assert len(_files(box)) == len(authority.asked) == 2  # nothing was sealed since
    first, second = timestamping.list(BOX)
    assert first.seal > second.seal and first.file == _files(box)[1].name and abs(first.at - second.at) < 60


def test_what_is_stored_is_what_openssl_verifies_against_the_seals_file(
    box: ScratchArchive, authority: Authority
) -> None:
    timestamping = Timestamping(box.archive)
    timestamping.set(BOX, url=authority.url)
    box.archive.writer.roll()
    _sealed(box)
    stamp = timestamping.now(BOX)
    head = box.archive.seals.read(stamp.seal)
    done = subprocess.run(
        ["openssl", "ts", "-verify", "-data", str(box.paths.volumes / head.path), "-in", str(_files(box)[0]),
         "-CAfile", str(authority.certificates)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sha256((box.paths.volumes / head.path).read_bytes()).digest() in authority.asked[0]
    assert len(authority.asked[0]) < 100  # the hash and a nonce, and nothing of the archive
    assert auditing.audit(box.archive, BOX, find="timestamp").total >= 2
    with pytest.raises(ConflictError):
        timestamping.now(BOX)


def test_an_answer_that_does_not_hold_is_not_kept(box: ScratchArchive, authority: Authority, tmp_path: Path) -> None:
    timestamping = Timestamping(box.archive)
    timestamping.set(BOX, url=authority.url)
    box.archive.writer.roll()
    _sealed(box)

    def flipped(answer: bytes) -> bytes:
        # In the signature, the last thing of the answer.
        return answer[:-20] + bytes([answer[-20] ^ 1]) + answer[-19:]

    other = authority.answer(rfc3161.request(sha256(b"something else").digest(), 1))
    earlier: list[bytes] = []

    def remembered(answer: bytes) -> bytes:
        earlier.append(answer)
        return earlier[0]

    rejected = bytes.fromhex("30 05 30 03 02 01 02")
    for change in (flipped, lambda _answer: other, lambda answer: answer[:-1], lambda _answer: rejected):
        authority.change = change
        with pytest.raises(UnavailableError, match="Nothing was stored"):
            timestamping.now(BOX)
    authority.change = lambda _answer: bytes(2_000_000)
    with pytest.raises(UnavailableError, match="too large"):
        timestamping.now(BOX)
    authority.status = 302
    with pytest.raises(UnavailableError, match="did not give"):
        timestamping.now(BOX)
    authority.status = 200
    authority.change = remembered
    timestamping.now(BOX)
    _sealed(box, "Asked again, it sends the earlier answer: another nonce, another hash")
    with pytest.raises(UnavailableError, match="Nothing was stored"):
        timestamping.now(BOX)
    assert len(_files(box)) == 1


def test_an_authority_that_does_not_answer_is_asked_again_and_told_of_after_days(
    box: ScratchArchive, authority: Authority
) -> None:
    clock, timestamping = Clock(box), Timestamping(box.archive)
    timestamping.set(BOX, url=authority.url)
    box.archive.writer.roll()
    _sealed(box)
    authority.status = 503
    timestamping.round()
    timestamping.round()
    assert len(authority.asked) == 1  # not every minute
    clock.now += RETRY_SECONDS
    timestamping.round()
    assert len(authority.asked) == 2

    def told() -> list[str]:
        return [alarm.text for alarm in status.status(box.archive, BOX).alarms if "timestamp" in alarm.text]

    assert told() == []
    clock.now += 3 * DAY
    assert len(told()) == 1 and "`mailkeep timestamp now`" in told()[0]
    authority.status = 200
    timestamping.round()
    assert told() == [] and len(_files(box)) == 1


def test_who_may_set_it_and_to_what(box: ScratchArchive) -> None:
    timestamping = Timestamping(box.archive)
    with pytest.raises(ForbiddenError):
        timestamping.set(Principal(id="u", roles=frozenset({"user", "auditor"})), url="https://tsa.example")
    for url in (
        "ftp://tsa.example",
        "tsa.example",
        "https://",
        "https://user:password@tsa.example",
        "http://a b/",
        "-x",
    ):
        with pytest.raises(UsageError):
            timestamping.set(BOX, url=url)
    with pytest.raises(UsageError):
        timestamping.now(BOX)
    with pytest.raises(UnavailableError, match="did not give a timestamp"):
        _set_and_ask(box, timestamping, "http://127.0.0.1:1/")
    timestamping.set(BOX, url="")
    assert box.archive.settings.timestamping() == ""


def _set_and_ask(box: ScratchArchive, timestamping: Timestamping, url: str) -> None:
    timestamping.set(BOX, url=url)
    box.archive.writer.roll()
    _sealed(box)
    timestamping.now(BOX)


def test_verify_tells_of_a_timestamp_that_is_not_of_its_seal(box: ScratchArchive, authority: Authority) -> None:
    timestamping = Timestamping(box.archive)
    _set_and_ask(box, timestamping, authority.url)
    assert box.verify(deep=False).errors == ()
    (file,) = _files(box)
    whole = file.read_bytes()
    file.write_bytes(whole[:50])
    assert any(one.file == f"timestamps/{file.name}" for one in box.verify(deep=False).errors)
    file.unlink()
    number = int(file.name[:8]) - 1
    file.with_name(f"{number:08d}{file.name[8:]}").write_bytes(whole)
    assert any(f"not of seal {number}" in one.what for one in box.verify(deep=False).errors)


def test_the_child_that_asks_reads_no_file_of_the_archive(box: ScratchArchive) -> None:
    code = (
        "import sys; from pathlib import Path; from appliance.services import tsa; tsa._confine();"
        "sys.stdout.buffer.write(Path(sys.argv[1]).read_bytes())"
    )
    for file in (box.paths.keyfile, box.paths.keyring):
        done = subprocess.run(
            [sys.executable, "-c", code, str(file)], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 1 and done.stdout == "" and "PermissionError" in done.stderr, done.stderr


class Failing(Files):
    """The disk, until its ``n``-th call that changes something."""

    def __init__(self, n: int) -> None:
        self.left = n

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(5, "Input/output error")

    def create(self, path: Path, mode: int = 0o640) -> int:
        self._count()
        return super().create(path, mode)

    def write(self, descriptor: int, buffers: Sequence[Buffer], offset: int) -> int:
        self._count()
        return super().write(descriptor, buffers, offset)

    def sync(self, descriptor: int) -> None:
        self._count()
        super().sync(descriptor)

    def sync_directory(self, path: Path) -> None:
        self._count()
        super().sync_directory(path)

    def rename(self, source: Path, target: Path) -> None:
        self._count()
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self._count()
        super().unlink(path)


def test_a_timestamp_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "timestamps"
    failures = 0
    for n in range(20):
        try:
            Stamps(folder, files=Failing(n)).keep(7, 0.0, b"answer" * 100)
        except StorageError:
            failures += 1
        found = Stamps(folder).names()
        assert found in ((), ((7, "00000007-1970-01-01.tsr"),))
        for one in found:
            assert Stamps(folder).load(*one).response == b"answer" * 100
    assert 4 < failures < 20
    assert [one.name for one in folder.iterdir()] == ["00000007-1970-01-01.tsr"]
