"""The services as systemd tells of them, from captured answers of systemctl and journalctl."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from appliance.errors import NotFoundError, UnavailableError
from appliance.host.machine import Answer, Machine
from appliance.host.units import LogLine, Units

WANTS = "mailkeep-smtp.socket mailkeep-agent.service mailkeep-gateway@0.service mailkeep-gateway@1.service\n"
LISTED = """\
mailkeep-agent.service     loaded active   running mailkeep key agent
mailkeep-gateway@0.service loaded active   running mailkeep gateway, worker 0
mailkeep-gateway@1.service loaded inactive dead    mailkeep gateway, worker 1
mailkeep-archiver.service  loaded activating auto-restart mailkeep archiver
mailkeep-prepare.service   loaded active   exited  mailkeep: owners of the archive's files
mailkeep-console@tty1.service loaded active running mailkeep console on tty1
"""
SHOWN = """\
Id=mailkeep-gateway@0.service
Description=mailkeep gateway, worker 0
ActiveState=active
SubState=running
StatusText=
ActiveEnterTimestampMonotonic=31536000
NRestarts=0
MainPID=812
Result=success

Id=mailkeep-agent.service
Description=mailkeep key agent
ActiveState=active
SubState=running
StatusText=
ActiveEnterTimestampMonotonic=31530000
NRestarts=0
MainPID=800
Result=success

Id=mailkeep-archiver.service
Description=mailkeep archiver
ActiveState=activating
SubState=auto-restart
StatusText=
ActiveEnterTimestampMonotonic=0
NRestarts=3
MainPID=0
Result=exit-code

Id=mailkeep-gateway@1.service
Description=mailkeep gateway, worker 1
ActiveState=inactive
SubState=dead
StatusText=
ActiveEnterTimestampMonotonic=0
NRestarts=0
MainPID=0
Result=success
"""
LISTEN = {
    "mailkeep-smtp.socket": "[::]:25 (Stream)\n",
    "mailkeep-https.socket": "192.0.2.7:443 (Stream)\n[::1]:8443 (Stream)\n",
    "mailkeep-pop3s.socket": "\n",
}
JOURNAL = (
    '{"__REALTIME_TIMESTAMP":"1795283822000000","_SYSTEMD_UNIT":"mailkeep-gateway@0.service","PRIORITY":"4",'
    '"MESSAGE":"no room"}\n'
    '{"__REALTIME_TIMESTAMP":"1795283823000000","UNIT":"mailkeep-archiver.service","MESSAGE":[78,97,195,175]}\n'
)


class Double(Machine, frozen=True):
    """A machine whose systemctl and journalctl answer with what real ones printed."""

    asked: list[tuple[str, ...]] = msgspec.field(default_factory=list)
    fails: str = ""

    def run(self, *command: str, seconds: float = 10.0) -> Answer:
        self.asked.append(command)
        if self.fails:
            return Answer(1, err=self.fails)
        if command[0] == "journalctl":
            return Answer(0, JOURNAL)
        if "--property=Wants" in command:
            return Answer(0, WANTS)
        if "--property=Listen" in command:
            return Answer(0, LISTEN[command[-1]])
        return Answer(0, {"list-units": LISTED, "show": SHOWN}.get(command[1], ""))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Double:
    (tmp_path / "run" / "systemd" / "system").mkdir(parents=True)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    return Double(root=tmp_path)


def test_services_come_in_the_order_in_which_they_depend_on_each_other(machine: Double) -> None:
    units = Units(machine).states()
    assert [(unit.name, unit.state, unit.pid) for unit in units] == [
        ("mailkeep-agent.service", "running", 800),
        ("mailkeep-archiver.service", "starting", 0),
        ("mailkeep-gateway@0.service", "running", 812),
        ("mailkeep-gateway@1.service", "stopped", 0),
    ]
    assert (units[1].detail, units[1].restarts, units[2].part) == ("exit-code", 3, "gateway")


def restarted(machine: Double) -> list[tuple[str, ...]]:
    return [command[1:] for command in machine.asked if "restart" in command[1]]


def test_workers_are_started_anew_one_after_the_other(machine: Double) -> None:
    Units(machine).restart("gateway")
    assert restarted(machine) == [("restart", "mailkeep-gateway@0.service"), ("restart", "mailkeep-gateway@1.service")]


def test_an_upgrade_starts_nothing_that_was_stopped_and_leaves_an_unlocked_agent_alone(machine: Double) -> None:
    Units(machine).restart(keep_agent=True)
    names = [name for verb, name in restarted(machine) if verb == "try-restart"]
    assert names == [f"mailkeep-{name}.service" for name in ("archiver", "gateway@0", "gateway@1")]
    assert len(restarted(machine)) == 3


def test_stopping_waits_for_everything_sockets_too(machine: Double) -> None:
    Units(machine).stop()
    names = next(command[2:] for command in machine.asked if command[1] == "stop")
    assert {"mailkeep.target", "mailkeep-smtp.socket", "mailkeep-http.socket", "mailkeep-agent.service"} <= set(names)
    assert "mailkeep-console@tty1.service" not in names


def test_there_is_no_such_service(machine: Double) -> None:
    with pytest.raises(NotFoundError, match="postfix"):
        Units(machine).restart("postfix")


def test_where_systemd_listens(machine: Double) -> None:
    assert Units(machine).listening() == {
        "smtp": ("0.0.0.0:25",),
        "http": ("192.0.2.7:443", "[::1]:8443"),
        "pop3s": (),
    }


def test_log_lines_have_their_part_level_and_text_whatever_bytes_it_has(machine: Double) -> None:
    assert Units(machine).logs("gateway", lines=2) == (
        LogLine(1795283822000000, "gateway", "warning", "no room"),
        LogLine(1795283823000000, "archiver", "info", "Naï"),
    )
    assert "--unit=mailkeep-gateway@*.service" in machine.asked[-1]


def test_what_systemd_refuses_is_said_in_a_sentence(machine: Double) -> None:
    refusing = msgspec.structs.replace(machine, fails="Failed to start mailkeep.target: Access denied\n")
    with pytest.raises(UnavailableError, match="Access denied") as told:
        Units(refusing).start()
    assert "Nothing was lost" in str(told.value)


def test_without_systemd_everything_says_so(tmp_path: Path) -> None:
    units = Units(Double(root=tmp_path))
    assert not units.available()
    for act in (units.states, units.start, units.stop, units.restart, units.logs, units.listening):
        with pytest.raises(UnavailableError, match="mailkeep serve"):
            act()
