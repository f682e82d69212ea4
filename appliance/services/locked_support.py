"""The support bundle of a locked archive: what can be told without the key, for whoever is to help with unlocking.

It is small and made at once, in memory. The archive's own names cannot be read, so only what looks like an address, a
host name or an IP address gets a pseudonym, and another one in each bundle.
"""

from __future__ import annotations

import io
import secrets
import socket
from collections.abc import Callable

from appliance.services import api
from appliance.services.client import StreamHead
from appliance.services.jobs import Progress
from appliance.services.locked_status import LockedStatus
from appliance.services.looking import SharedLook
from appliance.services.paths import Paths
from appliance.services.pseudonyms import Pseudonyms
from appliance.services.reading import Download
from appliance.services.support import ABOUT, as_json, name_at, parts_of_box, write_parts

_ABOUT_LOCKED = """
The archive was locked when this bundle was made. Settings, jobs, runs of replication and the audit trail are not in it.
Pseudonyms differ from those of other bundles, and names that look like no address and no host, such as that of a bucket
in a message about it, stand as they are.
"""


def locked_bundle(
    paths: Paths, numbers: LockedStatus, looks: SharedLook[api.Status], metrics: Callable[[], bytes]
) -> Download:
    """The whole ZIP."""
    parts = (
        *parts_of_box(paths),
        ("status.json", lambda: as_json(looks.now())),
        ("alarms.json", lambda: as_json(numbers.alarms.book)),
        ("metrics.txt", lambda: metrics().decode()),
    )
    hosts = {socket.gethostname(), socket.getfqdn()} - {"localhost"}
    content = io.BytesIO()
    write_parts(parts, ABOUT + _ABOUT_LOCKED, Pseudonyms(secrets.token_bytes(32), hosts=hosts), content, Progress())
    made = content.getvalue()
    return Download(StreamHead(name_at(numbers.clock()), "application/zip", len(made)), iter((made,)))
