"""The web pages over a whole archive, through its socket, with an administrator signed in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyotp

from appliance.services.client import ArchiveClient
from appliance.services.server import Server
from tests.scratch import ScratchArchive
from tests.unit.web.browse import Browser


@contextmanager
def administering(archive: ScratchArchive) -> Iterator[Browser]:
    """An administrator's browser, while the archive answers the web process."""
    server = Server(archive.dispatcher)
    server.start()
    browser = Browser(ArchiveClient(archive.paths.web_socket))
    try:
        with browser.client:
            identity = archive.dispatcher.identity
            session = identity.sign_in(address="admin", password=archive.created.admin_password, totp="", client="c")
            principal = identity.principal(session.token, "c")
            identity.totp_confirm(principal, code=pyotp.TOTP(identity.totp_begin(principal).secret).now())
            browser.client.cookies.set("mailkeep", session.token)
            yield browser
    finally:
        server.close()
