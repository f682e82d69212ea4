"""The clock: what keeps it is told, and how far off it is, by a real question to a time server."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.errors import UnavailableError, UsageError
from appliance.host import clock
from appliance.host.machine import Answer
from tests.unit.host.double import Double, machine

# timedatectl show and show-timesync of systemd 252.
SHOW = (
    "Timezone=Europe/Berlin\nLocalRTC=no\nCanNTP=yes\nNTP=yes\nNTPSynchronized=yes\n"
    "TimeUSec=Sat 2026-11-21 19:07:09 CET\nRTCTimeUSec=Sat 2026-11-21 19:07:09 CET\n"
)
TIMESYNC = (
    "SystemNTPServers=ntp.example.com 192.0.2.123\nFallbackNTPServers=0.debian.pool.ntp.org 1.debian.pool.ntp.org\n"
    "ServerName=ntp.example.com\nServerAddress=192.0.2.123\n"
)
ZONES = (
    "# version 2026a\nR d 1916 o - Jun 14 23s 1 S\nZ Europe/Berlin 0:53:28 - LMT 1893 Ap\n1 c CE%sT 1945 May 24 2\n"
    "Z Etc/UTC 0 - UTC\nL Etc/UTC UTC\nL Europe/Berlin Europe/Oslo\n"
)


def box(folder: Path, **named: bool) -> Double:
    made = machine(
        folder,
        {
            "timedatectl show-timesync": TIMESYNC, "timedatectl show": SHOW, "timedatectl": "",
            "systemctl is-active systemd-timesyncd.service": "active\n", "systemctl try-restart": "",
        },
        **named,
    )  # fmt: skip
    made.has("/usr/share/zoneinfo/tzdata.zi", ZONES)
    return made


def test_what_keeps_the_clock_is_told(tmp_path: Path) -> None:
    now = clock.current(box(tmp_path))
    assert (now.zone, now.ntp, now.synchronised, now.servers) == (
        "Europe/Berlin", True, True, ("ntp.example.com", "192.0.2.123"),
    )  # fmt: skip
    assert abs(now.now - time.time()) < 5


def test_a_service_that_does_not_run_is_not_waited_for(tmp_path: Path) -> None:
    stopped = box(tmp_path)
    stopped.replies["systemctl is-active systemd-timesyncd.service"] = Answer(3, "inactive\n")
    assert clock.current(stopped).servers == ()
    assert "timedatectl show-timesync" not in stopped.asked


def test_without_systemd_the_zone_is_read_and_nothing_can_be_changed(tmp_path: Path) -> None:
    bare = box(tmp_path, systemd=False)
    bare.path("/etc").mkdir()
    bare.path("/etc/localtime").symlink_to("/usr/share/zoneinfo/Europe/Oslo")
    assert clock.current(bare).zone == "Europe/Oslo"
    for change in (
        lambda: clock.change_zone("UTC", bare),
        lambda: clock.change_ntp(True, bare),
        lambda: clock.change_servers(("ntp.example.com",), bare),
        lambda: clock.set_time(0, bare),
    ):
        with pytest.raises(UsageError, match="systemd"):
            change()
    assert bare.asked == []


def test_zones_are_those_that_the_system_has(tmp_path: Path) -> None:
    made = box(tmp_path)
    assert clock.zones(made) == ("Europe/Berlin", "Europe/Oslo", "UTC")
    clock.change_zone("Europe/Oslo", made)
    assert made.asked[-1] == "timedatectl set-timezone Europe/Oslo"
    with pytest.raises(UsageError, match="Europe/Paris"):
        clock.change_zone("Europe/Paris", made)


def test_servers_are_written_where_the_service_reads_them(tmp_path: Path) -> None:
    made = box(tmp_path)
    clock.change_servers(("ntp.example.com", "2001:db8::123"), made)
    file = "/etc/systemd/timesyncd.conf.d/50-mailkeep.conf"
    assert made.read(file) == "[Time]\nNTP=ntp.example.com 2001:db8::123\n"
    with pytest.raises(UsageError):
        clock.change_servers(("ntp.example.com\n[Other]",), made)
    assert made.read(file) == "[Time]\nNTP=ntp.example.com 2001:db8::123\n"


def test_a_clock_that_servers_keep_is_not_set_by_hand(tmp_path: Path) -> None:
    made = box(tmp_path)
    with pytest.raises(UsageError, match="Time servers"):
        clock.set_time(1_800_000_000, made)
    made.replies["timedatectl show"] = SHOW.replace("NTP=yes", "NTP=no")
    clock.set_time(1_800_000_000, made)
    assert made.asked[-1] == "timedatectl set-time 2027-01-15 08:00:00 UTC"


@contextmanager
def time_server(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """A server on the loopback that answers one question; its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind(("127.0.0.1", 0))
        door.settimeout(10)

        def serve() -> None:
            asked, where = door.recvfrom(512)
            door.sendto(answer(asked), where)

        thread = threading.Thread(target=serve)
        thread.start()
        yield door.getsockname()[1]
        thread.join()


def _answer(asked: bytes, ahead: float, *, stratum: int = 2) -> bytes:
    assert asked[0] & 7 == 3  # a client's question (RFC 4330 section 4)
    now = int((time.time() + ahead + 2_208_988_800) * 2**32)
    return struct.pack("!BBbb12x8x", 0x24, stratum, 0, -20) + asked[40:48] + struct.pack("!QQ", now, now)


@pytest.mark.parametrize("ahead", [0.0, 90.0, -3600.0])
def test_the_offset_is_what_a_server_says(monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    with time_server(lambda asked: _answer(asked, ahead)) as port:
        monkeypatch.setattr(clock, "_NTP_PORT", port)
        assert abs(clock.offset("127.0.0.1") - ahead) < 0.5


def test_after_2036_the_seconds_begin_anew() -> None:
    assert clock._from_ntp(clock._to_ntp(2_208_988_800.0)) == pytest.approx(2_208_988_800.0)
    assert clock._from_ntp(clock._to_ntp(1_800_000_000.5)) == pytest.approx(1_800_000_000.5)


@pytest.mark.parametrize(
    "answer",
    [
        lambda asked: _answer(asked, 0, stratum=0),  # a kiss of death (RFC 4330 section 8)
        lambda asked: _answer(asked, 0, stratum=16),
        lambda asked: _answer(bytes([0x23]) + bytes(47), 0),  # an answer to another question
        lambda asked: b"short",
    ],
)
def test_an_answer_that_says_nothing_is_none(monkeypatch: pytest.MonkeyPatch, answer: Callable[[bytes], bytes]) -> None:
    with time_server(answer) as port:
        monkeypatch.setattr(clock, "_NTP_PORT", port)
        with pytest.raises(UnavailableError):
            clock.offset("127.0.0.1")
