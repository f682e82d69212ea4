"""Certificate and key change together: whenever a write fails or the power goes, one whole pair is in use."""

from __future__ import annotations

import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from appliance.errors import DamageError, MailkeepError, NotFoundError, StorageError, UsageError
from appliance.files import Files
from appliance.keys.certificate import self_signed
from appliance.mail.published import TlsFiles
from appliance.services.certificates import facts, pair, prepare, stored
from appliance.services.certificates.pair import Pair, new_key
from appliance.services.paths import Paths
from gateway.tls import TlsKeeper
from tests.scratch import BOX, ScratchArchive
from tests.unit.services.certificates.conftest import HOST
from tests.unit.services.certificates.test_pair import Authority, pem

NAMES = ("create", "write", "sync", "rename", "sync_directory", "unlink")


class PowerCut(BaseException):
    """What comes after does not happen."""


class Cut(Files):
    """The operating system until the ``last``-th change; then the power goes, or the disk refuses."""

    def __init__(self, last: int, error: BaseException) -> None:
        self.left = last
        self.error = error

    def __getattribute__(self, name: str) -> object:
        found = super().__getattribute__(name)
        if name not in NAMES:
            return found

        def counted(*arguments: object, **named: object) -> object:
            if self.left == 0:
                raise self.error
            self.left -= 1
            return found(*arguments, **named)

        return counted


def made(name: str) -> Pair:
    key = new_key()
    return Pair((self_signed(key, (name,)),), key)


def in_use(tls: Path) -> str:
    """The name that the pair in use is for; the two files must be a pair."""
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls / "certificate.pem", tls / "key.pem")
    return pair.names_of(stored.load(tls).certificate)[0]


@pytest.mark.parametrize("error", [PowerCut(), OSError(5, "Input/output error")], ids=["power", "disk"])
def test_wherever_it_breaks_off_one_whole_pair_is_in_use_after_the_next_start(
    tmp_path: Path, error: BaseException
) -> None:
    seen = set()
    for last in range(100):
        paths = Paths(tmp_path / str(last))
        prepare(paths, "before.example.com")
        cut = Cut(last, error)
        try:
            stored.store(paths.tls, made("after.example.com"), files=cut)
            whole = True
        except (PowerCut, StorageError):
            whole = False
        prepare(paths, "third.example.com")
        seen.add(in_use(paths.tls))
        assert sorted(one.name for one in paths.tls.iterdir() if one.suffix != ".new") == ["certificate.pem", "key.pem"]
        assert not (paths.tls / "pair.new").exists()
        if whole:
            break
    assert whole
    assert in_use(paths.tls) == "after.example.com"
    assert seen == {"before.example.com", "after.example.com"}


def test_a_start_that_breaks_off_while_it_finishes_is_finished_by_the_next(tmp_path: Path) -> None:
    for last in range(100):
        paths = Paths(tmp_path / str(last))
        prepare(paths, "before.example.com")
        after = made("after.example.com")
        (paths.tls / "pair.new").write_bytes(after.key_pem() + after.chain_pem())
        try:
            prepare(paths, "third.example.com", files=Cut(last, PowerCut()))
            whole = True
        except PowerCut:
            whole = False
        prepare(paths, "third.example.com")
        assert in_use(paths.tls) == "after.example.com"
        if whole:
            return
    raise AssertionError("it never came to an end")


def test_half_of_a_new_pair_is_thrown_away(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    prepare(paths, "before.example.com")
    (paths.tls / "pair.new").write_bytes(made("after.example.com").key_pem()[:100])
    prepare(paths, "before.example.com")
    assert in_use(paths.tls) == "before.example.com"
    assert not (paths.tls / "pair.new").exists()


def test_the_key_is_not_for_everybody(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    prepare(paths, HOST)
    stored.store(paths.tls, made(HOST))
    assert (paths.tls / "key.pem").stat().st_mode & 0o007 == 0
    assert paths.challenges.stat().st_mode & 0o007 == 0


def test_what_cannot_be_used_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="tls self-signed"):
        stored.load(tmp_path)
    prepare(Paths(tmp_path), HOST)
    (tmp_path / "tls" / "key.pem").write_bytes(made(HOST).key_pem())
    with pytest.raises(DamageError, match="together"):
        stored.load(tmp_path / "tls")


def test_the_gateway_takes_a_new_pair_without_a_restart_and_never_goes_without(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    prepare(paths, "before.example.com")
    now = [0.0]
    keeper = TlsKeeper(tmp_path, lambda: now[0])
    seen = [keeper.context(TlsFiles())]
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            now[0] += 10
            seen.append(keeper.context(TlsFiles()))

    thread = threading.Thread(target=look)
    thread.start()
    for number in range(5):
        stored.store(paths.tls, made(f"after{number}.example.com"))
        time.sleep(0.02)
    done.set()
    thread.join()
    assert None not in seen
    now[0] += 10
    last = keeper.context(TlsFiles())
    assert last is not None
    assert facts.read(paths.tls, "after4.example.com").problems == ()


def test_one_that_was_brought_is_in_use_and_known_as_such(archive: ScratchArchive) -> None:
    authority = Authority()
    key = new_key()
    today, days = datetime.now(UTC), timedelta(days=80)
    leaf = authority.issue(key, HOST, begin=today - days / 80, end=today + days)
    certificates = archive.dispatcher.certificates
    shown = certificates.own(BOX, content=(pem(leaf, authority.intermediate), pair.private_pem(key)))
    assert (shown.source, shown.names, shown.chain) == ("own", (HOST,), 2)
    assert in_use(archive.paths.tls) == HOST
    with pytest.raises(UsageError, match="brought from elsewhere"):
        certificates.renew(BOX)
    certificates.round()
    assert stored.load(archive.paths.tls).certificate == leaf  # nothing of somebody else's is renewed by itself
    shown = certificates.self_signed(BOX)
    assert shown.source == "self-signed"
    audit = archive.dispatcher._local["audit"](BOX, params={}).lines
    lines = [one.what for one in audit if one.action == "certificate.set"]
    assert lines[:2] == ["self-signed", f"own {HOST}"]


def test_who_is_no_administrator_may_neither_look_nor_change(archive: ScratchArchive) -> None:
    nobody = msgspec.structs.replace(BOX, roles=frozenset({"auditor"}))
    certificates = archive.dispatcher.certificates
    for call in (
        lambda: certificates.get(nobody),
        lambda: certificates.self_signed(nobody),
        lambda: certificates.own(nobody, content=()),
        lambda: certificates.renew(nobody),
        lambda: certificates.terms(nobody),
        lambda: certificates.acme(nobody, contact="", agree=True),
    ):
        with pytest.raises(MailkeepError, match="administrator"):
            call()
