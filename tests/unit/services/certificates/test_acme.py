"""A certificate of an authority: got over HTTP-01 from a real ACME server, renewed in time, failures told in words."""

from __future__ import annotations

import socket
import ssl
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cryptography import x509

from appliance.errors import UsageError
from appliance.services.certificates import stored
from appliance.services.certificates.managing import FIRST_PAUSE
from appliance.services.certificates.pair import is_self_signed, names_of
from tests.acme_authority import Authority, authority
from tests.ports import free_port
from tests.scratch import BOX, ScratchArchive
from tests.unit.services.certificates.conftest import HOST, finished

DAY = 24 * 3600.0


def order(archive: ScratchArchive, directory: str, **named: object) -> str:
    """Ask for a certificate and wait; what the job says."""
    job = archive.dispatcher.certificates.acme(BOX, contact="it@box.test", agree=True, directory=directory, **named)  # type: ignore[arg-type]
    job = finished(archive, job)
    return job.state + ": " + job.message


def served(port: int, path: str) -> tuple[int, bytes]:
    """What port 80 answers, redirects not followed."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    try:
        with urllib.request.build_opener(Stay).open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_certificate_comes_from_the_authority_and_is_in_use(archive: ScratchArchive, pebble: Authority) -> None:
    before = stored.load(archive.paths.tls)
    assert order(archive, pebble.directory).startswith("done")
    now = archive.dispatcher.certificates.get(BOX)
    assert (now.source, now.names, now.host_name) == ("acme", (HOST,), HOST)
    assert now.acme is not None
    assert (now.acme.directory, now.acme.contact, now.acme.problem) == (pebble.directory, "it@box.test", "")
    assert now.chain == 2
    made = stored.load(archive.paths.tls)
    made.chain[-1].verify_directly_issued_by(pebble.root())
    assert made.key_pem() != before.key_pem()
    assert (
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            archive.paths.tls / "certificate.pem", archive.paths.tls / "key.pem"
        )
        is None
    )
    assert list(archive.paths.challenges.iterdir()) == []


def test_who_gave_the_certificate_and_how_is_known_after_a_rebuild_of_the_settings(
    archive: ScratchArchive, pebble: Authority
) -> None:
    assert order(archive, pebble.directory, names=("mail.box.test", HOST)).startswith("done")
    put = archive.archive.settings.certificate()
    archive.close()
    archive.paths.settings.unlink()
    archive.open()
    assert archive.archive.settings.certificate() == put
    assert put.account.startswith("-----BEGIN PRIVATE KEY")
    assert put.terms
    assert put.account not in repr(put)


def test_it_is_renewed_when_a_third_of_its_time_is_left_and_not_before(
    archive: ScratchArchive, pebble: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert order(archive, pebble.directory).startswith("done")
    first = stored.load(archive.paths.tls).certificate
    certificates = archive.dispatcher.certificates
    certificates.round()
    assert stored.load(archive.paths.tls).certificate == first
    life = first.not_valid_after_utc - first.not_valid_before_utc
    ahead = min(life.total_seconds() / 3, 30 * DAY) - 3600
    monkeypatch.setattr(archive.archive, "clock", lambda: first.not_valid_after_utc.timestamp() - ahead)
    monkeypatch.setattr("appliance.services.certificates.pair.require_usable", lambda *_: None)  # of the real time
    certificates.round()
    assert stored.load(archive.paths.tls).certificate.serial_number != first.serial_number


def test_an_authority_that_cannot_reach_port_80_is_told_of_and_asked_again_later(
    archive: ScratchArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (archive.paths.tls / "certificate.pem").read_bytes()
    with authority(tmp_path / "authority", free_port()) as pebble:
        monkeypatch.setenv("SSL_CERT_FILE", str(pebble.trusted))
        told = order(archive, pebble.directory)
    assert told.startswith("failed: The authority could not see that box.test is this machine")
    assert "port 80" in told
    assert (archive.paths.tls / "certificate.pem").read_bytes() == before
    assert archive.archive.settings.certificate().source == "self-signed"
    assert list(archive.paths.challenges.iterdir()) == []


def test_a_renewal_that_fails_waits_longer_each_time_and_keeps_the_old_one(
    archive: ScratchArchive, pebble: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert order(archive, pebble.directory).startswith("done")
    first = stored.load(archive.paths.tls).certificate
    monkeypatch.delenv("SSL_CERT_FILE")  # from now on nobody knows the authority's own certificate
    now = [first.not_valid_after_utc.timestamp() - DAY]
    monkeypatch.setattr(archive.archive, "clock", lambda: now[0])
    certificates = archive.dispatcher.certificates
    tries: list[int] = []
    for _ in range(3):
        certificates.round()
        state = certificates.get(BOX).acme
        assert state is not None
        assert "cannot be reached" in state.problem
        assert state.next_try is not None
        tries.append(state.next_try - int(now[0]))
        now[0] = state.next_try + 1
    assert tries == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert stored.load(archive.paths.tls).certificate == first


def test_terms_have_to_be_agreed_to(archive: ScratchArchive, pebble: Authority) -> None:
    certificates = archive.dispatcher.certificates
    assert certificates.terms(BOX, directory=pebble.directory).startswith("data:text/plain")
    with pytest.raises(UsageError, match="terms"):
        certificates.acme(BOX, contact="", agree=False, directory=pebble.directory)


def test_an_authority_with_accounts_of_its_own_is_told_of(
    archive: ScratchArchive, tmp_path: Path, port_80: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with authority(tmp_path / "authority", port_80, account_needed=True) as pebble:
        monkeypatch.setenv("SSL_CERT_FILE", str(pebble.trusted))
        assert "accounts that were made on its own pages" in order(archive, pebble.directory)


def test_an_authority_whose_own_certificate_nobody_knows_is_not_believed(
    archive: ScratchArchive, pebble: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "its own certificate is not known here" in order(archive, pebble.directory)


def test_an_order_can_be_stopped(archive: ScratchArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    """By somebody who waits for an authority that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        directory = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        job = archive.dispatcher.certificates.acme(BOX, contact="", agree=True, directory=directory)
        threading.Timer(1.0, lambda: archive.dispatcher.jobs.stop(BOX, id=job.id)).start()
        assert finished(archive, job).state in ("stopped", "failed")


def test_port_80_gives_out_challenges_and_nothing_else(archive: ScratchArchive, port_80: int) -> None:
    well_known = "/.well-known/acme-challenge/"
    (archive.paths.challenges / "token_of-an-order").write_text("token.thumbprint")
    assert served(port_80, f"{well_known}token_of-an-order") == (200, b"token.thumbprint")
    for path in ("another", "", "../../keyring.json", "..%2f..%2fkeyring.json", "%2e%2e/local/secret", "a/b"):
        assert served(port_80, well_known + path)[0] == 308, path
    (archive.paths.challenges / "link").symlink_to(archive.paths.keyring)
    assert served(port_80, f"{well_known}link")[0] == 308


def test_names_that_no_authority_takes_are_refused_before_anybody_is_asked(archive: ScratchArchive) -> None:
    with pytest.raises(UsageError):
        archive.dispatcher.certificates.acme(BOX, contact="", agree=True, names=("192.0.2.1",))
    with pytest.raises(UsageError, match="https"):
        archive.dispatcher.certificates.acme(BOX, contact="", agree=True, directory="http://authority.test/")


def test_a_self_signed_one_is_made_anew_when_the_host_gets_another_name(archive: ScratchArchive) -> None:
    archive.dispatcher.certificates.round()
    before = stored.load(archive.paths.tls).certificate
    assert names_of(before) == (HOST,)
    archive.dispatcher._local["gateway_set"](BOX, params={"hostname": "new.box.test"})
    archive.dispatcher.certificates.round()
    after: x509.Certificate = stored.load(archive.paths.tls).certificate
    archive.dispatcher._local["gateway_set"](BOX, params={"hostname": HOST})
    assert names_of(after) == ("new.box.test",)
    assert is_self_signed(after)
