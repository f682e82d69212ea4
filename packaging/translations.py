"""``make translations``: collect the texts of console and set-up, bring each catalogue up to date, compile it.

Texts are what stands in ``_()``, ``later()`` and ``ngettext()``, the descriptions of keys (the third argument of
``key()``), and what remotes, directories and sources ask for. What a catalogue lacks is listed, and left to be
translated.
"""

from __future__ import annotations

import ast
import io
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from appliance.cloud.backends import BACKENDS, Backend
from appliance.directory.base import DirectoryKind
from appliance.directory.kinds import KINDS
from appliance.language import LANGUAGES
from appliance.sources.base import SourceKind
from appliance.sources.kinds import KINDS as SOURCES

ROOT = Path(__file__).resolve().parents[1]
LOCALE = ROOT / "appliance" / "locale"
DOMAIN = "mailkeep"
PACKAGES = ("appliance", "gateway", "tui", "webadmin")
PLACES = {"_": (0,), "later": (0,), "ngettext": (0, 1), "key": (2,)}
"""By function, which of its arguments are texts."""
SOURCE = "en"

_VOLATILE = (b'"POT-', b'"PO-', b'"Generated-By', b'"Report-', b'"Last-T', b'"Language-T')
"""Lines of the header that say nothing here, or something else each time."""


def collected() -> Catalog:
    """All texts, each with the files it stands in."""
    catalogue = Catalog(project=DOMAIN, charset="utf-8", fuzzy=False)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for text in texts_in(path.read_text("utf-8")):
                catalogue.add(text, locations=[(path.relative_to(ROOT).as_posix(), 0)])
    for module, kinds in (("cloud/backends", BACKENDS), ("directory/kinds", KINDS), ("sources/kinds", SOURCES)):
        for text in (text for kind in kinds for text in _asked(kind)):
            catalogue.add(text, locations=[(f"appliance/{module}.py", 0)])
    return catalogue


def texts_in(source: str) -> Iterator[str | tuple[str, str]]:
    """The texts of a module, also those within f-strings, which Babel's own reader passes over."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PLACES:
            given = [node.args[place] for place in PLACES[node.func.id] if place < len(node.args)]
            found = [one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            if found and all(found) and len(found) == len(PLACES[node.func.id]):
                yield found[0] if len(found) == 1 else (found[0], found[1])


def _asked(kind: Backend | DirectoryKind | SourceKind) -> Iterator[str]:
    yield from filter(None, (kind.title, kind.help))
    for field in kind.fields:
        yield from filter(None, (field.label, field.help))


def brought_up_to_date(language: str, template: Catalog) -> Catalog:
    """The language's catalogue with the texts of ``template``; translations that there are stay."""
    place = po(language)
    if not place.exists():
        catalogue = Catalog(locale=language, project=DOMAIN, charset="utf-8")
    else:
        with place.open("rb") as file:
            catalogue = read_po(file, locale=language)
    catalogue.update(template, no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    catalogue.fuzzy = False
    return catalogue


def written(catalogue: Catalog) -> bytes:
    """A catalogue as it lies in the repository: sorted, without dates and line numbers, so that a change shows."""
    catalogue.header_comment = "# Texts of console and set-up; made by `make translations`."
    out = io.BytesIO()
    write_po(out, catalogue, sort_output=True, include_lineno=False, width=110)
    lines = out.getvalue().splitlines(keepends=True)
    return b"".join(line for line in lines if not any(name in line for name in _VOLATILE))


def compiled(catalogue: Catalog) -> bytes:
    """What gettext reads."""
    out = io.BytesIO()
    write_mo(out, catalogue)
    return out.getvalue()


def po(language: str) -> Path:
    """Where a language's catalogue lies."""
    return LOCALE / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def missing(catalogue: Catalog) -> list[str]:
    """The texts without a translation."""
    found = []
    for message in catalogue:
        texts = (message.id,) if isinstance(message.id, str) else message.id
        strings = (message.string,) if isinstance(message.string, str) else message.string or ("",)
        if texts[0] and not all(strings):
            found.append(texts[0])
    return found


def main() -> int:
    """Write everything. Exit code 1 where something is not translated yet."""
    template = collected()
    LOCALE.mkdir(exist_ok=True)
    (LOCALE / f"{DOMAIN}.pot").write_bytes(written(template))
    lacking = 0
    for language in LANGUAGES:
        if language == SOURCE:
            continue
        catalogue = brought_up_to_date(language, template)
        po(language).parent.mkdir(parents=True, exist_ok=True)
        po(language).write_bytes(written(catalogue))
        po(language).with_suffix(".mo").write_bytes(compiled(read_back(language)))
        for text in missing(catalogue):
            print(f"{language}: not translated: {text}")
            lacking += 1
    return 1 if lacking else 0


def read_back(language: str) -> Catalog:
    """The catalogue as it lies on the disk."""
    with po(language).open("rb") as file:
        return read_po(file, locale=language)


if __name__ == "__main__":
    sys.exit(main())
