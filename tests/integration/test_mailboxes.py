"""Mailboxes in the whole product: aliases, catch-all and sealed ones, from SMTP to verify and rebuild."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.services import api
from tests.product import Product
from tests.scratch import mail

pytestmark = pytest.mark.integration


def sent(product: Product, recipient: str, content: bytes) -> tuple[int, str]:
    """What the gateway answered."""
    with smtplib.SMTP("127.0.0.1", product.smtp, timeout=30) as client:
        try:
            client.sendmail("sender@example.org", [recipient], content)
        except smtplib.SMTPRecipientsRefused as refused:
            code, text = refused.recipients[recipient]
            return code, text.decode()
        return 250, ""


def await_true(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_mail_finds_its_mailbox_and_sealed_mail_is_left_alone(tmp_path: Path) -> None:
    product = Product.create(tmp_path / "data")
    sealed = product.run(
        "mailbox", "create", "--name", "Council", "--address", "council@archive.example", "--sealed",
        "--alias", "works@archive.example", "--catch-all", "caught.example", "--delete-after-pull",
    )  # fmt: skip
    with product.serving():
        for recipient in ("council@archive.example", "works@archive.example", "any.thing@caught.example"):
            assert sent(product, recipient, mail("Hidden", "an unmistakable word"))[0] == 250
        assert sent(product, "journal@archive.example", mail("Open", "an unmistakable word"))[0] == 250
        assert sent(product, "nobody@archive.example", mail("Lost"))[0] == 550

        def counted() -> api.MailboxInfo:
            found = product.call("mailboxes", tuple[api.MailboxInfo, ...])
            return next(one for one in found if one.id == sealed["id"])

        assert (counted().records, counted().sealed) == (3, True)
        await_true(lambda: product.call("idle", api.Idle).idle)
        assert product.call("local_search", api.SearchPage, query="unmistakable").total == 1
        now = product.call("status", api.Status)
        assert (now.records, now.sealed, now.projected, now.agrees) == (4, 3, 1, True)

        product.run("mailbox", "change", "council@archive.example", "--state", "disabled")
        await_true(lambda: sent(product, "works@archive.example", mail("Later"))[0] == 450)
        await_true(
            lambda: sent(product, "other@caught.example", mail("Later"))[0] == 450
        )  # the other worker may answer

        def alarmed() -> bool:
            texts = [one.text for one in product.call("status", api.Status).alarms]
            return any("*@caught.example" in one for one in texts) and any("works@archive" in one for one in texts)

        await_true(alarmed)
        kept = counted().records  # some came in before the gateway saw that the mailbox is disabled
        deep = product.run("verify", "--deep")
        assert (deep["errors"], deep["unopened"]) == ([], kept)
    assert product.run("rebuild")["records"] == 1
    deep = product.run("verify", "--deep")
    assert (deep["errors"], deep["unopened"]) == ([], kept)
