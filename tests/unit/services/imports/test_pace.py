"""How fast an import goes: by what is known of its files, and never more than that."""

from __future__ import annotations

import msgspec
import pytest

from appliance.services import api
from appliance.services.imports.pace import ImportPace, pace

NEW = api.ImportInfo(
    id=1, title="", owners="archive", archive="", folder=(), dry_run=False, recovered=False, others=False,
    state="running", by="", queued=0, begun=100, ended=None, counts=api.ImportCounts(found=50),
)  # fmt: skip
READ = api.ImportFile(number=1, name="a", size=300, arrived=300, state="done", counts=api.ImportCounts(found=40))
HALF = api.ImportFile(
    number=2, name="b", size=200, arrived=200, state="running", counts=api.ImportCounts(found=10), expected=20
)


def test_what_is_left_follows_from_the_bytes_that_have_been_dealt_with() -> None:
    one = msgspec.structs.replace(NEW, files=(READ, HALF), size=500)
    assert pace(one, 110.0) == pytest.approx(ImportPace(5.0, 40.0, 0.8, 2.5))
    assert pace(one, 110.0, size=800) == ImportPace(5.0, 40.0, 0.5, 10.0), "more is to come than has been said"


def test_where_nothing_is_known_nothing_is_said() -> None:
    assert pace(NEW, 110.0) == ImportPace(5.0, 0.0, None, None)
    assert pace(msgspec.structs.replace(NEW, begun=None), 110.0) == ImportPace(0.0, 0.0, None, None)
    unsaid = msgspec.structs.replace(HALF, expected=None)
    assert pace(msgspec.structs.replace(NEW, files=(unsaid,)), 110.0) == ImportPace(5.0, 0.0, 0.0, None)
    more = msgspec.structs.replace(HALF, expected=5)
    assert pace(msgspec.structs.replace(NEW, files=(more,)), 110.0).share == 1.0, "the file has said too little"
