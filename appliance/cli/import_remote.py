"""Files on remotes as arguments of ``mailkeep import``: ``NAME:PATH`` where no file of this machine is called so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

ON_REMOTE: Final = re.compile(r"([a-z0-9][a-z0-9-]{0,31}):/*(.+)", re.DOTALL)
"""A remote's name and a path on it, without the slash at its beginning."""


class OnRemote(NamedTuple):
    """A file on a remote; ``path`` counts from the remote's top."""

    remote: str
    path: str

    def __str__(self) -> str:
        return f"{self.remote}:{self.path}"


class PathOrRemote(click.Path):
    """A file or folder of this machine, else a file on a remote."""

    name = "path"

    def __init__(self) -> None:
        super().__init__(exists=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A ``Path`` or an ``OnRemote``."""
        found = ON_REMOTE.fullmatch(value) if isinstance(value, str) and not Path(value).exists() else None
        return super().convert(value, param, ctx) if found is None else OnRemote(found[1], found[2])
