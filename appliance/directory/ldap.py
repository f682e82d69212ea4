"""Active Directory, OpenLDAP and other LDAP servers: what is asked for. How they are read is in ``ldap_directory``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from appliance.directory.base import DirectoryKind
from appliance.fields import Field

if TYPE_CHECKING:
    from appliance.directory.ldap_directory import LdapDirectory

KIND: Final = DirectoryKind(
    "ldap",
    "LDAP and Active Directory",
    "Reads users from Active Directory, Samba, OpenLDAP or any other LDAP server, and lets them sign in with their "
    "password there. It never writes.",
    (
        Field(
            "url",
            "Server",
            "For example ldaps://dc1.example.com or ldap://ldap.example.com. Several, parted by blanks, are tried in "
            "order when one does not answer.",
            required=True,
            place=True,
        ),
        Field(
            "preset",
            "Kind of server",
            "Sets the filter and the names of the attributes; each can be given below.",
            required=True,
            choices=("ad", "openldap", "custom"),
            closed=True,
        ),
        Field("base", "Base DN", "Where the people are, for example DC=example,DC=com.", required=True),
        Field(
            "bind_dn",
            "Account",
            "An account that may read the people: its DN, with Active Directory also name@example.com. Empty: "
            "anonymous.",
        ),
        Field("bind_password", "Password", "The password of that account.", secret=True),
        Field(
            "security",
            "Encryption",
            "ldap:// is encrypted with StartTLS. “none” sends passwords in the clear: only for a server on this box or "
            "on a line that nobody else can listen to.",
            choices=("starttls", "none"),
            closed=True,
            place=True,
        ),
        Field(
            "ca",
            "Certificate authority",
            "The certificate (PEM) of the authority that issued the server's, where it is a company's own. On the "
            "command line: ca=@ca.pem. Empty: the authorities that this system trusts.",
            multiline=True,
            place=True,
        ),
        Field(
            "groups",
            "Groups",
            "Only members of these groups: a DN on each line. Members of groups inside count as well. Or a filter in "
            "brackets.",
            multiline=True,
        ),
        Field("domains", "Domains", "Only addresses in these domains, parted by blanks. Empty: all."),
        Field("filter", "Filter", "Which entries are people; RFC 4515, in brackets.", rare=True),
        Field(
            "shared",
            "Shared mailboxes",
            "A filter for the people's entries that are shared mailboxes. Exchange's are known without it.",
            rare=True,
        ),
        Field("id", "Attribute: id", "It never changes: objectGUID, entryUUID.", rare=True),
        Field("name", "Attributes: name", "The first that is there counts: displayName cn.", rare=True),
        Field(
            "addresses",
            "Attributes: addresses",
            "All count, the first one's is primary: proxyAddresses mail.",
            rare=True,
        ),
        Field(
            "login",
            "Attribute: login",
            "What people sign in with at the mail server: userPrincipalName, uid.",
            rare=True,
        ),
        Field(
            "referrals",
            "Other servers",
            "Where the server says that entries lie on another server, the directory is not read, lest people seem to "
            "be gone. “ignore” takes what is here and lists what was said.",
            choices=("ignore",),
            closed=True,
            rare=True,
        ),
    ),
    signs_in=True,
)


def open_directory(options: Mapping[str, str]) -> LdapDirectory:
    """The directory of those options; nothing is connected yet. Raises UsageError."""
    # Here, not above: the protocol takes a third of a second to load, which only who asks it shall wait for.
    from appliance.directory.ldap_directory import LdapDirectory
    from appliance.directory.ldap_options import read

    return LdapDirectory(read(options))
