"""Where a remote's secrets are not: command lines, environments, files, logs, errors; and how rclone changes them."""

from __future__ import annotations

import base64
import http.client
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from appliance.cloud.rclone import Patience, Rclone
from appliance.cloud.remote import RemoteConfig
from appliance.errors import MailkeepError, RemoteDeniedError
from tests.remotes import local_target, s3_target, sftp_target, webdav_target

QUICK = Patience(1, ())


@pytest.fixture
def rclone(tmp_path: Path) -> Iterator[Rclone]:
    rclone = Rclone(tmp_path / "run", patience=QUICK)
    yield rclone
    rclone.close()


def test_no_secret_leaves_the_memory(
    rclone: Rclone, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    source = tmp_path / "source"
    source.write_bytes(b"bytes")
    secret = "only-in-memory-4711-Qy"
    told: list[str] = []
    for start, key in ((s3_target, "secret_access_key"), (webdav_target, "pass"), (sftp_target, "pass")):
        with start(tmp_path) as target:
            for value in (None, secret):
                options = target.config.options if value is None else {**target.config.options, key: value}
                remote = rclone.remote(target.named(f"{target.config.name}-x", options=options))
                try:
                    remote.put(source, "objects/00/x")
                    assert value is None
                except MailkeepError as error:
                    told += [str(error), repr(error.__cause__)]
            secrets = [secret.encode(), target.config.options[key].encode()]
            for pid in rclone.pids():
                seen = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
                assert not any(one in seen for one in secrets)
            for path in (tmp_path / "run").rglob("*"):
                if path.is_file():
                    assert not any(one in path.read_bytes() for one in secrets), path
            written = caplog.text + "".join(told) + "".join(capfd.readouterr())
            assert not any(one.decode() in written for one in secrets)
    assert told


def test_a_secret_in_an_address_is_taken_out_of_errors(rclone: Rclone) -> None:
    sas = "://not-an-address/box?sv=2024&sig=verysecretsignature%2B1"
    remote = rclone.remote(RemoteConfig("azure", "azureblob", {"sas_url": sas}, path="box"))
    with pytest.raises(MailkeepError) as raised:
        remote.list()
    said = str(raised.value) + repr(raised.value.__cause__)
    assert "scheme" in said, "rclone shows the address in this error"
    assert "verysecretsignature" not in said


def test_the_socket_answers_nobody_without_the_password(rclone: Rclone, tmp_path: Path) -> None:
    with local_target(tmp_path) as target:
        rclone.remote(target.config).list()
    assert (tmp_path / "run").stat().st_mode & 0o077 == 0
    (door,) = (tmp_path / "run").glob("*.sock")
    hashed = (tmp_path / "run" / door.with_suffix(".auth").name).read_text()
    guess = base64.b64encode(hashed.strip().encode()).decode()
    for headers in ({}, {"Authorization": f"Basic {guess}"}):
        for path in ("config/dump", "operations/list", "core/command"):
            connection = http.client.HTTPConnection("rclone")
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(door))
            connection.request("POST", f"/{path}", b"{}", headers)
            assert connection.getresponse().status == 401
            connection.close()


def test_what_was_closed_is_forgotten(rclone: Rclone, tmp_path: Path) -> None:
    with webdav_target(tmp_path) as target:
        first, second = rclone.remote(target.config), rclone.remote(target.config)
        first.list()
        first.close()
        second.list()
        section, daemon = second._section, second._section.daemon
        assert daemon.knows(section.name)
        second.close()
        assert b"[]" in daemon.call("config/listremotes", {}) or b"null" in daemon.call("config/listremotes", {})


def test_a_new_server_behind_the_same_name_is_refused(rclone: Rclone, tmp_path: Path) -> None:
    """RFC 4251 section 4.1: the host key is remembered at the first connection."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    with sftp_target(tmp_path / "one") as target:
        remote = rclone.remote(target.config)
        remote.list()
        pinned = rclone.tokens()["sftp"]
        assert set(pinned) == {"host_keys"}
        options = {**target.config.options, **pinned}
        again = rclone.remote(target.named("again", options=options))
        assert not again.list()
    with sftp_target(tmp_path / "two") as other:
        moved = rclone.remote(other.named("moved", options={**options, "port": other.config.options["port"]}))
        with pytest.raises(RemoteDeniedError, match="host key"):
            moved.list()


class _Tokens(BaseHTTPRequestHandler):
    """A token endpoint (RFC 6749 section 6) that gives out one refreshed token after the other."""

    given = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).given += 1
        token = {"access_token": f"fresh-{self.given}", "refresh_token": f"next-{self.given}"}
        body = json.dumps({**token, "token_type": "Bearer", "expires_in": 3600}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_given: object) -> None:
        pass


def test_a_refreshed_token_is_told_and_survives_the_child(
    rclone: Rclone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")  # what is not the token endpoint is not to be reached
    with ThreadingHTTPServer(("127.0.0.1", 0), _Tokens) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stale = {
            "access_token": "stale",
            "token_type": "Bearer",
            "refresh_token": "first",
            "expiry": "2020-01-01T00:00:00Z",
        }
        options = {
            "token": json.dumps(stale),
            "token_url": f"http://127.0.0.1:{server.server_port}/token",
            "client_id": "client",
            "client_secret": "client-secret",
        }
        remote = rclone.remote(RemoteConfig("cloud", "dropbox", options, path="Backup"))
        assert not rclone.tokens()
        with pytest.raises(MailkeepError):
            remote.list()
        first = json.loads(rclone.tokens()["cloud"]["token"])
        assert first["refresh_token"] == f"next-{_Tokens.given}"
        asked = _Tokens.given
        os.kill(rclone.pids()[0], signal.SIGKILL)
        with pytest.raises(MailkeepError):
            remote.list()
        with pytest.raises(MailkeepError):
            remote.list()
        assert _Tokens.given == asked, "the child that was started again has the token that is still good"
        assert json.loads(rclone.tokens()["cloud"]["token"]) == first
        server.shutdown()
