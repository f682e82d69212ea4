"""Style sheets and style attributes without anything that loads, covers or escapes (CSS Syntax Level 3).

What is kept is written anew from tokens, so nothing hides in comments, escapes or bad syntax.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import tinycss2

LONGEST = 256 * 1024  # characters of style that are looked at

Resource = Callable[[str], str]
"""Takes the address in a url(), gives the one to use instead, "" for none."""

_FUNCTIONS = frozenset(
    {"rgb", "rgba", "hsl", "hsla", "calc", "min", "max", "clamp", "linear-gradient", "radial-gradient", "url"}
)
_BLOCKING_POSITIONS = frozenset({"fixed", "sticky", "absolute"})  # could lay a false page over the true one
_PROPERTY = re.compile(r"[a-z][a-z-]*|-(?:webkit|moz|ms)-[a-z-]+")
_DENIED = frozenset({"behavior", "-moz-binding", "-ms-behavior", "content-visibility", "cursor", "src", "filter"})
_DEEPEST = 8


def style_sheet(css: str, resource: Resource) -> str:
    """A safe form of what stands in a style element."""
    return _rules(tinycss2.parse_stylesheet(css[:LONGEST], skip_comments=True, skip_whitespace=True), resource, 0)


def declarations(css: str, resource: Resource) -> str:
    """A safe form of a style attribute."""
    return _declarations(tinycss2.parse_blocks_contents(css[:LONGEST]), resource)


def _rules(rules: Iterable[Any], resource: Resource, depth: int) -> str:
    kept = []
    for rule in rules:
        if rule.type == "qualified-rule":
            selector = _selector(rule.prelude)
            body = _declarations(tinycss2.parse_blocks_contents(rule.content), resource)
            if selector and body:
                kept.append(f"{selector}{{{body}}}")
        elif rule.type == "at-rule" and rule.lower_at_keyword == "media" and rule.content and depth < _DEEPEST:
            inner = tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True)
            body = _rules(inner, resource, depth + 1)
            condition = _selector(rule.prelude)
            if body and condition:
                kept.append(f"@media {condition}{{{body}}}")
    return "".join(kept)


def _selector(tokens: list[Any]) -> str:
    """A selector or media condition; "" for one that could leave the style element."""
    written = str(tinycss2.serialize(tokens)).strip()
    return "" if any(sign in written for sign in "<{}\\@") or len(written) > 2000 else written


def _declarations(items: Iterable[Any], resource: Resource) -> str:
    kept = []
    for item in items:
        if item.type != "declaration":
            continue
        name = item.lower_name
        if not _PROPERTY.fullmatch(name) or name in _DENIED or _is_blocking(name, item.value):
            continue
        value = _value(item.value, resource)
        if value:
            kept.append(f"{name}:{value}{' !important' if item.important else ''}")
    return ";".join(kept)


def _is_blocking(name: str, tokens: list[Any]) -> bool:
    return name == "position" and any(
        token.type == "ident" and token.lower_value in _BLOCKING_POSITIONS for token in tokens
    )


def _value(tokens: list[Any], resource: Resource) -> str:
    """The value with its addresses replaced; "" where any of it is not allowed."""
    replaced = [_token(token, resource) for token in tokens]
    if any(token is None for token in replaced):
        return ""
    written = "".join(piece for piece in replaced if piece is not None).strip()
    return "" if any(sign in written for sign in "<{}\\@") else written


def _token(token: Any, resource: Resource) -> str | None:
    if token.type == "url":
        return _url(token.value, resource)
    if token.type == "function":
        name = token.lower_name
        if name not in _FUNCTIONS:
            return None
        if name == "url":
            address = next((one.value for one in token.arguments if one.type == "string"), "")
            return _url(address, resource)
        inner = _value(token.arguments, resource)
        return f"{name}({inner})" if inner else None
    if token.type in ("() block", "[] block", "{} block", "error", "at-keyword", "comment"):
        return "" if token.type == "comment" else None
    return str(token.serialize())


def _url(address: str, resource: Resource) -> str | None:
    replaced = resource(address.strip())
    if not replaced or re.search(r"[\s\"'()\\<>]", replaced):
        return None
    return f'url("{replaced}")'
