"""A machine for tests: its files in a folder, its tools' answers as real ones printed them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from appliance.host.machine import Answer, Machine

Reply = str | Answer | Callable[[tuple[str, ...]], str]


class Double(Machine, frozen=True):
    """``replies`` is looked through for the first whose words a command begins with; ``asked`` are the commands."""

    replies: dict[str, Reply] = msgspec.field(default_factory=dict)
    asked: list[str] = msgspec.field(default_factory=list)
    systemd: bool = True
    root_user: bool = True

    @property
    def is_root(self) -> bool:
        return self.root_user

    @property
    def has_systemd(self) -> bool:
        return self.systemd

    def run(self, *command: str, seconds: float = 10.0) -> Answer:
        line = " ".join(command)
        self.asked.append(line)
        for words, reply in self.replies.items():
            if line == words or line.startswith(words + " "):
                if isinstance(reply, Answer):
                    return reply
                return Answer(0, reply if isinstance(reply, str) else reply(command))
        return Answer(127, err=f"{command[0]}: command not found")

    def has(self, absolute: str, text: str) -> None:
        """Put a file onto the machine."""
        path = self.path(absolute)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def machine(folder: Path, replies: dict[str, Reply] | None = None, **named: bool) -> Double:
    """A machine below ``folder``."""
    return Double(root=folder, replies=replies or {}, **named)
