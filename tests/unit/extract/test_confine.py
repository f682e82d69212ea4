"""What a confined process can no longer do, tried in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

_PRELUDE = """
import os, resource, socket, sys
from pathlib import Path
from appliance import confine
allowed, secret = Path(sys.argv[1]), Path(sys.argv[2])
def refused(act):
    try:
        act()
    except (OSError, MemoryError):
        return True
    return False
"""


def run(tmp_path: Path, code: str) -> str:
    allowed, secret = tmp_path / "allowed", tmp_path / "secret"
    allowed.mkdir()
    secret.write_text("key")
    script = _PRELUDE + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", script, str(allowed), str(secret)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "NO SUPPORT" in done.stdout:
        pytest.skip("this kernel does not have the restriction")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_only_the_named_folders_can_be_read_and_written(tmp_path: Path) -> None:
    code = """
        if not confine.restrict_filesystem(read=[Path("/usr")], write=[allowed, Path("/not/there")]):
            print("NO SUPPORT")
        file = allowed / "a"
        file.write_text("x")
        file.rename(allowed / "b")
        assert (allowed / "b").read_text() == "x"
        (allowed / "b").unlink()
        assert refused(secret.read_bytes)
        assert refused(lambda: secret.write_text("y"))
        assert refused(lambda: (allowed.parent / "c").write_text("z"))
        assert refused(lambda: os.execv("/bin/true", ["true"]))
        print("ok")
    """
    assert run(tmp_path, code) == "ok"


def test_what_was_open_before_stays_usable(tmp_path: Path) -> None:
    code = """
        stream = secret.open()
        if not confine.restrict_filesystem(read=[], write=[]):
            print("NO SUPPORT")
        print(stream.read())
    """
    assert run(tmp_path, code) == "key"


def test_no_socket_of_any_family_can_be_made(tmp_path: Path) -> None:
    code = """
        left, right = socket.socketpair()
        if not confine.forbid_network():
            print("NO SUPPORT")
        for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):
            assert refused(lambda: socket.socket(family, socket.SOCK_DGRAM)), family
        left.sendall(b"still open")
        print(right.recv(20).decode())
    """
    assert run(tmp_path, code) == "still open"


def test_where_sockets_cannot_be_refused_the_network_is_left(tmp_path: Path) -> None:
    code = """
        confine._refuse_sockets = lambda: False
        if not confine.forbid_network():
            print("NO SUPPORT")
        assert refused(lambda: socket.create_connection(("127.0.0.1", 9), timeout=5))
        print(sorted(name for _, name in socket.if_nameindex() if name != "lo"))
    """
    assert "eth" not in run(tmp_path, code)


def test_memory_files_and_core_dumps_are_bounded(tmp_path: Path) -> None:
    code = """
        confine.limit(memory=512 * 1024 * 1024, cpu_seconds=30, files=32, file_size=10)
        assert refused(lambda: bytearray(1024 * 1024 * 1024))
        assert refused(lambda: [os.dup(0) for _ in range(64)])
        assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
        assert resource.getrlimit(resource.RLIMIT_CPU)[0] == 30
        print("ok")
    """
    assert run(tmp_path, code) == "ok"


def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    code = """
        import signal, time
        read_end, write_end = os.pipe()
        middle = os.fork()
        if middle == 0:
            if os.fork() == 0:
                confine.die_with_parent()
                confine.undumpable()
                os.write(write_end, b"up")
                time.sleep(60)
            os.read(read_end, 2)
            os._exit(0)
        os.close(write_end)
        os.waitpid(middle, 0)
        assert os.read(read_end, 10) == b""  # the last writer is gone, long before its sleep ends
        print("ok")
    """
    assert run(tmp_path, code) == "ok"
