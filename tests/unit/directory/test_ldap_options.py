"""What an administrator may give for an LDAP directory, and what is said to what makes no sense."""

from __future__ import annotations

import pytest

from appliance.directory.kinds import check_options, kind
from appliance.directory.ldap_options import Server, read
from appliance.errors import UsageError

PLAIN = {"url": "ldaps://dc1.example.com", "preset": "ad", "base": "DC=example,DC=com"}


@pytest.mark.parametrize(
    ("url", "security", "servers"),
    [
        ("ldaps://dc1.example.com", "", [Server("dc1.example.com", 636, "tls")]),
        ("ldap://dc1.example.com", "", [Server("dc1.example.com", 389, "starttls")]),
        ("ldap://dc1.example.com:3268/", "starttls", [Server("dc1.example.com", 3268, "starttls")]),
        ("ldap://127.0.0.1", "none", [Server("127.0.0.1", 389, "none")]),
        ("LDAPS://[::1]:6360", "", [Server("::1", 6360, "tls")]),
        ("ldaps://a.example ldaps://b.example", "", [Server("a.example", 636, "tls"), Server("b.example", 636, "tls")]),
    ],
)
def test_servers(url: str, security: str, servers: list[Server]) -> None:
    assert list(read(PLAIN | {"url": url, "security": security}).servers) == servers


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"url": "dc1.example.com"}, "is not the address of an LDAP server"),
        ({"url": "https://dc1.example.com"}, "is not the address of an LDAP server"),
        ({"url": "ldaps://"}, "is not the address of an LDAP server"),
        ({"url": "ldaps://dc1.example.com:99999"}, "is not the address of an LDAP server"),
        ({"url": "ldaps://user:secret@dc1.example.com"}, "is not the address of an LDAP server"),
        ({"url": "ldaps://dc1.example.com/DC=example?sub"}, "is not the address of an LDAP server"),
        ({"url": "ldaps://dc1.example.com", "security": "none"}, "always encrypted"),
        ({"url": "ldap://dc1.example.com", "security": "off"}, "starttls or none"),
        ({"preset": "exchange"}, "ad (Active Directory), openldap or custom"),
        ({"preset": "custom"}, "filter, id, addresses"),
        ({"bind_dn": "CN=x"}, "both the account and its password"),
        ({"bind_password": "x"}, "both the account and its password"),
        ({"filter": "objectClass=person"}, "stands in brackets"),
        ({"filter": "(&(objectClass=person)"}, "is not a filter"),
        ({"filter": "(objectClass=person))"}, "is not a filter"),
        ({"filter": "(" * 5000}, "is not a filter"),
        ({"groups": "(member of=x"}, "is not a filter"),
        ({"shared": "yes"}, "stands in brackets"),
        ({"id": "object GUID"}, "is not the name of an attribute"),
        ({"addresses": "mail;lang-de"}, "is not the name of an attribute"),
        ({"login": "*"}, "is not the name of an attribute"),
        ({"referrals": "follow"}, "“ignore”"),
        ({"ca": "my authority"}, "not a certificate in PEM"),
        ({"ca": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}, "not a certificate in PEM"),
    ],
)
def test_what_makes_no_sense(changed: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_options("ldap", PLAIN | changed)
    assert said in raised.value.message
    assert "secret@" not in raised.value.message


def test_every_field_can_be_given() -> None:
    fields = {field.key for field in kind("ldap").fields}
    everything = PLAIN | {
        "bind_dn": "CN=x",
        "bind_password": " y ",
        "security": "",
        "ca": "",
        "filter": "(a=b)",
        "shared": "(c=d)",
        "groups": "CN=a,DC=x\n\nCN=b,DC=x",
        "domains": "@Example.com xn--bcher-kva.example",
        "id": "uid",
        "name": "cn",
        "addresses": "mail 1.2.3.4",
        "login": "uid",
        "referrals": "ignore",
    }
    assert everything.keys() == fields
    check_options("ldap", everything)
    options = read(everything)
    assert options.groups == ("CN=a,DC=x", "CN=b,DC=x")
    assert options.domains == {"example.com", "bücher.example"}
    assert options.password == " y ", "blanks are part of a password"
    assert [field.key for field in kind("ldap").fields if field.secret] == ["bind_password"]
