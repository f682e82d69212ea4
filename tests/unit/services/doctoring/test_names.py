"""DNS as senders see it: whether the machine's name and its mailboxes' domains lead to it, by a real name server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import language
from appliance.errors import UsageError
from appliance.services.doctoring import Finding, Subject, names, outside
from tests.ports import free_port

OWN = ("198.41.0.7", "2001:500::7", "fe80::1")
"""Public addresses, for what is private is judged otherwise."""
ZONE = """
server:
  interface: 127.0.0.1@{port}
  port: {port}
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  access-control: 127.0.0.0/8 allow
  module-config: "iterator"
  do-not-query-localhost: no
  local-zone: "." static
  local-data: "archive.good.example. A 198.41.0.7"
  local-data: "archive.good.example. AAAA 2001:500::7"
  local-data: "good.example. MX 10 archive.good.example."
  local-data: "archive.good.example. MX 10 archive.good.example."
  local-data: "7.0.41.198.in-addr.arpa. PTR Archive.good.example."
  local-data: "{reverse} PTR archive.good.example."
  local-data: "archive.nat.example. A 198.41.0.8"
  local-data: "archive.wrong.example. A 198.41.0.9"
  local-data: "9.0.41.198.in-addr.arpa. PTR dsl-9.provider.example."
  local-data: "archive.self.example. A 127.0.0.1"
  local-data: "elsewhere.example. MX 10 mx.provider.example."
  local-data: "alias.example. MX 10 mail.alias.example."
  local-data: "mail.alias.example. CNAME archive.good.example."
  local-data: "null.example. MX 0 ."
  local-data: "plain.example. A 198.41.0.7"
"""
REVERSE = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.5.0.1.0.0.2.ip6.arpa."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A name server that knows ``ZONE`` and nothing else; its address with its port."""
    program = shutil.which("unbound", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("there is no unbound (Debian package unbound)")
    folder, port = tmp_path_factory.mktemp("unbound"), free_port()
    (folder / "unbound.conf").write_text(ZONE.format(port=port, folder=folder, reverse=REVERSE))
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen([program, "-d", "-c", str(folder / "unbound.conf")], stdout=log, stderr=log)
    deadline = time.monotonic() + 20
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                break
        except OSError:
            assert time.monotonic() < deadline and child.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
    yield f"127.0.0.1:{port}"
    child.terminate()
    child.wait(10)


def found(server: str, host: str, *domains: str, own: tuple[str, ...] = OWN) -> dict[str, Finding]:
    """The findings by what they are about."""
    return {one.what: one for one in names.examine(Subject(host, domains, resolver=server), own)}


def test_what_is_as_it_should_be_is_said_to_be(server: str) -> None:
    told = found(server, "archive.good.example", "good.example", "archive.good.example")
    assert {one.state for one in told.values()} == {"ok"}
    assert set(told) == {
        "address of archive.good.example", "name of 198.41.0.7", "name of 2001:500::7", "mail for good.example",
        "mail for archive.good.example",
    }  # fmt: skip


def test_a_name_that_leads_nowhere_comes_with_the_record_to_make(server: str) -> None:
    told = found(server, "archive.missing.example", "missing.example")
    address, mail = told["address of archive.missing.example"], told["mail for missing.example"]
    assert (address.state, mail.state) == ("problem", "problem")
    assert "archive.missing.example. A 198.41.0.7" in address.mend
    assert "missing.example. MX 10 archive.missing.example." in mail.mend
    only_six = found(server, "archive.missing.example", own=("2001:500::7",))["address of archive.missing.example"]
    assert "archive.missing.example. AAAA 2001:500::7" in only_six.mend


def test_behind_a_router_the_public_address_is_right(server: str) -> None:
    told = found(server, "archive.nat.example", own=("192.168.1.20", "fe80::1"))["address of archive.nat.example"]
    assert (told.state, "router" in told.text) == ("ok", True)


def test_an_address_of_somebody_else_and_one_of_everybody_are_told_of(server: str) -> None:
    wrong = found(server, "archive.wrong.example")
    assert wrong["address of archive.wrong.example"].state == "warning"
    assert "198.41.0.9" in wrong["address of archive.wrong.example"].text
    back = wrong["name of 198.41.0.9"]
    assert back.state == "warning"
    assert "dsl-9.provider.example" in back.text
    assert "198.41.0.9 PTR archive.wrong.example" in back.mend
    assert found(server, "archive.self.example")["address of archive.self.example"].state == "problem"


def test_mail_that_goes_elsewhere_to_an_alias_or_nowhere_is_told_of(server: str) -> None:
    domains = ("elsewhere.example", "alias.example", "null.example", "plain.example")
    told = found(server, "archive.good.example", *domains)
    assert told["mail for elsewhere.example"].state == "warning"
    assert "mx.provider.example" in told["mail for elsewhere.example"].text
    assert told["mail for alias.example"].state == "problem"
    assert "alias" in told["mail for alias.example"].text
    assert told["mail for null.example"].state == "problem"  # RFC 7505: it takes no mail at all
    assert told["mail for plain.example"].state == "ok"  # RFC 5321 section 5.1: by its address


def test_a_name_server_that_does_not_answer_is_the_only_finding_and_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(names, "SECONDS", 0.5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        told = found(f"127.0.0.1:{silent.getsockname()[1]}", "archive.good.example", "good.example")
    assert [(one.what, one.state) for one in told.values()] == [("DNS", "problem")]


def test_half_a_name_is_not_asked_for() -> None:
    (told,) = names.examine(Subject("archive"), OWN)
    assert (told.what, told.state) == ("host name", "problem")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("9.9.9.9", ("9.9.9.9", 53)), ("127.0.0.1:5353", ("127.0.0.1", 5353)), ("2620:fe::fe", ("2620:fe::fe", 53)),
        ("[2620:fe::fe]:5353", ("2620:fe::fe", 5353)), ("[2620:fe::fe]", ("2620:fe::fe", 53)),
    ],
)  # fmt: skip
def test_a_name_server_is_given_by_address_and_port(text: str, place: tuple[str, int]) -> None:
    assert names.parse_resolver(text) == place


@pytest.mark.parametrize("text", ["dns.example.com", "9.9.9.9:0", "9.9.9.9:x", "[9.9.9.9", "", "1.2.3.4:99999"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        names.parse_resolver(text)


def test_the_network_is_asked_by_a_child_that_says_it_in_the_language_in_use(server: str) -> None:
    told = outside.examine(Subject("archive.missing.example", resolver=server))
    assert {one.what for one in told} >= {"address of archive.missing.example", "clock"}
    assert next(one for one in told if one.what.startswith("address")).state == "problem"
    assert language.current() == "en"


def test_the_child_can_read_no_file_of_the_archive(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("words")
    code = (
        "from pathlib import Path\n"
        "from appliance.confine import landlock_version\n"
        "from appliance.services.doctoring import outside\n"
        "outside.confine()\n"
        "print(landlock_version())\n"
        f"print(Path({str(secret)!r}).read_text())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    if done.stdout.startswith("0"):
        pytest.skip("this kernel has no Landlock")
    assert "PermissionError" in done.stderr
    assert "words" not in done.stdout
