"""The web process as it is started: what it serves, what it refuses, and what it cannot reach."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.ports import free_port
from webadmin.__main__ import main

_CONFINED = """
import socket, sys
from pathlib import Path
from webadmin import __main__ as web
data = Path(sys.argv[1])
confined = web.confine_to_own_files(web.read_options(["--data", str(data), "--http", "127.0.0.1:1"]))
if not confined:
    sys.exit("no Landlock")
for path in sys.argv[2:]:
    try:
        Path(path).read_bytes()
        print("read", path)
    except PermissionError:
        pass
with socket.socket(socket.AF_UNIX) as client:
    client.connect(str(data / "run" / "web" / "archive.sock"))
from webadmin.page import environment
environment().get_template("portal/search.html")
print("serves")
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with the web's socket folder."""
    (tmp_path / "data" / "run" / "web").mkdir(parents=True)
    return tmp_path / "data"


@pytest.fixture
def served(data: Path) -> Iterator[str]:
    """The address of a started web process without an archiver behind it."""
    port = free_port()
    command = [sys.executable, "-m", "webadmin", "--data", str(data), "--http", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(30) in (0, -15)


def test_without_the_archiver_its_pages_say_so_and_its_own_files_are_served(served: str) -> None:
    answer = httpx.get(f"{served}/sign-in")
    assert answer.status_code == 503
    assert "Mail is still received" in answer.text
    assert "server" not in answer.headers
    style = httpx.get(f"{served}/static/css/base.css")
    assert style.headers["content-type"].startswith("text/css")
    font = httpx.get(f"{served}/static/fonts/inter-latin-wght-normal.woff2")
    assert font.headers["content-type"] == "font/woff2"
    assert len(font.content) > 10_000
    assert httpx.get(f"{served}/welcome").status_code == 200
    assert httpx.get(f"{served}/static/../page.py").status_code == 404
    assert httpx.get(f"{served}/static/%2e%2e/page.py").status_code == 404


def test_passwords_never_travel_in_clear_between_machines(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(data), "--http", "0.0.0.0:8080"]) == 2
    assert "passwords would travel in clear" in capsys.readouterr().err
    assert main(["--data", str(data), "--http", "[::]:8080"]) == 2


@pytest.mark.parametrize("endpoint", ["8080", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:x"])
def test_a_mistyped_address_is_said_in_words(data: Path, endpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(data), "--http", endpoint]) == 2
    assert "HOST:PORT" in capsys.readouterr().err


def test_it_reaches_the_archivers_socket_and_nothing_else_of_the_data(data: Path, tmp_path: Path) -> None:
    secrets = [data / "settings.db", data / "keyring.json", data / "volumes" / "v1", tmp_path / "data.keyfile"]
    for path in secrets:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"secret")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(data / "run" / "web" / "archive.sock"))
        listener.listen()
        command = [sys.executable, "-c", _CONFINED, str(data), *map(str, secrets), "/etc/passwd"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "no Landlock" in done.stderr:
        pytest.skip("this kernel has no Landlock")
    assert done.stdout.split("\n") == ["serves", ""], done.stdout + done.stderr
