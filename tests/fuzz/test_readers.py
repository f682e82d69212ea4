"""The short form of the fuzzing run: a new seed for it is taken by ``make fuzz``, here it is always the same."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from appliance.extract import css, html
from appliance.mail import addresses, headers
from tests.fuzz import readers

pytestmark = pytest.mark.fuzz

_FEW = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_LINES = st.lists(st.sampled_from(readers._TOKENS) | st.binary(max_size=20), max_size=40).map(b"".join)


def test_mutated_mail() -> None:
    chance = random.Random(20261120)
    messages = readers.seeds(readers.corpora_at_hand())
    for _ in range(2_000):
        readers.check(readers.mutated(chance.choice(messages), chance))


@_FEW
@given(_LINES)
@example(b"")
def test_made_up_mail(raw: bytes) -> None:
    readers.check(raw)


@_FEW
@given(st.binary(max_size=300) | _LINES)
def test_header_values(value: bytes) -> None:
    headers.text(value)
    headers.date(value)
    headers.message_ids(value)
    name, found = headers.media_type(value)
    assert "/" in name
    assert all(isinstance(one, str) for one in found.values())
    for mailbox in addresses.parse(value):
        assert addresses.normalise(mailbox.address) == mailbox.address


@_FEW
@given(st.text(max_size=200))
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = addresses.normalise(text)
    assert addresses.normalise(once) == once


@_FEW
@given(st.text(alphabet='abu{}()<>:;@#."\\/*- \n!url', max_size=200))
def test_no_style_leaves_its_element_or_loads_anything(text: str) -> None:
    for safe in (css.style_sheet(text, lambda _: ""), css.declarations(text, lambda _: "")):
        assert "<" not in safe
        assert "url(" not in safe.lower()
        assert "\\" not in safe


@_FEW
@given(st.text(alphabet="<>/=\"' abipsrcxonstyle:;-!&#", max_size=200))
def test_html_made_safe_is_safe_when_made_safe_again(text: str) -> None:
    once, _ = html.sanitise(text, cid_base="/part/", remote=False)
    assert "<s" + "cript" not in once
    assert html.sanitise(once, cid_base="/part/", remote=False)[0] == once
