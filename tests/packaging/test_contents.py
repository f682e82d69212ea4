"""What is in the Debian package, and what is not."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.packaging, pytest.mark.timeout(1800)]
HOME = Path("usr/lib/mailkeep")
SITE = HOME / "lib/python3.11/site-packages"


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=1500).stdout


@pytest.fixture(scope="module")
def unpacked(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("package") / "files"
    run("dpkg-deb", "--extract", str(package), str(folder))
    yield folder
    shutil.rmtree(folder)


def names(lock: Path) -> set[str]:
    """What a lock file pins, as folders of metadata spell it."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^ ]+)", lock.read_text(), re.MULTILINE)
    return {f"{re.sub('[-.]+', '_', name).lower()}-{version}" for name, version in found}


def test_it_holds_what_the_lock_file_names_in_that_version_and_nothing_else(unpacked: Path) -> None:
    held = {entry.name.removesuffix(".dist-info").lower() for entry in (unpacked / SITE).glob("*.dist-info")}
    ours = {name for name in held if name.startswith("mailkeep-")}
    assert held - ours == names(ROOT / "requirements.lock")
    assert len(ours) == 1


def test_nothing_of_it_knows_the_folder_that_it_was_built_in(package: Path, unpacked: Path) -> None:
    built = [str(package.parent), str(ROOT), "/debian/mailkeep/"]
    for path in unpacked.rglob("*"):
        if path.is_symlink():
            assert not any(place in os.readlink(path) for place in built), path
        elif path.is_file():
            content = path.read_bytes()
            assert not [place for place in built if place.encode() in content], path


def test_each_program_runs_on_the_packages_own_environment(unpacked: Path) -> None:
    interpreter = (unpacked / HOME / "bin/python").readlink()
    assert os.path.normpath(Path("/", HOME, "bin", interpreter)) == "/usr/bin/python3.11"
    assert (unpacked / "usr/bin/mailkeep").readlink() == Path("../lib/mailkeep/bin/mailkeep")
    assert (unpacked / HOME / "bin/mailkeep").read_text().startswith("#!/usr/lib/mailkeep/bin/python -I\n")
    assert {entry.name for entry in (unpacked / HOME / "bin").iterdir()} == {"mailkeep", "python", "rclone"}


def test_every_module_is_compiled_for_good_under_the_name_it_will_have(unpacked: Path) -> None:
    uncompiled = []
    for source in (unpacked / SITE / "appliance").rglob("*.py"):
        compiled = Path(importlib.util.cache_from_source(str(source), optimization="")).with_suffix("")
        compiled = compiled.with_name(f"{source.stem}.cpython-311.pyc")
        if not compiled.exists():
            uncompiled.append(source)
            continue
        content = compiled.read_bytes()
        assert content[4:8] == b"\x01\x00\x00\x00", f"{compiled} is looked at again when its source has another time"
        assert f"/{source.relative_to(unpacked)}".encode() in content, compiled
    assert not uncompiled


def test_certificate_authorities_are_those_of_the_machine(unpacked: Path) -> None:
    assert (unpacked / SITE / "certifi/cacert.pem").readlink() == Path("/etc/ssl/certs/ca-certificates.crt")


def test_man_pages_have_every_command_and_no_error(unpacked: Path) -> None:
    if shutil.which("man") is None:
        pytest.skip("there is no man here")
    pages = sorted((unpacked / "usr/share/man/man1").iterdir())
    assert [page.name for page in pages] == ["mailkeep-console.1.gz", "mailkeep.1.gz"]
    for page in pages:
        shown = subprocess.run(
            ["man", "--local-file", "--warnings=all", str(page)],
            capture_output=True, text=True, timeout=60, check=True, env={**os.environ, "MANWIDTH": "120"},
        )  # fmt: skip
        assert not shown.stderr
    for words in ("mailkeep serve", "mailkeep mailbox create", "mailkeep export", "--data"):
        assert words in shown.stdout


def test_the_shell_completes_commands(unpacked: Path) -> None:
    script = unpacked / "usr/share/bash-completion/completions/mailkeep"
    assert "complete" in run("bash", "-c", f"source {script} && complete -p mailkeep")


def test_the_profiles_of_apparmor_are_well_formed(unpacked: Path) -> None:
    if shutil.which("apparmor_parser") is None:
        pytest.skip("there is no apparmor_parser here (Debian: apparmor)")
    profiles = unpacked / "etc/apparmor.d/mailkeep"
    run("apparmor_parser", "--skip-kernel-load", "--skip-cache", str(profiles))
    asked = {
        match
        for unit in (unpacked / "lib/systemd/system").glob("mailkeep*.service")
        for match in re.findall(r"^AppArmorProfile=-(\S+)$", unit.read_text(), re.MULTILINE)
    }
    assert asked == set(re.findall(r"^profile (\S+)", profiles.read_text(), re.MULTILINE))


@pytest.mark.usefixtures("whole")
def test_lintian_has_nothing_to_say(package: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("there is no lintian here")
    built_with_it = package.parent.glob(f"mailkeep-*_{package.name.split('_')[1]}_*.deb")
    done = subprocess.run(
        ["lintian", "--fail-on=error,warning", "--allow-root", str(package), *map(str, built_with_it)],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.usefixtures("whole")
def test_two_builds_are_the_same_to_the_byte(package: Path, tmp_path: Path) -> None:
    kept = package.parent / "deb" / "wheels"
    if kept.is_dir():
        shutil.copytree(kept, tmp_path / "deb" / "wheels")
    again = [Path(line) for line in run(str(ROOT / "packaging" / "build-deb"), str(tmp_path)).splitlines()]
    assert package.name in {one.name for one in again}
    for one in again:
        assert one.read_bytes() == (package.parent / one.name).read_bytes(), one.name
