"""Unlocking, signing in and out, the first administrator, invitations, and one's own account."""

from __future__ import annotations

from litestar import Router
from litestar.di import Provide

from webadmin.auth import account, first_run, sign_in, unlock, welcome
from webadmin.session import visit_for_account


def routers() -> list[Router]:
    """The routes of this part."""
    open_to_all = Router(
        "/", route_handlers=[*sign_in.HANDLERS, *first_run.HANDLERS, *welcome.HANDLERS, *unlock.HANDLERS]
    )
    own = Router("/account", route_handlers=account.HANDLERS, dependencies={"visit": Provide(visit_for_account)})
    return [open_to_all, own]
