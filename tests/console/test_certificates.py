"""The certificate in set-up on a real product: brought as PEM and as PKCS #12, and from Pebble, a real authority; with
the wizard's page and from an answer file. What counts is what SMTP shows to a mail server afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import smtplib
import ssl
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from textual.pilot import Pilot
from textual.widgets import Static

from appliance.services import api
from appliance.services.certificates.pair import new_key, private_pem
from appliance.services.paths import Paths
from appliance.services.setup import progress
from appliance.services.setup.box import Box
from appliance.services.setup.progress import Progress
from appliance.services.setup.steps import ORDER
from tests.acme_authority import Authority as Pebble
from tests.acme_authority import authority as pebble_at
from tests.console.conftest import PLAIN
from tests.console.test_setup import Running, fill, shown
from tests.console.test_setup_terminal import serving
from tests.ports import free_port
from tests.product import MAILKEEP, Product, await_gone
from tests.unit.services.certificates.test_pair import Authority, pem
from tui.app import Console
from tui.setup.pages.certificate import CertificatePage
from tui.setup.wizard import StepPage, Wizard
from tui.widgets.confirm import Confirm
from tui.widgets.form import Choice

pytestmark = [pytest.mark.console, pytest.mark.integration]

HOST = "archive.example.org"
PASSWORD = "of the file"
SECONDS = 60.0


class Files:
    """An own certificate for ``HOST``, as somebody brings it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        now, key, authority = datetime.now(UTC), new_key(), Authority()
        leaf = authority.issue(key, HOST, begin=now - timedelta(days=1), end=now + timedelta(days=90))
        self.fingerprint = print_of(leaf.public_bytes(serialization.Encoding.DER))
        self.chain, self.key, self.packed = folder / "chain.pem", folder / "key.pem", folder / "pair.p12"
        self.chain.write_bytes(pem(leaf, authority.intermediate))
        self.key.write_bytes(private_pem(key))
        kept = serialization.BestAvailableEncryption(PASSWORD.encode())
        self.packed.write_bytes(
            pkcs12.serialize_key_and_certificates(b"mail", key, leaf, [authority.intermediate], kept)
        )


def print_of(der: bytes) -> str:
    """A certificate's fingerprint, as SHA-256 in hexadecimal digits."""
    return hashlib.sha256(der).hexdigest()


def smtp_shows(port: int) -> bytes:
    """The certificate (DER) after STARTTLS."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.starttls(context=context)
        assert isinstance(client.sock, ssl.SSLSocket)
        return client.sock.getpeercert(binary_form=True) or b""


def await_shown(port: int, is_it: Callable[[bytes], bool]) -> None:
    """Return when SMTP shows the right one; gateways look for another a few times a minute."""
    deadline = time.monotonic() + SECONDS
    while not is_it(smtp_shows(port)):
        assert time.monotonic() < deadline, "SMTP shows another certificate"
        time.sleep(0.3)


def is_of_pebble(der: bytes) -> bool:
    """Whether Pebble has issued it."""
    return "Pebble" in x509.load_der_x509_certificate(der).issuer.rfc4514_string()


# -- the wizard's page ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def port_80() -> int:
    return free_port()


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory, port_80: int) -> Iterator[Pebble]:
    with pebble_at(tmp_path_factory.mktemp("certificates") / "authority", port_80) as running:
        yield running


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, pebble: Pebble, port_80: int) -> Iterator[Product]:
    """A running archive on whose box set-up has come to the certificate."""
    made = Product(
        tmp_path_factory.mktemp("product") / "data", environment={"SSL_CERT_FILE": str(pebble.trusted)}
    )  # fmt: skip
    made.run("init", "--unattended", "--hostname", HOST)
    made.redirect = port_80
    with made.serving():
        yield made


class BoxWith(Box):
    """The real archive, with this authority in place of Let's Encrypt."""

    def __init__(self, paths: Paths, directory: str) -> None:
        super().__init__(paths)
        self._directory = directory

    def acme_terms(self, directory: str = "") -> str:
        return super().acme_terms(directory or self._directory)

    def acme(self, *, contact: str, names: Any = (), directory: str = "") -> api.JobInfo:
        return super().acme(contact=contact, names=names, directory=directory or self._directory)


def at_the_certificate(
    product: Product, source: str, act: Callable[[Pilot[None]], Awaitable[None]], directory: str = ""
) -> None:
    """Show the wizard's page, choose, and act; then go on over what the test warns of."""
    paths = Paths(product.data)
    done = ORDER[: ORDER.index("certificate")]
    progress.save(paths, Progress(host_name=HOST, archive="made", done=tuple(done)))

    class OnePage(Console):
        async def _due(self) -> Any:
            page = CertificatePage(Wizard(self, paths, box=BoxWith(paths, directory), runtime=Running()))
            await asyncio.to_thread(page.prepare)
            return page

    async def run() -> None:
        app = OnePage(paths, plain=True)
        async with app.run_test(size=PLAIN) as pilot:
            await until(pilot, lambda: isinstance(app.screen, CertificatePage) and bool(app.screen.query("#source")))
            choice = app.screen.query_one("#source", Choice)
            choice.highlighted = choice.get_option_index(source)
            await pilot.pause()
            await act(pilot)
            await until(pilot, lambda: "Encryption works all the same" in shown(pilot))
            await pilot.press("f2")
            await until(pilot, lambda: isinstance(app.screen, StepPage) and app.screen.step == "mailbox")

    asyncio.run(run())
    assert "certificate" in progress.load(paths).done


def wrong(pilot: Pilot[None]) -> str:
    """What is said to be wrong with the files."""
    return str(pilot.app.screen.query_one("#files .error", Static).render())


async def until(pilot: Pilot[None], seen: Callable[[], bool]) -> None:
    """Wait for something to be on the screen."""
    async with asyncio.timeout(SECONDS):
        while not seen():
            await pilot.pause(0.1)
    await pilot.pause()


def test_own_files_are_put_in_force_by_the_wizard(product: Product, tmp_path: Path) -> None:
    files = Files(tmp_path)

    async def act(pilot: Pilot[None]) -> None:
        await fill(pilot, files=f"{files.chain}")
        await pilot.press("f2")
        await until(pilot, lambda: bool(wrong(pilot)))
        assert smtp_shows(product.smtp) == before, "a certificate without its key is refused, and nothing changes"
        await fill(pilot, files=f"{files.chain} {files.key}")
        await pilot.press("f2")

    before = smtp_shows(product.smtp)
    at_the_certificate(product, "own", act)
    await_shown(product.smtp, lambda der: print_of(der) == files.fingerprint)


def test_a_pkcs12_file_is_opened_with_its_password_by_the_wizard(product: Product, tmp_path: Path) -> None:
    files = Files(tmp_path)

    async def act(pilot: Pilot[None]) -> None:
        await fill(pilot, files=str(files.packed), password="another")
        await pilot.press("f2")
        await until(pilot, lambda: "password" in wrong(pilot))
        await fill(pilot, password=PASSWORD)
        await pilot.press("f2")

    at_the_certificate(product, "own", act)
    await_shown(product.smtp, lambda der: print_of(der) == files.fingerprint)


def test_an_authority_gives_one_to_the_wizard(product: Product, pebble: Pebble) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await fill(pilot, contact="it@example.org")
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        assert "data:text/plain" in shown(pilot), "the authority's own terms are shown"
        await pilot.press("right", "enter")

    at_the_certificate(product, "acme", act, pebble.directory)
    await_shown(product.smtp, is_of_pebble)
    now = product.call("certificate", api.Certificate)
    assert now.acme is not None
    assert (now.source, now.names, now.acme.contact) == ("acme", (HOST,), "it@example.org")


# -- the answer file --------------------------------------------------------------------------------------------------


def test_an_answer_file_orders_one_and_later_brings_another(tmp_path: Path) -> None:
    smtp, http, port_80 = free_port(), free_port(), free_port()
    files, data, answers = Files(tmp_path / "own"), tmp_path / "data", tmp_path / "setup.yaml"

    def set_up(certificate: str, environment: dict[str, str]) -> dict[str, Any]:
        answers.write_text(f"""
hostname: {HOST}
archive: {{unlocks_itself: true, recovery_key: {tmp_path / "recovery-key"}}}
certificate: {certificate}
listen:
  smtp: ["127.0.0.1:{smtp}"]
  http: ["127.0.0.1:{http}"]
  redirect: ["127.0.0.1:{port_80}"]
  allow_plain_swap: true
""")
        done = subprocess.run(
            [str(MAILKEEP), "--data", str(data), "setup", "--answers", str(answers), "--json"],
            capture_output=True, text=True, timeout=240, check=False, env={**os.environ, **environment},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return next(one for one in found if one["step"] == "certificate")

    try:
        with pebble_at(tmp_path / "authority", port_80) as pebble:
            acme = f"{{source: acme, contact: it@example.org, agree: true, directory: '{pebble.directory}'}}"
            trusting = {"SSL_CERT_FILE": str(pebble.trusted)}
            assert set_up(acme, trusting)["changed"]
            await_shown(smtp, is_of_pebble)
            assert not set_up(acme, trusting)["changed"], "one that is there is not ordered again"
        own = f"{{source: own, files: [{files.packed}], password: {PASSWORD}}}"
        assert set_up(own, {})["changed"]
        await_shown(smtp, lambda der: print_of(der) == files.fingerprint)
        assert not set_up(own, {})["changed"]
    finally:
        served = serving(data)
        for pid in served:
            os.kill(pid, signal.SIGTERM)
        await_gone(served, 90)
