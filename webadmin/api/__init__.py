"""The pull API: a mailbox's mail for programs, with a token, over HTTPS.

``pull`` has the routes, ``document`` describes them (OpenAPI 3.1), ``problems`` answers in JSON what pages say in HTML.
No cookie is looked at here, so no form token is asked for.
"""

from __future__ import annotations

from litestar import Router

from webadmin.api import document, pull
from webadmin.api.paths import ROOT
from webadmin.csrf import WITHOUT_FORM


def routers() -> list[Router]:
    """The routes of this part."""
    return [Router(ROOT, route_handlers=[*pull.HANDLERS, *document.HANDLERS], opt={WITHOUT_FORM: True})]
