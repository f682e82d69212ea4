"""``mailkeep doctor`` finds what keeps a box from being fit for an archive, and says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli import doctor, main
from appliance.services.paths import Paths
from appliance.services.swap import System


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Paths, System]:
    """A folder for an archive on a made-up system, whose live index is on a tmpfs and which has no swap."""
    live = tmp_path / "shm"
    live.mkdir()
    monkeypatch.setenv("MAILKEEP_LIVE", str(live))
    paths = Paths(tmp_path / "data")
    paths.data.mkdir()
    system = System(proc=tmp_path / "proc", sys=tmp_path / "sys")
    (system.proc / "self").mkdir(parents=True)
    (system.proc / "self" / "mountinfo").write_text(f"30 22 0:26 / {live} rw - tmpfs tmpfs rw\n")
    (system.proc / "swaps").write_text("Filename Type Size Used Priority\n")
    return paths, system


def found(box: tuple[Paths, System], what: str) -> doctor.Finding:
    (finding,) = (one for one in doctor.examine(*box) if one.what == what)
    return finding


def test_a_fit_box_has_no_problem(box: tuple[Paths, System]) -> None:
    states = {one.what: one.state for one in doctor.examine(*box)}
    assert set(states) == {"swap", "live index", "memory lock", "systemd-creds", "keyfile", "disk", "ports"}
    assert states["swap"] == states["keyfile"] == "ok"


def test_plain_swap_is_a_problem_with_a_way_out(box: tuple[Paths, System]) -> None:
    (box[1].proc / "swaps").write_text("Filename Type Size Used Priority\n/dev/none partition 1 0 -2\n")
    assert found(box, "swap").state == "problem"
    assert "swapoff" in found(box, "swap").text


def test_an_index_on_a_disk_is_a_problem(box: tuple[Paths, System]) -> None:
    mounts = box[1].proc / "self" / "mountinfo"
    mounts.write_text(mounts.read_text().replace("tmpfs", "ext4"))
    assert found(box, "live index").state == "problem"


def test_a_keyfile_in_the_data_folder_or_open_to_others_is_a_problem(box: tuple[Paths, System]) -> None:
    paths = box[0]
    paths.keyfile.write_text("secret")
    paths.keyfile.chmod(0o644)
    assert "chmod 600" in found(box, "keyfile").text
    paths.keyfile.chmod(0o600)
    assert found(box, "keyfile").state == "ok"
    (paths.data / "copy.keyfile").write_text("secret")
    assert found(box, "keyfile").state == "problem"


def test_scripts_get_json_and_an_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda _paths: iter([doctor.Finding("disk", "problem", "Make room.")]))
    done = CliRunner().invoke(main, ["--data", str(tmp_path / "data"), "doctor", "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout) == [{"what": "disk", "state": "problem", "text": "Make room."}]
    monkeypatch.setattr(doctor, "examine", lambda _paths: iter([doctor.Finding("disk", "warning", "Soon.")]))
    assert CliRunner().invoke(main, ["--data", str(tmp_path / "data"), "doctor"]).exit_code == 0
