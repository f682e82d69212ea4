"""Delivering by the child process: to real servers with TLS, and a sentence for each way in which they fail."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import UnavailableError, UsageError
from appliance.services.notifying import delivery
from appliance.services.notifying.delivery import SIGNATURE, TIMESTAMP, Hook, Mail, check_url, deliver, signed
from tests.ports import free_port
from tests.unit.services.notifying.servers import PASSWORD, USER, Hooks, MailServer, Tls, hooks, silent

MESSAGE = b"From: archive@archive.test\r\nTo: it@archive.test\r\nSubject: Hello\r\n\r\nWords\r\n.\r\nafter a dot\r\n"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusted(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> Tls:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.file))
    return tls


@pytest.fixture
def hook(trusted: Tls) -> Iterator[Hooks]:
    with hooks(trusted) as made:
        yield made


def mail(port: int, **changes: Any) -> Mail:
    given: dict[str, Any] = {
        "host": "localhost", "port": port, "security": "starttls", "user": USER, "password": PASSWORD,
        "sender": "archive@archive.test", "recipients": ("it@archive.test", "boss@archive.test"), "message": MESSAGE,
    }  # fmt: skip
    return Mail(**{**given, **changes})


@pytest.mark.parametrize("starttls", [True, False])
def test_mail_goes_out_over_tls_and_signed_in(trusted: Tls, starttls: bool) -> None:
    with MailServer(trusted, starttls=starttls) as server:
        assert deliver(mail(server.port, security="starttls" if starttls else "tls")) == ""
        assert server.signed_in == [USER]
        (got,) = server.received
        assert got["Subject"] == "Hello" and got.get_content().splitlines() == ["Words", ".", "after a dot"]


def test_a_recipient_that_is_not_known_keeps_nobody_else_from_being_told(trusted: Tls) -> None:
    with MailServer(trusted) as server:
        server.refuse = {"boss@archive.test"}
        assert deliver(mail(server.port)) == "Refused for boss@archive.test."
        assert len(server.received) == 1
        server.refuse.add("it@archive.test")
        with pytest.raises(UnavailableError, match=r"none of the recipients .550 5.1.1 no such person"):
            deliver(mail(server.port))


def test_a_wrong_password_a_refusal_and_a_server_without_tls_are_said_so(trusted: Tls) -> None:
    with MailServer(trusted) as server:
        with pytest.raises(UnavailableError, match="does not accept the user name or the password"):
            deliver(mail(server.port, password="wrong"))
        server.answer = "552 Quota exceeded"
        with pytest.raises(UnavailableError, match="refused the mail: 552 Quota exceeded"):
            deliver(mail(server.port))
    with MailServer(None, sign_in=False) as server:
        with pytest.raises(UnavailableError, match=r"does not offer what is needed .STARTTLS"):
            deliver(mail(server.port, user=""))
        assert not server.received
        assert deliver(mail(server.port, user="", security="none")) == ""


def test_a_certificate_that_nobody_vouches_for_gets_no_password(tls: Tls) -> None:
    with MailServer(tls) as server:
        with pytest.raises(UnavailableError, match=r"certificate of localhost:.* is not to be trusted"):
            deliver(mail(server.port))
        assert not server.signed_in
    with hooks(tls) as told:
        with pytest.raises(UnavailableError, match="certificate of localhost is not to be trusted"):
            deliver(Hook(told.url, {}, b"{}"))
        assert not told.calls


def test_a_server_that_is_down_or_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnavailableError, match=r"cannot be reached .*refused"):
        deliver(mail(free_port()))
    monkeypatch.setattr(delivery, "SECONDS", 2.0)
    with silent() as port, pytest.raises(UnavailableError, match="did not answer within 2 seconds"):
        deliver(mail(port))


def test_a_webhook_can_check_who_calls_and_when(hook: Hooks) -> None:
    body = b'{"event":"test"}'
    assert deliver(Hook(hook.url, signed("s" * 32, 1_795_435_200, body), body)) == ""
    ((path, headers, got),) = hook.calls
    assert (path, got, headers["Content-Type"]) == ("/hook?token=very-secret", body, "application/json")
    wanted = hmac.new(b"s" * 32, headers[TIMESTAMP].encode() + b"." + got, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE] == f"sha256={wanted}"


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_webhook_that_does_not_take_it_is_said_so_without_its_secret(hook: Hooks, status: int) -> None:
    hook.status = status
    with pytest.raises(UnavailableError, match=f"localhost answered {status}") as told:
        deliver(Hook(hook.url, {}, b"{}"))
    assert "very-secret" not in told.value.message
    assert len(hook.calls) == 1, "a redirection is not followed"


@pytest.mark.parametrize(
    "url",
    ["http://hooks.example.com/", "ftp://example.com/", "https://", "https://user:word@example.com/", "https://a b/",
     "https://example.com:99999/", "file:///etc/passwd"],
)  # fmt: skip
def test_a_webhook_is_told_over_https_only(url: str) -> None:
    with pytest.raises(UsageError):
        check_url(url)
    assert check_url("http://127.0.0.1:8080/hook")


def test_the_child_is_told_nothing_else_and_opens_no_file(tmp_path: Path) -> None:
    """What it could give away if it were taken over: nothing of the archive, nothing of its parent."""
    assert "CREDENTIALS_DIRECTORY" not in delivery._HANDED_ON and "MAILKEEP_LIVE" not in delivery._HANDED_ON
    secret = tmp_path / "keyring.json"
    secret.write_text("secret")
    code = f"import appliance.services.notifying.courier as c; print(c._confine()); open({str(secret)!r})"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    in_force = done.stdout.strip() == "True"
    assert in_force == ("PermissionError" in done.stderr), done
    assert in_force or "False" in done.stdout
