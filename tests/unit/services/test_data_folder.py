"""Every file of a data folder is of a kind that docs/format.md lists, and every byte of the log is accounted for."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.cloud.manifests import ReplicaKeys
from appliance.cloud.replicate import replicate
from appliance.cloud.state import ReplicaPaths, State, set_own_epoch
from appliance.mail.published import roll_path
from appliance.services import access
from appliance.services.alarms.trouble import Trouble
from appliance.services.api import ProfileCounts
from appliance.services.exporting import Exports
from appliance.services.jobs import Jobs
from appliance.services.server import Server
from appliance.store.absent import AbsentFile, AbsentFiles
from appliance.store.rolling import ask_to_roll
from tests import reference_reader
from tests.cloud_double import FolderRemote, Killed
from tests.fetched import Fetched
from tests.profiles_double import CollectorDouble
from tests.replica_box import Quiet
from tests.scratch import BOX, ScratchArchive, mail, report

ROOT = Path(__file__).resolve().parents[3]

KINDS = {
    r"keyring\.json": "keyring.json",
    r"volumes/[0-9a-f]{32}/[a-z][a-z0-9]{0,15}-\d{8}\.mkv": "volumes/<mailbox>/<writer>-<sequence>.mkv",
    r"volumes/[0-9a-f]{32}/[a-z][a-z0-9]{0,15}-\d{8}\.seal": "volumes/<mailbox>/<writer>-<sequence>.seal",
    r"volumes/[0-9a-f]{32}/c0-\d{8}\.mka": "volumes/<mailbox>/c0-<sequence>.mka",
    r"volumes/[0-9a-f]{32}/d0-\d{8}\.mka": "volumes/<mailbox>/d0-<sequence>.mka",
    r"volumes/absent": "volumes/absent",
    r"settings\.db(-wal|-shm)?": "settings.db",
    r"projections/current": "projections/current",
    r"projections/\d{4,}/catalogue\.db(-wal|-shm)?": "projections/<generation>/catalogue.db",
    r"projections/\d{4,}/index/\d{5}/(manifest|[0-9a-f]{32})": "projections/<generation>/index/<shard>/manifest",
    r"projections/\d{4,}/index/writer\.lock": "projections/<generation>/index/writer.lock",
    r"gateway/gateway\.json": "gateway/gateway.json",
    r"gateway/roll": "gateway/roll",
    r"timestamps/\d{8,}-\d{4}-\d\d-\d\d\.tsr": "timestamps/<number>-<date>.tsr",
    r"replicas/[a-z0-9-]+/(state|inventory)": "replicas/<remote>/state",
    r"replicas/[a-z0-9-]+/(uploading|lock)": "replicas/<remote>/uploading",
    r"replicas/[a-z0-9-]+/bad": "replicas/<remote>/bad",
    r"replicas/[a-z0-9-]+/place": "replicas/<remote>/place",
    r"replicas/[a-z0-9-]+/staging/\d{8}": "replicas/<remote>/staging/…",
    r"replicas/epoch": "replicas/epoch",
    r"replicas/(remotes|tokens)": "replicas/remotes",
    r"jobs\.db(-wal|-shm)?": "jobs.db",
    r"collecting/told": "collecting/told",
    r"collecting/ledger\.db(-wal|-shm)?": "collecting/ledger.db",
    r"collecting/scratch/[0-9a-f]{32}": "collecting/scratch/<file>",
    r"alarms\.json": "alarms.json",
    r"notifying": "notifying",
    r"exports/[0-9a-f]{16}": "exports/<job>",
    r"run/.+": "run/…",
}


def test_every_file_is_of_a_kind_that_the_document_lists(box: ScratchArchive) -> None:
    _fill(box)
    gone = next(box.paths.volumes.glob("*/*.mka")).relative_to(box.paths.volumes).as_posix()
    AbsentFiles(box.paths.volumes).add([AbsentFile(gone, 1, bytes(32))])
    document = (ROOT / "docs" / "format.md").read_text()
    seen = set()
    for file in box.paths.data.rglob("*"):
        if file.is_dir():
            continue
        path = file.relative_to(box.paths.data).as_posix()
        kinds = [kind for kind in KINDS if re.fullmatch(kind, path)]
        assert kinds, path
        seen.update(kinds)
    assert all(f"`{KINDS[kind]}`" in document for kind in seen)
    assert len(seen) >= 8
    assert box.paths.keyfile.exists() and box.paths.keyfile.parent == box.paths.data.parent


def test_an_independent_reader_opens_every_byte_of_the_log(box: ScratchArchive) -> None:
    _fill(box)
    box.close()
    reader = [sys.executable, str(ROOT / "tests" / "reference_reader.py"), str(box.paths.data)]
    done = subprocess.run(
        [*reader, "--keyfile", str(box.paths.keyfile)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    read = json.loads(done.stdout)
    assert read["documents"] == 32
    assert read["settings"] > 20
    box.open()


def test_an_independent_reader_reads_places_and_folders_of_volumes_and_archive_volumes(box: ScratchArchive) -> None:
    anna = box.user("anna@example.com")
    deep = tuple(f"Level {n}" for n in range(40))
    for turn in range(2):
        fetched = Fetched(box, f"s{turn}")
        for folder in (("INBOX",), ("Projects", "Über"), deep, ()):
            record = fetched.fetch(mail(f"Number {turn}", "/".join(folder)), anna, *folder, role="archive")
            fetched.lay(record, anna, "Copies")
        fetched.close()
        if not turn:
            box.compact()
    box.project()
    box.close()
    (generation,) = box.paths.projections.glob("[0-9]*")
    secret = bytes.fromhex(box.paths.keyfile.read_text().strip())
    keyring = reference_reader.read_keyring(box.paths.keyring.read_bytes(), "keyfile", secret)
    places: list[dict[str, object]] = []
    reference_reader.read_volumes(box.paths.volumes, keyring, places)
    assert len(places) == 16
    assert reference_reader.read_projection(generation, keyring, places) == 8
    assert reference_reader.read_folders(generation / "catalogue.db", keyring, places) == 16
    with pytest.raises(reference_reader.FormatError, match="a place that the log has not"):
        reference_reader.read_folders(generation / "catalogue.db", keyring, places[1:])
    box.open()


def _fill(box: ScratchArchive) -> None:
    box.archive.alarms.report("verify", Trouble("verify", "error"))
    box.dispatcher.notifications.publish()
    anna = box.user("anna@example.com")
    access.access_open(box.archive, BOX, user=anna, whose=box.user("sales@example.com"), reason="works in sales")
    box.receive(*(report(mail(f"Number {n}"), "To: anna@example.com") for n in range(30)), b"x" * 100_000)
    fetched = Fetched(box)
    fetched.fetch(mail("Fetched"), anna, "INBOX", role="inbox")
    fetched.close()
    box.writer.roll()
    box.project()
    box.compact()
    box.receive(mail("After compaction"))
    ask_to_roll(roll_path(box.paths.data), 1)
    _profile(box)
    _import(box)
    _replicate(box)
    server = Server(box.dispatcher)
    server.start()
    server.close()
    jobs = Jobs(box.archive)
    job = Exports(box.archive, jobs).begin(BOX, query="number", everywhere=True)
    while jobs.get(BOX, id=job.id).state in ("waiting", "running"):
        pass


def _profile(box: ScratchArchive) -> None:
    """Something to fetch, and a collector that has looked at it."""
    options = {"host": "imap.example.com", "user": "anna@example.com", "password": "secret"}
    box.dispatcher.profiles.add(BOX, name="office", kind="imap", options=options)
    collector = CollectorDouble(box)
    collector.fetched(collector.ledger.add("office", asked=True), ProfileCounts(seen=1, new=1))
    collector.close()


def _import(box: ScratchArchive) -> None:
    """A file that has arrived in part."""
    box.user("import@example.com")
    begun = box.dispatcher.imports.begin(BOX, title="old mail", archive="import@example.com")
    file = box.dispatcher.imports.file(BOX, id=begun.id, name="old.pst", size=1_000_000)
    box.dispatcher.imports.write(BOX, id=begun.id, file=file.number, offset=0, data=bytes(100_000))


def _replicate(box: ScratchArchive) -> None:
    """A generation on a replica, and one that breaks off."""
    keyring = box.archive.keyring
    keys = ReplicaKeys(keyring.archive_id, keyring.key("service"), keyring.verify_key)
    remote = FolderRemote(box.paths.data.parent / "remote")
    paths = ReplicaPaths.of(box.paths.data, "cellar")
    set_own_epoch(box.paths.data, 1)
    for now in (1, 2):
        with contextlib.suppress(Killed):
            replicate(paths, remote, keys, Quiet(), now=now, roll=lambda data, at: None, force_snapshot=True)
        remote.fail(Killed(), "put", match="objects/")
        State(paths, keys).add_bad(["objects/00/00"])
