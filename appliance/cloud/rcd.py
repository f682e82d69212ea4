"""One ``rclone rcd`` as a child process, and its remote control: JSON over HTTP on a Unix socket.

rclone's configuration exists in its memory only (``--config ""``); remotes are put there through the socket. Whoever
can call can read them, so a call needs a password besides, made anew for each child; the folder holds its hash alone.
A child that died is started again by the next call.

Source: https://rclone.org/rc/, https://rclone.org/commands/rclone_rcd/.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import logging
import os
import secrets
import select
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from appliance import decoding
from appliance.errors import UnavailableError
from appliance.files import FILES, Files, replace_file

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.25
"""How often a caller who waits is asked whether it still does."""

MEMORY: Final = ":memory:"
"""The remote that is rclone's own memory (https://rclone.org/memory/)."""
HELD: Final = "held"
"""The folder in it for ``Daemon.hold``."""

_PIECE: Final = 256 * 1024
_USER: Final = "mailkeep"
_HANDED_ON: Final = frozenset(
    {"TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy", "no_proxy"}
)
_ENDED: Final = (
    "rclone, which moves files to and from remotes, ended in the middle of its work. Nothing that was confirmed is "
    "lost; it is started again for the next try."
)

_log = logging.getLogger(__name__)


class RcError(Exception):
    """A call failed: the HTTP status of rclone's answer, and its own words without the secrets it was given."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class _Failure(msgspec.Struct):
    error: str = ""


class _Named(msgspec.Struct, rename="pascal"):
    name: str


class _Provider(msgspec.Struct, rename="pascal"):
    name: str
    options: list[_Named]


class _Providers(msgspec.Struct):
    providers: list[_Provider]


class Daemon:
    """A child, its socket ``<name>.sock`` and the hash of its password ``<name>.auth`` below ``run``. Threads share it.

    ``flags`` are rclone's own, the same for every child that is started.
    """

    def __init__(self, run: Path, name: str, binary: Path, flags: Sequence[str], *, files: Files = FILES) -> None:
        self._run = run
        self._name = name
        self._binary = binary
        self._flags = flags
        self._files = files
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._password = ""
        self._sections: set[str] = set()
        self._secrets: frozenset[str] = frozenset()
        self._options: dict[str, frozenset[str]] = {}
        self._said: deque[str] = deque(maxlen=3)
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        return None if self._child is None or self._child.poll() is not None else self._child.pid

    def hide(self, secrets_of_a_remote: Sequence[str]) -> None:
        """Never let these appear in an error or in the log."""
        self._secrets |= frozenset(secrets_of_a_remote)

    def section(self, name: str, kind: str, options: Mapping[str, str]) -> bool:
        """Have this child know a remote by ``name``; whether it did not before.

        Passwords among the options are as a person types them.
        """
        self._ensure()
        if name in self._sections:
            return False
        self.call(
            "config/create",
            {
                "name": name,
                "type": kind,
                "parameters": dict(options),
                # Not interactive: nothing is asked and nobody is connected to, options are taken as they are.
                "opt": {"obscure": True, "nonInteractive": True},
            },
        )
        self._sections.add(name)
        return True

    def options(self, kind: str) -> frozenset[str] | None:
        """The names of a backend's options; None where rclone has no such backend."""
        if not self._options:
            providers = decoding.from_json(self.call("config/providers", {}), _Providers).providers
            self._options = {one.name: frozenset(option.name for option in one.options) for one in providers}
        return self._options.get(kind)

    def forget(self, name: str) -> None:
        """Take a remote out of the child's memory."""
        if name in self._sections and self.pid is not None:
            self._sections.discard(name)
            with contextlib.suppress(RcError, UnavailableError):
                self.call("config/delete", {"name": name})

    def knows(self, name: str) -> bool:
        """Whether the child that runs now was told of a remote."""
        return self.pid is not None and name in self._sections

    def call(
        self, path: str, parameters: Mapping[str, Any], waiting: Callable[[], None] | None = None,
        largest: int | None = None,
    ) -> bytes:  # fmt: skip
        """What rclone answers, JSON; ``waiting`` is called now and then until it does, and may raise.

        Raises RcError, OverflowError for an answer of more bytes than ``largest``, and UnavailableError where rclone
        itself is not there.
        """
        body = msgspec.json.encode(parameters)
        kind = {"Content-Type": "application/json"}
        status, answer, _ = self._exchange("POST", f"/{path}", kind, body, waiting, largest)
        if status != 200:
            raise self._failed(status, answer)
        return answer

    def read(self, fs: str, name: str, offset: int, size: int | None, waiting: Callable[[], None]) -> bytes:
        """Bytes of an object, fewer only at its end. Raises RcError and UnavailableError."""
        headers = {}
        if offset or size is not None:
            headers["Range"] = f"bytes={offset}-{'' if size is None else offset + size - 1}"
        status, answer, given = self._exchange("GET", f"/{quote(f'[{fs}]')}/{quote(name)}", headers, b"", waiting)
        if status not in (200, 206):
            if "Content-Range" in given:
                return b""  # the range lies behind the object's end
            raise self._failed(status, answer)
        if status == 200 and headers:
            return answer[offset:] if size is None else answer[offset : offset + size]
        return answer

    def hold(self, name: str, data: bytes) -> None:
        """Have the child keep ``data`` in its memory, as the file ``name`` of its remote ``:memory:``, until that is
        deleted. Raises RcError and UnavailableError."""
        boundary = secrets.token_hex(16)
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = b"".join((head.encode(), data, f"\r\n--{boundary}--\r\n".encode()))
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        place = f"fs={quote(MEMORY, safe='')}&remote={HELD}"
        status, answer, _ = self._exchange("POST", f"/operations/uploadfile?{place}", kind, body, None)
        if status != 200:
            raise self._failed(status, answer)

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._closed = True
            child, self._child = self._child, None
            self._sections.clear()
        if child is None:
            return
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for path in (self._socket, self._hash):
            with contextlib.suppress(FileNotFoundError):
                self._files.unlink(path)

    @property
    def _socket(self) -> Path:
        return self._run / f"{self._name}.sock"

    @property
    def _hash(self) -> Path:
        return self._run / f"{self._name}.auth"

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, waiting: Callable[[], None] | None,
        largest: int | None = None,
    ) -> tuple[int, bytes, Mapping[str, str]]:  # fmt: skip
        self._ensure()
        with contextlib.closing(_Connection(self._run, self._socket.name)) as connection:
            try:
                connection.request(method, path, body, {**headers, "Authorization": self._authorization()})
                while waiting is not None and not _readable(connection):
                    waiting()
                response = connection.getresponse()
                return response.status, _body(response, waiting, largest), dict(response.headers)
            except http.client.IncompleteRead as error:
                raise RcError(502, "the connection broke before the end of the file") from error
            except (OSError, http.client.HTTPException) as error:
                self._notice_the_end()
                raise UnavailableError(_ENDED) from error

    def _authorization(self) -> str:
        return "Basic " + base64.b64encode(f"{_USER}:{self._password}".encode()).decode()

    def _failed(self, status: int, answer: bytes) -> RcError:
        try:
            text = decoding.from_json(answer, _Failure).error
        except msgspec.MsgspecError:
            text = answer[:500].decode("utf-8", "replace").strip()
        return RcError(status, self._without_secrets(text))

    def _without_secrets(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "…").replace(quote(secret, safe=""), "…")
        return text

    def _ensure(self) -> None:
        with self._lock:
            if self._closed:
                raise UnavailableError("Replication is ending on this box; it goes on at the next start.")
            if self._child is None or self._child.poll() is not None:
                self._sections.clear()
                self._start()

    def _start(self) -> None:
        self._password = secrets.token_urlsafe(32)
        # 256 random bits cannot be guessed from their hash, however fast that is; bcrypt would cost time at each call.
        hashed = base64.b64encode(hashlib.sha1(self._password.encode()).digest()).decode()  # noqa: S324
        with contextlib.suppress(FileExistsError):
            self._files.make_directory(self._run, 0o700)
        replace_file(self._files, self._hash, f"{_USER}:{{SHA}}{hashed}\n".encode())
        with contextlib.suppress(FileNotFoundError):
            self._files.unlink(self._socket)
        started = threading.Event()
        # The child ends with the thread that started it: one that lives as long as the child does.
        threading.Thread(target=self._live, args=(started,), name=f"rclone {self._name}", daemon=True).start()
        started.wait(START_SECONDS)
        self._wait_until_it_answers()

    def _live(self, started: threading.Event) -> None:
        """Start the child, hand what it says to the log, see it end."""
        environment = {
            name: value for name, value in os.environ.items() if name in _HANDED_ON or name.lower() in _HANDED_ON
        }
        command = [
            *(sys.executable, "-I", "-m", "appliance.cloud.launch"),
            *(str(self._binary), "rcd", "--config", "", "--rc-addr", f"unix://{self._socket.name}"),
            *("--rc-htpasswd", self._hash.name, "--rc-serve", "--cache-dir", "cache", *self._flags),
        ]
        try:
            child = subprocess.Popen(
                command,
                cwd=self._run,
                env={**environment, "HOME": "/nonexistent", "PATH": os.defpath},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C in a terminal is for the one who started this
            )
            self._child = child
        finally:
            started.set()
        assert child.stderr is not None
        with child.stderr:
            for line in child.stderr:
                said = self._without_secrets(line.strip())
                self._said.append(said)
                _log.debug("rclone: %s", said)  # what matters of it is also the answer to a call
        child.wait()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self._child is not None and self._child.poll() is None and time.monotonic() < deadline:
            with contextlib.closing(_Connection(self._run, self._socket.name)) as connection:
                try:
                    connection.request("POST", "/rc/noopauth", b"{}", {"Authorization": self._authorization()})
                    if connection.getresponse().status == 200:
                        return
                except (OSError, http.client.HTTPException):
                    time.sleep(0.02)
        raise UnavailableError(
            "rclone, which moves files to and from remotes, does not start"
            + (f" ({'; '.join(self._said)})" if self._said else "")
            + ". Nothing is lost; it is tried again at the next run."
        )

    def _notice_the_end(self) -> None:
        """A connection breaks a moment before its process is gone: let the next call find it gone."""
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(1)


class _Connection(http.client.HTTPConnection):
    """To a socket by its name in a folder, since a path may be longer than an address may be (unix(7): 108 bytes)."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__("rclone")
        self._folder = folder
        self._name = name

    def connect(self) -> None:
        """Connect."""
        folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.connect(f"/proc/self/fd/{folder}/{self._name}")
        finally:
            os.close(folder)


def _readable(connection: http.client.HTTPConnection) -> bool:
    return bool(select.select([connection.sock], [], [], LOOK_SECONDS)[0])


def _body(response: http.client.HTTPResponse, waiting: Callable[[], None] | None, largest: int | None = None) -> bytes:
    """All of an answer; ``waiting`` is called between pieces. Raises OverflowError beyond ``largest`` bytes."""
    expected = response.length
    body = bytearray()
    while piece := response.read(_PIECE):
        body += piece
        if largest is not None and len(body) > largest:
            raise OverflowError(f"an answer of more than {largest} bytes")
        if waiting is not None:
            waiting()
    if expected is not None and len(body) != expected:
        raise http.client.IncompleteRead(bytes(body), expected - len(body))
    return bytes(body)
