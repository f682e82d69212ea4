"""What arrives of each PST is at least what readpst makes of it, and docs/fidelity.md says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import fidelity

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("readpst") is None, reason="needs readpst (Debian's pst-utils)"),
]


def test_nothing_is_missing_that_readpst_has(corpora: Path) -> None:
    rows = [fidelity.compare(path) for path in sorted((corpora / "pst").iterdir())]
    assert [row.name for row in rows if any(row.missing)] == []
    for row in rows:
        assert all(mine >= its for mine, its in zip(row.ours, row.theirs, strict=True)), row.name
    assert fidelity.BEGIN + fidelity.table(rows) + fidelity.END in fidelity.DOCUMENT.read_text()
