"""The web face: the portal where people find their mail and the pages for administrators.

Its process holds no key, no index and no database, only a client of the archiver's socket
(``appliance.services.client``); what a session may see is decided on the other side. Pages are made on the server
(Litestar, Jinja) and work without JavaScript; htmx and one small script make them quicker.
"""
