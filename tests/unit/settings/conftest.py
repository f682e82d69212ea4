"""The archive that these tests work on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scratch import ScratchArchive


@pytest.fixture
def box(tmp_path: Path) -> Iterator[ScratchArchive]:
    archive = ScratchArchive(tmp_path)
    yield archive
    archive.close()
