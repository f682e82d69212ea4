"""A keyring in a scratch folder whose passphrases cost nothing to try, and a key agent for it."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance import framing
from appliance.keys import agent_wire as wire
from appliance.keys.agent_client import Agent, AgentKeys
from appliance.keys.agent_wire import role_secret
from appliance.keys.keyring import Keyring, Unlocked
from appliance.keys.stored import Argon2

CHEAP = Argon2(memory=64, passes=1)
PASSPHRASE = "päss word"
ROOT = Path(__file__).parents[3]


class Ring:
    """A keyring, its keyfile, its passphrase, its recovery key."""

    def __init__(self, folder: Path) -> None:
        self.path, self.keyfile = folder / "data" / "keyring.json", folder / "data.keyfile"
        self.path.parent.mkdir()
        self.unlocked, self.recovery_key = Keyring.create(
            self.path, passphrase=PASSPHRASE, keyfile=self.keyfile, argon2=CHEAP
        )

    def load(self) -> Keyring:
        """As another process reads it now."""
        return Keyring.load(self.path, argon2=CHEAP)

    def again(self) -> Unlocked:
        """As another process opens it now, by the passphrase."""
        return self.load().unlock_with_passphrase(PASSPHRASE)


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring(tmp_path)


# The agent under another user, where that user could not start this interpreter. The kernel makes a process that
# changes its user undumpable; what is tested is that the agent does so itself.
_AS_USER = """
import ctypes, encodings.ascii, os, sys
from appliance.keys import agent
user = int(sys.argv.pop(1))
given = agent._arguments()
agent._arguments = lambda: given
os.setgroups([]); os.setgid(user); os.setuid(user)
PR_SET_DUMPABLE = 4
assert ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0
sys.exit(agent.main())
"""


class AgentProcess:
    """A key agent of its own, and ways to talk to it."""

    def __init__(self, folder: Path, keyring: Path) -> None:
        self.folder, self.keyring = folder, keyring
        self.socket = folder / "run" / "agent.sock"
        self.process: subprocess.Popen[str] | None = None

    def command(self, *options: str | Path) -> list[str]:
        """The agent's command line."""
        return [
            *(sys.executable, "-m", "appliance.keys.agent", "--keyring", str(self.keyring)),
            *("--socket", str(self.socket), "--secrets", str(self.folder / "run")),
            *map(str, options),
        ]

    def start(self, *options: str | Path, passphrase: str = "", as_user: int | None = None, **how: Any) -> AgentProcess:
        """Start it and wait until it is ready. ``as_user`` needs root."""
        command = self.command(*options)
        if as_user is not None:
            command = [sys.executable, "-c", _AS_USER, str(as_user), *command[3:]]
        self.process = subprocess.Popen(
            command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stdin=subprocess.PIPE, **how
        )
        self.process.stdin.write(passphrase + "\n")
        self.process.stdin.close()
        assert self.process.stdout.readline() == "ready\n"
        return self

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def secret(self, role: str) -> Path:
        """The file with a role's secret."""
        return role_secret(self.folder / "run", role)

    def as_(self, role: str) -> Agent:
        """Its door for one role."""
        return Agent(self.socket, self.secret(role))

    def keys(self, role: str = "archiver") -> AgentKeys:
        """Its keys for one role."""
        return AgentKeys(self.socket, self.secret(role), self.keyring)

    def connect(self, role: str | None = None) -> socket.socket:
        """A raw connection; with a role, one that has said hello."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(str(self.socket))
        connection.settimeout(20)
        if role is not None:
            assert self.ask(connection, wire.Hello(self.secret(role).read_text())).error is None
        return connection

    def ask(self, connection: socket.socket, value: Any) -> wire.Answer | None:
        """Send one frame and read the answer; None where the agent ended the connection."""
        connection.sendall(framing.pack(value, wire.LARGEST_REQUEST))
        raw = framing.read(connection.makefile("rb"), wire.LARGEST_ANSWER)
        return None if raw is None else msgspec.msgpack.decode(raw, type=wire.Answer)


@pytest.fixture
def agent(tmp_path: Path, ring: Ring) -> Iterator[AgentProcess]:
    """Not started yet."""
    process = AgentProcess(tmp_path, ring.path)
    yield process
    process.stop()
