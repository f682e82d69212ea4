"""Forms: a question, where the answer goes, a word of help, and what is wrong with it; the buttons below."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message as Event
from textual.widget import Widget
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option


class WrongAnswerError(Exception):
    """An answer that cannot be; said at the field, by its id, that it was typed into."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field, self.why = field, why


class Heading(Static):
    """A heading within the page."""

    def __init__(self, text: str) -> None:
        super().__init__(text, markup=False)


class Text(Static):
    """A paragraph. ``kind`` is "", lead, hint, good, warn, bad or mono."""

    def __init__(self, text: str, kind: str = "", *, id: str | None = None) -> None:
        super().__init__(text, markup=False, id=id, classes=f"-{kind}" if kind else None)


class Field(Vertical):
    """A label, an input of one line, a word of help, and room for what is wrong.

    ``Field.value`` is what was typed. The input's id is the field's with ``-input`` behind.
    """

    def __init__(
        self, label: str, *, id: str, value: str = "", hint: str = "", secret: bool = False, placeholder: str = "",
        width: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(id=id)
        self._label, self._hint = label, hint
        self.input = Input(value, placeholder=placeholder, password=secret, id=f"{id}-input", select_on_focus=False)
        self.input.cursor_blink = False  # over a slow line each change of it is sent
        if width is not None:
            self.input.styles.width = width

    def compose(self) -> ComposeResult:
        """Label, input, hint, error."""
        yield Static(self._label, classes="label", markup=False)
        yield self.input
        yield Static(self._hint, classes="hint" if self._hint else "hint -none", markup=False)
        yield Static("", classes="error -none", markup=False)

    @property
    def value(self) -> str:
        """What was typed."""
        return self.input.value

    @value.setter
    def value(self, value: str) -> None:
        self.input.value = value

    def relabel(self, label: str) -> None:
        """Ask for something else."""
        self.query_one(".label", Static).update(label)

    def wrong(self, why: str) -> None:
        """Say what is wrong with the answer and go there; with "" it is right again."""
        error = self.query_one(".error", Static)
        error.update(why)
        error.set_class(not why, "-none")
        self.input.set_class(bool(why), "-wrong")
        if why:
            self.input.focus()


class Choice(OptionList):
    """One of a few answers, each with a line of help. ``Choice.value`` is the key of the one the cursor is on."""

    def __init__(self, answers: Sequence[tuple[str, str, str]], *, id: str, value: str = "") -> None:
        """``answers`` are (key, words, help)."""
        super().__init__(
            *(Option(f"{words}\n  {help}" if help else words, id=key) for key, words, help in answers),
            id=id,
            markup=False,
        )
        self._keys = [key for key, _words, _help in answers]
        if value in self._keys:
            self.highlighted = self._keys.index(value)

    @property
    def value(self) -> str:
        """The key of the answer the cursor is on."""
        return self._keys[self.highlighted or 0]


class Buttons(Horizontal):
    """Buttons in a row, the safe or usual one first. Left and right go from one to the next."""

    BINDINGS: ClassVar[list[BindingType]] = [("left", "app.focus_previous"), ("right", "app.focus_next")]

    class Chosen(Event):
        """A button was pressed; ``id`` is its id."""

        def __init__(self, id: str) -> None:
            super().__init__()
            self.id = id

    def __init__(self, *buttons: tuple[str, str] | tuple[str, str, str]) -> None:
        """``buttons`` are (id, words) or (id, words, kind); kind is "main" or "danger"."""
        super().__init__()
        self._buttons = buttons

    def compose(self) -> ComposeResult:
        """The buttons."""
        for id, words, *kind in self._buttons:
            yield Button(words, id=id, classes=" ".join(f"-{one}" for one in kind) or None, compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Tell the page which."""
        event.stop()
        self.post_message(self.Chosen(event.button.id or ""))


class Facts(Vertical):
    """Names and values in two columns."""

    def __init__(self, facts: Iterable[tuple[str, str]] = (), *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._facts = tuple(facts)

    def compose(self) -> ComposeResult:
        """A row for each."""
        yield from _rows(self._facts)

    async def show(self, facts: Iterable[tuple[str, str]]) -> None:
        """Other facts. Nothing happens where they are the same."""
        new = tuple(facts)
        if new != self._facts:
            self._facts = new
            await self.recompose()


class Points(Facts):
    """A list: before each point its mark or number; lines that are wrapped stay behind it."""


def _rows(facts: Iterable[tuple[str, str]]) -> Iterable[Widget]:
    for name, value in facts:
        yield Horizontal(
            Static(name, classes="name", markup=False), Static(value, classes="value", markup=False), classes="fact"
        )
