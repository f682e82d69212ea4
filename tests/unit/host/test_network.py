"""The network: what is set is told as it is; a change is taken back by the machine itself unless it is confirmed."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from appliance.host import network
from appliance.host.machine import Answer
from appliance.host.network import Dhcp, Interface, Static
from tests.unit.host.double import Double, Reply, machine

# As `ip -json address` of iproute2 6.1 printed it, two of the machine's links left in.
LINKS = json.dumps([
    {"ifindex": 1, "ifname": "lo", "flags": ["LOOPBACK", "UP", "LOWER_UP"], "link_type": "loopback",
     "address": "00:00:00:00:00:00",
     "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host", "label": "lo"}]},
    {"ifindex": 2, "ifname": "ens3", "flags": ["BROADCAST", "MULTICAST", "UP", "LOWER_UP"], "mtu": 1500,
     "operstate": "UP", "link_type": "ether", "address": "52:54:00:12:34:56",
     "addr_info": [
         {"family": "inet", "local": "192.0.2.50", "prefixlen": 24, "broadcast": "192.0.2.255", "scope": "global"},
         {"family": "inet6", "local": "2001:db8::50", "prefixlen": 64, "scope": "global"},
         {"family": "inet6", "local": "fe80::5054:ff:fe12:3456", "prefixlen": 64, "scope": "link"}]},
    {"ifindex": 5, "ifname": "docker0", "flags": ["NO-CARRIER", "BROADCAST", "MULTICAST", "UP"],
     "link_type": "ether", "address": "02:42:ac:11:00:01",
     "addr_info": [{"family": "inet", "local": "172.17.0.1", "prefixlen": 16, "scope": "global"}]},
])  # fmt: skip
ROUTES = '[{"dst":"default","gateway":"192.0.2.1","dev":"ens3","protocol":"static","flags":[]}]'
ROUTES_6 = '[{"dst":"default","gateway":"fe80::1","dev":"ens3","protocol":"ra","metric":100,"pref":"medium"}]'
# /run/systemd/netif/links/2 of systemd 252.
LINK_STATE = """# This is private data. Do not parse.
ADMIN_STATE=configured
OPER_STATE=routable
ONLINE_STATE=online
NETWORK_FILE=/etc/systemd/network/80-dhcp.network
DNS=192.0.2.53 2001:db8::53
DOMAINS=example.com
"""
STATIC = Static("ens3", ("192.0.2.77/24",), ("192.0.2.1",), ("192.0.2.53",), ("example.com",))
NOT_ACTIVE = Answer(3, "inactive\n")


def networkd(folder: Path, **replies: Reply) -> Double:
    """A machine whose network systemd-networkd runs, with systemd-resolved."""
    box = machine(
        folder,
        {
            "systemctl is-active NetworkManager.service": NOT_ACTIVE, "systemctl is-active": "active\n",
            "ip -json address": LINKS, "ip -json route": ROUTES, "ip -json -6 route": ROUTES_6, "systemd-run": "",
            "networkctl": "", "systemctl stop": "", **replies,
        },
    )  # fmt: skip
    box.has("/run/systemd/netif/links/2", LINK_STATE)
    box.has("/etc/systemd/network/80-dhcp.network", "[Match]\nType=ether\n[Network]\nDHCP = yes\n")
    box.has("/sys/class/net/ens3/device/vendor", "0x1af4\n")
    box.has("/sys/class/net/ens3/ifindex", "2\n")
    box.path("/etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    return box


def test_what_is_set_is_told(tmp_path: Path) -> None:
    now = network.current(networkd(tmp_path))
    assert now == network.Network(
        "networkd",
        (
            Interface(
                "ens3", "52:54:00:12:34:56", True, ("192.0.2.50/24", "2001:db8::50/64"), ("192.0.2.1", "fe80::1"),
                ("192.0.2.53", "2001:db8::53"), True,
            ),
        ),
    )  # fmt: skip


def test_a_change_is_in_force_for_a_while_only_and_the_way_back_comes_first(tmp_path: Path) -> None:
    box = networkd(tmp_path)
    trial = network.begin(STATIC, 60, box)
    assert abs(trial.until - time.time() - 60) < 5
    asked = [one for one in box.asked if one.startswith(("systemd-run", "networkctl"))]
    assert [one.split()[0] for one in asked] == ["systemd-run", "networkctl", "networkctl"]
    assert "--on-active=60s" in asked[0]
    (file,) = box.path("/run/systemd/network").iterdir()
    assert file.name < "10-cloud-init-ens3.network"  # the first of the files that fit counts
    lines = file.read_text().splitlines()[1:]
    assert lines == [
        "[Match]", "Name=ens3", "", "[Network]", "Address=192.0.2.77/24", "Gateway=192.0.2.1", "DNS=192.0.2.53",
        "Domains=example.com", "DHCP=no", "IPv6AcceptRA=yes",
    ]  # fmt: skip
    waiting = network.pending(box)
    assert waiting is not None
    assert (waiting.interface, abs(waiting.until - trial.until) <= 1) == ("ens3", True)
    with pytest.raises(ConflictError, match="waits to be confirmed"):
        network.begin(Dhcp("ens3"), 60, box)


def test_the_way_back_that_the_timer_goes_removes_the_trial(tmp_path: Path) -> None:
    box = networkd(tmp_path)
    commands: list[tuple[str, ...]] = []

    def remember(command: tuple[str, ...]) -> str:
        commands.append(command)
        return ""

    box.replies["systemd-run"] = remember
    network.begin(STATIC, 60, box)
    (file,) = box.path("/run/systemd/network").iterdir()
    script = commands[0][-1].replace("/run/systemd/network", shlex.quote(str(box.path("/run/systemd/network"))))
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "networkctl").write_text(f'#!/bin/sh\necho "$@" >> {tools}/asked\n')
    (tools / "networkctl").chmod(0o755)
    subprocess.run(["/bin/sh", "-c", script], env={"PATH": f"{tools}:/bin:/usr/bin"}, check=True, timeout=10)
    assert not file.exists()
    assert (tools / "asked").read_text() == "reload\nreconfigure ens3\n"


def test_a_confirmed_change_stays_and_an_unconfirmed_one_cannot_be_confirmed_afterwards(tmp_path: Path) -> None:
    box = networkd(tmp_path)
    trial = network.begin(STATIC, 60, box)
    network.confirm(trial, box)
    kept = box.read("/etc/systemd/network/02-mailkeep-ens3.network")
    assert kept.startswith("[Match]\nName=ens3\n")
    assert "Address=192.0.2.77/24" in kept
    assert network.pending(box) is None
    assert "systemctl stop mailkeep-network-undo-ens3.timer" in box.asked
    trial = network.begin(Dhcp("ens3"), 60, box)
    next(box.path("/run/systemd/network").iterdir()).unlink()  # as the timer does
    with pytest.raises(ConflictError, match="taken back"):
        network.confirm(trial, box)
    assert box.read("/etc/systemd/network/02-mailkeep-ens3.network") == kept


def test_a_change_that_the_system_refuses_leaves_nothing(tmp_path: Path) -> None:
    refused = Answer(1, err="Failed to reload network settings: Access denied\n")
    box = networkd(tmp_path, **{"networkctl reconfigure": refused})
    del box.replies["networkctl"]
    box.replies["networkctl reload"] = ""
    with pytest.raises(UnavailableError, match="Access denied"):
        network.begin(STATIC, 60, box)
    assert list(box.path("/run/systemd/network").iterdir()) == []


def test_name_servers_that_nobody_would_take_are_refused(tmp_path: Path) -> None:
    box = networkd(tmp_path)
    box.path("/etc/resolv.conf").unlink()
    box.has("/etc/resolv.conf", "nameserver 192.0.2.53\n")
    with pytest.raises(UsageError, match=r"/etc/resolv\.conf"):
        network.begin(Static("ens3", ("192.0.2.77/24",), ("192.0.2.1",), ("9.9.9.9",)), 60, box)
    network.begin(STATIC, 60, box)


@pytest.mark.parametrize("line", ["Bridge=br0", "Bond = bond0", "VLAN=office"])
def test_what_others_are_built_on_is_only_shown(tmp_path: Path, line: str) -> None:
    box = networkd(tmp_path)
    box.has("/etc/systemd/network/80-dhcp.network", f"[Match]\nName=ens3\n[Network]\n{line}\n")
    with pytest.raises(UsageError, match="part of a bridge"):
        network.begin(STATIC, 60, box)
    assert not box.path("/run/systemd/network").exists()


def test_an_interface_that_is_not_there_is_not_set(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        network.begin(Dhcp("ens9"), 60, networkd(tmp_path))


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Static("ens3", ()), "at least one address"),
        (Static("ens3", ("192.0.2.7",)), "prefix length"),
        (Static("ens3", ("192.0.2.0/24",)), "cannot be the address"),
        (Static("ens3", ("192.0.2.255/24",)), "cannot be the address"),
        (Static("ens3", ("127.0.0.2/8",)), "cannot be the address"),
        (Static("ens3", ("192.0.2.7/24",), ("198.51.100.1",)), "cannot be reached"),
        (Static("ens3", ("192.0.2.7/24",), ("192.0.2.7",)), "and the gateway's"),
        (Static("ens3", ("192.0.2.7/24",), ("router",)), "no address for"),
        (Static("ens3", ("192.0.2.7/24",), (), ("dns.example.com",)), "no address for"),
        (Static("ens3", ("192.0.2.7/24",), (), (), ("example.com\nDHCP=yes",)), "no domain"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_in_words(plan: Static, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        network.check(plan)


def test_addresses_come_in_their_usual_form() -> None:
    plan = network.check(Static("ens3", ("2001:DB8:0::7/64", "192.0.2.7/31"), ("fe80::1", "192.0.2.6")))
    assert plan == Static("ens3", ("2001:db8::7/64", "192.0.2.7/31"), ("fe80::1", "192.0.2.6"))


def test_where_nobody_known_runs_the_network_it_is_only_shown(tmp_path: Path) -> None:
    box = machine(
        tmp_path, {"systemctl is-active": NOT_ACTIVE, "ip -json address": LINKS, "ip -json route": ROUTES}, systemd=True
    )
    box.has("/etc/network/interfaces", "auto lo\niface lo inet loopback\n\nallow-hotplug ens3\niface ens3 inet dhcp\n")
    now = network.current(box)
    assert (now.manager, [one.name for one in now.interfaces]) == ("ifupdown", ["ens3"])
    assert "/etc/network/interfaces" in now.read_only
    with pytest.raises(UsageError):
        network.begin(STATIC, 60, box)
    box.has("/etc/network/interfaces", "auto lo\niface lo inet loopback\n")
    assert network.current(box).manager == "none"


class NetworkManager:
    """NetworkManager's answers as 1.42 gave them, with one checkpoint at a time."""

    def __init__(self) -> None:
        self.checkpoint = False
        self.begun = 0.0

    def replies(self) -> dict[str, Reply]:
        return {
            "systemctl is-active NetworkManager.service": "active\n", "ip -json address": LINKS,
            "ip -json route": ROUTES, "ip -json -6 route": "[{}]",
            "nmcli --escape no -g GENERAL.DBUS-PATH device show ens3": "/org/freedesktop/NetworkManager/Devices/3\n",
            "nmcli --escape no -g GENERAL.CON-UUID device show ens3": "69d7c544-beb7-43db-9576-c18e3b29718a\n",
            "nmcli --escape no -g ipv4.method": "auto\n", "nmcli connection modify": "", "nmcli --wait 30": "",
            "busctl --json=short call org.freedesktop.NetworkManager /org/freedesktop/NetworkManager "
            "org.freedesktop.NetworkManager": self.call,
            "busctl --json=short get-property": self.property,
        }  # fmt: skip

    def call(self, command: tuple[str, ...]) -> str:
        method = command[6]
        if method == "CheckpointCreate":
            self.checkpoint, self.begun = True, time.clock_gettime(time.CLOCK_BOOTTIME)
            return '{"type":"o","data":["/org/freedesktop/NetworkManager/Checkpoint/1"]}\n'
        self.checkpoint = False
        return ""

    def property(self, command: tuple[str, ...]) -> str:
        answers: dict[str, Callable[[], object]] = {
            "Checkpoints": lambda: ["/org/freedesktop/NetworkManager/Checkpoint/1"] if self.checkpoint else [],
            "Created": lambda: int(self.begun * 1000), "RollbackTimeout": lambda: 60,
            "Devices": lambda: ["/org/freedesktop/NetworkManager/Devices/3"], "Interface": lambda: "ens3",
        }  # fmt: skip
        return json.dumps({"type": "?", "data": answers[command[-1]]()})


def test_network_manager_takes_a_change_back_by_its_own_checkpoint(tmp_path: Path) -> None:
    manager = NetworkManager()
    box = machine(tmp_path, manager.replies())
    box.has("/sys/class/net/ens3/device/vendor", "0x1af4\n")
    now = network.current(box)
    assert (now.manager, now.interfaces[0].dhcp, now.read_only) == ("networkmanager", True, "")
    trial = network.begin(STATIC, 60, box)
    made = [one for one in box.asked if "CheckpointCreate" in one or one.startswith("nmcli connection modify")]
    assert "CheckpointCreate aouu 1 /org/freedesktop/NetworkManager/Devices/3 60 0" in made[0]
    assert "ipv4.addresses 192.0.2.77/24 ipv4.gateway 192.0.2.1 ipv4.dns 192.0.2.53" in made[1]
    waiting = network.pending(box)
    assert waiting is not None
    assert abs(waiting.until - trial.until) < 2
    network.confirm(trial, box)
    assert network.pending(box) is None
    network.undo(network.begin(Dhcp("ens3"), 60, box), box)
    assert any("CheckpointRollback o /org/freedesktop/NetworkManager/Checkpoint/1" in one for one in box.asked)


def test_a_connection_that_does_not_come_up_is_rolled_back_at_once(tmp_path: Path) -> None:
    manager = NetworkManager()
    replies = manager.replies()
    replies["nmcli --wait 30"] = Answer(
        4, err="Error: Connection activation failed: IP configuration could not be reserved\n"
    )
    box = machine(tmp_path, replies)
    box.has("/sys/class/net/ens3/device/vendor", "0x1af4\n")
    with pytest.raises(UnavailableError, match="could not be reserved"):
        network.begin(Dhcp("ens3"), 60, box)
    assert not manager.checkpoint
