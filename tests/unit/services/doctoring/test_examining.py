"""The doctor on a machine that is made up: what keeps it from being fit for an archive, and how to mend it."""

from __future__ import annotations

import json
import os
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from click.testing import CliRunner

from appliance.cli import main
from appliance.errors import MailkeepError, UnavailableError
from appliance.host.clock import Clock
from appliance.host.machine import Answer, Machine
from appliance.services import doctoring
from appliance.services.certificates import prepare
from appliance.services.doctoring import (
    Finding,
    Remote,
    Subject,
    disk,
    doors,
    examining,
    keys,
    memory,
    permissions,
    timekeeping,
)
from appliance.services.doctoring.subject import of_archive
from appliance.services.paths import PACKAGED_DATA, Paths
from appliance.services.swap import System
from tests.scratch import BOX, ScratchArchive
from tests.unit.host.double import machine

SUBJECT = Subject("box.test")


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Paths, System]:
    """A folder for an archive on a made-up system, whose live index is on a tmpfs and which has no swap."""
    live = tmp_path / "shm"
    live.mkdir()
    monkeypatch.setenv("MAILKEEP_LIVE", str(live))
    paths = Paths(tmp_path / "data")
    paths.data.mkdir(mode=0o750)
    system = System(proc=tmp_path / "proc", sys=tmp_path / "sys")
    (system.proc / "self").mkdir(parents=True)
    (system.proc / "self" / "mountinfo").write_text(f"30 22 0:26 / {live} rw - tmpfs tmpfs rw\n")
    (system.proc / "swaps").write_text("Filename Type Size Used Priority\n")
    (system.proc / "meminfo").write_text("MemTotal:        4026532 kB\nMemFree:          134652 kB\n")
    return paths, system


def test_plain_swap_is_a_problem_with_a_way_out(box: tuple[Paths, System]) -> None:
    assert memory.swap(*box).state == "ok"
    (box[1].proc / "swaps").write_text("Filename Type Size Used Priority\n/dev/none partition 1 0 -2\n")
    told = memory.swap(*box)
    assert (told.state, "swapoff" in told.mend) == ("problem", True)


def test_plain_swap_is_no_problem_where_all_processes_of_the_archive_are_never_swapped(
    box: tuple[Paths, System], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, system = box
    (system.proc / "swaps").write_text("Filename Type Size Used Priority\n/dev/none partition 1 0 -2\n")
    group = system.sys / "fs" / "cgroup" / "mailkeep.slice"
    group.mkdir(parents=True)
    (group / "memory.swap.max").write_text("0\n")
    (system.proc / "self" / "cgroup").write_text("0::/user.slice\n")
    for pid, role, place in ((7, "archiver", "mailkeep.slice/a"), (8, "projector", "mailkeep.slice/b")):
        (system.proc / str(pid)).mkdir()
        command = ["python", "-m", "appliance.services", role, "--data", str(paths.data), ""]
        (system.proc / str(pid) / "cmdline").write_text("\0".join(command))
        (system.proc / str(pid) / "stat").write_text(f"{pid} (python) S " + "1 " * 30)
        (system.proc / str(pid) / "cgroup").write_text(f"0::/{place}\n")
    assert memory.swap(paths, system).state == "ok"
    (system.proc / "8" / "cgroup").write_text("0::/system.slice/other\n")
    assert memory.swap(paths, system).state == "problem"
    (group / "memory.swap.max").write_text("max\n")
    (system.proc / "8" / "cgroup").write_text("0::/mailkeep.slice/b\n")
    assert memory.swap(paths, system).state == "problem"


def test_before_anything_runs_the_slice_that_systemd_has_ready_counts(tmp_path: Path) -> None:
    class Told(Machine, frozen=True):
        limit: str = "0"

        @property
        def has_systemd(self) -> bool:
            return True

        def run(self, *command: str, seconds: float = 10.0) -> Answer:
            assert command == ("systemctl", "show", "--property=MemorySwapMax", "--value", "mailkeep.slice")
            return Answer(0, f"{self.limit}\n")

    assert memory.units_never_swap(PACKAGED_DATA, Told())
    assert not memory.units_never_swap(PACKAGED_DATA, Told(limit="infinity"))
    assert not memory.units_never_swap(tmp_path, Told()), "systemd does not run the archive of that folder"


def test_an_index_on_a_disk_is_a_problem(box: tuple[Paths, System]) -> None:
    mounts = box[1].proc / "self" / "mountinfo"
    mounts.write_text(mounts.read_text().replace("tmpfs", "ext4"))
    assert memory.live(*box).state == "problem"


@pytest.mark.parametrize(("kept", "state"), [(True, "ok"), (False, "warning")])
def test_of_the_memory_lock_a_running_key_agent_knows_best(
    box: tuple[Paths, System], monkeypatch: pytest.MonkeyPatch, kept: bool, state: str
) -> None:
    agent = SimpleNamespace(state=lambda: SimpleNamespace(memory_locked=kept))
    monkeypatch.setattr(memory, "agent_of", lambda _paths, _role: agent)
    # What the process that looks may do itself is the other way round.
    limit = 65536 if kept else resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (limit, limit))
    monkeypatch.setattr(memory, "may", lambda _capability: not kept)
    assert memory.lock(box[0]).state == state


def test_little_memory_is_told_of(box: tuple[Paths, System]) -> None:
    assert memory.size_of(*box).state == "ok"
    (box[1].proc / "meminfo").write_text("MemTotal:         502652 kB\n")
    assert memory.size_of(*box).state == "warning"


def test_a_keyfile_in_the_data_folder_or_open_to_others_is_a_problem(box: tuple[Paths, System]) -> None:
    paths = box[0]
    assert keys.keyfile(paths).state == "ok"
    paths.keyfile.write_text("secret")
    paths.keyfile.chmod(0o644)
    assert "chmod 600" in keys.keyfile(paths).mend
    paths.keyfile.chmod(0o600)
    assert keys.keyfile(paths).state == "ok"
    (paths.data / "copy.keyfile").write_text("secret")
    assert keys.keyfile(paths).state == "problem"


def test_systemds_credentials_are_told_of_as_they_are(tmp_path: Path, box: tuple[Paths, System]) -> None:
    assert keys.credentials(box[0], machine(tmp_path)).state == "warning"
    there = machine(tmp_path, {"systemd-creds --version": "systemd 252", "systemd-creds has-tpm2": ""})
    assert "with a TPM 2" in keys.credentials(box[0], there).text


@pytest.mark.parametrize("name", ["settings.db", "keyring.json", "tls/key.pem", "run/local/secret", "run/pull.key"])
def test_a_secret_that_everybody_can_read_is_a_problem_with_the_command_that_mends_it(
    box: tuple[Paths, System], name: str
) -> None:
    paths = box[0]
    secret = paths.data / name
    secret.parent.mkdir(parents=True, exist_ok=True)
    secret.write_text("secret")
    secret.chmod(0o640)
    assert permissions.secrets(paths).state == "ok"
    secret.chmod(0o644)
    told = permissions.secrets(paths)
    assert (told.state, told.mend) == ("problem", f"`chmod o-rwx {secret}`")


def test_a_folder_that_everybody_can_list_is_a_problem(box: tuple[Paths, System]) -> None:
    box[0].data.chmod(0o755)
    assert permissions.secrets(box[0]).state == "problem"
    box[0].data.chmod(0o711)
    assert permissions.secrets(box[0]).state == "ok"


def test_how_fast_the_disk_keeps_something_is_measured_and_leaves_nothing(box: tuple[Paths, System]) -> None:
    taken = disk.measure(box[0].data)
    assert 0 < len(taken) <= disk.WRITES
    assert all(one > 0 for one in taken)
    assert list(box[0].data.iterdir()) == []


@pytest.mark.parametrize(("seconds", "state"), [(0.0004, "ok"), (0.012, "ok"), (0.04, "warning"), (0.4, "problem")])
def test_what_is_measured_is_said_in_words(
    box: tuple[Paths, System], monkeypatch: pytest.MonkeyPatch, seconds: float, state: str
) -> None:
    monkeypatch.setattr(disk, "measure", lambda _place: [seconds] * 10)
    told = disk.speed(box[0])
    assert told.state == state
    assert f"{seconds * 1000:.1f} ms" in told.text
    assert bool(told.mend) == (state != "ok")


def test_a_program_that_holds_a_port_is_named(box: tuple[Paths, System]) -> None:
    proc = box[1].proc
    (proc / "net").mkdir()
    # proc_net_tcp(5): address and port in hexadecimal, 0A is listening; the tenth word is the inode.
    rest = "00000000:00000000 00:00000000 00000000   101        0"
    (proc / "net" / "tcp").write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        f"   0: 0100007F:0019 00000000:0000 0A {rest} 31337 1 0 100 0 0 10 0\n"
        f"   1: 0100007F:01BB 0100007F:A001 01 {rest} 31338 1 0 100 0 0 10 0\n"
    )
    (proc / "4711" / "fd").mkdir(parents=True)
    (proc / "4711" / "fd" / "5").symlink_to("socket:[31337]")
    (proc / "4711" / "comm").write_text("exim4\n")
    (told,) = doors.ports(box[0], proc)
    assert (told.state, told.text) == ("problem", "exim4 listens on port 25, so mailkeep cannot.")
    assert "systemctl disable --now exim4" in told.mend
    (proc / "4711" / "fd" / "5").unlink()  # only root may look whose a socket is
    assert "Another program" in next(doors.ports(box[0], proc)).text


@pytest.fixture
def served(box: tuple[Paths, System]) -> Iterator[tuple[Paths, socket.socket]]:
    """A box on which something listens that says what a test has it say."""
    paths = box[0]
    paths.local_socket.parent.mkdir(parents=True)
    paths.local_socket.touch()
    with socket.create_server(("127.0.0.1", 0)) as door:
        place = f"127.0.0.1:{door.getsockname()[1]}"
        paths.listening.write_text(json.dumps({"smtp": [place], "http": [], "pop3s": []}))
        yield paths, door


@pytest.mark.parametrize(
    ("banner", "state"), [(b"220 box.test ESMTP\r\n", "ok"), (b"554 no\r\n", "problem"), (b"", "problem")]
)
def test_a_port_is_looked_at_by_what_answers_there(
    served: tuple[Paths, socket.socket], banner: bytes, state: str
) -> None:
    paths, door = served

    def greet() -> None:
        connection, _ = door.accept()
        with connection:
            connection.sendall(banner)

    thread = threading.Thread(target=greet)
    thread.start()
    (told,) = doors.ports(paths)
    thread.join()
    assert told.state == state


def test_a_port_where_nothing_listens_any_more_is_a_problem(served: tuple[Paths, socket.socket]) -> None:
    served[1].close()
    (told,) = doors.ports(served[0])
    assert (told.state, "does not answer" in told.text) == ("problem", True)


def certificate(paths: Paths, subject: Subject = SUBJECT) -> Finding:
    (found,) = examining._certificate(paths, subject)
    return found


def test_the_certificate_is_told_of_by_what_is_left_of_it(
    box: tuple[Paths, System], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = box[0]
    assert certificate(paths).state == "ok"  # there is none before the first start
    prepare(paths, "box.test")
    assert (certificate(paths).state, "Self-signed" in certificate(paths).text) == ("ok", True)
    other = certificate(paths, Subject("other.test"))
    assert (other.state, "tls acme" in other.mend) == ("problem", True)
    now = doctoring.examining.read(paths.tls, "box.test")
    for days, state in ((29.0, "warning"), (6.0, "problem")):
        shown = msgspec.structs.replace(now, days_left=days)
        monkeypatch.setattr(examining, "read", lambda *_, shown=shown: shown)
        assert certificate(paths).state == state


def test_remotes_are_told_of_as_they_were_tried(box: tuple[Paths, System]) -> None:
    tried = Subject("box.test", remotes=(Remote("nas", True, ""), Remote("s3", False, "It does not take the key.")))
    states = {one.what: (one.state, one.text) for one in examining._remotes(box[0], tried)}
    assert states["remote nas"][0] == "ok"
    assert states["remote s3"] == ("problem", "It does not take the key.")
    (none,) = examining._remotes(box[0], Subject("box.test", remotes=()))
    assert none.state == "warning"
    assert list(examining._remotes(box[0], SUBJECT)) == []  # nobody could look


def test_a_check_that_cannot_be_done_is_a_finding_and_the_others_go_on(
    box: tuple[Paths, System], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_paths: Paths, _subject: Subject) -> Iterator[Finding]:
        raise OSError(5, "Input/output error")
        yield

    rest = ("keyfile", lambda paths, _subject: (keys.keyfile(paths),))
    monkeypatch.setattr(examining, "CHECKS", (("disk", broken), rest))
    seen: list[tuple[int, int]] = []
    told = list(doctoring.examine(box[0], SUBJECT, lambda done, total: seen.append((done, total))))
    assert [(one.what, one.state) for one in told] == [("disk", "warning"), ("keyfile", "ok")]
    assert seen == [(0, 2), (1, 2), (2, 2)]


def test_scripts_get_json_and_an_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Finding("disk", "problem", "It is full.", "Make room.")
    monkeypatch.setattr(doctoring, "examine", lambda *_: iter([found]))
    done = CliRunner().invoke(main, ["--data", str(tmp_path / "data"), "doctor", "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout) == [
        {"what": "disk", "state": "problem", "text": "It is full.", "mend": "Make room."}
    ]
    people = CliRunner().invoke(main, ["--data", str(tmp_path / "data"), "doctor"])
    assert "PROBLEM  disk  It is full." in people.stdout
    assert "→ Make room." in people.stdout
    monkeypatch.setattr(doctoring, "examine", lambda *_: iter([Finding("disk", "warning", "Soon.")]))
    assert CliRunner().invoke(main, ["--data", str(tmp_path / "data"), "doctor"]).exit_code == 0
    wrong = CliRunner().invoke(main, ["--data", str(tmp_path / "data"), "doctor", "--resolver", "nowhere"])
    assert wrong.exit_code == 1


def test_the_archive_tells_its_name_and_the_domains_of_its_mailboxes_to_administrators(tmp_path: Path) -> None:
    archive = ScratchArchive(tmp_path)
    try:
        told = of_archive(archive.archive)
        assert told == Subject("box.test", ("archive.test",))
        nobody = msgspec.structs.replace(BOX, roles=frozenset({"auditor"}))
        for method in ("doctor_subject", "doctor_begin"):
            with pytest.raises(MailkeepError, match="administrator"):
                archive.dispatcher._local[method](nobody, params={})
    finally:
        archive.close()


def test_an_examination_is_a_job_that_ends_with_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "CHECKS", (("keyfile", lambda paths, _subject: (keys.keyfile(paths),)),))
    archive = ScratchArchive(tmp_path)
    try:
        job = archive.dispatcher._local["doctor_begin"](BOX, params={})
        while job.finished_at is None:
            job = archive.dispatcher.jobs.get(BOX, id=job.id)
        assert (job.state, job.done, job.total) == ("done", 1, 1)
        (one,) = archive.dispatcher._local["doctor_findings"](BOX, params={"id": job.id})
        assert one.what == "keyfile"
        assert os.fspath(archive.paths.keyfile) in one.text
    finally:
        archive.close()


@pytest.mark.parametrize(
    ("off", "kept", "state"),
    [
        (0.2, True, "ok"), (5.0, True, "warning"), (90.0, True, "problem"), (-90.0, False, "problem"),
        (0.2, False, "ok"), (5.0, False, "warning"), (None, True, "ok"), (None, False, "warning"),
    ],
)  # fmt: skip
def test_the_clock_is_judged_by_how_far_it_is_off_and_by_what_keeps_it(
    monkeypatch: pytest.MonkeyPatch, off: float | None, kept: bool, state: str
) -> None:
    def answer(_server: str) -> float:
        if off is None:
            raise UnavailableError("no answer")
        return off

    monkeypatch.setattr(timekeeping.clock, "offset", answer)
    told = timekeeping.examine(Clock(now=0.0, zone="UTC", ntp=kept, synchronised=kept))
    assert told.state == state
    assert bool(told.mend) == (state != "ok")


def test_without_names_only_addresses_are_asked_for_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(timekeeping.clock, "offset", lambda server: asked.append(server) or 0.0)
    now = Clock(now=0.0, zone="UTC", ntp=True, synchronised=True, servers=("ntp.example.com", "192.0.2.1"))
    timekeeping.examine(now, by_name=False)
    assert asked == ["192.0.2.1"]
