"""Finding and reading mail."""

from __future__ import annotations

from litestar import Router
from litestar.di import Provide

from webadmin.portal import exports, message, search
from webadmin.session import visit


def routers() -> list[Router]:
    """The routes of this part."""
    handlers = [*search.HANDLERS, *message.HANDLERS, *exports.HANDLERS]
    return [Router("/", route_handlers=handlers, dependencies={"visit": Provide(visit)})]
