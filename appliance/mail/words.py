"""Words of a text, the same for what is indexed, what is asked for and what is highlighted.

A word is a run of letters and digits, of whatever script; everything else separates. A word is reduced to its
*forms*: lower case, compatibility characters resolved, accents taken off. A letter that is also written as two
(ä ae, ö oe, ü ue, ø oe, å aa) gives a second form, so that ``Müller`` is found by ``muller`` and by ``mueller``
while ``poet`` and ``pot`` stay two words: the accented letter has both forms, two plain letters have their own.

Chinese, Japanese and Korean are written without (or with few) spaces. A run of them becomes overlapping pairs of
characters and, at its end, the last character alone, so that every character begins exactly one word: two or more
characters are found as a phrase of pairs, a single one as the beginning of a word.

No word is left out for being common or long, and nothing here reads or writes.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

LONGEST_WORD = 64
"""Characters of a word; a longer run (a key, an encoded line) is several words, one behind the other."""

_DOMAIN_LEVELS = 8  # parents kept of a domain with hundreds of labels, which only an attacker sends
_LONGEST_EXACT = 1000


def _mark_ranges() -> str:
    """All combining marks, as the inside of a regular expression's class.

    Python's ``\\w`` leaves them out, and with them half of every word of Hindi, Thai or decomposed Latin. Ranges
    are joined over the letters between them, which ``\\w`` has anyway: a short class is a fast one.
    """
    ranges: list[tuple[int, int]] = []
    for code in (*range(0x300, 0x1F000), *range(0xE0100, 0xE01F0)):
        if unicodedata.category(chr(code))[0] != "M":
            continue
        if ranges and all(chr(between).isalnum() for between in range(ranges[-1][1] + 1, code)):
            ranges[-1] = (ranges[-1][0], code)
        else:
            ranges.append((code, code))
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


_JOINERS = "\u00ad\u200b-\u200d\u2060\ufe00-\ufe0f\ufeff"  # soft hyphen, zero width, variation selectors
_INSIDE = f"[{_mark_ranges()}{_JOINERS}]"
_CJK = (
    "\u1100-\u11ff\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u3131-\u318e"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb\uf900-\ufaff\uff66-\uff9f"
    "\uffa0-\uffdc\U00020000-\U0003ffff"
)
_ASCII_WORD = re.compile(rf"[a-z0-9]{{1,{LONGEST_WORD}}}")
_WORD = re.compile(rf"([{_CJK}](?:[{_CJK}]|{_INSIDE})*)|[^\W_{_CJK}](?:[^\W_{_CJK}]|{_INSIDE}){{0,{LONGEST_WORD - 1}}}")
_CJK_CHARACTER = re.compile(f"[{_CJK}]")
_SEPARATOR = re.compile(rf"(?!{_INSIDE})[\W_]")

_NO_JOINERS = dict.fromkeys(
    (0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
)
# Letters that no decomposition takes apart, and letters with a second spelling of two.
_PLAIN = str.maketrans({"ø": "o", "đ": "d", "ł": "l", "ħ": "h", "ı": "i", "ŧ": "t", "æ": "ae", "œ": "oe", "þ": "th"})
_DIGRAPHS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})
_HAS_DIGRAPH = re.compile("[äöüøå]")


class Token(NamedTuple):
    """One word of a text: its forms (never none; digraphs only in the last) and its place in the text."""

    forms: tuple[str, ...]
    start: int
    end: int


class Phrase(NamedTuple):
    """Words to be found side by side; each by any of its forms.

    ``begins``: the last word is the beginning of a word (a single character of Chinese, Japanese or Korean).
    """

    words: tuple[tuple[str, ...], ...]
    begins: bool = False


def tokens(text: str) -> list[Token]:
    """The words of ``text`` in their order; places are in characters of ``text`` as it was given."""
    if text.isascii():
        return [Token((match[0],), match.start(), match.end()) for match in _ASCII_WORD.finditer(text.lower())]
    found: list[Token] = []
    for match in _WORD.finditer(text):
        word = match[0]
        if word.isascii():
            found.append(Token((word.lower(),), match.start(), match.end()))
        elif match[1]:
            found.extend(_pairs(word, match.start(), match.end()))
        elif forms := _forms(word):
            found.append(Token(forms, match.start(), match.end()))
    return found


def flat(text: str) -> str | None:
    """The words of ``text`` separated by single spaces; None where some word has several forms.

    The same words as ``tokens`` gives, at a fraction of the cost for the many texts that are plain ASCII.
    """
    if text.isascii():
        return " ".join(_ASCII_WORD.findall(text.lower()))
    if _HAS_DIGRAPH.search(unicodedata.normalize("NFKC", text).casefold()):
        return None
    return " ".join(token.forms[0] for token in tokens(text))


def renderings(text: str) -> tuple[str, ...]:
    """The words of ``text`` separated by spaces, once without digraphs and, where it differs, once with them."""
    found = tokens(text)
    plain = " ".join(token.forms[0] for token in found)
    spelled_out = " ".join(token.forms[-1] for token in found)
    return tuple(dict.fromkeys(line for line in (plain, spelled_out) if line))


def phrase(text: str) -> Phrase:
    """The words to look for when somebody asks for ``text``; no words where it has neither letter nor digit."""
    found = tokens(text)
    if not found:
        return Phrase(())
    last = found[-1]
    single = len(last.forms[0]) == 1 and is_joined(last.forms[0])
    if single and len(found) > 1 and found[-2].end > last.start:  # the pair before it has this character already
        return Phrase(tuple(token.forms for token in found[:-1]))
    return Phrase(tuple(token.forms for token in found), begins=single)


def exact(text: str) -> tuple[str, ...]:
    """The forms of what is looked up whole (an address, a domain): folded like words, but in one piece."""
    whole = "".join(text.split())
    if whole.isascii():
        return (whole.lower()[:_LONGEST_EXACT],) if whole else ()
    forms = (_fold(whole)[:_LONGEST_EXACT], _fold(_spelled_out(whole))[:_LONGEST_EXACT])
    return tuple(dict.fromkeys(form for form in forms if form))


def aligned(text: str) -> str:
    """``text`` in lower case and without accents, character by character, so that places stay what they are.

    What folds to several characters, and the letters with two spellings, stay as they are in lower case.
    """
    return text.lower() if text.isascii() else text.translate(_ALIGNED)


def is_joined(character: str) -> bool:
    """Whether words are written without spaces in this character's script (Chinese, Japanese, Korean)."""
    return _CJK_CHARACTER.match(character) is not None


@lru_cache(maxsize=2048)
def address_terms(name: str, address: str) -> tuple[tuple[str, ...], ...]:
    """What a person's name and address are found by, as runs of words that stand side by side.

    The runs are: the words of the name; the parts of the local part; the words of each label of the domain but
    the last; and, each alone, the whole address, the local part, the domain, its parents and the last label with
    its dot (``.org``: without the dot, ``de``, ``in`` or ``at`` in a text would find half the archive).
    """
    runs = dict.fromkeys(renderings(name))
    for whole in exact(address):
        local, _, domain = whole.rpartition("@") if "@" in whole else (whole, "", "")
        labels = [label for label in domain.split(".") if label]
        for part in (local, *labels[:-1][-_DOMAIN_LEVELS:]):
            runs |= dict.fromkeys(renderings(part))
        parents = [".".join(labels[place:]) for place in range(max(0, len(labels) - _DOMAIN_LEVELS), len(labels))]
        if len(parents) > 1:
            parents[-1] = f".{parents[-1]}"
        runs |= dict.fromkeys(term for term in (whole, local, domain.strip("."), *parents) if term)
    return tuple(tuple(run.split()) for run in runs)


def _pairs(run: str, start: int, end: int) -> list[Token]:
    """The tokens of a run of Chinese, Japanese or Korean characters."""
    folded = _SEPARATOR.sub("", _fold(run))
    aligned = len(folded) == end - start  # else (half-width forms, jamo) every token has the whole run's place
    return [
        Token(
            (folded[place : place + 2],),
            start + place if aligned else start,
            min(start + place + 2, end) if aligned else end,
        )
        for place in range(len(folded))
    ]


@lru_cache(maxsize=1 << 14)
def _forms(word: str) -> tuple[str, ...]:
    """The forms of one word; none where nothing of it is left."""
    forms = (_SEPARATOR.sub("", _fold(word)), _SEPARATOR.sub("", _fold(_spelled_out(word))))
    return tuple(dict.fromkeys(form for form in forms if form))


def _spelled_out(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().translate(_DIGRAPHS)


def _fold(text: str) -> str:
    """Lower case without accents. Marks that make another letter (Indic vowels, kana's voicing) stay."""
    lowered = unicodedata.normalize("NFKC", text.translate(_NO_JOINERS)).casefold().translate(_PLAIN)
    bare = "".join(filter(_is_kept, unicodedata.normalize("NFKD", lowered)))
    return unicodedata.normalize("NFC", bare)


def _is_kept(character: str) -> bool:
    """False for overlays (class 1), Hebrew and Arabic points (10 to 35) and accents (200 up), Unicode 4.3."""
    mark = unicodedata.combining(character)
    return not (mark == 1 or 10 <= mark <= 35 or mark >= 200)


class _Aligned(dict[int, str]):
    """A table for ``str.translate`` that learns each character when it first meets it."""

    def __missing__(self, code: int) -> str:
        lower = chr(code).lower()
        folded = lower if _HAS_DIGRAPH.match(lower) else _fold(lower)
        self[code] = folded if len(folded) == 1 else lower if len(lower) == 1 else chr(code)
        return self[code]


_ALIGNED = _Aligned()
