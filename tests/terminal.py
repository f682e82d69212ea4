"""A program on a terminal of a given size and kind, driven by keys and read as text: tmux, as a person would use it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

COMMAND_SECONDS = 20.0
WAIT_SECONDS = 90.0


class Terminal:
    """One tmux session on a server of its own."""

    def __init__(self, name: str, *, width: int = 80, height: int = 25, term: str = "linux") -> None:
        if shutil.which("tmux") is None:
            pytest.skip("no tmux; the Debian package of that name has it")
        self._name = name
        self._size = (width, height)
        self._term = term

    def start(self, *words: str, environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
        """Run a command in a fresh session; the screen stays when it has ended."""
        width, height = self._size
        told = {"TERM": self._term, "LANG": "C.UTF-8", **(environment or {})}
        given = [f"{key}={value}" for key, value in told.items()]
        command = shlex.join(["env", *given, *words])
        self._tmux("new-session", "-d", "-x", str(width), "-y", str(height), "-c", str(cwd or Path.cwd()),
                   f"{command}; echo ENDED $?; sleep 1000")  # fmt: skip

    def stop(self) -> None:
        """End the session and what runs in it."""
        words = ["tmux", "-L", self._name, "kill-server"]
        subprocess.run(words, capture_output=True, timeout=COMMAND_SECONDS, check=False)
        deadline = time.monotonic() + COMMAND_SECONDS
        while self.runs():
            assert time.monotonic() < deadline, "tmux does not end"
            time.sleep(0.05)
        time.sleep(0.2)  # the server takes its socket away after it has answered for the last time

    def runs(self) -> bool:
        """Whether there is a session."""
        words = ["tmux", "-L", self._name, "has-session"]
        return subprocess.run(words, capture_output=True, timeout=COMMAND_SECONDS, check=False).returncode == 0

    def press(self, *keys: str) -> None:
        """Keys by tmux's names: Enter, Tab, BTab, Escape, F2, Down …"""
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        """Text, letter by letter."""
        self._tmux("send-keys", "-l", text)

    def screen(self) -> str:
        """What the screen shows now."""
        return self._tmux("capture-pane", "-p")

    def pid(self) -> int:
        """The process that was started."""
        shell = int(self._tmux("display-message", "-p", "#{pane_pid}"))
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        return int(children[0])

    def wait(self, wanted: str | Callable[[str], bool], seconds: float = WAIT_SECONDS) -> str:
        """The screen as soon as it shows ``wanted``; words that are wrapped there are found, too."""
        shows = wanted if callable(wanted) else lambda screen: wanted in " ".join(words_of(screen).split())
        deadline = time.monotonic() + seconds
        while not shows(screen := self.screen()):
            assert time.monotonic() < deadline, f"the screen does not show {wanted!r}:\n{screen}"
            time.sleep(0.1)
        return screen

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._name, "-f", "/dev/null", *words], capture_output=True, text=True,
            timeout=COMMAND_SECONDS, check=True, env={**os.environ, "LANG": "C.UTF-8"},
        )  # fmt: skip
        return done.stdout


def words_of(screen: str) -> str:
    """The right part of a screen that has a list at its left; and the last lines, which go from edge to edge."""
    return "\n".join(re.sub(r"^.{0,40}?│", "", line) for line in screen.splitlines())
