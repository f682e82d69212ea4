"""The package that is tested: MAILKEEP_DEB names it (`make test-deb` builds one and does)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.packaging import machine
from tests.packaging import root as roots


@pytest.fixture(scope="session")
def package() -> Path:
    """The Debian package."""
    given = os.environ.get("MAILKEEP_DEB")
    if not given:
        pytest.skip("MAILKEEP_DEB names no Debian package (`make test-deb` builds one)")
    return Path(given).resolve()


@pytest.fixture(scope="session")
def whole() -> None:
    """What takes long and seldom changes is left to `make test-deb`."""
    if not os.environ.get("MAILKEEP_BUILD_TWICE"):
        pytest.skip("MAILKEEP_BUILD_TWICE is not set (`make test-deb` does)")


@pytest.fixture(scope="session")
def boots(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A clean Debian boots on this machine, so that whatever does not is the package's fault; else a reason to skip."""
    if reason := roots.why_not() or machine.why_not():
        pytest.skip(reason)
    root = tmp_path_factory.mktemp("clean") / "root"
    try:
        roots.clean(root)
        with machine.booted(root, f"mailkeep-clean-{os.getpid()}"):
            pass
    except roots.NotHereError as error:
        pytest.skip(str(error))
    except machine.NotBootedError as error:
        pytest.skip(f"a clean Debian 12 does not boot here: {str(error).splitlines()[-1:]}")
    finally:
        shutil.rmtree(root, ignore_errors=True)
