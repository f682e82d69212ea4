"""The archive's processes as systemd runs them: which there are, how they are, starting them anew, their logs.

``python -m appliance.host.units restart [--keep-agent]`` is what an upgrade of the package runs. Everything goes
through systemctl(1) and journalctl(1). Without systemd, or without mailkeep's units, each function but ``available``
raises UnavailableError with a sentence.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import msgspec

from appliance.errors import MailkeepError, NotFoundError, UnavailableError
from appliance.host.machine import Machine
from appliance.language import _

TARGET: Final = "mailkeep.target"
State = Literal["running", "starting", "stopping", "stopped", "failed"]

_PARTS: Final = ("agent", "archiver", "projector", "replicator", "collector", "gateway", "pop3", "web", "redirect")
"""In the order in which they are started anew: first those that others wait for."""
_SOCKETS: Final = {"smtp": "mailkeep-smtp.socket", "http": "mailkeep-https.socket", "pop3s": "mailkeep-pop3s.socket"}
_SOCKET_UNITS: Final = (*_SOCKETS.values(), "mailkeep-http.socket")
_PREPARE: Final = "mailkeep-prepare.service"
_NAME = re.compile(r"mailkeep-([a-z0-9]+)(?:@[0-9]+)?\.service")
_PLACE = re.compile(r"^(\S+:\d+) \(Stream\)$", re.MULTILINE)
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - told, not bound
_STATES: Final[dict[str, State]] = {
    "active": "running",
    "reloading": "running",
    "activating": "starting",
    "deactivating": "stopping",
    "inactive": "stopped",
    "failed": "failed",
}
_SECONDS = 120.0
"""Longer than the slowest end of a process: a gateway finishes the messages in transit first."""
_LEVELS: Final = ("emerg", "alert", "crit", "error", "warning", "notice", "info", "debug")
_PROPERTIES = "Id,Description,ActiveState,SubState,StatusText,ActiveEnterTimestampMonotonic,NRestarts,MainPID,Result"


class Unit(msgspec.Struct, frozen=True):
    """One process. ``since``: when it came into its state (microseconds since the box started; 0: never)."""

    name: str
    part: str
    description: str
    state: State
    detail: str = ""
    since: int = 0
    restarts: int = 0
    pid: int = 0


class LogLine(msgspec.Struct, frozen=True):
    """A line of the journal; ``at`` in microseconds since 1970, ``level`` as syslog(3) names it."""

    at: int
    part: str
    level: str
    text: str


class Units:
    """The units of one machine."""

    def __init__(self, machine: Machine | None = None) -> None:
        self._machine = machine or Machine()

    def available(self) -> bool:
        """Whether systemd runs this box and has mailkeep's units."""
        if not self._machine.has_systemd:
            return False
        return self._machine.run("systemctl", "cat", "--quiet", TARGET).ok

    def states(self) -> tuple[Unit, ...]:
        """Every process, in the order in which they depend on one another."""
        names = self._names()
        answer = self._ask("systemctl", "show", f"--property={_PROPERTIES}", *names)
        units = [_unit(block) for block in answer.split("\n\n") if block.strip()]
        return tuple(sorted(units, key=lambda unit: (_PARTS.index(unit.part), unit.name)))

    def listening(self) -> dict[str, tuple[str, ...]]:
        """Where systemd listens for each protocol, as HOST:PORT."""
        found = {
            name: _PLACE.findall(self._ask("systemctl", "show", "--property=Listen", "--value", unit))
            for name, unit in _SOCKETS.items()
        }
        # A socket on [::] takes IPv4 too (systemd.socket(5), BindIPv6Only=), and is for every address.
        return {
            name: tuple(re.sub(r"^\[::\]:", f"{_EVERYWHERE}:", place) for place in places)
            for name, places in found.items()
        }

    def start(self) -> None:
        """Start everything, and have it started at boot."""
        self._ask("systemctl", "enable", "--now", TARGET)

    def stop(self) -> None:
        """End everything, sockets too, and return when it has: mail servers are refused and try again later."""
        # The target alone is stopped at once, and what belongs to it some time after.
        self._ask("systemctl", "stop", TARGET, _PREPARE, *_SOCKET_UNITS, *self._names())

    def restart(self, part: str = "", *, keep_agent: bool = False) -> None:
        """Start one part anew, or all.

        Of the parts with several processes one after the other, so that there is always one that receives.
        ``keep_agent`` leaves the key agent alone: an archive that somebody unlocked stays unlocked.
        """
        wanted = [unit for unit in self.states() if part in ("", unit.part)]
        if not wanted:
            raise NotFoundError(_("There is no service “{name}”.").format(name=part))
        for unit in wanted:
            if unit.part == "agent" and keep_agent:
                continue
            # Of those that do not run, "restart" would start them; an archive that was stopped stays so.
            self._ask("systemctl", "restart" if part else "try-restart", unit.name)

    def logs(self, part: str = "", *, lines: int = 200) -> tuple[LogLine, ...]:
        """The newest lines of one part, or of all, oldest first."""
        answer = self._ask(
            "journalctl", *_selection(part), f"--lines={lines}", "--output=json", "--no-pager", "--quiet"
        )
        return tuple(map(_log_line, answer.splitlines()))

    def follow(self, part: str = "", *, lines: int = 20) -> Iterator[LogLine]:
        """The newest lines, and each new one as it comes, until the iterator is closed."""
        self._require()
        command = ["journalctl", *_selection(part), f"--lines={lines}", "--follow", "--output=json", "--quiet"]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as child:
            assert child.stdout is not None
            try:
                for line in child.stdout:
                    yield _log_line(line)
            finally:
                child.terminate()

    # -- systemctl ---------------------------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        """All services: those that run or failed, and those that the target wants."""
        wanted = self._ask("systemctl", "show", "--property=Wants", "--value", TARGET).split()
        loaded = self._ask("systemctl", "list-units", "--all", "--plain", "--no-legend", "mailkeep-*.service")
        names = {line.split()[0] for line in loaded.splitlines() if line.strip()} | set(wanted)
        return sorted(name for name in names if (found := _NAME.fullmatch(name)) and found[1] in _PARTS)

    def _ask(self, *command: str) -> str:
        self._require()
        answer = self._machine.run(*command, seconds=_SECONDS)
        if not answer.ok:
            said = answer.err.strip().splitlines()
            raise UnavailableError(
                _("systemd could not do that: {reason} Nothing was lost; `mailkeep doctor` may tell more.").format(
                    reason=said[0] if said else _("it does not say why.")
                )
            )
        return answer.out

    def _require(self) -> None:
        if not self._machine.has_systemd or shutil.which("systemctl") is None:
            raise UnavailableError(
                _(
                    "systemd does not run on this box, so mailkeep's services cannot be seen or changed here. "
                    "They run under `mailkeep serve`."
                )
            )


_UNITS: Final = Units()
available = _UNITS.available
states = _UNITS.states
listening = _UNITS.listening
start = _UNITS.start
stop = _UNITS.stop
restart = _UNITS.restart
logs = _UNITS.logs
follow = _UNITS.follow


def _selection(part: str) -> Sequence[str]:
    return [f"--unit=mailkeep-{part}.service", f"--unit=mailkeep-{part}@*.service"] if part else ["--unit=mailkeep*"]


def _unit(block: str) -> Unit:
    values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    name = values["Id"]
    found = _NAME.fullmatch(name)
    state = _STATES.get(values["ActiveState"], "stopped")
    # A process that ended with an error and waits to be started again is "activating (auto-restart)" to systemd.
    trouble = state == "failed" or values["SubState"] == "auto-restart"
    return Unit(
        name=name,
        part=found[1] if found else name,
        description=values["Description"],
        state=state,
        detail=values["StatusText"] or (values["Result"] if trouble and values["Result"] != "success" else ""),
        since=int(values["ActiveEnterTimestampMonotonic"] or 0),
        restarts=int(values["NRestarts"] or 0),
        pid=int(values["MainPID"] or 0),
    )


def _log_line(raw: str | bytes) -> LogLine:
    entry: dict[str, Any] = json.loads(raw)
    found = _NAME.fullmatch(str(entry.get("UNIT") or entry.get("_SYSTEMD_UNIT", "")))
    text = entry.get("MESSAGE") or ""
    if isinstance(text, list):  # journald gives what is not printable as a list of bytes
        text = bytes(text).decode("utf-8", "replace")
    level = entry.get("PRIORITY", "6")
    return LogLine(
        at=int(entry["__REALTIME_TIMESTAMP"]),
        part=found[1] if found else "",
        level=_LEVELS[int(level)] if str(level).isdigit() and int(level) < len(_LEVELS) else "info",
        text=str(text),
    )


def main(arguments: list[str] | None = None) -> int:
    """Run by the package's scripts: exit code 0, or 1 with a sentence."""
    parser = argparse.ArgumentParser(prog="python -m appliance.host.units")
    parser.add_argument("what", choices=("start", "stop", "restart"))
    parser.add_argument("part", nargs="?", default="", help="restart: of all only this one")
    parser.add_argument("--keep-agent", action="store_true", help="so that an archive somebody unlocked stays open")
    given = parser.parse_args(arguments)
    try:
        if given.what == "restart":
            restart(given.part, keep_agent=given.keep_agent)
        else:
            {"start": start, "stop": stop}[given.what]()
    except MailkeepError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
