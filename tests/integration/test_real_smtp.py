"""Two thousand journal reports through the real SMTP port, by every kind of client, assigned as the truth says."""

from __future__ import annotations

import json
import re
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.product import JOURNAL, Product

COUNT = 2000

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def reports(corpora: Path, tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    source = corpora / "list-mail-15k.tar.xz"
    generator = [sys.executable, str(tools / "journalgen.py"), str(source), str(folder)]
    subprocess.run([*generator, "--count", str(COUNT), "--users", "40"], check=True, timeout=300, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def filled(reports: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product.create(tmp_path_factory.mktemp("product") / "data")
    with product.serving():
        product.run("user", "import", str(reports / "users.csv"))
        files = sorted(reports.glob("*.eml"))
        ways = [_by_smtplib_with_tls, _by_bdat_pipelined, _by_data_pipelined]
        for number, way in enumerate(ways):
            way(product.smtp, [file.read_bytes() for file in files[number :: len(ways)]])
        product.run("wait-idle", "--timeout", "240")
        yield product


def test_everybody_finds_exactly_their_own_mail(filled: Product, reports: Path) -> None:
    truth = [json.loads(line) for line in (reports / "truth.jsonl").read_text().splitlines()]
    holder = {}
    for line in (reports / "users.csv").read_text().splitlines()[1:]:
        primary, aliases, _ = line.split(",")
        holder.update(dict.fromkeys([primary, *filter(None, aliases.split(";"))], primary))
    expected: dict[str, set[str]] = defaultdict(set)
    for one in truth:
        people = [one["sender"], one["on_behalf_of"]]
        for recipient in one["recipients"]:
            people += [recipient["address"], recipient["forwarded_from"]]
        for person in people:
            if person in holder:
                expected[holder[person]].add(one["original_sha256"])
    assert len(expected) == 40
    distinct = len({one["original_sha256"] for one in truth})
    assert filled.run("search", "*", "--limit", "0")["total"] == distinct
    for person, digests in expected.items():
        found = filled.run("search", "*", "--user", person, "--limit", "0")
        assert found["total"] == len(digests), person


def test_counts_agree_and_everything_is_whole(filled: Product) -> None:
    now = filled.run("status")
    assert now["records"] == now["projected"] == COUNT
    assert now["messages"] == now["indexed"]
    assert now["agrees"] and now["backlog"] == 0 and now["unparsed"] == 0
    assert filled.verify()[0] == 0


def test_what_went_in_comes_out(filled: Product, reports: Path) -> None:
    truth = [json.loads(line) for line in (reports / "truth.jsonl").read_text().splitlines()]
    one = next(one for one in truth if one["message_id"] and one["duplicate_of"] is None)
    message_id = one["message_id"].strip("<>")
    hits = filled.run("search", f'id:"{message_id}"')["hits"]
    assert len(hits) == 1
    report = filled.attempt("export", hits[0]["id"], "--report").stdout
    assert report == (reports / one["file"]).read_bytes()
    original = filled.attempt("export", hits[0]["id"]).stdout
    assert original in report


@pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not installed")
def test_swaks_gets_a_record_id_that_finds_the_message(filled: Product) -> None:
    done = subprocess.run(
        [
            *("swaks", "--server", f"127.0.0.1:{filled.smtp}", "--from", "a@b.example", "--to", JOURNAL),
            *("--header", "Subject: by swaks", "--body", "swaksword"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    found = re.search(r"250 2\.0\.0 ([0-9a-f]{32}) archived", done.stdout)
    assert found is not None, done.stdout
    filled.run("wait-idle", "--timeout", "60")
    assert filled.run("search", "swaksword")["total"] == 1
    assert b"swaksword" in filled.attempt("export", found[1]).stdout


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _by_smtplib_with_tls(port: int, mails: list[bytes]) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.starttls(context=_tls())
        for mail in mails:
            client.sendmail("", [JOURNAL], mail)


def _by_bdat_pipelined(port: int, mails: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection, connection.makefile("rb") as replies:
        _replies(replies, 1)
        connection.sendall(b"EHLO test.example\r\n")
        _replies(replies, 1)
        for mail in mails:
            half = len(mail) // 2
            connection.sendall(
                b"MAIL FROM:<> BODY=8BITMIME\r\nRCPT TO:<" + JOURNAL.encode() + b">\r\n"
                + b"BDAT %d\r\n" % half + mail[:half] + b"BDAT %d LAST\r\n" % (len(mail) - half) + mail[half:]
            )  # fmt: skip
            assert [line[:3] for line in _replies(replies, 4)] == [b"250"] * 4
        connection.sendall(b"QUIT\r\n")


def _by_data_pipelined(port: int, mails: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection, connection.makefile("rb") as replies:
        _replies(replies, 1)
        connection.sendall(b"EHLO test.example\r\n")
        _replies(replies, 1)
        for mail in mails:
            connection.sendall(b"MAIL FROM:<>\r\nRCPT TO:<" + JOURNAL.encode() + b">\r\nDATA\r\n")
            assert [line[:3] for line in _replies(replies, 3)] == [b"250", b"250", b"354"]
            stuffed = re.sub(rb"(?m)^\.", b"..", mail)
            connection.sendall(stuffed + (b"" if stuffed.endswith(b"\r\n") else b"\r\n") + b".\r\n")
            assert _replies(replies, 1)[0][:3] == b"250"
        connection.sendall(b"QUIT\r\n")


def _replies(replies, count: int) -> list[bytes]:  # type: ignore[no-untyped-def]
    """The last line of each of ``count`` replies."""
    found = []
    while len(found) < count:
        line = replies.readline()
        assert line, "the gateway hung up"
        if line[3:4] != b"-":
            found.append(line)
    return found
