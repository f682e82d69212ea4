"""Small windows over a page: one that asks for a few things, and one that shows something that is shown once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Button, Footer, Input

from appliance.language import _
from tui.page import Dialog, key
from tui.widgets.form import Buttons, Choice, Field, Heading, Text


class Asked(NamedTuple):
    """A thing that is asked for. With ``answers`` it is one of them, as (key, words, help)."""

    id: str
    label: str
    value: str = ""
    hint: str = ""
    secret: bool = False
    needed: bool = True
    answers: tuple[tuple[str, str, str], ...] = ()


class Ask(Dialog[Mapping[str, str] | None]):
    """The answers by id, or None where the person thought better of it."""

    BINDINGS: ClassVar[list[BindingType]] = [key("escape", "leave", "Cancel")]
    AUTO_FOCUS = "Input, OptionList"

    def __init__(
        self, question: str, asked: Sequence[Asked], *, yes: str, what: str = "", danger: bool = False
    ) -> None:
        """``yes`` is a verb, as on the button; ``what`` says what will happen."""
        super().__init__()
        self._question, self._asked, self._yes, self._what, self._danger = question, tuple(asked), yes, what, danger

    def compose(self) -> ComposeResult:
        """The question, what is asked for, the buttons."""
        with VerticalScroll(classes="dialog", can_focus=False):
            yield Heading(self._question)
            if self._what:
                yield Text(self._what)
            for one in self._asked:
                if one.answers:
                    if one.label:
                        yield Text(one.label, "label")
                    yield Choice(one.answers, id=one.id, value=one.value)
                else:
                    yield Field(one.label, id=one.id, value=one.value, hint=one.hint, secret=one.secret)
            yield Buttons(("yes", self._yes, "danger" if self._danger else "main"), ("no", _("Cancel")))
        yield Footer(compact=True, show_command_palette=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes to the next question, and from the last one on."""
        if event.input.id == f"{self._asked[-1].id}-input":
            self._answer()
        else:
            self.focus_next()

    def on_option_list_option_selected(self) -> None:
        """Enter on an answer goes on."""
        self.focus_next()

    def on_buttons_chosen(self, event: Buttons.Chosen) -> None:
        """A button."""
        if event.id == "yes":
            self._answer()
        else:
            self.dismiss(None)

    def action_leave(self) -> None:
        """Nothing is done."""
        self.dismiss(None)

    def _answer(self) -> None:
        answers = {}
        for one in self._asked:
            widget = self.query_one(f"#{one.id}")
            assert isinstance(widget, Field | Choice)
            answers[one.id] = widget.value if one.secret else widget.value.strip()
            if isinstance(widget, Field):
                missing = one.needed and not answers[one.id]
                widget.wrong(_("This is needed.") if missing else "")
                if missing:
                    return
        self.dismiss(answers)


class Show(Dialog[None]):
    """Something to read, or to write down, before going on."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("escape", "leave", "Close"),
        key("enter", "leave", "Close", show=False),
        key("tab", "to_button", "To the button"),
    ]
    AUTO_FOCUS = ".dialog"

    def __init__(self, heading: str, *texts: tuple[str, str], close: str = "", large: bool = False) -> None:
        """``texts`` are (text, kind), kind as in ``Text``. With ``close``, which stands on the button, it is something
        that is shown once: only the button closes it then. ``large`` takes most of the screen, as logs need it."""
        super().__init__()
        self._heading, self._texts, self._close, self._large = heading, texts, close, large

    def compose(self) -> ComposeResult:
        """Heading, texts, a button."""
        with VerticalScroll(classes="dialog -large" if self._large else "dialog"):
            yield Heading(self._heading)
            for text, kind in self._texts:
                yield Text(text, kind)
            yield Buttons(("close", self._close or _("Close")))
        yield Footer(compact=True, show_command_palette=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What is shown once is not closed by a key that was pressed for something before."""
        once = bool(self._close)
        return {"leave": not once, "to_button": once}.get(action, super().check_action(action, parameters))

    def on_buttons_chosen(self) -> None:
        """Close."""
        self.dismiss(None)

    def action_to_button(self) -> None:
        """Have the button focused."""
        self.query_one(Button).focus()

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)
