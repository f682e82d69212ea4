"""HTML of strangers made safe to show: an allow list, no scripts, no forms, nothing loaded unless asked for.

The result is meant for a sandboxed frame with its own content security policy; this is the first wall of three.
"""

from __future__ import annotations

import html as entities
import re
from collections.abc import Mapping
from urllib.parse import unquote

import nh3

from appliance.extract import css
from appliance.mail import text as mail_text

LONGEST = 4 * 1024 * 1024  # characters of HTML that are shown as HTML
_DEEPEST = 1_000  # open elements: parsers take quadratic time below that
_MOST_ATTRIBUTES = 2_000  # of one element
_LONG_TAG = 20_000  # characters; shorter ones have not room for too many attributes

_TAG_NAMES = """
    a abbr acronym address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd del
    dfn dir div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li main mark nav
    ol p pre q s samp section small span strike strong sub sup table tbody td tfoot th thead time tr tt u ul var
    wbr
"""
_TAGS = set(_TAG_NAMES.split())
_DROPPED_NAMES = """
    script style title template noscript object embed applet iframe frame frameset svg math textarea select option
    noembed noframes xmp audio video canvas
"""
_DROPPED_WITH_CONTENT = set(_DROPPED_NAMES.split())
_ANYWHERE = {"align", "bgcolor", "class", "color", "dir", "height", "lang", "style", "title", "valign", "width"}
_ATTRIBUTES = {
    "*": _ANYWHERE,
    "a": {"href"},
    "img": {"src", "alt", "border", "hspace", "vspace"},
    "font": {"face", "size"},
    "table": {"border", "cellpadding", "cellspacing", "rules", "frame", "summary", "background"},
    "td": {"colspan", "rowspan", "nowrap", "background", "headers", "scope"},
    "th": {"colspan", "rowspan", "nowrap", "background", "headers", "scope"},
    "tr": {"background"},
    "col": {"span"},
    "colgroup": {"span"},
    "ol": {"start", "type", "reversed"},
    "ul": {"type"},
    "li": {"value", "type"},
    "hr": {"size", "noshade"},
    "time": {"datetime"},
    "blockquote": {"type"},
}
_LINKS = ("http:", "https:", "mailto:", "tel:", "ftp:")
_PICTURE = re.compile(r"data:image/(?:png|jpe?g|gif|webp|bmp);base64,[A-Za-z0-9+/=\s]+\Z", re.IGNORECASE)
_REMOTE = re.compile(r"(?:https?:)?[/\\]{2}", re.IGNORECASE)
_NO_ADDRESS = re.compile(r"[\x00-\x20\x7f]+")

_STYLE_OPEN = re.compile(r"<style\b[^<>]*>", re.IGNORECASE)
_STYLE_CLOSE = re.compile(r"</style\b", re.IGNORECASE)
_COMMENT_MARKS = re.compile(r"<!--|-->")
_BODY = re.compile(r"<body\b([^<>]*)>", re.IGNORECASE)
_BODY_ATTRIBUTE = re.compile(
    r"\b(style|bgcolor|text)\s*=\s*(?:\"([^\"<>]*)\"|'([^'<>]*)'|([^\s\"'<>]+))", re.IGNORECASE
)
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)[^<>]*")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_SEPARATORS = re.compile(r"[\s/]+")
_NEVER_OPEN_NAMES = """
    area base br col embed hr img input link meta param source track wbr p li td tr th dd dt option
"""
_NEVER_OPEN = frozenset(_NEVER_OPEN_NAMES.split())  # void, or closed by the next of its kind


def sanitise(html: str, *, cid_base: str, remote: bool, parts: Mapping[str, int] | None = None) -> tuple[str, int]:
    """Safe HTML, and how many remote things were left out.

    ``parts`` gives the number of the part that a content id or location names: such pictures get the address
    ``cid_base`` + number. With ``remote`` pictures on the web stay where they are. HTML that is too long or
    nested too deep comes back as its text.
    """
    if len(html) > LONGEST or not _is_bearable(html):
        return f"<pre>{entities.escape(mail_text.from_html(html))}</pre>", 0
    rewriter = _Rewriter(cid_base, remote, parts or {})
    styles = "".join(css.style_sheet(sheet, rewriter.picture) for sheet in _style_sheets(html))
    before, after = _body_frame(html, rewriter)
    cleaned = nh3.clean(
        html,
        tags=_TAGS,
        clean_content_tags=_DROPPED_WITH_CONTENT,
        attributes=_ATTRIBUTES,
        attribute_filter=rewriter.attribute,
        strip_comments=True,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
        url_schemes={"http", "https", "mailto", "tel", "ftp", "data", "cid"},
    )
    sheet = f"<style>{styles}</style>" if styles else ""
    return f"{sheet}{before}{cleaned}{after}", rewriter.blocked


class _Rewriter:
    """Decides about each attribute and address, and counts what a reader could still ask for."""

    def __init__(self, cid_base: str, remote: bool, parts: Mapping[str, int]) -> None:
        self._cid_base = cid_base
        self._remote = remote
        self._parts = parts
        self.blocked = 0

    def attribute(self, _tag: str, name: str, value: str) -> str | None:
        """nh3's attribute filter: the value to keep, or None to drop the attribute."""
        if name == "style":
            return css.declarations(value, self.picture) or None
        if name in ("src", "background"):
            return self.picture(value) or None
        if name == "href":
            return value if _NO_ADDRESS.sub("", value).lower().startswith(_LINKS) else None
        return value

    def picture(self, address: str) -> str:
        """The address to load a picture from, "" for none."""
        bare = _NO_ADDRESS.sub("", address)
        if bare[:4].lower() == "cid:":
            number = self._parts.get(unquote(bare[4:]).strip("<>"))
            return "" if number is None else f"{self._cid_base}{number}"
        if bare in self._parts:
            return f"{self._cid_base}{self._parts[bare]}"
        if _PICTURE.match(address.strip()):
            return bare
        if not _REMOTE.match(bare):
            return ""
        if not self._remote:
            self.blocked += 1
            return ""
        return f"https:{bare}" if bare.startswith(("//", "\\\\")) else bare


def _is_bearable(html: str) -> bool:
    """Whether a tree can be built of it in reasonable time: parsers are quadratic in depth and in the number of
    attributes of one element."""
    depth = deepest = 0
    for match in _TAG.finditer(html):
        if match.end() - match.start() > _LONG_TAG:
            bare = _QUOTED.sub("", match[0])
            if len(_SEPARATORS.findall(bare)) > _MOST_ATTRIBUTES:
                return False
        if match[2].lower() in _NEVER_OPEN:
            continue
        depth = max(0, depth - 1) if match[1] else depth + 1
        deepest = max(deepest, depth)
    return deepest <= _DEEPEST


def _style_sheets(html: str) -> list[str]:
    found = []
    position = 0
    while (opening := _STYLE_OPEN.search(html, position)) is not None:
        closing = _STYLE_CLOSE.search(html, opening.end())
        if closing is None:
            break
        found.append(_COMMENT_MARKS.sub("", html[opening.end() : closing.start()]))
        position = closing.end()
    return found


def _body_frame(html: str, rewriter: _Rewriter) -> tuple[str, str]:
    """A div that carries the body's own style, which the allow list drops together with the body."""
    body = _BODY.search(html)
    if body is None:
        return "", ""
    given = {
        match[1].lower(): entities.unescape(match[2] or match[3] or match[4] or "")
        for match in _BODY_ATTRIBUTE.finditer(body[1])
    }
    written = given.get("style", "")
    for attribute, name in (("bgcolor", "background-color"), ("text", "color")):
        if attribute in given:
            written = f"{name}:{given[attribute]};{written}"
    style = css.declarations(written, rewriter.picture)
    return (f'<div style="{entities.escape(style)}">', "</div>") if style else ("", "")
