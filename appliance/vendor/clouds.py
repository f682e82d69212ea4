"""Where Microsoft's clouds are: the world's first, then the national ones.

https://learn.microsoft.com/en-us/graph/deployments
"""

from collections.abc import Mapping
from typing import Final

AUTHORITIES: Final = (
    "https://login.microsoftonline.com",
    "https://login.microsoftonline.us",
    "https://login.partner.microsoftonline.cn",
)
"""Where applications sign in."""

GRAPHS: Final = (
    "https://graph.microsoft.com",
    "https://graph.microsoft.us",
    "https://dod-graph.microsoft.us",
    "https://microsoftgraph.chinacloudapi.cn",
)
"""Microsoft Graph."""

MAIL_SERVERS: Final[Mapping[str, str]] = {
    "https://graph.microsoft.com": "outlook.office365.com",
    "https://graph.microsoft.us": "outlook.office365.us",
    "https://dod-graph.microsoft.us": "outlook-dod.office365.us",
    "https://microsoftgraph.chinacloudapi.cn": "partner.outlook.cn",
}
"""Exchange Online's server for IMAP, by the Microsoft Graph of the same cloud.

https://learn.microsoft.com/en-us/microsoft-365/enterprise/urls-and-ip-address-ranges, …/microsoft-365-u-s-government-
gcc-high-endpoints, …-dod-endpoints, …/urls-and-ip-address-ranges-21vianet
"""
