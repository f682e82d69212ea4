"""The pages, one a module."""

from __future__ import annotations

from importlib import import_module

from tui.place import Place


def place(name: str) -> Place:
    """The place with that name, as a new page. Its module is loaded when it is first gone to."""
    module = import_module(f"{__name__}.{name}")
    found: type[Place] = getattr(module, name.capitalize())
    return found()
