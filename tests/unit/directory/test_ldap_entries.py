"""Entries as people: which address is primary, what an id looks like, when two names of an entry are one."""

from __future__ import annotations

from uuid import UUID

import pytest

from appliance.directory.ldap_connection import Entry
from appliance.directory.ldap_entries import comparable, id_of, id_value, is_system, person_of, state_of
from appliance.directory.ldap_options import Options, read
from appliance.errors import UsageError

GUID = UUID("00112233-4455-6677-8899-aabbccddeeff")
AD = {"url": "ldaps://dc1.example.com", "preset": "ad", "base": "DC=example,DC=com"}


def _options(**changed: str) -> Options:
    return read(AD | changed)


def _entry(dn: str = "CN=Anna,DC=example,DC=com", **values: str | list[str] | bytes) -> Entry:
    found: dict[str, tuple[bytes, ...]] = {"objectguid": (GUID.bytes_le,)}
    for name, value in values.items():
        several = value if isinstance(value, list) else [value]
        found[name.lower()] = tuple(one.encode() if isinstance(one, str) else one for one in several)
    return Entry(dn, found)


@pytest.mark.parametrize(
    ("given", "addresses"),
    [
        ({"mail": "A@Example.com"}, ("a@example.com",)),
        ({"mail": "a@example.com", "proxyAddresses": ["smtp:b@example.com"]}, ("a@example.com", "b@example.com")),
        (
            {"mail": "a@example.com", "proxyAddresses": ["smtp:c@example.com", "SMTP:b@example.com"]},
            ("b@example.com", "a@example.com", "c@example.com"),
        ),
        ({"proxyAddresses": ["smtp:c@example.com", "smtp:C@EXAMPLE.com"]}, ("c@example.com",)),
        (
            {"proxyAddresses": ["X500:/o=x/cn=a@b.example", "sip:a@example.com", "SPO:1@2", "SMTP:a@example.com"]},
            ("a@example.com",),
        ),
        ({"mail": "post@xn--bcher-kva.example"}, ("post@bücher.example",)),
        ({"mail": "  a@example.com "}, ("a@example.com",)),
    ],
)
def test_addresses(given: dict[str, str | list[str]], addresses: tuple[str, ...]) -> None:
    person, left_out = person_of(_entry(**given), _options(), shared=False)
    assert person is not None and person.addresses == addresses
    assert left_out == ()


def test_an_entry_without_an_address_is_left_out_and_named() -> None:
    person, left_out = person_of(_entry(displayName="Printer 4"), _options(), shared=False)
    assert person is None
    (told,) = left_out
    assert (told.who, told.why) == ("Printer 4", "CN=Anna,DC=example,DC=com has no mail address.")
    assert told.id, "so that its user is not taken for gone"


def test_a_wrong_address_beside_a_right_one_is_told() -> None:
    entry = _entry(proxyAddresses=["SMTP:anna", "smtp:a@example.com", "smtp:@b.example"], cn="Anna")
    person, left_out = person_of(entry, _options(), shared=False)
    assert person is not None and person.addresses == ("a@example.com",)
    assert [one.why for one in left_out] == ["“anna” is not a mail address.", "“@b.example” is not a mail address."]


def test_bytes_that_are_no_text_are_no_address() -> None:
    person, left_out = person_of(_entry(mail=b"a\xff@example.com"), _options(), shared=False)
    assert person is None and len(left_out) == 1


def test_ids() -> None:
    """A GUID in the order of Active Directory's tools, not in the order of its bytes; others as they are written."""
    options = _options()
    entry = _entry()
    assert id_of(entry, options) == "00112233-4455-6677-8899-aabbccddeeff"
    assert id_value(id_of(entry, options), options) == entry.values["objectguid"][0]
    other = _options(preset="openldap")
    assert id_of(_entry(entryUUID=str(GUID).upper()), other) == str(GUID)
    for wrong in (_entry(objectGUID=b"short"), Entry("CN=x", {}), _entry(objectGUID="")):
        with pytest.raises(UsageError):
            id_of(wrong, options)


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ({"userAccountControl": "512"}, "active"),
        ({"userAccountControl": "514"}, "disabled"),
        ({"userAccountControl": "66050"}, "disabled"),  # and the password never expires
        ({"userAccountControl": "528"}, "active"),  # locked after wrong passwords
        ({"userAccountControl": "-2"}, "active"),
        ({"nsAccountLock": "TRUE"}, "disabled"),
        ({"nsAccountLock": "false"}, "active"),
        ({"pwdAccountLockedTime": "000001010000Z"}, "disabled"),
        ({"pwdAccountLockedTime": "20260101000000Z"}, "active"),
        ({"loginShell": "/bin/false"}, "active"),
        ({}, "active"),
    ],
)
def test_states(values: dict[str, str], state: str) -> None:
    assert state_of(_entry(**values)) == state


def test_exchanges_own_mailboxes_are_nobodys() -> None:
    kinds = {str(1 << bit): is_system(_entry(msExchRecipientTypeDetails=str(1 << bit))) for bit in range(43)}
    assert [kind for kind, system in kinds.items() if system] == [
        *("8388608", "536870912", "68719476736"),
        "4398046511104",
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CN=Anna,OU=Staff,DC=example", "cn=anna, ou=staff ,dc=EXAMPLE"),
        (r"CN=Meier\, Anna,DC=x", r"cn=Meier\2C Anna,dc=x"),
        (r"CN=J\C3\B6rg,DC=x", "cn=jörg,dc=x"),
        ("CN=a+UID=b,DC=x", "uid=B+cn=A,dc=x"),
        (r"CN=a\\,DC=x", r"cn=a\5C,dc=x"),
        ("CN=a  b,DC=x", "cn=a b,dc=x"),
    ],
)
def test_two_writings_of_one_name(one: str, other: str) -> None:
    assert comparable(one) == comparable(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CN=a,OU=b", "CN=a,OU=c"),
        (r"CN=a\,OU=b", "CN=a,OU=b"),
        (r"CN=a\+UID=b,DC=x", "CN=a+UID=b,DC=x"),
        ("CN=ab,DC=x", "CN=a b,DC=x"),
        ("CN=a", "CN=a,DC=x"),
    ],
)
def test_names_of_two_entries(one: str, other: str) -> None:
    assert comparable(one) != comparable(other)
