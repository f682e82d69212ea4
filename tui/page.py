"""What all pages have in common: a title bar, the body, the keys that can be pressed; and how work is asked for.

A page overrides ``body``. What it does when a key is pressed is a binding that is shown in the footer, with an action
of the same page; an action that asks the archive is a coroutine. What goes wrong in it is told at the foot of the page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingsMap, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Footer

from appliance.errors import MailkeepError, SignInError
from appliance.language import _
from tui.widgets.bar import Bar
from tui.widgets.message import Message

if TYPE_CHECKING:
    from tui.app import Console

Result = TypeVar("Result")

_LAST = ("escape", "f5", "f1", "f10")


def _translated(bindings: BindingsMap) -> BindingsMap:
    """The same keys, described in the language in use: bindings are written when a class is.

    What a page is for comes first, and what every page has comes last.
    """
    found = [one for several in bindings.key_to_bindings.values() for one in several]
    found.sort(key=lambda one: one.key in _LAST)
    return BindingsMap(replace(one, description=_(one.description) if one.show else one.description) for one in found)


class Dialog(ModalScreen[Result], Generic[Result]):
    """A small window over a page."""

    app: Console

    def __init__(self) -> None:
        super().__init__()
        self._bindings = _translated(self._bindings)


class Page(Screen[Result], Generic[Result]):
    """A page. ``heading`` stands in its title bar; ``side`` gives what stands left of the body."""

    app: Console

    BINDINGS: ClassVar[list[BindingType]] = []
    AUTO_FOCUS: ClassVar[str | None] = "#body *"

    def __init__(self) -> None:
        super().__init__()
        self._bindings = _translated(self._bindings)

    def heading(self) -> str:
        """The page's title."""
        return ""

    def body(self) -> Iterable[Widget]:
        """What the page shows."""
        return ()

    def side(self) -> Iterable[Widget]:
        """What stands at the left on every page of a kind."""
        return ()

    def compose(self) -> ComposeResult:
        """Title bar, side, body, message, keys."""
        yield Bar(self.heading())
        with Horizontal(id="middle"):
            yield from self.side()
            with VerticalScroll(id="body", can_focus=False):
                yield from self.body()
        yield Message(id="message")
        yield Footer(compact=True, show_command_palette=False)

    # -- telling ----------------------------------------------------------------------------------------------

    def say(self, text: str, kind: str = "note") -> None:
        """A sentence at the foot of the page, until the next one; ``kind`` is note, good, warn or bad."""
        self.query_one("#message", Message).show(text, kind)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """What goes wrong in the block is told on the page, and is no error after it."""
        try:
            yield
        except SignInError as error:
            self.say(error.message, "bad")
            self.app.session_ended()
        except MailkeepError as error:
            self.say(error.message, "bad")

    @work(group="asking")
    async def do(self, asked: Callable[[], Awaitable[None]]) -> None:
        """Run ``asked`` without keeping the keys waiting, and tell what goes wrong."""
        with self.telling():
            await asked()


def key(keys: str, action: str, description: str, *, shown: str | None = None, show: bool = True) -> Binding:
    """A key for a page, as the footer shows it: ``shown`` in place of its own name.

    ``description`` is translated when the page is made; the catalogue finds it as this function's third argument.
    """
    return Binding(keys, action, description, key_display=shown, show=show)
