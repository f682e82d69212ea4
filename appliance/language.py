"""The language in which console and set-up speak: English, and what ``appliance/locale`` has translations for.

Texts are whole English sentences with named places, in the source; gettext finds their translation. One process
speaks one language at a time, but for what it writes to somebody else in between (``speaking``).
"""

from __future__ import annotations

import gettext
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

LANGUAGES: Final = MappingProxyType({"en": "English", "de": "Deutsch"})
"""Codes (ISO 639-1) and names in their own language."""

_DOMAIN: Final = "mailkeep"
_FOLDER: Final = Path(__file__).with_name("locale")


class _Current:
    code = "en"


_for_now: ContextVar[str | None] = ContextVar("language", default=None)


def use(code: str) -> None:
    """Speak the language with that code from now on; English where it is not known."""
    _Current.code = code if code in LANGUAGES else "en"


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """Speak that language within the block, in this thread or task only; English where it is not known."""
    before = _for_now.set(code if code in LANGUAGES else "en")
    try:
        yield
    finally:
        _for_now.reset(before)


def current() -> str:
    """The code of the language in use."""
    return _for_now.get() or _Current.code


def _(text: str) -> str:
    """``text`` in the language in use."""
    return _translations(current()).gettext(text)


def later(text: str) -> str:
    """``text`` as it is: a sentence that another process translates before it shows it (``framing.error_of``)."""
    return text


def ngettext(one: str, many: str, count: int) -> str:
    """``one`` or ``many``, as ``count`` asks for, in the language in use."""
    return _translations(current()).ngettext(one, many, count)


@cache
def _translations(code: str) -> gettext.NullTranslations:
    return gettext.translation(_DOMAIN, _FOLDER, [code], fallback=True)
