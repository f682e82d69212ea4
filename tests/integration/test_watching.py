"""The whole product watched from outside: health, metrics, a mail that really goes out, and what a locked one tells."""

from __future__ import annotations

import json
import smtplib
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.services import api
from tests.product import JOURNAL, Product
from tests.scratch import mail
from tests.unit.services.notifying.servers import PASSWORD, USER, MailServer, Tls

pytestmark = pytest.mark.integration

PASSPHRASE = "a passphrase of some length"


def fetch(product: Product, path: str, **headers: str) -> tuple[int, str]:
    """Status and body of a page that a machine asks for."""
    try:
        with urllib.request.urlopen(urllib.request.Request(product.web + path, headers=headers), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def await_that(true: Callable[[], object], seconds: float = 120.0) -> None:
    """Return once it holds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.3)


def test_a_product_that_is_watched_says_when_it_is_locked(tmp_path: Path) -> None:
    tls = Tls(tmp_path)
    product = Product.create(
        tmp_path / "data", passphrase=PASSPHRASE, environment={"SSL_CERT_FILE": str(tls.file)}
    )  # fmt: skip
    with MailServer(tls) as server:
        try:
            assert product.attempt("health").returncode == 3
            product.start()
            _unlocked(product, server)
            product.run("lock")
            _locked(product)
        finally:
            product.kill()


def _unlocked(product: Product, server: MailServer) -> None:
    product.run(
        "notify", "mail", "--host", "localhost", "--port", str(server.port), "--user", USER, "--password-stdin",
        "--from", "archive@archive.example", "--to", "it@archive.example", said=f"{PASSWORD}\n",
    )  # fmt: skip
    (tested,) = product.run("notify", "test")
    assert tested["passed"], tested
    assert server.received[0]["To"] == "it@archive.example"
    await_that(lambda: fetch(product, "/health/ready")[0] == 200)
    assert product.attempt("health").returncode == 0
    with smtplib.SMTP("127.0.0.1", product.smtp, timeout=60) as client:
        client.sendmail("anna@example.com", [JOURNAL], mail("Counted"))
    product.run("wait-idle")
    await_that(lambda: "\nmailkeep_gateway_accepted_total" in fetch(product, "/metrics")[1])
    status, text = fetch(product, "/metrics")
    assert status == 200 and "\nmailkeep_messages_searchable 1.0\n" in text
    for process in ("archiver", "agent", "projector", "replicator", "collector"):
        assert f'mailkeep_process_up{{process="{process}"}} 1.0' in text
    assert fetch(product, "/metrics", Host="archive.example")[0] == 401


def _locked(product: Product) -> None:
    await_that(lambda: json.loads(fetch(product, "/health/ready")[1])["reasons"] == ["locked"])
    assert fetch(product, "/health/ready")[0] == 503 and fetch(product, "/health/live")[0] == 200
    assert product.attempt("health").returncode == 1
    assert "\nmailkeep_unlocked 0.0\n" in fetch(product, "/metrics")[1]
    page = product.call("alarms", api.AlarmPage)
    assert "locked" in {one.kind for one in page.standing}
