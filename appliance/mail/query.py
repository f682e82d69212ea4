"""The search language: from what a person types to a tree that an index can answer.

docs/search.md describes the language for people; this module is its grammar::

    either  = all { "OR" all }
    all     = part { ["AND"] part }
    part    = ( "NOT" | "-" ) part | "(" either ")" | [ field ":" ] value
    value   = word [ "*" ] | '"' words '"' | "(" either ")"        (the last after a field only)

Words that hold neither letter nor digit are passed over, as in ``Müller & Sons``. Whatever is typed, the answer is
a tree or a ``QueryError`` with a sentence and the place: nothing else is ever raised.
"""

from __future__ import annotations

import difflib
import re
from datetime import date
from typing import Literal, NoReturn, TypeAlias, get_args

import msgspec

from appliance.errors import QueryError
from appliance.mail import words
from appliance.mail.periods import Period, period_of

LONGEST = 4096
"""Characters in a query."""
MOST_WORDS = 200
"""Words in a query, those in phrases counted singly."""
DEEPEST = 32
"""Parentheses and negations inside one another."""
SHORTEST_PREFIX = 2
"""Letters before the star; one, where a character is as much as a word (Chinese, Japanese, Korean)."""

Field = Literal["any", "from", "to", "cc", "bcc", "participant", "subject", "body", "attachment", "filename"]


class Everything(msgspec.Struct, frozen=True):
    """Each message."""


class Text(msgspec.Struct, frozen=True):
    """Words in a field: as one word or address, as a phrase (``quoted``), the last a beginning (``prefix``).

    ``value`` holds at least one letter or digit. ``any`` looks in subject, addresses, body and attachments.
    """

    field: Field
    value: str
    quoted: bool = False
    prefix: bool = False


class Flag(msgspec.Struct, frozen=True):
    """Has an attachment, or could not be read as the message that it should be."""

    name: Literal["attachment", "unparsed"]


class Dates(msgspec.Struct, frozen=True):
    """Dated from ``start`` to before ``end``, in seconds since 1970-01-01 UTC; None is open."""

    start: int | None = None
    end: int | None = None


class Sizes(msgspec.Struct, frozen=True):
    """More bytes than ``above``, fewer than ``below``; None is open."""

    above: int | None = None
    below: int | None = None


class MessageId(msgspec.Struct, frozen=True):
    """This Message-ID (without angle brackets), or this id of the archive's own."""

    value: str


class InFolder(msgspec.Struct, frozen=True):
    """Lay in one of these folders of an archive, given by their ids. No query that somebody types says this."""

    archive: str
    folders: tuple[str, ...]


class And(msgspec.Struct, frozen=True):
    """All of two or more parts."""

    parts: tuple[Node, ...]


class Or(msgspec.Struct, frozen=True):
    """At least one of two or more parts."""

    parts: tuple[Node, ...]


class Not(msgspec.Struct, frozen=True):
    """Each message but these."""

    part: Node


Node: TypeAlias = Everything | Text | Flag | Dates | Sizes | MessageId | InFolder | And | Or | Not


def parse(text: str, *, today: date) -> Node:
    """The tree for ``text``; an empty query or ``*`` is everything. ``today`` is what "last week" counts from.

    Raises QueryError with a sentence for people and the 0-based place.
    """
    if len(text) > LONGEST:
        raise QueryError(f"The query is longer than {LONGEST:,} characters; shorten it.", LONGEST)
    # A lone surrogate is no character and could not be looked up; one question mark for each keeps places right.
    return _Parser(text.encode("utf-8", "replace").decode(), today).parse()


_TEXT_FIELDS: dict[str, Field] = {name: name for name in get_args(Field) if name != "any"} | {"with": "participant"}
_PEOPLE: tuple[Field, ...] = ("from", "to", "cc", "bcc", "participant")
_DATE_FIELDS = {"before": "before", "after": "after", "on": "on", "date": "on"}
_SIZE_FIELDS = ("larger", "smaller")
_ID_FIELDS = ("id", "message-id")
_FIELDS = (*_TEXT_FIELDS, *_DATE_FIELDS, *_SIZE_FIELDS, *_ID_FIELDS, "has", "is")

_OPENING, _CLOSING = '"“”„«»', '"“”„«»'  # what phones and word processors make of a quotation mark
_FIELD = re.compile(r"([A-Za-z][A-Za-z-]*):")
_SPACE = re.compile(r"\s*")
_WORD = re.compile(rf"[^\s(){_OPENING}]+")
_ID = re.compile(r"<[^<>\s]*>|[^\s<>()]+")
_SIZE = re.compile(r"(\d{1,12})(?:[.,](\d{1,3}))?\s*(?:([kmg])i?)?b?", re.IGNORECASE)
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30}
_OPERATORS = ("AND", "OR", "NOT")


class _Parser:
    """Reads one query from left to right; ``_at`` is the place of the next character."""

    def __init__(self, text: str, today: date) -> None:
        self._text = text
        self._today = today
        self._at = 0
        self._depth = 0
        self._words = 0
        self._group: str | None = None  # the field before the parenthesis that is open
        self._blank: tuple[str, int] | None = None  # the last word passed over, and its place

    def parse(self) -> Node:
        self._skip_space()
        if self._at == len(self._text):
            return Everything()
        node = self._either()
        if self._at < len(self._text):
            self._fail("The closing parenthesis {at} has no opening one before it; take it out.", self._at)
        return node

    # -- the grammar ------------------------------------------------------------------------------------------

    def _either(self) -> Node:
        parts = [self._all()]
        while self._take_operator("OR"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all(self) -> Node:
        parts: list[Node] = []
        operator: tuple[str, int] | None = None
        self._blank = None
        while True:
            self._skip_space()
            if self._ends() or self._peek_operator() == "OR":
                break
            start = self._at
            if self._take_operator("AND"):
                if not parts or operator:
                    self._fail("“AND” {at} needs words on both sides; add them or take it out.", start)
                operator = ("AND", start)
                continue
            node = self._part()
            if node is not None:
                parts.append(node)
                operator = None
        if operator and parts:
            self._fail("“AND” {at} needs words on both sides; add them or take it out.", operator[1])
        if not parts:
            self._fail_empty()
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _part(self) -> Node | None:
        """One part; None where it is a word without letters and digits."""
        start = self._at
        if self._take_operator("NOT"):
            self._skip_space()
            if self._ends() or self._peek_operator() in ("AND", "OR"):
                self._fail("After “NOT” {at} a word is missing; add one or take it out.", start)
            return self._negated(start)
        if self._text[start] == "-" and self._text[start + 1 : start + 2] not in ("", "-", ")", " "):
            self._at += 1
            return self._negated(start)
        if self._text[start] == "(":
            return self._parenthesis()
        field = _FIELD.match(self._text, start)
        if field and self._is_field(field):
            return self._fielded(field[1].lower(), start)
        return self._value(self._group or "any")

    def _negated(self, start: int) -> Node | None:
        self._enter(start)
        node = self._part()
        self._depth -= 1
        return None if node is None else Not(node)

    def _parenthesis(self) -> Node:
        start = self._at
        self._enter(start)
        self._at += 1
        node = self._either()
        if self._at == len(self._text):
            self._fail("The parenthesis {at} is not closed; add “)”.", start)
        self._at += 1
        self._depth -= 1
        return node

    def _fielded(self, field: str, start: int) -> Node | None:
        if self._group is not None:
            self._fail(
                f"“{field}:” {{at}} stands inside the parentheses of “{self._group}:”; take it out of them.", start
            )
        self._at = start + len(field) + 1
        self._skip_space()
        if self._ends() or self._peek_operator():
            self._fail(f"After “{field}:” {{at}} something is missing; write what to look for behind it.", start)
        if self._text[self._at] == "(":
            self._group = field
            node: Node | None = self._parenthesis()
            self._group = None
            return node
        return self._value(field)

    # -- values -----------------------------------------------------------------------------------------------

    def _value(self, field: str) -> Node | None:
        """What stands behind ``field``: a quoted text or a word."""
        start = self._at
        if field in _ID_FIELDS:
            return self._message_id(start)
        quoted = self._text[start] in _OPENING
        value = self._quoted() if quoted else self._word()
        if field in _DATE_FIELDS:
            return self._dates(_DATE_FIELDS[field], value, start)
        if field in _SIZE_FIELDS:
            return self._sizes(field, value, start)
        if field in ("has", "is"):
            return self._flag(field, value, start)
        text_field: Field = "any" if field == "any" else _TEXT_FIELDS[field]
        return self._phrase(text_field, value, start) if quoted else self._single(text_field, value, start)

    def _quoted(self) -> str:
        start = self._at
        end = next((at for at in range(start + 1, len(self._text)) if self._text[at] in _CLOSING), None)
        if end is None:
            self._fail("The quotation mark {at} is not closed; add another one, or take it out.", start)
        self._at = end + 1
        return self._text[start + 1 : end]

    def _word(self) -> str:
        match = _WORD.match(self._text, self._at)
        if match is None:  # the caller saw a character here that is no space and ends nothing
            self._fail("What stands {at} is not understood; put it in quotation marks.", self._at)
        self._at = match.end()
        return match[0]

    def _phrase(self, field: Field, value: str, start: int) -> Node:
        prefix = value.rstrip().endswith("*")
        value = value.replace("*", " ").strip()
        if not words.phrase(value).words:
            self._fail("The quotation marks {at} hold no letter and no digit to look for.", start)
        self._count(value, start)
        if prefix:
            self._check_prefix(field, value, start)
        return Text(field, value, quoted=True, prefix=prefix)

    def _single(self, field: Field, value: str, start: int) -> Node | None:
        stem = value.rstrip("*")
        prefix = stem != value
        if not stem and field == "any":
            return Everything()
        if stem.startswith(("*@", "*.")):  # *@example.com and *.pdf mean what @example.com and .pdf mean here
            stem = stem[1:]
        if "*" in stem:
            self._fail(
                "The star {at} does not stand at the end of a word, the only place where it means "
                "“any ending”; take it out, or put the text in quotation marks.",
                start + value.index("*"),
            )
        if not words.phrase(stem).words:
            if prefix:
                self._check_prefix(field, stem, start)
            self._blank = (value, start)
            return None
        self._count(stem, start)
        if prefix:
            self._check_prefix(field, stem, start)
        return Text(field, stem, prefix=prefix)

    def _check_prefix(self, field: Field, stem: str, start: int) -> None:
        """Fail where the star would stand for too many words: ``anna.s*`` will do for a person, not for a text."""
        found = words.phrase(stem)
        given = found.words if field in _PEOPLE else found.words[-1:]
        if not found.begins and sum(len(forms[0]) for forms in given) < SHORTEST_PREFIX:
            self._fail(
                f"There is too little before the star of “{_short(stem)}*” {{at}}: "
                f"give at least {SHORTEST_PREFIX} letters or digits.",
                start,
            )

    def _dates(self, field: str, value: str, start: int) -> Node:
        if value.lower() in ("last", "this"):
            following = re.compile(r"\s+(week|month|year)(?![^\s)])", re.IGNORECASE).match(self._text, self._at)
            if following:
                value = f"{value} {following[1]}"
                self._at = following.end()
        try:
            period: Period = period_of(value, today=self._today)
        except ValueError as error:
            self._fail(str(error), start)
        if field == "before":
            return Dates(end=period.start)
        if field == "after":
            return Dates(start=period.start)
        return Dates(start=period.start, end=period.end)

    def _sizes(self, field: str, value: str, start: int) -> Node:
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            self._fail(f"The size “{_short(value)}” {{at}} is not understood; write 500, 10k, 5M or 1G.", start)
        thousandths = int(match[1]) * 1000 + int((match[2] or "0").ljust(3, "0"))
        size = (thousandths << _UNITS[(match[3] or "").lower()]) // 1000
        return Sizes(above=size) if field == "larger" else Sizes(below=size)

    def _flag(self, field: str, value: str, start: int) -> Node:
        known = {"has": ("attachment", "attachments"), "is": ("unparsed",)}[field]
        if value.lower() not in known:
            self._fail(
                f"“{field}:{_short(value)}” {{at}} is not understood; “{field}:{known[0]}” is what can be asked.",
                start,
            )
        return Flag("attachment" if field == "has" else "unparsed")

    def _message_id(self, start: int) -> Node:
        if self._text[start] in _OPENING:
            value = self._quoted()
        else:
            match = _ID.match(self._text, start)
            if match is None:
                self._fail("The id {at} is not understood; put it in quotation marks.", start)
            value = match[0]
            self._at = match.end()
        value = value.strip().removeprefix("<").removesuffix(">")
        if not value:
            self._fail("The id {at} is empty; write what stands in the message's Message-ID.", start)
        return MessageId(value)

    # -- characters -------------------------------------------------------------------------------------------

    def _skip_space(self) -> None:
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _ends(self) -> bool:
        return self._at == len(self._text) or self._text[self._at] == ")"

    def _peek_operator(self) -> str | None:
        match = _WORD.match(self._text, self._at)
        return match[0] if match and match[0] in _OPERATORS else None

    def _take_operator(self, operator: str) -> bool:
        if self._peek_operator() != operator:
            return False
        self._at += len(operator)
        return True

    def _is_field(self, match: re.Match[str]) -> bool:
        """Whether ``name:`` is a field; fails where it looks like one that does not exist.

        ``Re: offer`` and ``https://`` are text that people paste, not fields.
        """
        name = match[1].lower()
        if name in _FIELDS:
            return True
        behind = self._text[match.end() : match.end() + 1].strip()
        if behind not in ("", "/", "\\", ")"):
            close = difflib.get_close_matches(name, _FIELDS, n=1)
            advice = f" Did you mean “{close[0]}:”?" if close else ""
            self._fail(
                f"There is no field “{_short(match[1])}:” {{at}}.{advice} "
                "To look for the text itself, put it in quotation marks.",
                match.start(),
            )
        return False

    def _enter(self, start: int) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            self._fail(f"Parentheses and negations are more than {DEEPEST} deep {{at}}; ask for less at once.", start)

    def _count(self, value: str, start: int) -> None:
        self._words += len(words.phrase(value).words)
        if self._words > MOST_WORDS:
            self._fail(f"The query has more than {MOST_WORDS} words ({{at}} it is too much); shorten it.", start)

    def _fail_empty(self) -> NoReturn:
        """Nothing to look for stands where something must."""
        if self._blank:
            value, start = self._blank
            self._fail(f"“{_short(value)}” {{at}} has no letter and no digit to look for.", start)
        if self._at < len(self._text) and self._text[self._at] == ")":
            before = self._text[: self._at].rstrip()
            if before.endswith("("):
                self._fail("The parentheses {at} are empty; write something between them.", len(before) - 1)
            if before.endswith("OR"):
                self._fail("“OR” {at} needs words on both sides; add them or take it out.", len(before) - 2)
            self._fail("The closing parenthesis {at} has no opening one before it; take it out.", self._at)
        if self._peek_operator() == "OR":
            self._fail("“OR” {at} needs words on both sides; add them or take it out.", self._at)
        before = self._text[: self._at].rstrip()
        if before.endswith("("):
            self._fail("The parenthesis {at} is not closed; add “)”.", len(before) - 1)
        self._fail("“OR” {at} needs words on both sides; add them or take it out.", max(0, len(before) - 2))

    def _fail(self, sentence: str, position: int) -> NoReturn:
        """Raise the sentence; ``{at}`` in it becomes the place as people count, from 1."""
        raise QueryError(sentence.replace("{at}", f"at character {position + 1}"), position)


def _short(value: str) -> str:
    return value if len(value) <= 40 else f"{value[:39]}…"
