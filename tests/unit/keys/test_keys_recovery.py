"""A recovery key in groups or in words: one secret, however it is typed, and a slip is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mnemonic import Mnemonic

from appliance.errors import KeyringError
from appliance.keys import recovery

LIST = Mnemonic("english").wordlist


@given(st.binary(min_size=recovery.SECRET_SIZE, max_size=recovery.SECRET_SIZE))
def test_both_forms_stand_for_the_same(secret: bytes) -> None:
    text = recovery.to_text(secret)
    words = recovery.to_words(text)
    assert len(words) == 18
    assert set(words) <= set(LIST)
    assert recovery.from_text(text) == secret
    assert recovery.from_text(" ".join(words)) == secret


@given(st.binary(min_size=recovery.SECRET_SIZE, max_size=recovery.SECRET_SIZE))
def test_words_are_read_as_people_type_them(secret: bytes) -> None:
    words = recovery.to_words(recovery.to_text(secret))
    assert recovery.from_text("  " + "-".join(words).upper() + "\n") == secret
    assert recovery.from_text("\n".join(word[:4] for word in words)) == secret


def test_a_slip_is_named() -> None:
    words = list(recovery.to_words(recovery.to_text(bytes(range(22)))))
    with pytest.raises(KeyringError, match="“zzzzz”, word 3,"):
        recovery.from_text(" ".join([*words[:2], "zzzzz", *words[3:]]))
    with pytest.raises(KeyringError, match="18 words; these are 17"):
        recovery.from_text(" ".join(words[:-1]))
    other = LIST[(LIST.index(words[5]) + 1) % len(LIST)]
    with pytest.raises(KeyringError, match="slip"):
        recovery.from_text(" ".join([*words[:5], other, *words[6:]]))
    with pytest.raises(KeyringError):
        recovery.from_text(" ".join([words[1], words[0], *words[2:]]))
