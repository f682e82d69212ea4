"""What an administrator would try on the first day, through SMTP and the command line only.

One archive, one ``serve`` for the whole module.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from tests.product import JOURNAL, Product

pytestmark = pytest.mark.integration

REPORTS = 300
USERS = 15


class Recipient(msgspec.Struct):
    """A recipient as journalgen.py writes it into the answers."""

    address: str
    forwarded_from: str | None = None


class Truth(msgspec.Struct):
    """What a reader must find in a report."""

    original_sha256: str
    sender: str
    on_behalf_of: str | None
    recipients: list[Recipient]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory, tools: Path, corpora: Path) -> Path:
    """Journal reports with their answers and the directory of users."""
    folder = tmp_path_factory.mktemp("generated")
    source = corpora / "list-mail-15k.tar.xz"
    words = [sys.executable, str(tools / "journalgen.py"), str(source), str(folder)]
    subprocess.run(
        [*words, "--count", str(REPORTS), "--seed", "11", "--users", str(USERS)], check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, generated: Path) -> Iterator[Product]:
    """The product with the users of the directory and all reports, sent by different clients at the same time."""
    product = Product.create(tmp_path_factory.mktemp("acceptance") / "data")
    imported = product.run("user", "import", str(generated / "users.csv"))
    assert imported["created"] == USERS and not imported["errors"]
    with product.serving():
        files = sorted(generated.glob("*.eml"))
        kinds = (
            _send_by_smtplib,
            _send_in_chunks,
            _send_pipelined,
            *([_send_by_swaks] if shutil.which("swaks") else []),
        )
        # swaks is a process a message, so it gets few.
        shares = [files[n : len(files) - 10 : 3] for n in range(3)] + [files[-10:]]
        if len(kinds) == 3:
            shares = [shares[0] + shares[3], shares[1], shares[2]]
        _at_once(product.smtp, zip(kinds, shares, strict=True))
        product.run("wait-idle", "--timeout", "120")
        yield product


def test_everybody_has_their_mail_and_nobody_a_message_too_many(product: Product, generated: Path) -> None:
    people = {}
    for row in csv.DictReader((generated / "users.csv").open(encoding="utf-8")):
        for address in (row["primary"], *filter(None, row["aliases"].split(";"))):
            people[address] = row["primary"]
    truth = [msgspec.json.decode(line, type=Truth) for line in (generated / "truth.jsonl").read_bytes().splitlines()]
    owned: dict[str, set[str]] = defaultdict(set)
    for one in truth:
        named = [one.sender, one.on_behalf_of]
        named += [address for who in one.recipients for address in (who.address, who.forwarded_from)]
        for address in named:
            if address in people:
                owned[people[address]].add(one.original_sha256)

    digests = _exported(product, "*")
    assert {digest for found in digests.values() for digest in found} == {one.original_sha256 for one in truth}

    for primary in sorted(set(people.values())):
        page = product.run("search", "*", "--user", primary, "--limit", "100000")
        assert len(page["hits"]) == page["total"]
        assert {digest for hit in page["hits"] for digest in digests[hit["id"]]} == owned[primary], primary


def test_a_page_may_be_of_any_size_and_pages_make_the_whole(product: Product) -> None:
    whole = product.run("search", "*", "--limit", "100000")
    pages = [product.run("search", "*", "--limit", "150", "--offset", str(at)) for at in range(0, whole["total"], 150)]
    assert [hit["id"] for page in pages for hit in page["hits"]] == [hit["id"] for hit in whole["hits"]]
    assert product.run("search", "*", "--limit", "0")["total"] == whole["total"] == len(whole["hits"])


def test_a_query_may_begin_with_a_minus(product: Product) -> None:
    every, with_word = (product.run("search", query)["total"] for query in ("*", "mtd"))
    assert 0 < with_word < every
    assert product.run("search", "-mtd", "--limit", "1")["total"] == every - with_word
    without, having = (product.run("search", query)["total"] for query in ("-has:attachment", "has:attachment"))
    assert without + having == every


@pytest.mark.parametrize(("query", "place"), [("(mtd", 1), ('mtd "nand', 5), ("mtd foo:bar", 5), ("after:someday", 7)])
def test_a_mistake_in_a_query_is_told_once_and_with_its_place(product: Product, query: str, place: int) -> None:
    done = product.attempt("search", query)
    said = done.stderr.decode()
    assert done.returncode == 1 and not done.stdout
    assert said.count(f"at character {place}") == 1 and "Traceback" not in said


def test_every_form_of_a_message_comes_out_again_bit_for_bit(product: Product, corpora: Path) -> None:
    # Line ends, trace headers and encodings differ between many of these: one message to a reader, several originals.
    contents = [file.read_bytes() for file in sorted((corpora / "eml").iterdir()) if file.is_file()]
    contents = [content for content in contents if len(content) < 50_000]
    with _Client(product.smtp) as client:
        for content in contents:
            client.chunked(content, len(content) or 1)
    product.run("wait-idle", "--timeout", "120")
    sent = {hashlib.sha256(content).hexdigest() for content in contents}
    digests = _exported(product, "*")
    assert sent <= {digest for found in digests.values() for digest in found}

    several = next(id for id, found in digests.items() if len(found) > 1 and set(found) <= sent)
    copies = product.run("show", several)["copies"]
    assert {copy["sha256"] for copy in copies} == set(digests[several])
    for copy in copies:
        done = product.attempt("export", copy["record"])
        assert hashlib.sha256(done.stdout).hexdigest() == copy["sha256"]


def test_the_report_itself_comes_out_as_it_was_received(product: Product, generated: Path) -> None:
    sent = {hashlib.sha256(file.read_bytes()).hexdigest() for file in generated.glob("*.eml")}
    for hit in product.run("search", "subject:mtd", "--limit", "3")["hits"]:
        done = product.attempt("export", hit["id"], "--report")
        assert done.returncode == 0 and hashlib.sha256(done.stdout).hexdigest() in sent


def test_a_mailbox_that_is_suspended_or_deleted_asks_to_be_tried_again(product: Product) -> None:
    for address in ("pause@archive.example", "gone@archive.example"):
        product.run("mailbox", "create", "--name", "One more", "--address", address)
    product.run("mailbox", "change", "pause@archive.example", "--state", "suspended")
    product.run("mailbox", "delete", "gone@archive.example")
    wanted = [450, 451, 250, 550]
    deadline = time.monotonic() + 10  # the workers look for new settings about once a second
    while (answers := _answers(product.smtp, "pause", "gone", "journal", "never-was")) != wanted:
        assert time.monotonic() < deadline, answers
        time.sleep(0.2)


def _answers(port: int, *names: str) -> list[int]:
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.ehlo()
        client.mail("exchange@example.com")
        return [client.rcpt(name + "@archive.example")[0] for name in names]


def _exported(product: Product, query: str) -> dict[str, list[str]]:
    """The SHA-256 of all originals of each message that a query finds, from the bytes in the ZIP."""
    out = product.data.with_name("export.zip")
    product.run("export", "--query", query, "--out", str(out))
    found: dict[str, list[str]] = defaultdict(list)
    with zipfile.ZipFile(out) as bundle:
        for line in csv.DictReader(io.StringIO(bundle.read("manifest.csv").decode())):
            assert not line["note"], line
            digest = hashlib.sha256(bundle.read(line["file"])).hexdigest()
            assert digest == line["sha256"]
            found[line["id"]].append(digest)
    return found


# -- clients --------------------------------------------------------------------------------------------------


class _Client:
    """SMTP by hand: chunks and pipelining, which smtplib does not do."""

    def __init__(self, port: int, *, tls: bool = False) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._read(1)
        self._say(b"EHLO client.example\r\n")
        if tls:
            self._say(b"STARTTLS\r\n")
            self._socket = _no_check().wrap_socket(self._socket)
            self._say(b"EHLO client.example\r\n")

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._say(b"QUIT\r\n")
        self._socket.close()

    def chunked(self, content: bytes, size: int) -> None:
        """A message by BDAT, all commands at once."""
        chunks = [content[at : at + size] for at in range(0, len(content), size)]
        parts = [b"BDAT %d\r\n%b" % (len(chunk), chunk) for chunk in chunks]
        self._say(_HEAD + b"".join(parts) + b"BDAT 0 LAST\r\n", 3 + len(parts))

    def pipelined(self, content: bytes) -> None:
        """A message by DATA, with the commands before and one after it in one write each."""
        self._say(_HEAD + b"DATA\r\n", 3)
        self._say(re.sub(rb"(?m)^\.", b"..", content) + b".\r\nNOOP\r\n", 2)

    def _say(self, line: bytes, replies: int = 1) -> None:
        self._socket.sendall(line)
        self._read(replies)

    def _read(self, replies: int) -> None:
        with self._socket.makefile("rb", buffering=0) as stream:
            while replies:
                line = _line(stream.read)
                assert line[:1] in b"23", line
                replies -= line[3:4] != b"-"


_HEAD = f"MAIL FROM:<>\r\nRCPT TO:<{JOURNAL}>\r\n".encode()


def _line(read: Callable[[int], bytes | None]) -> bytes:
    """One line, read octet by octet: nothing behind it is taken out of the socket."""
    line = b""
    while not line.endswith(b"\n"):
        octet = read(1)
        assert octet, f"closed after {line!r}"
        line += octet
    return line


def _no_check() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _send_by_smtplib(port: int, files: Sequence[Path]) -> None:
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.starttls(context=_no_check())
        for file in files:
            client.sendmail("", [JOURNAL], file.read_bytes(), mail_options=["BODY=8BITMIME"])


def _send_in_chunks(port: int, files: Sequence[Path]) -> None:
    with _Client(port, tls=True) as client:
        for number, file in enumerate(files):
            client.chunked(file.read_bytes(), (997, 8192, 65536)[number % 3])


def _send_pipelined(port: int, files: Sequence[Path]) -> None:
    with _Client(port) as client:
        for file in files:
            client.pipelined(file.read_bytes())


def _send_by_swaks(port: int, files: Sequence[Path]) -> None:
    words = ["swaks", "--server", f"127.0.0.1:{port}", "--helo", "client.example", "--from", "a@client.example"]
    words += ["--to", JOURNAL, "--pipeline", "--no-data-fixup"]  # else it rewrites what looks like its own marks
    for file in files:
        with tempfile.NamedTemporaryFile() as ready:
            ready.write(re.sub(rb"(?m)^\.", b"..", file.read_bytes()) + b".\r\n")
            ready.flush()
            subprocess.run([*words, "--data", f"@{ready.name}"], check=True, capture_output=True)


def _at_once(port: int, work: Iterable[tuple[Callable[[int, Sequence[Path]], None], Sequence[Path]]]) -> None:
    """Run all clients at the same time; what goes wrong in one is raised here."""
    wrong: list[BaseException] = []

    def run(send: Callable[[int, Sequence[Path]], None], files: Sequence[Path]) -> None:
        try:
            send(port, files)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=one) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]
