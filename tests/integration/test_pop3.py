"""Real programs pull real mail: everything, once, bit for bit, whatever dies meanwhile."""

from __future__ import annotations

import os
import poplib
import pwd
import re
import shutil
import signal
import smtplib
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from appliance.services import api
from tests.product import Product

pytestmark = pytest.mark.integration

PASSPHRASE = "a passphrase for tests"
COUNT = 60
SECONDS = 240


class Box(NamedTuple):
    """A mailbox and what was sent to it."""

    id: str
    address: str
    password: str
    mails: list[bytes]


class Puller(NamedTuple):
    """A program that pulls. ``pull`` returns all that it has after this run.

    mpop files what it gets; getmail and fetchmail fold header lines anew and drop some, so that of their mail only
    the number in it is compared (``same``).
    """

    name: str
    pull: Callable[[Product, Box, Path, bool], list[bytes]]


# -- the programs ------------------------------------------------------------------------------------------------


def getmail(product: Product, box: Box, folder: Path, delete: bool) -> list[bytes]:
    """getmail6 into a Maildir, as a user of its own: as root it files none itself.

    To a program it could deliver as root; but a program that ends before getmail looks for its end is never seen
    (getmail6 6.18, ForkingBase.forkchild).
    """
    maildir = _maildir(folder)
    (folder / "getmailrc").write_text(
        f"[retriever]\ntype = SimplePOP3SSLRetriever\nserver = 127.0.0.1\nport = {product.pop3s}\n"
        f"username = {box.address}\npassword = {box.password}\n[destination]\ntype = Maildir\npath = {maildir}/\n"
        f"[options]\nread_all = false\ndelete = {str(delete).lower()}\ndelivered_to = false\nreceived = false\n"
    )
    user = None
    if os.geteuid() == 0:
        user = pwd.getpwnam("nobody").pw_uid
        for one in (folder, *folder.rglob("*")):
            os.chown(one, user, user)
    _run("getmail", "--getmaildir", str(folder), "--rcfile", "getmailrc", user=user)
    return [file.read_bytes() for file in (maildir / "new").iterdir()]


def mpop(product: Product, box: Box, folder: Path, delete: bool) -> list[bytes]:
    """mpop into a Maildir."""
    maildir = _maildir(folder)
    configuration = folder / "mpoprc"
    configuration.write_text(
        f"account default\nhost 127.0.0.1\nport {product.pop3s}\nuser {box.address}\npassword {box.password}\n"
        f"tls on\ntls_starttls off\ntls_certcheck off\nkeep {'off' if delete else 'on'}\nreceived_header off\n"
        f"uidls_file {folder}/uidls\ndelivery maildir {maildir}\n"
    )
    configuration.chmod(0o600)
    _run("mpop", "--file", str(configuration))
    return [file.read_bytes() for file in (maildir / "new").iterdir()]


def fetchmail(product: Product, box: Box, folder: Path, delete: bool) -> list[bytes]:
    """fetchmail, each message to a program."""
    taker, mails = _taker(folder)
    configuration = folder / "fetchmailrc"
    configuration.write_text(
        f"set invisible\npoll 127.0.0.1 service {product.pop3s} protocol POP3 uidl no envelope bad-header accept\n"
        f'  username "{box.address}" password "{box.password}" is root here ssl no sslcertck\n'
        f'  {"nokeep" if delete else "keep"} no rewrite mda "{taker}"\n'
    )
    configuration.chmod(0o600)
    words = ["fetchmail", "-f", str(configuration), "-i", str(folder / "ids"), "--pidfile", str(folder / "pid"), "-N"]
    _run(*words, allowed=(0, 1))  # 1: no new mail
    return [file.read_bytes() for file in mails.iterdir()]


PULLERS = [Puller("getmail", getmail), Puller("mpop", mpop), Puller("fetchmail", fetchmail)]


# -- the product -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mails(corpora: Path) -> list[bytes]:
    """Real mail as it comes over SMTP, with CRLF, and some that is odd."""
    found = sorted((corpora / "eml").rglob("*.eml"), key=lambda file: (file.stat().st_size, file.name))
    real = [_crlf(file.read_bytes()) for file in found[:: max(len(found) // COUNT, 1)][:COUNT]]
    real = [mail for mail in real if mail.strip() and not mail.startswith(b"From ")]
    odd = [
        b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n...\r\n",
        b"Subject: long\r\n\r\n" + b"x" * 990 + b"\r\n",
        b"X: y\r\n\r\n",
    ]
    large = b"Subject: large\r\n\r\n" + b".0123456789\r\n" * 200_000
    return [b"X-Number: %d\r\n%b" % (number, mail) for number, mail in enumerate((*real, *odd, large))]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that a program under another user reaches too."""
    folder = Path(tempfile.mkdtemp(prefix="mailkeep-pull-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product.create(tmp_path_factory.mktemp("product") / "data", passphrase=PASSPHRASE)
    product.pulls = True
    with product.serving():
        yield product


def box_with(product: Product, mails: list[bytes], *, sealed: bool = False, deletes: bool = False) -> Box:
    """A new mailbox that these were sent to."""
    address = f"b{time.monotonic_ns()}@archive.example"
    made = product.call(
        "mailbox_create", api.MailboxCreated, name="Pulled", address=address, sealed=sealed, delete_after_pull=deletes
    )
    with smtplib.SMTP("127.0.0.1", product.smtp) as client:
        client.ehlo()
        for mail in mails:
            client.mail("sender@example.org")
            client.rcpt(address)
            code, text = client.data(mail)
            assert code == 250, text
    return Box(made.mailbox.id, address, made.password, mails)


def session(product: Product, box: Box) -> poplib.POP3_SSL:
    """A session in the mailbox, as soon as a worker answers and nobody else is in it."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            client = poplib.POP3_SSL("127.0.0.1", product.pop3s, context=_context(), timeout=SECONDS)
            client.user(box.address)
            client.pass_(box.password)
            return client
        except (OSError, poplib.error_proto) as error:
            assert time.monotonic() < deadline, error
            assert "[AUTH]" not in str(error)
            time.sleep(0.2)


# -- pulling -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("puller", PULLERS, ids=lambda one: one.name)
@pytest.mark.parametrize("sealed", [False, True], ids=["ordinary", "sealed"])
def test_everything_is_pulled_once(
    product: Product, mails: list[bytes], place: Path, puller: Puller, sealed: bool
) -> None:
    box = box_with(product, mails, sealed=sealed)
    assert same(puller.pull(product, box, place, False), mails, exact=puller.name == "mpop")
    assert same(puller.pull(product, box, place, False), mails, exact=puller.name == "mpop")
    more = [b"X-Number: 9999\r\nSubject: later\r\n\r\nx\r\n"]
    _send(product, box, more)
    assert same(puller.pull(product, box, place, False), mails + more, exact=puller.name == "mpop")


@pytest.mark.parametrize("puller", PULLERS, ids=lambda one: one.name)
def test_what_was_pulled_is_deleted_where_the_mailbox_allows_it(
    product: Product, mails: list[bytes], place: Path, puller: Puller
) -> None:
    box = box_with(product, mails, sealed=True, deletes=True)
    assert same(puller.pull(product, box, place, True), mails, exact=puller.name == "mpop")
    client = session(product, box)
    assert client.stat() == (0, 0)
    client.quit()
    assert same(puller.pull(product, box, place / "again", True), [], exact=puller.name == "mpop")


def test_a_program_killed_in_the_middle_loses_and_deletes_nothing(
    product: Product, mails: list[bytes], place: Path
) -> None:
    box = box_with(product, mails, sealed=True, deletes=True)
    client = session(product, box)
    for number in range(1, 40):
        client.retr(number)
        client.dele(number)
    client.sock.shutdown(2)
    client.close()
    assert same(mpop(product, box, place, True), mails, exact=True)
    assert session(product, box).stat() == (0, 0)


def test_a_worker_killed_between_dele_and_quit_deletes_nothing(product: Product, mails: list[bytes]) -> None:
    box = box_with(product, mails, sealed=True, deletes=True)
    client = session(product, box)
    for number in range(1, 20):
        client.dele(number)
    for pid in product.pids("pop3"):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises((OSError, EOFError, poplib.error_proto)):
        client.quit()
    again = session(product, box)
    assert again.stat()[0] == len(mails)
    again.quit()


def test_an_archiver_killed_between_dele_and_quit_deletes_nothing_or_says_what(
    product: Product, mails: list[bytes]
) -> None:
    box = box_with(product, mails, sealed=True, deletes=True)
    client = session(product, box)
    names = [line.split()[1] for line in client.uidl()[1]]
    for number in range(1, 20):
        client.dele(number)
    archiver = product.await_part("archiver")
    os.kill(archiver, signal.SIGSTOP)
    os.kill(archiver, signal.SIGKILL)
    with pytest.raises(poplib.error_proto, match=r"\[SYS/TEMP\] Some deleted messages are not removed"):
        client.quit()
    again = session(product, box)
    assert [line.split()[1] for line in again.uidl()[1]] == names
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            again.dele(1)
            break
        except poplib.error_proto as error:  # the archiver is being started again
            assert "[SYS/TEMP]" in str(error) and time.monotonic() < deadline, error
            time.sleep(0.2)
    again.quit()
    assert session(product, box).stat()[0] == len(mails) - 1


def test_deleted_mail_stays_deleted_over_a_restart(product: Product, mails: list[bytes]) -> None:
    box = box_with(product, mails[:10], sealed=True, deletes=True)
    client = session(product, box)
    kept = client.uidl()[1][3:]
    for number in (1, 2, 3):
        client.dele(number)
    client.quit()
    product.kill()
    product.start()
    again = session(product, box)
    assert [line.split()[1] for line in again.uidl()[1]] == [line.split()[1] for line in kept]
    again.quit()


# -- keys --------------------------------------------------------------------------------------------------------


def test_a_locked_archive_is_pulled_from_and_not_deleted_from(
    product: Product, mails: list[bytes], place: Path
) -> None:
    ordinary = box_with(product, mails[:20])
    sealed = box_with(product, mails[:20], sealed=True, deletes=True)
    product.run("lock")
    try:
        assert same(getmail(product, ordinary, place / "ordinary", False), mails[:20])
        assert same(fetchmail(product, sealed, place / "sealed", False), mails[:20])
        client = session(product, sealed)
        with pytest.raises(poplib.error_proto, match=r"\[SYS/TEMP\] The archive is locked"):
            client.dele(1)
        client.quit()
    finally:
        unlocked = subprocess.run(
            [*product.command("unlock")[:3], "unlock", "--passphrase-stdin"], input=PASSPHRASE.encode() + b"\n",
            capture_output=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    assert unlocked.returncode == 0, unlocked.stderr.decode()
    assert same(mpop(product, sealed, place / "after", True), mails[:20], exact=True)


def test_a_changed_password_opens_and_the_old_one_does_not(product: Product, mails: list[bytes], place: Path) -> None:
    box = box_with(product, mails[:5])
    session(product, box).quit()
    changed = product.run("mailbox", "password", box.address)["password"]
    client = poplib.POP3_SSL("127.0.0.1", product.pop3s, context=_context())
    client.user(box.address)
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
        client.pass_(box.password)
    assert same(getmail(product, box._replace(password=changed), place, False), mails[:5])


def test_suspended_and_disabled(product: Product, mails: list[bytes]) -> None:
    box = box_with(product, mails[:5])
    product.call("mailbox_change", api.MailboxInfo, id=box.id, state="suspended")
    session(product, box).quit()
    product.call("mailbox_change", api.MailboxInfo, id=box.id, state="disabled")
    time.sleep(1.0)
    client = poplib.POP3_SSL("127.0.0.1", product.pop3s, context=_context())
    client.user(box.address)
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
        client.pass_(box.password)


# -- helpers -----------------------------------------------------------------------------------------------------


def same(pulled: list[bytes], sent: list[bytes], *, exact: bool = False) -> bool:
    """Whether these are the same messages, once each: by their number, or by all but their line ends."""
    key = _stored if exact else _number
    return sorted(map(key, pulled)) == sorted(map(key, sent))


def _stored(mail: bytes) -> bytes:
    return mail.replace(b"\r\n", b"\n").rstrip(b"\n")


def _number(mail: bytes) -> bytes:
    found = re.search(rb"^X-Number: (\d+)", mail, re.MULTILINE)
    assert found, mail[:300]
    return found[1]


def _crlf(mail: bytes) -> bytes:
    text = mail.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\0", b"").replace(b"\n", b"\r\n")
    return text if text.endswith(b"\r\n") else text + b"\r\n"


def _send(product: Product, box: Box, mails: list[bytes]) -> None:
    with smtplib.SMTP("127.0.0.1", product.smtp) as client:
        for mail in mails:
            client.sendmail("sender@example.org", [box.address], mail)


def _taker(folder: Path) -> tuple[Path, Path]:
    """A program that files a message from its standard input, and the folder that it files them in."""
    mails = folder / "mails"
    mails.mkdir(parents=True, exist_ok=True)
    taker = folder / "take"
    taker.write_text(f"#!/bin/sh\nexec cat > $(mktemp {mails}/XXXXXXXX)\n")
    taker.chmod(0o755)
    return taker, mails


def _maildir(folder: Path) -> Path:
    for name in ("cur", "new", "tmp"):
        (folder / "mail" / name).mkdir(parents=True, exist_ok=True)
    return folder / "mail"


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _run(*words: str, allowed: tuple[int, ...] = (0,), user: int | None = None) -> None:
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run(
        words, capture_output=True, timeout=SECONDS, check=False, user=user, group=user,
        extra_groups=None if user is None else [],
    )  # fmt: skip
    assert done.returncode in allowed, done.stdout.decode("utf-8", "replace") + done.stderr.decode("utf-8", "replace")
