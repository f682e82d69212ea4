"""Replication by the whole product to real servers: what was confirmed is there, whatever dies on the way.

Each test reads the remote with an rclone of its own, and counts the messages in the volumes that the manifest names.
"""

from __future__ import annotations

import os
import signal
import smtplib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from appliance.cloud.manifests import ReplicaKeys, files_of, get_placed, newest
from appliance.cloud.rclone import Rclone
from appliance.cloud.remote import RemoteConfig
from appliance.ingest.system_log import SYSTEM_MAILBOX
from appliance.services import api
from appliance.services.paths import Paths
from appliance.services.service_key import keys_of
from appliance.services.unlock import Secret, unlock
from appliance.store.format import RecordType
from appliance.store.reader import LogReader, RecordRef
from tests.faults.proof import await_idle
from tests.leaks import Words
from tests.product import JOURNAL, Product
from tests.remotes import PASSWORD, SECRET_KEY, Target, local_target, s3_target, sftp_target, webdav_target

pytestmark = pytest.mark.integration

SECONDS = 90.0
PASSPHRASE = "a passphrase for these tests"
TEXT = "Kugelschreibermine"


def send(product: Product, count: int, *, size: int = 1000, subject: str = "Replicated") -> None:
    """So many messages, each confirmed."""
    noise = os.urandom(size // 2).hex()
    with smtplib.SMTP("127.0.0.1", product.smtp) as smtp:
        for number in range(count):
            body = f"Subject: {subject} {number}\r\n\r\n{TEXT} {number} {noise}\r\n"
            smtp.sendmail("a@sender.example", [JOURNAL], body.encode())


def add(product: Product, config: RemoteConfig, **settings: object) -> None:
    """Set a remote up in the running product."""
    product.call(
        "remote_add", api.RemoteInfo, name=config.name, type=config.type, path=config.path,
        options=dict(config.options), **settings,
    )  # fmt: skip


def add_by_command(product: Product, config: RemoteConfig, *words: str) -> None:
    """The same with the command line; what is secret comes from standard input."""
    options = [
        f"{key}={'-' if key in ('pass', 'secret_access_key') else value}" for key, value in config.options.items()
    ]
    secrets = [value for key, value in config.options.items() if key in ("pass", "secret_access_key")]
    product.run(
        "remote", "add", config.name, "--type", config.type, f"path={config.path}", *options, *words,
        said="".join(f"{one}\n" for one in secrets),
    )  # fmt: skip


def now(product: Product, *words: str) -> tuple[int, str]:
    """``replicate --now``: the exit code, and what it said."""
    done = product.attempt("replicate", "--now", *words)
    return done.returncode, done.stdout.decode() + done.stderr.decode()


def replicated(product: Product, *, wait: float = SECONDS) -> dict[str, api.RunInfo]:
    """What ``replicate --now`` does in the running product; how it ended, by remote."""
    runs = product.call("replicate_begin", tuple[api.RunInfo, ...])
    deadline = time.monotonic() + wait
    while any(one.ended_at is None for one in runs):
        assert time.monotonic() < deadline, runs
        time.sleep(0.1)
        runs = product.call("replica_runs", tuple[api.RunInfo, ...], ids=[one.id for one in runs])
    return {one.remote: one for one in runs}


def keys(product: Product) -> ReplicaKeys:
    return keys_of(unlock(Paths(product.data), Secret(passphrase=product.passphrase) if product.passphrase else None))


def messages_at(target: Target, held: ReplicaKeys, scratch: Path, name: str = "") -> int:
    """How many messages are in the volumes that the newest manifest names, each of them read back."""
    scratch.mkdir()
    with closing(Rclone(scratch / "run")) as rclone, closing(rclone.remote(target.named(name or "reader"))) as remote:
        volumes = scratch / "volumes"
        for path, placed in files_of(newest(remote, held), remote, held).items():
            local = scratch / path
            if not local.exists():
                local.parent.mkdir(parents=True, exist_ok=True)
                get_placed(remote, placed, local)
    reader = LogReader(volumes)
    return sum(
        isinstance(one, RecordRef) and one.type == RecordType.MESSAGE
        for volume in reader.volumes()
        if volume.mailbox != SYSTEM_MAILBOX
        for one in reader.scan(volume)
    )


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@contextmanager
def created(folder: Path, **how: str) -> Iterator[Product]:
    product = Product.create(folder / "data", **how)
    try:
        yield product
    finally:
        product.kill()


def test_everything_confirmed_is_there_when_the_command_returns(tmp_path: Path) -> None:
    with created(tmp_path) as product, s3_target(tmp_path / "remote") as target:
        with product.serving():
            add_by_command(product, target.config)
            assert product.run("remote", "test", "s3")["passed"]
            send(product, 30)
            code, said = now(product)
            assert code == 0, said
            assert messages_at(target, keys(product), tmp_path / "first") == 30
            send(product, 5)
            assert replicated(product)["s3"].state == "done"
            (listed,) = product.run("remote", "list")
            assert listed["replica"]["state"] == "current" and listed["replica"]["waiting"] == 0
            assert all(run["state"] == "done" for run in product.run("replicate", "--history"))
            assert not [one for one in product.status().alarms if "replica" in one.text]
        code, said = now(product)
        assert code == 0, f"with nothing served, in the command's own process: {said}"
        assert messages_at(target, keys(product), tmp_path / "second") == 35
        assert not Words({TEXT, JOURNAL}).found_below(target.folder)


@pytest.mark.parametrize("kind", [webdav_target, sftp_target])
def test_it_is_the_same_elsewhere(tmp_path: Path, kind: Callable[[Path], AbstractContextManager[Target]]) -> None:
    with created(tmp_path) as product, kind(tmp_path / "remote") as target, product.serving():
        add(product, target.config)
        send(product, 10)
        assert replicated(product)[target.config.name].state == "done"
        assert messages_at(target, keys(product), tmp_path / "seen") == 10


def test_it_goes_on_by_itself_at_its_interval(tmp_path: Path) -> None:
    with created(tmp_path) as product, local_target(tmp_path / "remote") as target:
        with product.serving():
            add(product, target.config, interval=10)
            for count in (3, 6):
                send(product, 3)

                def is_there(wanted: int = count) -> bool:
                    (one,) = product.status().replicas
                    return one.waiting == 0 and bool(one.generation) and one.reached_at is not None and wanted > 0

                eventually(is_there, "mail waits for the remote")
        assert messages_at(target, keys(product), tmp_path / "seen") == 6


def test_one_of_two_remotes_is_dead_and_the_other_goes_on(tmp_path: Path) -> None:
    with (
        created(tmp_path) as product, s3_target(tmp_path / "s3") as near, webdav_target(tmp_path / "dav") as far,
        product.serving(),
    ):  # fmt: skip
        add(product, near.config)
        add(product, far.config)
        send(product, 5)
        assert {one.state for one in replicated(product).values()} == {"done"}
        far.kill()
        send(product, 5)
        code, said = now(product)
        assert code == 1 and "webdav: " in said and "s3: Generation" in said
        assert messages_at(near, keys(product), tmp_path / "near") == 10
        states = {one.name: one for one in product.status().replicas}
        assert (states["s3"].waiting, states["webdav"].waiting) == (0, 5)
        assert states["webdav"].trouble and product.status().only_here == 0
        far.restart()
        assert {one.state for one in replicated(product).values()} == {"done"}
        assert messages_at(far, keys(product), tmp_path / "far") == 10
        eventually(
            lambda: (
                [one["action"] for one in audit(product) if one["action"].startswith("remote.")]
                == ["remote.recovered", "remote.failed", "remote.add", "remote.add"]
            ),
            "the audit trail says what happened",
        )


def audit(product: Product) -> list[dict[str, str]]:
    page = product.call("audit", api.AuditPage, find="remote", limit=100)
    return [{"action": one.action, "what": one.what} for one in page.lines]


def test_a_locked_archive_is_replicated_where_it_has_the_service_key(tmp_path: Path) -> None:
    with created(tmp_path, passphrase=PASSPHRASE) as product, s3_target(tmp_path / "remote") as target:
        add_by_command(product, target.config)
        held = keys(product)
        with product.serving(locked=True):
            send(product, 4)
            code, said = now(product)
            assert code == 1 and "unlock" in said
            assert product.status().only_here == 4
        product.run("service-key", "write")
        place = Paths(product.data).service_keyfile
        assert place.stat().st_mode & 0o777 == 0o600 and place.parent == product.data.parent
        with product.serving(locked=True):
            send(product, 4)
            assert replicated(product)["s3"].state == "done"
            assert not product.status().unlocked and product.status().only_here == 0
            assert messages_at(target, held, tmp_path / "locked") == 8
            # Unlocked and locked again, the replicator begins anew each time and goes on.
            subprocess.run(
                product.command("unlock", "--passphrase-stdin"), input=f"{PASSPHRASE}\n{PASSPHRASE}\n".encode(),
                check=True, timeout=120,
            )  # fmt: skip
            assert replicated(product)["s3"].state == "done"
            product.run("lock")
            send(product, 4)
            assert replicated(product)["s3"].state == "done"
            assert messages_at(target, held, tmp_path / "again") == 12


@pytest.mark.faults
def test_the_replicator_killed_in_the_midst_of_an_upload_goes_on_where_it_was(tmp_path: Path) -> None:
    with (
        created(tmp_path) as product, webdav_target(tmp_path / "remote", faults=True) as target, product.serving(),
    ):  # fmt: skip
        proxy = target.proxy
        assert proxy is not None
        add(product, target.config, transfers=2)
        send(product, 40, size=400_000)
        proxy.rate = 4_000_000
        answers: list[tuple[int, str]] = []
        asking = threading.Thread(target=lambda: answers.append(now(product)))
        asking.start()
        for _ in range(3):
            before = proxy.sent_up
            eventually(lambda before=before: proxy.sent_up > before + 2_000_000 or not asking.is_alive(), "an upload")
            if not asking.is_alive():
                break
            for pid in product.pids("replicator"):
                os.kill(pid, signal.SIGKILL)
            eventually(lambda: bool(product.pids("replicator")), "the replicator is started again")
        proxy.rate = 0.0
        asking.join(SECONDS)
        assert answers and answers[0][0] == 0, answers
        assert messages_at(target, keys(product), tmp_path / "seen") == 40


def test_no_secret_of_a_remote_is_readable_anywhere(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    words = Words({PASSWORD, SECRET_KEY})
    with (
        created(tmp_path, environment={"TMPDIR": str(temporary)}) as product,
        webdav_target(tmp_path / "dav") as dav, s3_target(tmp_path / "s3") as s3,
    ):  # fmt: skip
        places = (product.data, product.log, temporary, *product.data.parent.glob("data.*"))
        with product.serving():
            add_by_command(product, dav.config)
            add(product, s3.config)
            send(product, 3)
            await_idle(product)
            assert {one.state for one in replicated(product).values()} == {"done"}
            dav.kill()
            assert replicated(product)["webdav"].state == "failed"
            told = product.attempt("remote", "list", "--json").stdout + product.attempt("replicate", "--history").stdout
            assert not words.found_in(told)
            assert (product.data / "jobs.db").exists()
            assert words.found_below(*places) == {}, "while it runs"
            for pids in product.processes().values():
                for pid in pids:
                    for file in ("cmdline", "environ"):
                        assert not words.found_in(Path(f"/proc/{pid}/{file}").read_bytes()), (pid, file)
        assert words.found_below(*places) == {}, "after it was stopped"
