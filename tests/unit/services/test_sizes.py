"""Sizes as people type them."""

from __future__ import annotations

import pytest

from appliance.errors import UsageError
from appliance.services.sizes import in_bytes, typed


@pytest.mark.parametrize(
    ("text", "count", "again"),
    [
        ("25M", 25 << 20, "25M"), ("25 MB", 25 << 20, "25M"), ("1.5G", 3 << 29, "1536M"), ("2kib", 2048, "2K"),
        ("800000", 800_000, "800000"), ("1T", 1 << 40, "1T"), ("0", 0, "0"),
    ],
)  # fmt: skip
def test_a_size_is_read_and_written_back_exactly(text: str, count: int, again: str) -> None:
    assert in_bytes(text) == count
    assert typed(count) == again
    assert in_bytes(again) == count


@pytest.mark.parametrize("text", ["", "M", "-1", "1,5M", "25X", "1e6", "٣M", "9" * 13])
def test_what_is_no_size_is_refused_in_words(text: str) -> None:
    with pytest.raises(UsageError, match="no size such as 25M"):
        in_bytes(text)
