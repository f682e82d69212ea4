"""Every text has its translation, with the same places in it, and what is compiled is what is written."""

from __future__ import annotations

import importlib.util
import io
import re
from pathlib import Path
from types import ModuleType

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import read_mo

from appliance.language import LANGUAGES, _, current, ngettext, use

ROOT = Path(__file__).resolve().parents[2]
OTHERS = [code for code in LANGUAGES if code != "en"]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("translations", ROOT / "packaging" / "translations.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def template(tool: ModuleType) -> Catalog:
    found: Catalog = tool.collected()
    return found


def texts(message: Message) -> tuple[str, ...]:
    return (message.id,) if isinstance(message.id, str) else tuple(message.id)


def translations(message: Message) -> tuple[str, ...]:
    return (message.string,) if isinstance(message.string, str) else tuple(message.string or ())


def test_the_list_of_texts_is_up_to_date(tool: ModuleType, template: Catalog) -> None:
    assert (ROOT / "appliance/locale/mailkeep.pot").read_bytes() == tool.written(template), "run `make translations`"


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_translated(tool: ModuleType, template: Catalog, language: str) -> None:
    catalogue = tool.brought_up_to_date(language, template)
    assert tool.missing(catalogue) == []
    assert not [message.id for message in catalogue if message.fuzzy]
    assert {texts(one) for one in tool.read_back(language)} == {texts(one) for one in template}


@pytest.mark.parametrize("language", OTHERS)
def test_translations_have_the_places_of_their_texts(tool: ModuleType, language: str) -> None:
    def places(text: str) -> set[str]:
        return set(re.findall(r"\{[^{}\s]+\}", text))

    wrong = [
        (message.id, translated)
        for message in tool.read_back(language)
        if message.id
        for text, translated in zip(texts(message), translations(message), strict=True)
        if places(translated) != places(text)
    ]
    assert wrong == []


@pytest.mark.parametrize("language", OTHERS)
def test_what_is_compiled_is_what_is_written(tool: ModuleType, language: str) -> None:
    written = {texts(one): translations(one) for one in tool.read_back(language) if one.id}
    content = tool.po(language).with_suffix(".mo").read_bytes()
    compiled = {texts(one): translations(one) for one in read_mo(io.BytesIO(content)) if one.id}
    assert compiled == written


@pytest.mark.parametrize("language", OTHERS)
def test_a_sentence_stays_a_sentence(tool: ModuleType, language: str) -> None:
    """Ends alike: a full stop, question mark or colon of the English text is there in the translation."""
    ends = {".", "?", "…", "!"}
    wrong = [
        (text, translated)
        for message in tool.read_back(language)
        if message.id
        for text, translated in zip(texts(message), translations(message), strict=True)
        if (text[-1:] in ends or translated[-1:] in ends) and text[-1:] != translated[-1:]
    ]
    assert wrong == []


def test_the_language_in_use_is_spoken() -> None:
    assert _("Time zone") == "Time zone"
    try:
        use("de")
        assert (current(), _("Time zone")) == ("de", "Zeitzone")
        assert ngettext("{count} update waits.", "{count} updates wait.", 2) == "{count} Updates warten."
        use("tlh")
        assert (current(), _("Time zone")) == ("en", "Time zone")
    finally:
        use("en")


def test_texts_are_found_wherever_they_stand(tool: ModuleType) -> None:
    source = 'a = _("One")\nb = f"{_(\'Two\')} {x}"\nc = ngettext("{n} day", "{n} days", n)\n'
    source += 'd = key("f2", "go", "Three")\ne = key("f3", "go", "")\nf = _(name)\ng = _("Four "\n"five")\n'
    assert set(tool.texts_in(source)) == {"One", "Two", ("{n} day", "{n} days"), "Three", "Four five"}
