"""A burnt box, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.burnt import Fire, Replicated, burn_down


@pytest.fixture(scope="session")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Replicated:
    """What is left of a box; nobody changes it."""
    return burn_down(tmp_path_factory.mktemp("burnt"))


@pytest.fixture
def fire(tmp_path: Path, replicated: Replicated) -> Fire:
    """An empty machine, with a replica that the test may spoil."""
    return Fire(tmp_path, replicated)
