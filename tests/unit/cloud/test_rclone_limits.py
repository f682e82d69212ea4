"""Object lock and bandwidth: what is asked of the service, and what is not more than was allowed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from appliance.cloud.rclone import Patience, Rclone
from appliance.cloud.remote import RemoteConfig
from appliance.errors import ForbiddenError
from tests.remotes import local_target

UNTIL = datetime(2031, 5, 6, 7, 8, 9, 500_000, tzinfo=UTC)


class _Bucket(BaseHTTPRequestHandler):
    """As much of S3 as one upload needs: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[str, tuple[bytes, dict[str, str]]]] = {}

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.objects[self.path.partition("?")[0]] = data, {key.lower(): value for key, value in self.headers.items()}
        self._answer(200, ETag=f'"{hashlib.md5(data).hexdigest()}"')

    def do_HEAD(self) -> None:
        if self.path not in self.objects:
            return self._answer(404)
        data, headers = self.objects[self.path]
        kept = {key: value for key, value in headers.items() if key.startswith("x-amz-meta-")}
        return self._answer(200, size=len(data), ETag=f'"{hashlib.md5(data).hexdigest()}"', **kept)

    def do_DELETE(self) -> None:
        """As a bucket with object lock refuses (API_DeleteObject, "Locked")."""
        words = b"Access Denied because object protected by object lock."
        self._answer(403, b"<Error><Code>AccessDenied</Code><Message>" + words + b"</Message></Error>")

    def _answer(self, status: int, body: bytes = b"", size: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("Content-Length", str(len(body) if size is None else size))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_given: object) -> None:
        pass


@pytest.fixture
def bucket() -> Iterator[RemoteConfig]:
    _Bucket.objects.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Bucket) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = {
            "endpoint": f"http://127.0.0.1:{server.server_port}",
            "access_key_id": "ACCESS",
            "secret_access_key": "secret-key",
        }
        yield RemoteConfig("locked", "s3", options, path="bucket/box", lock_days=30, lock_mode="COMPLIANCE")
        server.shutdown()


@pytest.fixture
def rclone(tmp_path: Path) -> Iterator[Rclone]:
    rclone = Rclone(tmp_path / "run", patience=Patience(1, ()))
    yield rclone
    rclone.close()


def test_an_object_is_uploaded_with_its_lock(rclone: Rclone, bucket: RemoteConfig, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"bytes to lock")
    remote = rclone.remote(bucket)
    remote.put(source, "objects/aa/x", lock_until=int(UNTIL.timestamp() * 1_000_000))
    data, headers = _Bucket.objects["/bucket/box/objects/aa/x"]
    assert data == b"bytes to lock"
    assert headers["x-amz-object-lock-mode"] == "COMPLIANCE"
    asked = datetime.fromisoformat(headers["x-amz-object-lock-retain-until-date"])
    assert asked >= UNTIL, "S3 counts whole seconds: rather one more than one too few"
    assert (asked - UNTIL).total_seconds() < 1
    assert "content-md5" in headers, "S3 takes no lock without a checksum"
    with pytest.raises(ForbiddenError, match="locked"):
        remote.delete("objects/aa/x")


def test_without_a_lock_none_is_asked_for(rclone: Rclone, bucket: RemoteConfig, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"bytes")
    rclone.remote(bucket).put(source, "objects/aa/y")
    _, headers = _Bucket.objects["/bucket/box/objects/aa/y"]
    assert not [name for name in headers if "lock" in name]


def test_each_remote_has_its_own_bandwidth(rclone: Rclone, tmp_path: Path) -> None:
    with local_target(tmp_path) as target:
        free = rclone.remote(target.named("free"))
        slow = rclone.remote(target.named("slow", bandwidth="512k:off"))
        day = rclone.remote(target.named("day", bandwidth="Mon-00:00,1M 23:59,1M"))
        for remote in (free, slow, day):
            remote.list()
        limits = [
            msgspec.json.decode(remote._section.daemon.call("core/bwlimit", {}))["rate"] for remote in (free, slow, day)
        ]
    assert limits == ["off", "512Ki:off", "1Mi"]
    assert len(rclone.pids()) == 3
