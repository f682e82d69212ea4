"""The disk fails or is full: senders are put off, nothing confirmed is touched, and when it is healed mail flows."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import MailkeepError
from tests.faults.disks import fill, tmpfs
from tests.faults.load import Load
from tests.faults.proof import await_idle, everything_holds
from tests.product import Product

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

RESERVE = 256 << 20
"""What the gateway leaves free for the archiver and the projector (appliance.store.writer)."""


@contextlib.contextmanager
def failing_syncs(pids: list[int], log: Path) -> Iterator[None]:
    """Every fdatasync of these processes gives EIO, as a dying disk does."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", log, "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO",
         *(word for pid in pids for word in ("-p", str(pid)))],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not all(_is_traced(pid) for pid in pids):
            if tracer.poll() is not None:
                assert tracer.stderr is not None
                pytest.skip(f"strace may not trace here: {tracer.stderr.read().decode()}")
            assert time.monotonic() < deadline, "strace does not attach"
            time.sleep(0.02)
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(30)


def _is_traced(pid: int) -> bool:
    threads = [task / "status" for task in Path(f"/proc/{pid}/task").iterdir()]
    return all("TracerPid:\t0\n" not in thread.read_text() for thread in threads)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_failing_fdatasync_defers_mail_and_mail_flows_again_when_it_is_healed(
    product: Product, tmp_path: Path
) -> None:
    product.start()
    load = Load(product.smtp, "sync")
    with load.sending():
        load.await_confirmed(20)
        with failing_syncs(product.pids("gateway"), tmp_path / "gateway.strace"):
            load.await_reply("451 4.3.0", times=20)  # what was synced before has been confirmed by then
            held = len(load.confirmed)
            time.sleep(0.5)
            assert len(load.confirmed) == held, "confirmed in spite of a failing sync"
        load.await_confirmed(20)
    assert set(load.replies) == {"451 4.3.0"}
    with failing_syncs(product.pids("archiver"), tmp_path / "archiver.strace"), pytest.raises(MailkeepError):
        product.total("*")  # a look that cannot be written to the audit trail is refused
    everything_holds(product, load.ledger())


@pytest.mark.usefixtures("as_root")
def test_a_full_disk_defers_mail_and_mail_flows_again_when_there_is_room(template: Product, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", 400) as disk:
        product = template.copy(disk / "data")
        product.log = tmp_path / "serve.log"
        try:
            product.start()
            before = product.processes()
            load = Load(product.smtp, "full")
            with load.sending():
                load.await_confirmed(20)
                filler = fill(disk, leave=RESERVE - (1 << 20))
                load.await_reply("452 4.3.1")
                await_idle(product)  # what had been confirmed becomes searchable on the reserve
                filler.unlink()
                load.await_confirmed(20)
            everything_holds(product, load.ledger())
            assert set(load.replies) == {"452 4.3.1"}
            still = product.processes()
            assert all(still[part] == before[part] for part in ("archiver", "projector", "gateway 0"))
        finally:
            product.kill()


@pytest.mark.usefixtures("as_root")
def test_archiver_and_projector_outlive_a_disk_with_no_byte_left(template: Product, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", 400) as disk:
        product = template.copy(disk / "data")
        product.log = tmp_path / "serve.log"
        try:
            product.start()
            before = product.processes()
            os.kill(product.pids("projector")[0], signal.SIGSTOP)
            load = Load(product.smtp, "brim")
            with load.sending():
                load.await_confirmed(100)
                filler = fill(disk)
                os.kill(product.pids("projector")[0], signal.SIGCONT)
                load.await_reply("452 4.3.1")
                time.sleep(3)  # the projector meets the full disk
                assert any("full" in alarm.text for alarm in product.status().alarms)
                with pytest.raises(MailkeepError):
                    product.total("*")
                filler.unlink()
                load.await_confirmed(20)
            everything_holds(product, load.ledger())
            still = product.processes()
            assert all(still[part] == before[part] for part in ("archiver", "projector", "gateway 0")), (
                product.log_end()
            )
        finally:
            product.kill()
