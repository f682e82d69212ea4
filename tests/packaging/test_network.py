"""A change of the network on a booted Debian: the machine takes it back by itself, unless somebody confirms it.

Takes a Debian root with systemd (MAILKEEP_ROOT, as ``test_booted``): once as it is, once with Debian's NetworkManager.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import ConflictError
from appliance.host import clock, hostname, machine, network
from appliance.host.machine import Answer
from appliance.host.network import Static
from tests.packaging import root as roots
from tests.packaging.machine import Machine, booted

pytestmark = [pytest.mark.packaging, pytest.mark.integration, pytest.mark.timeout(600)]

CARD = "eth0"
BEFORE, AFTER = "192.0.2.50/24", "192.0.2.77/24"
PLAN = Static(CARD, (AFTER,), ("192.0.2.1",))
SECONDS = 60.0


class Inside(machine.Machine, frozen=True, kw_only=True):
    """The booted machine as ``appliance.host`` sees the one that it runs on."""

    booted: Machine

    def run(self, *command: str, seconds: float = 10.0) -> Answer:
        done = self.booted.ask(*command, seconds=seconds)
        return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module", params=["networkd", "networkmanager"])
def inside(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """A machine with one card that has a static address, under either manager."""
    given = os.environ.get("MAILKEEP_ROOT")
    if not given:
        pytest.skip("MAILKEEP_ROOT names no Debian root (`make test-deb` makes one)")
    request.getfixturevalue("boots")
    manager = str(request.param)
    root = tmp_path_factory.mktemp("network") / "root"
    subprocess.run(["cp", "-a", given, str(root)], check=True, timeout=300)
    try:
        if manager == "networkmanager":
            roots.install(root, "network-manager")
        _set_up(root, manager)
        with booted(root, f"mailkeep-net-{os.getpid()}") as made:
            made.run("sh", "-c", "ip link add eth0 type veth peer name peer0 && ip link set peer0 up")
            if manager == "networkmanager":
                given = f"ifname {CARD} ipv4.method manual ipv4.addresses {BEFORE} ipv4.gateway 192.0.2.1"
                made.run("sh", "-c", f"nmcli connection add type ethernet con-name wired {given}")
                made.run("nmcli", "connection", "up", "wired")
            found = Inside(root=Path(f"/proc/{made._leader}/root"), booted=made)
            _await(found, BEFORE)
            yield found
    except roots.NotHereError as error:
        pytest.skip(str(error))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _set_up(root: Path, manager: str) -> None:
    networks = root / "etc" / "systemd" / "network"
    for folder in (networks, root / "etc" / "NetworkManager" / "system-connections"):
        shutil.rmtree(folder, ignore_errors=True)
    networks.mkdir(parents=True)
    (networks / "80-wired.network").write_text(
        f"[Match]\nName={CARD}\n[Network]\nAddress={BEFORE}\nGateway=192.0.2.1\nDHCP=no\n"
    )
    wanted, other = "systemd-networkd.service", "NetworkManager.service"
    if manager == "networkmanager":
        wanted, other = other, wanted
        settings = root / "etc" / "NetworkManager" / "conf.d"
        settings.mkdir(parents=True, exist_ok=True)
        # A virtual card is left alone unless it is named.
        (settings / "card.conf").write_text(f"[device]\nmatch-device=interface-name:{CARD}\nmanaged=1\n")
    for verb, unit in (("unmask", wanted), ("enable", wanted), ("disable", other), ("mask", other)):
        subprocess.run(["systemctl", f"--root={root}", "--quiet", verb, unit], check=False, timeout=60)


def addresses(inside: Inside) -> tuple[str, ...]:
    """The card's."""
    return next((one.addresses for one in network.current(inside).interfaces if one.name == CARD), ())


def _await(inside: Inside, expected: str, seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while addresses(inside) != (expected,):
        assert time.monotonic() < deadline, inside.booted.ask("ip", "address").stdout
        time.sleep(0.3)


def test_what_nobody_confirms_is_taken_back_by_the_machine_itself(inside: Inside) -> None:
    trial = network.begin(PLAN, 8, inside)
    _await(inside, AFTER)
    waiting = network.pending(inside)
    assert waiting is not None
    assert waiting.interface == CARD
    _await(inside, BEFORE, 8 + SECONDS)  # nobody does anything
    assert network.pending(inside) is None
    with pytest.raises(ConflictError, match="taken back"):
        network.confirm(trial, inside)


def test_what_is_taken_back_by_hand_is_gone_at_once(inside: Inside) -> None:
    trial = network.begin(PLAN, 60, inside)
    network.undo(trial, inside)
    _await(inside, BEFORE)
    assert network.pending(inside) is None


def test_what_is_confirmed_stays(inside: Inside) -> None:
    network.confirm(network.begin(PLAN, 8, inside), inside)
    time.sleep(10)
    assert addresses(inside) == (AFTER,)
    assert network.pending(inside) is None


def test_name_and_zone_are_set_where_debian_has_them(inside: Inside) -> None:
    hostname.change("keep.example.com", inside)
    assert hostname.current(inside).name == "keep.example.com"
    assert inside.booted.run("hostname", "--fqdn").strip() == "keep.example.com"
    clock.change_zone("Europe/Berlin", inside)
    assert clock.current(inside).zone == "Europe/Berlin"
    assert inside.booted.run("date", "+%Z").strip() in ("CET", "CEST")
