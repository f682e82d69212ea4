"""Checks of a replica as an administrator asks for them: what he is told, what is mended, what the audit trail says."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from appliance.services import api, auditing
from appliance.services.wire import Call
from tests.scratch import BOX, ScratchArchive, mail

SECONDS = 60.0


def call(box: ScratchArchive, method: str, /, **params: Any) -> Any:
    return box.dispatcher.from_box(Call(method=method, params=params), BOX)


def run(box: ScratchArchive, method: str, **params: Any) -> api.RunInfo:
    """One run, to its end."""
    (begun,) = call(box, method, **params)
    deadline = time.monotonic() + SECONDS
    while begun.ended_at is None:
        assert time.monotonic() < deadline, begun
        time.sleep(0.02)
        (begun,) = call(box, "replica_runs", ids=[begun.id])
    return begun  # type: ignore[no-any-return]


def trail(box: ScratchArchive) -> list[tuple[str, str]]:
    return [(one.action, one.what) for one in auditing.audit(box.archive, BOX, find="replica.").lines]


def replicated(box: ScratchArchive, folder: Path) -> Path:
    """An archive with mail, and its replica in a folder."""
    call(box, "remote_add", name="cellar", type="local", path=str(folder / "cellar"))
    box.receive(*(mail(f"Subject {number}") for number in range(3)))
    box.writer.roll()
    box.sign()
    assert run(box, "replicate_begin").state == "done"
    return folder / "cellar"


def test_a_sample_is_read_back_and_its_records_are_opened_by_who_has_the_keys(
    box: ScratchArchive, tmp_path: Path
) -> None:
    replicated(box, tmp_path)
    sampled = run(box, "replica_verify_begin", remote="cellar")
    assert sampled.state == "done" and sampled.words.startswith("Whole:")
    assert not any("decrypted" in line for line in sampled.lines)
    box.dispatcher.replicas.attend()
    (after,) = call(box, "replica_runs", ids=[sampled.id])
    (line,) = [line for line in after.lines if "decrypted" in line]
    assert int(line.split()[0]) >= 3
    assert trail(box) == [("replica.verify.begin", "cellar")]


def test_a_rehearsed_restore_is_opened_by_who_has_the_keys(box: ScratchArchive, tmp_path: Path) -> None:
    replicated(box, tmp_path)
    desk = box.dispatcher.replicas._own.desk  # type: ignore[union-attr]
    (begun,) = desk.begin(kind="rehearse", remote="cellar")
    deadline = time.monotonic() + SECONDS
    while (ended := call(box, "replica_runs", ids=[begun.id])[0]).ended_at is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert ended.state == "done" and any("left to be decrypted" in line for line in ended.lines)
    box.dispatcher.replicas.attend()
    (after,) = call(box, "replica_runs", ids=[begun.id])
    (line,) = [line for line in after.lines if "were decrypted" in line]
    assert int(line.split()[0]) >= 1


def test_tampering_is_told_mended_and_written_into_the_audit_trail(box: ScratchArchive, tmp_path: Path) -> None:
    cellar = replicated(box, tmp_path)
    assert run(box, "replica_verify_begin", remote="cellar", full=True).state == "done"
    largest = max(
        (path for path in (cellar / "objects").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(bytes(content))
    failed = run(box, "replica_verify_begin", remote="cellar", full=True)
    assert failed.state == "failed" and largest.name in failed.words
    assert any(largest.name in line for line in failed.lines)
    box.dispatcher.replicas.attend()
    told = dict(trail(box))
    assert largest.name in told["replica.damaged"] and largest.name in told["replica.repaired"]
    assert run(box, "replica_verify_begin", remote="cellar", full=True).state == "done"


def test_rot_on_this_disk_is_mended_from_the_replica(box: ScratchArchive, tmp_path: Path) -> None:
    replicated(box, tmp_path)
    path = max((box.paths.volumes / box.mailbox.id).glob("*.mkv"), key=lambda path: path.stat().st_size)
    whole = path.read_bytes()
    path.write_bytes(whole[:-50] + bytes(50))
    failed = run(box, "replica_verify_begin", remote="cellar", full=True)
    assert failed.state == "failed" and path.name in failed.words
    assert path.read_bytes() == whole
    box.dispatcher.replicas.attend()
    told = dict(trail(box))
    assert path.name in told["replica.damaged"] and path.name in told["replica.repaired"]
    assert run(box, "replica_verify_begin", remote="cellar", full=True).state == "done"
    assert box.verify(deep=True).errors == ()
