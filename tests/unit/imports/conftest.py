"""One nursery for all tests of imports."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.imports.nursery import Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """The process that forks readers, as the product starts it."""
    with Nursery() as started:
        yield started
