"""The language in which console and set-up speak: English, and what ``appliance/locale`` has translations for.

Texts are whole English sentences with named places, in the source; gettext finds their translation. One process
speaks one language at a time, but for what it writes to somebody else in between (``speaking``).
"""

from __future__ import annotations

import gettext
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Final

LANGUAGES: Final = MappingProxyType({"en": "English", "de": "Deutsch"})
"""Codes (ISO 639-1) and names in their own language."""

_DOMAIN: Final = "mailkeep"
_FOLDER: Final = Path(__file__).with_name("locale")


class _Current:
    code = "en"
    translations: gettext.NullTranslations = gettext.NullTranslations()


_for_now: ContextVar[gettext.NullTranslations | None] = ContextVar("language", default=None)


def use(code: str) -> None:
    """Speak the language with that code from now on; English where it is not known."""
    known = code if code in LANGUAGES else "en"
    _Current.translations = _translations(known)
    _Current.code = known


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """Speak that language within the block, in this thread or task only; English where it is not known."""
    before = _for_now.set(_translations(code if code in LANGUAGES else "en"))
    try:
        yield
    finally:
        _for_now.reset(before)


def current() -> str:
    """The code of the language in use."""
    return _Current.code


def _(text: str) -> str:
    """``text`` in the language in use."""
    return (_for_now.get() or _Current.translations).gettext(text)


def ngettext(one: str, many: str, count: int) -> str:
    """``one`` or ``many``, as ``count`` asks for, in the language in use."""
    return (_for_now.get() or _Current.translations).ngettext(one, many, count)


def _translations(code: str) -> gettext.NullTranslations:
    return gettext.translation(_DOMAIN, _FOLDER, [code], fallback=True)
