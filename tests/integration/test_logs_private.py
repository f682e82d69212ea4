"""What the processes log while real mail comes in, is searched and is tampered with: nothing of the mail."""

from __future__ import annotations

import contextlib
import email
import email.policy
import poplib
import re
import smtplib
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from tests.product import JOURNAL, Product
from tests.scratch import report

pytestmark = pytest.mark.integration

HOW_MANY = 60
ADDRESS = re.compile(r"[\w.+=-]+@[\w-]+(?:\.[\w-]+)+")
WORD = re.compile(r"\w{7,}")
OURS = ("anna.secretsender@verdant.example", "bert.hiddenone@verdant.example", "nobody.there@elsewhere.example")


def send(product: Product, message: bytes, *recipients: str, sender: str = OURS[0]) -> None:
    with smtplib.SMTP("127.0.0.1", product.smtp, timeout=60) as client, contextlib.suppress(smtplib.SMTPException):
        client.sendmail(sender, recipients, message)


def said_of_it(message: bytes) -> set[str]:
    """Its subject's words, which nobody would log by chance."""
    subject = str(email.message_from_bytes(message, policy=email.policy.compat32).get("Subject", ""))
    return set(WORD.findall(subject)) if subject.isascii() else set()


def test_no_address_and_no_word_of_the_mail_is_logged(corpora: Path, tmp_path: Path) -> None:
    files = sorted((corpora / "eml").rglob("*.eml"))
    messages = [path.read_bytes() for path in files[:: max(len(files) // HOW_MANY, 1)]]
    assert len(messages) >= HOW_MANY
    product = Product.create(tmp_path / "data")
    product.pulls = True
    with product.serving():
        for message in messages:
            send(product, report(message, f"Recipient: {OURS[1]}", f"Bcc: {OURS[2]}"), JOURNAL)
        send(product, b"Subject: Mistypedmailbox\r\n\r\nx\r\n", OURS[2])
        send(
            product, b"Subject: Brokenheaders\r\nContent-Type: multipart/mixed; boundary\r\n\r\n\xff\0--x\r\n", JOURNAL
        )
        product.run("wait-idle")
        product.run("search", OURS[1])
        guess = urllib.parse.urlencode({"address": OURS[0], "password": "Passwordguess"}).encode()
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(f"{product.web}/sign-in", guess, timeout=60)
        pull = poplib.POP3_SSL("127.0.0.1", product.pop3s, context=ssl._create_unverified_context(), timeout=60)
        pull.user(OURS[0])
        with contextlib.suppress(poplib.error_proto):
            pull.pass_("Passwordguess")
        pull.close()
        records = product.status().records
    logged = product.log.read_text("utf-8", "replace")
    assert records >= HOW_MANY
    assert "archived" in logged and "recipient turned away" in logged  # it does log
    assert ADDRESS.findall(logged) == []
    spoken = set().union(*map(said_of_it, messages)) | {"Mistypedmailbox", "Brokenheaders", "Passwordguess"}
    assert {word for word in spoken if re.search(rf"\b{re.escape(word)}\b", logged)} == set()
