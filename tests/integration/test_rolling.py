"""Closing all volumes of a running archive: confined gateway workers and the archiver follow, locked or not."""

from __future__ import annotations

import os
import signal
import smtplib
import time
from pathlib import Path

import pytest

from appliance.cloud.rolling import growing, roll_and_wait
from appliance.errors import UnavailableError
from tests.product import JOURNAL, Product
from tests.scratch import mail

pytestmark = pytest.mark.integration

PASSPHRASE = "correct horse battery staple"


def test_all_writers_of_a_running_archive_close_their_volumes(tmp_path: Path) -> None:
    product = Product.create(tmp_path / "data", passphrase=PASSPHRASE)
    volumes = product.data / "volumes"
    with product.serving():
        for number in range(12):  # new connections, so that every worker gets some
            send(product, f"Number {number}")
        product.total("number")  # which the archiver writes into the audit trail
        writers = {writer_of(path) for path in growing(volumes)}
        assert "a0" in writers
        assert len(writers) > 1
        roll(product)
        assert growing(volumes) == []
        product.run("lock")
        send(product, "Received while locked")
        assert growing(volumes)
        roll(product)
        assert growing(volumes) == []
        send(product, "Received while a worker is gone")
        (path,) = growing(volumes)
        (worker,) = product.pids(f"gateway {writer_of(path).removeprefix('g')}")
        os.kill(worker, signal.SIGSTOP)
        try:
            with pytest.raises(UnavailableError, match=path):
                roll_and_wait(product.data, now=time.time_ns() // 1000, seconds=0.5)
        finally:
            os.kill(worker, signal.SIGKILL)
        roll(product)
        assert path not in growing(volumes)


def roll(product: Product) -> None:
    roll_and_wait(product.data, now=time.time_ns() // 1000)


def writer_of(volume: str) -> str:
    return volume.rpartition("/")[2].partition("-")[0]


def send(product: Product, subject: str) -> None:
    with smtplib.SMTP("127.0.0.1", product.smtp, timeout=30) as client:
        client.sendmail("journal@example.com", [JOURNAL], mail(subject))
