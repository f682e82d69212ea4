"""Where Microsoft's clouds are: the world's first, then the national ones.

https://learn.microsoft.com/en-us/graph/deployments
"""

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
