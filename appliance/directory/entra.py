"""Microsoft Entra ID: what is asked for to read the people of a tenant. How they are read is in ``entra_graph``."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from appliance.directory.base import DirectoryKind
from appliance.directory.options import listed, truth
from appliance.fields import Field
from appliance.vendor.microsoft_options import (
    AUTHORITY,
    CERTIFICATE,
    CLIENT,
    GRAPH,
    SECRET,
    TENANT,
    application_of,
    graph_of,
)

if TYPE_CHECKING:
    from appliance.directory.entra_graph import EntraDirectory

KIND: Final = DirectoryKind(
    "entra",
    "Microsoft Entra ID (Microsoft 365)",
    "Users, aliases and shared mailboxes of a tenant. In the Microsoft Entra admin center, under App registrations, "
    "make an application; under API permissions give it Microsoft Graph's application permission User.Read.All "
    "(GroupMember.Read.All too where groups select, MailboxSettings.Read where shared mailboxes are to be told apart) "
    "and grant admin consent; under Certificates & secrets make a client secret or upload a certificate.",
    (
        TENANT,
        CLIENT,
        SECRET,
        CERTIFICATE,
        Field(
            "licensed",
            "Licensed only",
            "Leave out who has no licence; default: false.",
            choices=("true", "false"),
            closed=True,
        ),
        Field(
            "shared",
            "Tell shared mailboxes apart",
            "Asks Exchange Online for each mailbox what it is for; shared mailboxes are then taken without a licence "
            "too. Default: false.",
            choices=("true", "false"),
            closed=True,
        ),
        Field(
            "groups",
            "Groups",
            "Only the members of these groups and of groups in them: a group's object id, name or mail address, one a "
            "line or separated by ;",
            multiline=True,
        ),
        AUTHORITY,
        GRAPH,
    ),
)


def open_directory(
    options: Mapping[str, str], *, tls: ssl.SSLContext | None = None, sleep: Callable[[float], None] = time.sleep
) -> EntraDirectory:
    """The tenant's directory; nothing is connected yet. ``tls`` is what certificates are checked against, by default
    what the system trusts. Raises UsageError for options that make no sense."""
    # Here, not above: what talks to Microsoft takes a second to load, which only who asks it shall wait for.
    from appliance.directory.entra_graph import EntraDirectory
    from appliance.vendor.graph import Graph

    app = application_of(options)
    root = graph_of(options)
    return EntraDirectory(
        app,
        lambda patience: Graph(app, root=root, tls=tls, patience=patience, sleep=sleep),
        groups=listed(options.get("groups", "")),
        licensed=truth(options, "licensed"),
        shared=truth(options, "shared"),
    )
