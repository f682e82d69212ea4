"""The whole product on free ports, for the browser tests that need mail to come in by SMTP."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = Path(sys.executable).with_name("mailkeep")
_START_SECONDS = 120


@dataclass(frozen=True)
class Product:
    """A running mailkeep: its data, its web address, its SMTP port, and its administrator's password."""

    data: Path
    web: str
    smtp_port: int
    admin: str
    password: str

    def run(self, *arguments: str) -> Any:
        """A command of the CLI, with its JSON answer."""
        return json.loads(_run(self.data, *arguments, "--json"))

    def send(self, sender: str, recipient: str, message: bytes) -> None:
        """Hand a message in by SMTP and wait until it can be found.

        A mailbox that was made just now is known to the gateway's workers within seconds, so it is asked again.
        """
        deadline = time.monotonic() + 20
        while True:
            try:
                with smtplib.SMTP("127.0.0.1", self.smtp_port, timeout=60) as client:
                    client.sendmail(sender, [recipient], message)
                break
            except smtplib.SMTPRecipientsRefused:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        _run(self.data, "wait-idle", "--timeout", "120")


@contextlib.contextmanager
def running(data: Path) -> Iterator[Product]:
    """A fresh archive in ``data``, served until the block ends."""
    made = json.loads(_run(data, "init", "--unattended", "--json"))
    smtp_port, http_port = _free_port(), _free_port()
    command = [COMMAND, "--data", data, "serve", "--smtp", f"127.0.0.1:{smtp_port}", "--http", f"127.0.0.1:{http_port}"]
    with (data.parent / "serve.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
    watchdog = threading.Timer(_START_SECONDS, _kill, (process,))
    watchdog.start()
    try:
        assert process.stdout is not None
        if not any(line.startswith("ready") for line in process.stdout):
            raise AssertionError(f"serve did not get ready: {(data.parent / 'serve.log').read_text()}")
        watchdog.cancel()
        web = f"http://127.0.0.1:{http_port}"
        yield Product(data, web, smtp_port, made["admin_user"], made["admin_password"])
    finally:
        watchdog.cancel()
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            _kill(process)
            process.wait(10)


def _run(data: Path, *arguments: str) -> str:
    done = subprocess.run([COMMAND, "--data", data, *arguments], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, f"{arguments}: {done.stderr}{done.stdout}"
    return done.stdout


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
