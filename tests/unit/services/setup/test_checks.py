"""Each test of a step says what is wrong, and what to do about it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.errors import UnavailableError
from appliance.host.clock import Clock
from appliance.host.network import Interface, Network
from appliance.services.paths import Paths
from appliance.services.setup import checks
from appliance.services.setup.checks import Finding, worst


def answering(**records: tuple[str, ...]) -> checks.Lookup:
    """Name servers that know these records, by type."""
    return lambda _name, kind: records.get(kind, ())


RECORDLESS = answering()


def silent(_name: str, _kind: str) -> tuple[str, ...]:
    raise OSError("nobody answers")


def test_the_worst_finding_counts() -> None:
    ok, warning, problem = (Finding(state, "") for state in ("ok", "warning", "problem"))  # type: ignore[arg-type]
    assert worst([]) == worst([ok]) == "ok"
    assert worst([ok, warning]) == "warning"
    assert worst([warning, problem, ok]) == "problem"


def test_a_name_that_leads_here_is_right() -> None:
    assert checks.host("box.test", ["192.0.2.7"], ask=answering(A=("192.0.2.7",)))[0].state == "ok"


def test_a_name_without_address_is_told_with_the_record_to_make() -> None:
    (found,) = checks.host("box.test", ["fe80::1", "192.0.2.7"], ask=answering())
    assert (found.state, found.mend) == ("warning", "Make an A record: box.test → 192.0.2.7.")


def test_a_name_that_leads_elsewhere_is_told_with_both_addresses() -> None:
    (found,) = checks.host("box.test", ["192.0.2.7"], ask=answering(A=("198.51.100.1",)))
    assert found.state == "warning"
    assert "198.51.100.1" in found.text
    assert "192.0.2.7" in found.text


def test_dead_name_servers_are_told_as_such() -> None:
    for found in (checks.host("box.test", ask=silent), checks.routed_here("a@x.test", "box.test", ask=silent)):
        assert "No name server answers" in found[0].text


def test_mail_has_to_be_routed_here() -> None:
    def routed(*records: str) -> Finding:
        return checks.routed_here("j@journal.test", "Box.test", ask=answering(MX=records))[0]

    assert routed("box.test").state == "ok"
    assert routed("other.test").state == "warning"
    assert "journal.test → Box.test" in routed().mend


def test_the_network_needs_an_address_a_way_out_and_a_name_server() -> None:
    def found(*interfaces: Interface, ask: checks.Lookup = RECORDLESS) -> list[str]:
        network = Network("networkd", interfaces)
        return [one.state for one in checks.reached_network(ask=ask, current=lambda: network)]

    card = Interface("ens3", "", True, ("192.0.2.7/24",), ("192.0.2.1",))
    assert found(card) == ["ok", "ok"]
    assert found(card, ask=silent) == ["ok", "warning"]
    assert found(Interface("ens3", "", True, ("192.0.2.7/24",))) == ["ok", "warning", "ok"]
    assert found() == ["problem", "ok"]


@pytest.mark.parametrize(("off", "state"), [(0.1, "ok"), (-90.0, "problem")])
def test_the_clock_is_compared_with_a_time_server(off: float, state: str) -> None:
    asked = []
    now = Clock(0.0, "UTC", True, True, ("time.test",), "")

    def offset(server: str, _seconds: float) -> float:
        asked.append(server)
        return off

    assert checks.time_kept(current=lambda: now, offset=offset)[0].state == state
    assert asked == ["time.test"]


def test_a_silent_time_server_is_no_proof_of_anything() -> None:
    def offset(_server: str, _seconds: float) -> float:
        raise UnavailableError("silence")

    (found,) = checks.time_kept(current=lambda: Clock(0.0, "UTC", False, False, (), ""), offset=offset)
    assert found.state == "warning"
    assert checks.NTP_SERVER in found.text


@contextmanager
def mail_server(rcpt: str) -> Iterator[int]:
    """A mail server that answers RCPT so."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rwb") as stream:
            stream.write(b"220 here\r\n")
            stream.flush()
            for line in stream:
                word = line[:4].upper()
                stream.write({b"RCPT": rcpt.encode() + b"\r\n", b"QUIT": b"221 bye\r\n"}.get(word, b"250 fine\r\n"))
                stream.flush()
                if word == b"QUIT":
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.close()


@pytest.mark.parametrize(
    ("rcpt", "state", "said"),
    [("250 yes", "ok", "takes mail for"), ("550 5.1.1 no such mailbox", "problem", "no such mailbox")],
)
def test_the_mail_port_is_asked_for_the_address(tmp_path: Path, rcpt: str, state: str, said: str) -> None:
    paths = Paths(tmp_path / "data")
    paths.run.mkdir(parents=True)
    with mail_server(rcpt) as port:
        paths.listening.write_text(f'{{"smtp": ["0.0.0.0:{port}"]}}')
        (found,) = checks.takes_mail(paths, "j@journal.test")
    assert found.state == state
    assert said in found.text


def test_a_port_where_nobody_listens_is_a_problem(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    paths.run.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    paths.listening.write_text(f'{{"smtp": ["127.0.0.1:{port}"], "http": ["127.0.0.1:{port}"]}}')
    assert [one.state for one in checks.listens(paths)] == ["problem", "problem"]
    assert [one.state for one in checks.encrypts(paths, "box.test")] == ["problem", "problem"]
    assert [one.state for one in checks.takes_mail(paths, "j@x.test")] == ["problem"]
