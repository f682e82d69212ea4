"""The piece of a message that a result list shows, with the words that were asked for marked in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from appliance.mail import query, words

WIDTH = 220
"""Characters of a snippet, about."""

_LEAD = 60  # characters shown before the first word found
_MOST_MARKS = 200  # found words that are looked at
_NO_LETTER, _LETTER = r"[\W_]", r"[^\W_]"
_SPELLING = re.compile("ae|oe|ue|aa|ss|th|a|o|u")  # what ``words.aligned`` leaves as one letter, spelled out
_SPELLINGS = {
    "ae": "(?:ae|[äæ])",
    "oe": "(?:oe|[öøœ])",
    "ue": "(?:ue|ü)",
    "aa": "(?:aa|å)",
    "ss": "(?:ss|ß)",
    "th": "(?:th|þ)",
    "a": "[aäå]",
    "o": "[oöø]",
    "u": "[uü]",
}


class Snippet(msgspec.Struct, frozen=True):
    """``text`` is plain; ``marks`` are the (start, end) of found words in it, in order, not overlapping."""

    text: str
    marks: tuple[tuple[int, int], ...] = ()


class Highlighter:
    """Cuts snippets for one query. Words are compared in ``words.aligned`` form, where places do not move."""

    def __init__(self, node: query.Node) -> None:
        patterns = {
            _pattern(phrase.words, text.prefix or phrase.begins)
            for text in _positive(node)
            if (phrase := words.phrase(text.value)).words
        }
        longest_first = sorted(patterns, key=lambda pattern: (-len(pattern), pattern))
        self._pattern = re.compile("|".join(longest_first)) if patterns else None

    def snippet(self, excerpt: str) -> Snippet:
        """The part of ``excerpt`` with the most of the words, or its beginning where there are none."""
        found = self._found(excerpt)
        start = _word_start(excerpt, _best(found) - _LEAD) if found else 0
        end = _word_end(excerpt, start + WIDTH)
        lead, tail = "… " if start else "", " …" if end < len(excerpt) else ""
        shift = len(lead) - start
        return Snippet(
            f"{lead}{excerpt[start:end]}{tail}",
            tuple((first + shift, last + shift) for first, last, _ in found if start <= first and last <= end),
        )

    def _found(self, excerpt: str) -> list[tuple[int, int, str]]:
        """The first, the end and the text of each thing found, in order."""
        if self._pattern is None:
            return []
        found = []
        for match in self._pattern.finditer(words.aligned(excerpt)):
            found.append((match.start(), match.end(), match[0]))
            if len(found) == _MOST_MARKS:
                break
        return found


def _pattern(phrase: Sequence[tuple[str, ...]], begins: bool) -> str:
    """A regular expression for the words of ``phrase`` side by side in aligned text."""
    first, *others = phrase
    before = "" if words.is_joined(first[0]) else f"(?<!{_LETTER})"
    built = before + _spelled(first)
    for previous, word in zip(phrase, others, strict=False):
        if words.is_joined(previous[0]) and words.is_joined(word[0]) and previous[0][1:] == word[0][:1]:
            built += re.escape(word[0][1:])  # pairs overlap: their common character is there already
        elif words.is_joined(previous[0]) or words.is_joined(word[0]):
            built += f"{_NO_LETTER}*{_spelled(word)}"
        else:
            built += f"{_NO_LETTER}+{_spelled(word)}"
    if words.is_joined(phrase[-1][0]):
        return built
    return f"{built}{_LETTER}*" if begins else f"{built}(?!{_LETTER})"


def _spelled(forms: tuple[str, ...]) -> str:
    ways = [_SPELLING.sub(lambda letters: _SPELLINGS[letters[0]], re.escape(form)) for form in forms]
    return ways[0] if len(ways) == 1 else f"(?:{'|'.join(ways)})"


def _best(found: Sequence[tuple[int, int, str]]) -> int:
    """Where the stretch begins that holds the most different words."""
    best, most = 0, 0
    for place, (first, _, _) in enumerate(found):
        near = {text for start, _, text in found[place : place + 20] if start < first + WIDTH - _LEAD}
        if len(near) > most:
            best, most = first, len(near)
    return best


def _positive(node: query.Node) -> Iterator[query.Text]:
    """The texts that are looked for in bodies; not those that must not be there."""
    match node:
        case query.Text(field="any" | "body"):
            yield node
        case query.And(parts=parts) | query.Or(parts=parts):
            for part in parts:
                yield from _positive(part)
        case _:
            return


def _word_start(text: str, place: int) -> int:
    if place <= 0:
        return 0
    space = text.find(" ", place, place + _LEAD)
    return space + 1 if space >= 0 else place


def _word_end(text: str, place: int) -> int:
    if place >= len(text):
        return len(text)
    space = text.rfind(" ", place - _LEAD, place)
    return space if space > 0 else place
