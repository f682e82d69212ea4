"""Fields for what something outside asks for (``appliance.fields``): a remote, a directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from textual.app import ComposeResult
from textual.containers import Vertical

from appliance.fields import Field as Asked
from appliance.language import _
from tui.widgets.form import Field, Text, WrongAnswerError


class Kind(Protocol):
    """What is set up: a title, what it is, and what it asks for."""

    @property
    def title(self) -> str:
        """Its name."""
        ...

    @property
    def help(self) -> str:
        """What it is."""
        ...

    @property
    def fields(self) -> Sequence[Asked]:
        """What it asks for."""
        ...


class OptionsForm(Vertical):
    """A field for each thing that is asked for. A long text may be given as a file, by @ and its path."""

    DEFAULT_CSS = "OptionsForm { height: auto; }"

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self._kind = kind

    def compose(self) -> ComposeResult:
        """What it is, and its fields."""
        yield Text(_(self._kind.title), "lead")
        if self._kind.help:
            yield Text(_(self._kind.help))
        for one in self._kind.fields:
            hints = [
                _(one.help) if one.help else "",
                _("Or @ and the path of a file with it.") if one.multiline else "",
            ]
            label = _(one.label)
            yield Field(
                label if one.required else _("{label} (if needed)").format(label=label), id=f"option-{one.key}",
                hint=" ".join(filter(None, hints)), secret=one.secret, placeholder=", ".join(one.choices),
            )  # fmt: skip

    def options(self) -> dict[str, str]:
        """What was typed, without what was left empty. Raises WrongAnswerError."""
        given = {one.key: self._value(one.key) for one in self._kind.fields}
        for one in self._kind.fields:
            if one.required and not given[one.key]:
                raise WrongAnswerError(f"option-{one.key}", _("This is needed."))
        return {key: value for key, value in given.items() if value}

    def _value(self, key: str) -> str:
        value = self.query_one(f"#option-{key}", Field).value.strip()
        if not value.startswith("@"):
            return value
        try:
            return Path(value[1:]).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise WrongAnswerError(f"option-{key}", _("{path} cannot be read.").format(path=value[1:])) from error
