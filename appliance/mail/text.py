"""HTML to plain text for searching and for people who read text, in time linear in its length.

A tokeniser and no tree: HTML parsers take quadratic time on hostile nesting (docs/decisions/0032-html-to-text.md).
"""

from __future__ import annotations

import html as entities
import re

LONGEST_HTML = 8 * 1024 * 1024  # characters of HTML that are looked at

# A tag ends at ">" or where the next "<" begins, so no piece is looked at twice.
_MARKUP = re.compile(r"<!--.*?(?:-->|\Z)|<[!?][^<>]*>?|<(/?)([a-zA-Z][a-zA-Z0-9:-]*)[^<>]*>?", re.DOTALL)
_UNSEEN = {
    name: re.compile(rf"</{name}\b[^<>]*>?", re.IGNORECASE)
    for name in ("script", "style", "title", "template", "svg", "math", "object", "xml")
}
_BLOCK_NAMES = """
    address article aside blockquote body br caption center dd div dl dt fieldset figcaption figure footer form
    h1 h2 h3 h4 h5 h6 header hr html li main nav ol option p pre section select table tbody tfoot thead tr ul
"""
_BLOCKS = frozenset(_BLOCK_NAMES.split())
_CELLS = frozenset({"td", "th"})
_BLANKS = re.compile(r"[^\S\n\t]+")
_LINES = re.compile(r"\s*\n\s*")


def from_html(html: str) -> str:
    """What a reader of the HTML would see, a line a block; scripts, styles and comments left out."""
    html = html[:LONGEST_HTML]
    pieces: list[str] = []
    position = 0
    while (markup := _MARKUP.search(html, position)) is not None:
        pieces.append(_BLANKS.sub(" ", html[position : markup.start()].replace("\n", " ")))
        position = markup.end()
        name = (markup[2] or "").lower()
        if name in _BLOCKS:
            pieces.append("\n")
        elif name in _CELLS:
            pieces.append("\t")
        elif name in _UNSEEN and not markup[1]:
            closing = _UNSEEN[name].search(html, position)
            position = closing.end() if closing else len(html)
    pieces.append(_BLANKS.sub(" ", html[position:].replace("\n", " ")))
    shown = entities.unescape("".join(pieces)).replace("\xa0", " ")
    return _LINES.sub("\n", shown).strip()
