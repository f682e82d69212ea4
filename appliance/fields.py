"""What a person is asked for when something outside is set up (a remote, a directory, a source), as data: the command
line, the web pages and the console make their forms of it."""

from __future__ import annotations

import msgspec


class Field(msgspec.Struct, frozen=True):
    """One thing that is asked for.

    ``choices`` are suggestions, or, where ``closed`` says so, all there is. What is ``rare`` is for who knows why it is
    needed: a form may hide it at first. ``place`` is where secrets are sent: who changes it gives them anew.
    """

    key: str
    label: str
    help: str = ""
    secret: bool = False
    required: bool = False
    multiline: bool = False
    choices: tuple[str, ...] = ()
    closed: bool = False
    rare: bool = False
    place: bool = False
