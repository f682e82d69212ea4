"""Fixtures that every part of the tests may use."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def live_indexes() -> Iterator[None]:
    """A place of their own for the tests' live indexes: what a killed product leaves in memory goes with it."""
    place = tempfile.mkdtemp(prefix="mailkeep-tests-", dir=os.environ.get("MAILKEEP_LIVE", "/dev/shm"))
    before = os.environ.get("MAILKEEP_LIVE")
    os.environ["MAILKEEP_LIVE"] = place
    yield
    os.environ.pop("MAILKEEP_LIVE") if before is None else os.environ.update(MAILKEEP_LIVE=before)
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(autouse=True)
def own_umask() -> Iterator[None]:
    """The command line, called in this process, sets the umask; the next test begins without."""
    before = os.umask(0)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real mail (eml/, mbox/, list-mail-15k.tar.xz …), kept beside the project, not in it."""
    folder = Path(os.environ.get("MAILKEEP_CORPORA", _BESIDE / "corpora"))
    if not (folder / "eml").is_dir():
        pytest.skip(f"no real mail at {folder}; set MAILKEEP_CORPORA to a folder with eml/ in it")
    return folder


@pytest.fixture(scope="session")
def tools() -> Path:
    """The folder of the generators (journalgen.py, corporategen.py, smtpload.py), beside the corpora."""
    folder = Path(os.environ.get("MAILKEEP_TOOLS", _BESIDE / "tools"))
    if not (folder / "journalgen.py").is_file():
        pytest.skip(f"no generators at {folder}; set MAILKEEP_TOOLS to the folder of journalgen.py")
    return folder
