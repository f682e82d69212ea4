"""One archive for the tests of a module and, where one asks for it, an authority and what answers its challenges."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from appliance.services import api
from appliance.services.certificates import prepare
from tests.acme_authority import Authority, authority
from tests.ports import free_port
from tests.scratch import BOX, ScratchArchive

HOST = "box.test"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchArchive]:
    """An archive whose host name is ``HOST``, with the certificate that a first start makes."""
    archive = ScratchArchive(tmp_path_factory.mktemp("archive"))
    prepare(archive.paths, HOST)
    yield archive
    archive.close()


@pytest.fixture
def archive(made: ScratchArchive) -> ScratchArchive:
    """The archive with a self-signed certificate, whatever the test before did."""
    made.dispatcher.certificates.self_signed(BOX)
    return made


@pytest.fixture(scope="module")
def port_80(made: ScratchArchive) -> Iterator[int]:
    """The port of the process that sends browsers to HTTPS, confined as it is in the product."""
    port = free_port()
    command = [sys.executable, "-m", "webadmin", "--data", str(made.paths.data)]
    child = subprocess.Popen(
        [*command, "--http", f"127.0.0.1:{port}", "--redirect-to", "443"], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "ready"
    yield port
    child.terminate()
    child.wait(10)
    child.stdout.close()


@pytest.fixture(scope="module")
def pebble_running(tmp_path_factory: pytest.TempPathFactory, port_80: int) -> Iterator[Authority]:
    """An authority that finds the archive at every name."""
    with authority(tmp_path_factory.mktemp("pebble") / "authority", port_80) as running:
        yield running


@pytest.fixture
def pebble(pebble_running: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The same, known to this machine."""
    monkeypatch.setenv("SSL_CERT_FILE", str(pebble_running.trusted))
    return pebble_running


def finished(archive: ScratchArchive, job: api.JobInfo) -> api.JobInfo:
    """The job when it is over."""
    deadline = time.monotonic() + 90
    while job.finished_at is None:
        assert time.monotonic() < deadline, job
        time.sleep(0.05)
        job = archive.dispatcher.jobs.get(BOX, id=job.id)
    return job
