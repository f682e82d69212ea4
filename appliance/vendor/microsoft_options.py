"""What an application of Microsoft Entra ID is given by, wherever it is asked for; and what a test says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from appliance.fields import Field
from appliance.vendor.clouds import AUTHORITIES, GRAPHS

if TYPE_CHECKING:
    from appliance.vendor.microsoft import Application

TENANT: Final = Field(
    "tenant", "Tenant", "Its id or one of its domains, such as contoso.onmicrosoft.com.", required=True
)
CLIENT: Final = Field(
    "client", "Application (client) id", "On the overview page of the app registration.", required=True
)
SECRET: Final = Field("secret", "Client secret", "Its value, not its id.", secret=True)
CERTIFICATE: Final = Field(
    "certificate",
    "Certificate",
    "In place of a secret: certificate and RSA key in PEM. On the command line: certificate=@app.pem",
    secret=True,
    multiline=True,
)
AUTHORITY: Final = Field(
    "authority",
    "Authority",
    "Where the application signs in; default: the world's cloud.",
    choices=AUTHORITIES,
    rare=True,
    place=True,
)
GRAPH: Final = Field(
    "graph",
    "Microsoft Graph",
    "Of the same cloud as the authority; default: the world's.",
    choices=GRAPHS,
    rare=True,
    place=True,
)


def application_of(options: Mapping[str, str]) -> Application:
    """The application that the options give. Raises UsageError where something cannot be right."""
    # Here, not above: what talks to Microsoft takes a second to load, which only who asks it shall wait for.
    from appliance.vendor.microsoft import application

    return application(
        options.get("tenant", ""),
        options.get("client", ""),
        secret=options.get("secret", ""),
        certificate=options.get("certificate", ""),
        authority=options.get("authority", ""),
    )


def graph_of(options: Mapping[str, str]) -> str:
    """The address of the options' Microsoft Graph. Raises UsageError."""
    from appliance.vendor.web import https

    return https(options.get("graph", "") or GRAPHS[0])
