"""What is asked for a remote, by the kind of service: the same in set-up and in the daily console."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from tui.widgets.options import OptionsForm

NAME = "replica"


class RemoteAnswers(NamedTuple):
    """Where on the service the replica is to lie, and rclone's options for it."""

    path: str
    options: dict[str, str]


class RemoteForm(OptionsForm):
    """A field for each thing that the service asks for."""

    def answers(self) -> RemoteAnswers:
        """What was typed. Raises WrongAnswerError."""
        given = self.options()
        return RemoteAnswers(given.pop("path", ""), given)


def free_name(taken: Collection[str]) -> str:
    """A name for a remote that none has."""
    names = (f"{NAME}-{number}" if number > 1 else NAME for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)
