"""The web application, made from a client of the archiver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar, Router
from litestar.datastructures import CacheControlHeader, State
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.static_files import create_static_files_router
from litestar.template import TemplateConfig

from appliance.services.client import ArchiveClient
from webadmin import admin, api, auth, monitoring, portal, problems, security
from webadmin.api.problems import for_programs
from webadmin.cookies import Cookies
from webadmin.csrf import FormTokens
from webadmin.page import STATIC, environment

LARGEST_REQUEST = 16 * 1024 * 1024  # bytes; the largest is a CSV file of users


def create_app(client: ArchiveClient, *, secure: bool = False) -> Litestar:
    """The web application. ``secure`` says that it is served by TLS, which decides on cookies and HSTS."""

    @asynccontextmanager
    async def closing(_: Litestar) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await client.close()

    return Litestar(
        route_handlers=[
            *auth.routers(),
            *portal.routers(),
            *admin.routers(),
            *api.routers(),
            *monitoring.routers(),
            _static(),
        ],
        template_config=TemplateConfig(engine=JinjaTemplateEngine.from_environment(environment())),
        state=State({"archive": client, "cookies": Cookies(secure=secure)}),
        middleware=[FormTokens()],
        after_request=security.add_headers(secure=secure),
        exception_handlers=for_programs(problems.handlers()),
        request_max_body_size=LARGEST_REQUEST,
        lifespan=[closing],
        openapi_config=None,
        logging_config=None,
        debug=False,
    )


def _static() -> Router:
    """Files that come with the product, cached for ever: their addresses carry a mark of their content."""
    return create_static_files_router(
        "/static",
        directories=[STATIC],
        cache_control=CacheControlHeader(public=True, max_age=365 * 24 * 3600, immutable=True),
    )
