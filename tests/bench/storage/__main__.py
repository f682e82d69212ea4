"""Bytes on disk: mailkeep after compaction against what others make of the same files, in one run.

Run: ``python -m tests.bench.storage``. The corpora: made-up office mail (corporategen.py), list mail, and the real
messages of eml/. The peers: zlib on each message, zstd 19 on each file, borg (Debian's) in three ways, and *piler's
way*, a model of what piler does: attachments kept once, each and every message compressed by zlib. Piler
itself is not packaged here, and its SQL tables come on top of that. For mailkeep the catalogue and the search index,
as it lies encrypted on the disk, are counted too; the others have neither.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import zstandard

from appliance.store import parts
from appliance.store.compaction import compact, plan
from appliance.store.parts import Reference
from appliance.store.reader import LogReader, RecordRef
from appliance.store.switch import put_in_place
from tests.bench.search.corpus import REPOSITORY, corpora, raw_messages
from tests.scratch import ScratchArchive

EVER = 1 << 62
SEED = "42"
BORG = {
    "borg zstd,19": ["--compression", "zstd,19"],
    "borg lzma,6": ["--compression", "lzma,6"],
    "borg zstd,19, chunks of 4 KiB": ["--compression", "zstd,19", "--chunker-params", "buzhash,10,16,12,4095"],
}
"""By default borg's chunks are larger than most mails, so it finds no attachment again: thus the third."""
_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{40,}={0,2}[ \t]*\r?\n){9,}[A-Za-z0-9+/]*={0,2}")
"""What looks like base64 of half a kilobyte and more, however its lines are."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--office", type=int, default=10_000, help="messages of corporategen.py")
    parser.add_argument("--list", type=int, default=15_000, help="messages of the list")
    parser.add_argument("--no-index", action="store_true", help="volumes only")
    chosen = parser.parse_args()
    corpus = {
        "office mail": lambda folder: _office(chosen.office, folder),
        "list mail": lambda _: list(raw_messages(chosen.list)),
        "eml/": lambda _: [path.read_bytes() for path in sorted((corpora() / "eml").rglob("*")) if path.is_file()],
    }
    for name, load in corpus.items():
        with tempfile.TemporaryDirectory() as folder:
            mails = load(Path(folder))
        if mails:
            _compare(name, mails, index=not chosen.no_index)


def _compare(name: str, mails: list[bytes], *, index: bool) -> None:
    raw = sum(map(len, mails))
    print(f"\n{name}: {len(mails)} messages, {raw:,} bytes", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for what, size in _mailkeep(Path(folder), mails, index=index):
            _line(what, size, raw)
    _line("zlib, each message", sum(len(zlib.compress(mail)) for mail in mails), raw)
    _line("piler's way", _pilers_way(mails), raw)
    compressor = zstandard.ZstdCompressor(level=19)
    _line("zstd 19, each file", sum(len(compressor.compress(mail)) for mail in mails), raw)
    if shutil.which("borg"):
        for way, options in BORG.items():
            _line(way, _borg(mails, options), raw)
    for what, share in _inline(mails):
        print(f"  {what:<44}{share:8.3f}")


def _line(what: str, size: int, raw: int) -> None:
    print(f"  {what:<32}{size:>14,}{size / raw:8.3f}", flush=True)


def _mailkeep(folder: Path, mails: list[bytes], *, index: bool) -> Iterator[tuple[str, int]]:
    box = ScratchArchive(folder)
    try:
        volumes, mailbox = box.paths.volumes / box.mailbox.id, bytes.fromhex(box.mailbox.id)
        for start in range(0, len(mails), 500):
            box.receive(*mails[start : start + 500])
        if index:
            box.project()
        box.sign()
        yield "mailkeep, volumes as received", _size(volumes)
        begun = time.perf_counter()
        reader = LogReader(box.paths.volumes, box.archive.keyring)
        for step in plan(reader.volumes(mailbox), before=EVER):
            chain = box.archive.chain.read()
            made = compact(box.paths.volumes, step, chain, reader, box.archive.keyring, reserve=0)
            with box.archive.chain.held() as held:
                put_in_place(box.paths.volumes, str(made), held, box.archive.keyring, opener=box.archive.keyring)
        seconds = time.perf_counter() - begun
        compacted = _size(volumes)
        yield "mailkeep, volumes compacted", compacted
        print(f"    {sum(map(len, mails)) / seconds / 1e6:.1f} MB/s of mail", flush=True)
        _check(reader, mailbox, mails)
        if not index:
            return
        box.close()
        catalogue = sum(path.stat().st_size for path in box.paths.projections.rglob("catalogue.db*"))
        projections = _size(box.paths.projections)
        box.open()
        yield "mailkeep, catalogue", catalogue
        yield "mailkeep, index at rest", projections - catalogue
        yield "mailkeep, all in", compacted + projections
    finally:
        box.close()


def _check(reader: LogReader, mailbox: bytes, mails: list[bytes]) -> None:
    """All originals are there bit for bit; and what opening one costs."""
    refs = [ref for one in reader.volumes(mailbox) for ref in reader.scan(one) if isinstance(ref, RecordRef)]
    found = sorted(hashlib.sha256(reader.read(ref).original).digest() for ref in refs)
    if found != sorted(hashlib.sha256(mail).digest() for mail in mails):
        raise SystemExit("What was compacted is not what was received.")
    some = refs[:: max(len(refs) // 500, 1)]
    some = sorted(some, key=lambda ref: hashlib.sha256(ref.record_id).digest())
    begun = time.perf_counter()
    for ref in some:
        reader.read(ref)
    print(f"    {(time.perf_counter() - begun) / len(some) * 1000:.2f} ms to open one of them", flush=True)


def _pilers_way(mails: list[bytes]) -> int:
    kept: dict[bytes, int] = {}

    def store(data: bytes) -> Reference:
        kept.setdefault(hashlib.sha256(data).digest(), len(zlib.compress(data)))
        return Reference(0, 0)

    return sum(len(zlib.compress(parts.cut(mail, store)[0])) for mail in mails) + sum(kept.values())


def _borg(mails: list[bytes], options: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        source, repository = Path(folder) / "mail", Path(folder) / "repository"
        source.mkdir()
        for number, mail in enumerate(mails):
            (source / f"{number:06d}.eml").write_bytes(mail)
        environment = {**os.environ, "BORG_BASE_DIR": folder, "BORG_PASSPHRASE": "bench"}
        for words in (
            ["init", "--encryption", "repokey", str(repository)],
            ["create", *options, f"{repository}::one", str(source)],
        ):
            subprocess.run(["borg", *words], env=environment, check=True, capture_output=True, timeout=3600)
        return _size(repository)


def _inline(mails: list[bytes]) -> Iterator[tuple[str, float]]:
    """How much of what stands in mail as base64 is left where it is, because it could not be rebuilt bit for bit."""
    everything = left = 0
    for mail in mails:
        cut = bytearray(len(mail))
        for found in parts.find(mail):
            cut[found.start : found.end] = b"\x01" * (found.end - found.start)
        for run in _BASE64.finditer(mail):
            everything += run.end() - run.start()
            left += cut.count(0, run.start(), run.end())
    if everything:
        yield "share of base64 left inline", left / everything


def _office(count: int, folder: Path) -> list[bytes]:
    """The messages of corporategen.py."""
    if count <= 0:
        return []
    tools = Path(os.environ.get("MAILKEEP_TOOLS", REPOSITORY.parent / "shared" / "tools"))
    if not (tools / "corporategen.py").exists():
        raise SystemExit(f"{tools} holds no corporategen.py; set MAILKEEP_TOOLS to the tools' folder.")
    command = [sys.executable, str(tools / "corporategen.py"), str(count), str(folder), "--seed", SEED]
    subprocess.run(command, check=True, capture_output=True, timeout=1800)
    return [path.read_bytes() for path in sorted((folder / "cur").iterdir())]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
