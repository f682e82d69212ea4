"""The package that is tested: MAILKEEP_DEB names it (`make test-deb` builds one and does)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def package() -> Path:
    """The Debian package."""
    given = os.environ.get("MAILKEEP_DEB")
    if not given:
        pytest.skip("MAILKEEP_DEB names no Debian package (`make test-deb` builds one)")
    return Path(given).resolve()
