"""Which user owns what: a data folder in every state that root may leave it in, put right."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.host import accounts

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

USERS = {name: 64001 + number for number, name in enumerate(accounts.USERS)}
GROUPS = {
    **USERS,
    **{
        name: 64101 + number for number, name in enumerate((accounts.MAIL, accounts.TLS, accounts.KEYS, accounts.AUDIT))
    },
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder on a box that has the accounts."""
    monkeypatch.setattr(
        pwd, "getpwnam", lambda name: pwd.struct_passwd((name, "x", USERS[name], USERS[name], "", "/", "/bin/false"))
    )
    monkeypatch.setattr(grp, "getgrnam", lambda name: grp.struct_group((name, "x", GROUPS[name], [])))
    (tmp_path / "archive").mkdir()
    return tmp_path / "archive"


def of(path: Path) -> tuple[str, str, int]:
    """Owner, group and mode."""
    status = path.lstat()
    names = {uid: name for name, uid in USERS.items()} | {0: "root"}
    groups = {gid: name for name, gid in GROUPS.items()} | {0: "root"}
    return names[status.st_uid], groups[status.st_gid], stat.S_IMODE(status.st_mode)


def write(path: Path, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    path.chmod(mode)
    return path


def test_what_root_has_made_gets_the_owners_that_work_with_it(data: Path) -> None:
    keyfile, servicekey = write(data.with_name("archive.keyfile"), 0o644), write(data.with_name("archive.servicekey"))
    settings = write(data / "settings.db", 0o644)
    keyring, volume, seal = (
        write(data / "keyring.json"),
        write(data / "volumes/aa/g0-1.mkv"),
        write(data / "tls/key.pem"),
    )
    (data / "projections").mkdir(0o755)
    published, secret = write(data / "gateway/gateway.json"), write(data / "run/agent/archiver/secret")
    accounts.settle(data)
    assert of(data) == ("mailkeep", "mailkeep", 0o1771)
    assert of(keyfile) == ("mailkeep-agent", "mailkeep-agent", 0o600)
    assert of(servicekey) == ("mailkeep", "mailkeep-collect", 0o640)
    assert of(keyring) == ("mailkeep-agent", "mailkeep", 0o640)
    assert of(settings) == ("mailkeep", "mailkeep", 0o640)
    assert of(data / "projections") == ("mailkeep", "mailkeep", 0o750)
    assert of(volume) == ("mailkeep", "mailkeep-mail", 0o660)
    assert of(volume.parent) == ("mailkeep", "mailkeep-mail", 0o2770)
    assert of(seal) == ("mailkeep", "mailkeep-tls", 0o640)
    assert of(published) == ("mailkeep", "mailkeep-mail", 0o640)
    assert of(secret) == ("mailkeep-agent", "mailkeep", 0o640)
    assert of(data / "run" / "agent") == ("mailkeep-agent", "mailkeep-keys", 0o2710)
    assert of(data / "run" / "gateway") == ("mailkeep-gateway", "mailkeep", 0o2750)


def test_what_the_gateway_writes_stays_its_own(data: Path) -> None:
    volume = write(data / "volumes/aa/g0-1.mkv", 0o660)
    os.chown(volume, USERS["mailkeep-gateway"], 0)
    accounts.settle(data)
    assert of(volume) == ("mailkeep-gateway", "mailkeep-mail", 0o660)


def test_settled_twice_nothing_is_touched_the_second_time(data: Path) -> None:
    files = [write(data / "volumes/aa/g0-1.mkv"), write(data / "tls/key.pem"), write(data / "keyring.json")]
    accounts.settle(data)
    before = [path.stat().st_ctime_ns for path in files]
    accounts.settle(data)
    assert [path.stat().st_ctime_ns for path in files] == before


def test_links_pipes_and_sockets_put_there_lead_nowhere(data: Path, tmp_path: Path) -> None:
    victim, folder = write(tmp_path / "elsewhere" / "victim"), tmp_path / "elsewhere"
    (data / "volumes").mkdir()
    (data / "volumes" / "link").symlink_to(victim)
    (data / "volumes" / "folder").symlink_to(folder)
    os.mkfifo(data / "volumes" / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(data / "volumes" / "socket"))
        accounts.settle(data)
    assert of(victim) == ("root", "root", 0o600)
    assert of(folder)[:2] == ("root", "root")


def test_without_the_accounts_nothing_changes(tmp_path: Path) -> None:
    settings = write(tmp_path / "settings.db")
    accounts.settle(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["settings.db"]
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600


def test_a_program_is_run_as_the_owner_of_the_archive(tmp_path: Path) -> None:
    data = tmp_path / "archive"
    data.mkdir()
    assert accounts.as_owner(data) == {}
    os.chown(data, 64001, 64001)
    assert accounts.owner(data / "not" / "yet").uid == 64001
    done = subprocess.run(
        ["/usr/bin/id", "--user"], capture_output=True, text=True, timeout=30, check=True, **accounts.as_owner(data)
    )
    assert done.stdout == "64001\n"
