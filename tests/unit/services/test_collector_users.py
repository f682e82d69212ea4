"""As a package, collector and archiver are users of their own: what they share is open to both, whoever came first."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.host import accounts

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run something as two users")

ARCHIVE, COLLECT, STRANGER = 64001, 64006, 64009
_GROUPS = {ARCHIVE: [COLLECT], COLLECT: [COLLECT], STRANGER: []}
_EACH_AS_ITS_USER = """
import json, os, sys, tempfile
from contextlib import redirect_stdout
from pathlib import Path
from appliance.files import FILES
from appliance.imports.scratch import ScratchFile
from appliance.services.collector.importing_ledger import Announced, Imports, Plan
from appliance.services.collector.ledger import Ledger
from appliance.services.collector.told import CollectorKeys, Told, read_told, write_told
from appliance.services.imports.arriving import Arriving

def receives(folder):
    ledger = Ledger(folder / "ledger.db", keys)
    imports = Imports(ledger)
    arriving = Arriving(folder / "scratch", lambda: keys, lambda: imports, reserve=0)
    id = imports.begin(Plan(title=""), "me")
    scratch = arriving.prepare(9, archives=False)
    imports.announce(id, Announced(name="a", size=9, archive="", target=(), password="", scratch=scratch))
    arriving.write(id, 0, 0, b"a message")
    arriving.whole(id, 0, "")
    arriving.close()
    ledger.close()

def imports(folder):
    ledger = Ledger(folder / "ledger.db", keys)
    task = Imports(ledger).take()
    ledger.close()
    path = folder / "scratch" / task.scratch
    with path.open("rb") as file:
        print(ScratchFile(file.fileno(), task.size, keys.scratch_key(task.scratch)).read().decode())
    path.unlink()

def writes(folder, name):
    ledger = Ledger(folder / "ledger.db", keys)
    ledger.add(name, asked=True)
    return ledger

def reads(folder):
    ledger = Ledger(folder / "ledger.db", keys)
    print(*sorted(run.profile for run in ledger.runs()))
    ledger.close()

def tells(folder):
    write_told(folder, keys, Told(bytes(16), b"public", b"content"))

def hears(folder):
    print(read_told(folder, keys).public_key.decode())

keys = CollectorKeys(b"s" * 32, b"c" * 32)
with tempfile.TemporaryDirectory() as own:  # all modules are loaded: the others may not be let at them
    writes(Path(own), "").close()
    reads(Path(own))
    tells(Path(own))
    hears(Path(own))
    receives(Path(own))
    imports(Path(own))
folder = Path(sys.argv[1])
for user, groups, code in json.loads(sys.argv[2]):
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        os.setgroups(groups)
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        os.umask(0o007)  # as UMask= in the units
        try:
            exec(code)
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
    print("--")
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """``collecting/`` as ``accounts.PLACES`` has it, where other users can get at it."""
    above = Path(tempfile.mkdtemp(prefix="mailkeep-test-"))
    above.chmod(0o755)
    made = above / "collecting"
    made.mkdir()
    [place] = [one for one in accounts.PLACES if one.path == "collecting"]
    assert place.owner == place.group == accounts.COLLECT and place.folders is not None
    os.chown(made, COLLECT, COLLECT)
    made.chmod(place.folders)
    yield made
    shutil.rmtree(above)


def said(folder: Path, *steps: tuple[int, str]) -> list[str]:
    """What each step printed, one after the other, each in a process of its user. The archive's is in the collector's
    group."""
    asked = json.dumps([(user, _GROUPS[user], code) for user, code in steps])
    done = subprocess.run(
        [sys.executable, "-c", _EACH_AS_ITS_USER, str(folder), asked],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [one.strip() for one in done.stdout.partition("\npublic\na message\n")[2].split("--\n")[:-1]]


@pytest.mark.parametrize("end", ["os._exit(0)", "ledger.close()"])
@pytest.mark.parametrize(("first", "second"), [(COLLECT, ARCHIVE), (ARCHIVE, COLLECT)])
def test_both_read_and_write_the_ledger_whoever_made_it_and_however_the_other_ended(
    folder: Path, first: int, second: int, end: str
) -> None:
    reads = "reads(folder)"
    assert said(
        folder,
        (first, f"ledger = writes(folder, 'one'); {end}"),
        (second, reads),
        (second, f"ledger = writes(folder, 'two'); {end}"),
        (first, reads),
        (first, f"ledger = writes(folder, 'three'); {end}"),
        (second, reads),
    ) == ["", "one", "", "one two", "", "one three two"]


def test_the_collector_hears_what_the_archiver_tells_it_and_nobody_else_does(folder: Path) -> None:
    look = "print((folder / '{}').read_bytes())"
    heard = said(
        folder,
        (ARCHIVE, "tells(folder)"),
        (ARCHIVE, "tells(folder)"),
        (COLLECT, "hears(folder)"),
        (COLLECT, "writes(folder, 'one'); os._exit(0)"),
        *((STRANGER, look.format(name)) for name in ("told", "ledger.db", "ledger.db-wal")),
    )
    assert heard[2] == "public"
    assert [one.partition(":")[0] for one in heard[4:]] == ["PermissionError"] * 3


def test_a_file_to_be_imported_is_read_and_removed_by_the_collector_and_by_nobody_else(folder: Path) -> None:
    look = "print([one.read_bytes() for one in (folder / 'scratch').iterdir()])"
    heard = said(folder, (ARCHIVE, "receives(folder)"), (STRANGER, look), (COLLECT, "imports(folder)"))
    assert [heard[0], heard[1].partition(":")[0], heard[2]] == ["", "PermissionError", "a message"]
    assert not list((folder / "scratch").iterdir())
