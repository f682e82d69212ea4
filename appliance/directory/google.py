"""Google Workspace: what is asked for to read its people. How they are read is in ``google_admin``."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from appliance.directory.base import DirectoryKind
from appliance.directory.options import listed
from appliance.fields import Field

if TYPE_CHECKING:
    from appliance.directory.google_admin import GoogleDirectory

HOST: Final = "https://admin.googleapis.com"
USERS: Final = "https://www.googleapis.com/auth/admin.directory.user.readonly"
MEMBERS: Final = "https://www.googleapis.com/auth/admin.directory.group.member.readonly"
"""Scopes (https://developers.google.com/workspace/admin/directory/v1/guides/authorizing)."""

KIND: Final = DirectoryKind(
    "google",
    "Google Workspace",
    "Users and aliases of a Workspace. In the Google Cloud console, enable the Admin SDK API, make a service account "
    "and a key (JSON) for it; in the Google Admin console, under Security, Access and data control, API controls, "
    f"Domain-wide delegation, add the service account's client id with the scope {USERS} (where groups select, "
    f"{MEMBERS} too).",
    (
        Field(
            "key",
            "Service account's key",
            "The whole JSON file. On the command line: key=@key.json",
            secret=True,
            required=True,
            multiline=True,
        ),
        Field(
            "admin",
            "Administrator",
            "The address of an administrator of the Workspace who may read users; the service account acts for them.",
            required=True,
        ),
        Field(
            "groups",
            "Groups",
            "Only the members of these groups and of groups in them: their addresses, one a line or separated by ;",
            multiline=True,
        ),
        Field(
            "units",
            "Organizational units",
            "Only who is in these units or below them, such as /Sales: one a line or separated by ; where groups are "
            "named too, both have to fit.",
            multiline=True,
        ),
    ),
)


def open_directory(
    options: Mapping[str, str],
    *,
    host: str = HOST,
    tls: ssl.SSLContext | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> GoogleDirectory:
    """The Workspace's directory; nothing is connected yet. ``host`` is where its API is; ``tls`` is what certificates
    are checked against, by default what the system trusts. Raises UsageError for options that make no sense."""
    # Here, not above: what talks to Google takes a second to load, which only who asks it shall wait for.
    from appliance.directory.google_admin import Admin, GoogleDirectory
    from appliance.vendor.google import service

    account = service(options.get("key", ""), options.get("admin", ""))
    return GoogleDirectory(
        account.subject,
        lambda patience: Admin(account, host=host, tls=tls, patience=patience, sleep=sleep),
        groups=listed(options.get("groups", "")),
        units=listed(options.get("units", "")),
    )
