"""People from a real slapd: who is listed, who signs in, and what is said when something is wrong."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.directory.base import Person, SigningIn
from appliance.directory.kinds import check_options, open_directory
from appliance.directory.ldap_connection import Limits
from appliance.directory.ldap_directory import LdapDirectory
from appliance.directory.ldap_options import read
from appliance.errors import MailkeepError, RemoteDeniedError, UnavailableError, UsageError
from tests.ldap_server import (
    AD,
    OPENLDAP,
    SERVICE_PASSWORD,
    Authority,
    Entry,
    InChain,
    LdapServer,
    ad_user,
    ldap_server,
    needs_slapd,
    person,
)
from tests.remotes import FaultProxy

pytestmark = [needs_slapd, pytest.mark.integration]

ANNA = uuid.UUID("6f1c2d3e-4a5b-4c6d-8e7f-0123456789ab")
GROUPS = f"OU=Groups,{AD.suffix}"
STAFF, SALES, FIELD = f"CN=Staff,{GROUPS}", f"CN=Sales\\, all,{GROUPS}", f"CN=Field,{GROUPS}"
AD_ENTRIES: list[Entry] = [
    ad_user(
        "Anna Meier",
        guid=ANNA,
        password="Änna's pässword",
        displayName="Änna Meier",
        mail="anna@corp.example",
        userPrincipalName="anna@corp.local",
        proxyAddresses=[
            *("smtp:a.meier@corp.example", "X500:/o=Corp/cn=anna", "SMTP:Anna@corp.example", "sip:anna@corp.example"),
            "smtp:anna@old.example",
        ],
        memberOf=FIELD,
    ),
    ad_user("Ben", mail="ben@corp.example", userAccountControl="514", password="ben's password", memberOf=STAFF),
    ad_user(
        "Jörg",
        password="jörg's",
        displayName="Jörg (Bücher)",
        proxyAddresses=["SMTP:jörg@xn--bcher-kva.example", "smtp:post@bücher.example"],
    ),
    ad_user("Info", mail="info@corp.example", userAccountControl="514", msExchRecipientTypeDetails="4"),
    ad_user("Old box", mail="old@corp.example", userAccountControl="514", msExchRecipientTypeDetails="34359738368"),
    ad_user("Nobody"),
    ad_user("Wrong", mail="at home"),
    ad_user("SystemMailbox", mail="system@corp.example", msExchRecipientTypeDetails="8388608"),
    ad_user("PC-7", mail="pc7@corp.example", sAMAccountType="805306369"),
    ad_user("\\28*\\29\\2C uid=\\2A", displayName="Eve *)(uid=*", mail="eve@corp.example", password="eve's"),
    (STAFF, {"objectClass": "group", "cn": "Staff"}),
    (SALES, {"objectClass": "group", "cn": "Sales, all", "memberOf": STAFF}),
    (FIELD, {"objectClass": "group", "cn": "Field", "memberOf": SALES}),
]


@pytest.fixture(scope="module")
def ad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LdapServer]:
    """Nobody changes it."""
    with ldap_server(tmp_path_factory.mktemp("ad"), AD, AD_ENTRIES) as server:
        yield server


def _directory(server: LdapServer, limits: Limits | None = None, **changed: str) -> LdapDirectory:
    return LdapDirectory(read(server.options | changed), limits)


def _listed(server: LdapServer, **changed: str) -> dict[str, Person]:
    return {one.addresses[0]: one for one in _directory(server, **changed).people(_untold).people}


def _untold(_done: int, _total: int | None) -> None: ...


def _id(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.corp.example"))


def test_people_of_active_directory(ad: LdapServer) -> None:
    listing = _directory(ad).people(_untold)
    by_address = {one.addresses[0]: one for one in listing.people}
    assert by_address.keys() == {
        *("anna@corp.example", "ben@corp.example", "jörg@bücher.example", "info@corp.example", "old@corp.example"),
        "eve@corp.example",
    }
    assert by_address["anna@corp.example"] == Person(
        id=str(ANNA),
        name="Änna Meier",
        addresses=("anna@corp.example", "a.meier@corp.example", "anna@old.example"),
        login="anna@corp.local",
    )
    assert by_address["ben@corp.example"].state == "disabled"
    assert by_address["jörg@bücher.example"].addresses == ("jörg@bücher.example", "post@bücher.example")
    for shared in ("info@corp.example", "old@corp.example"):
        assert (by_address[shared].kind, by_address[shared].state) == ("shared", "active")
    assert {one.who for one in listing.left_out} == {"Nobody", "Wrong"}
    assert listing.excluded == 1, "Exchange's own mailbox; the computer is no person at all"


def test_every_entry_that_the_filter_finds_is_accounted_for(ad: LdapServer) -> None:
    everybody = sum(attributes.get("sAMAccountType") == "805306368" for _dn, attributes in AD_ENTRIES)
    for changed in ({}, {"domains": "old.example"}, {"shared": "(cn=A*)"}, {"groups": "(cn=*e*)"}):
        listing = _directory(ad, **changed).people(_untold)
        assert len(listing.people) + len(listing.left_out) + listing.excluded == everybody, changed


def test_only_addresses_in_the_domains_that_count(ad: LdapServer) -> None:
    assert {one: _listed(ad, domains="old.example, BÜCHER.example")[one].addresses for one in (
        "anna@old.example", "jörg@bücher.example"
    )} == {
        "anna@old.example": ("anna@old.example",),
        "jörg@bücher.example": ("jörg@bücher.example", "post@bücher.example"),
    }  # fmt: skip
    assert _listed(ad, domains="xn--bcher-kva.example").keys() == {"jörg@bücher.example"}


def test_members_of_nested_groups_in_active_directory(ad: LdapServer) -> None:
    controller = InChain(ad, AD_ENTRIES)
    try:
        plain = {"url": controller.url, "security": "none"}
        assert _listed(ad, **plain, groups=STAFF).keys() == {"anna@corp.example", "ben@corp.example"}
        assert _listed(ad, **plain, groups=SALES).keys() == {"anna@corp.example"}
        assert _listed(ad, **plain, groups=f"{FIELD}\n{STAFF}\n").keys() == {"anna@corp.example", "ben@corp.example"}
        by_filter = f"(|(memberOf={STAFF})(displayName=Jörg \\28Bücher\\29))"
        assert _listed(ad, **plain, groups=by_filter).keys() == {"ben@corp.example", "jörg@bücher.example"}
    finally:
        controller.close()


def test_a_group_that_is_not_there_is_an_error_and_not_nobody(ad: LdapServer) -> None:
    with pytest.raises(UsageError, match=r"group.*CN=Gone"):
        _listed(ad, groups=f"CN=Gone,{GROUPS}")


def test_a_shared_mailbox_by_a_filter_of_ones_own(ad: LdapServer) -> None:
    shared = {address for address, one in _listed(ad, shared="(mail=b*)").items() if one.kind == "shared"}
    assert shared == {"ben@corp.example", "info@corp.example", "old@corp.example"}


@pytest.mark.parametrize("way", ["starttls", "ldaps"])
def test_signing_in(ad: LdapServer, way: str) -> None:
    directory = _directory(ad, url=ad.url if way == "starttls" else ad.tls_url)
    assert isinstance(directory, SigningIn)
    assert directory.sign_in(str(ANNA), "Änna's pässword")
    assert directory.sign_in(str(ANNA).upper(), "Änna's pässword")
    assert directory.sign_in(_id("\\28*\\29\\2C uid=\\2A"), "eve's")
    for password in ("änna's pässword", "", " ", "\0", "*", "Änna's pässword\0", "\udcff"):
        assert not directory.sign_in(str(ANNA), password), password
    assert not directory.sign_in(_id("Ben"), "ben's password"), "disabled"
    for nobody in (str(uuid.uuid4()), "", "*", "*)(objectClass=*", "\udcff", str(ANNA)[:-1]):
        assert not directory.sign_in(nobody, "Änna's pässword"), nobody


def test_nobody_is_asked_about_as_somebody_is(ad: LdapServer) -> None:
    """Else the time that it takes would tell which addresses there are."""
    asked = []
    for who in (str(ANNA), _id("Ben"), str(uuid.uuid4())):
        before = ad.log.count(" BIND dn=")
        assert not _directory(ad).sign_in(who, "wrong")
        asked.append(ad.log.count(" BIND dn=") - before)
    assert asked[0] == asked[1] == asked[2] > 1


def test_a_password_never_leaves_unencrypted_unless_that_is_asked_for(tmp_path: Path) -> None:
    with ldap_server(tmp_path, AD, AD_ENTRIES) as server:
        (tmp_path / "slapd" / "slapd.conf").write_text(
            "\n".join(one for one in (tmp_path / "slapd" / "slapd.conf").read_text().splitlines() if "TLS" not in one)
        )
        server.restart(tls=False)
        with pytest.raises(UnavailableError, match="StartTLS"):
            _directory(server).people(_untold)
        assert "BIND" not in server.log
        assert len(_listed(server, security="none")) == 6
        checks = list(_directory(server, security="none").check())
        assert checks[0].state == "warning" and "learns passwords" in checks[0].text


def test_what_a_test_shows(ad: LdapServer) -> None:
    checks = list(_directory(ad).check())
    assert [(one.what, one.state) for one in checks] == [
        (f"localhost:{ad.port}", "ok"),
        ("account", "ok"),
        ("base DN", "ok"),
        ("people", "ok"),
        ("left out", "warning"),
    ]
    assert "TLSv1.3" in checks[0].text
    assert checks[3].text.startswith("6 with addresses (2 shared mailboxes, 1 disabled), 1 not chosen. For example ")
    assert checks[3].text.count("@") == 3


@pytest.mark.parametrize(
    ("changed", "what", "said"),
    [
        ({"bind_password": "wrong"}, "account", "does not accept the account or its password"),
        ({"bind_dn": "CN=nobody,DC=corp,DC=example"}, "account", "does not accept the account or its password"),
        ({"bind_dn": "", "bind_password": ""}, "base DN", "or the account may not see it"),
        ({"base": "OU=Gone,DC=corp,DC=example"}, "base DN", "or the account may not see it"),
        ({"base": "Staff"}, "base DN", "is not a DN"),
        ({"base": "DC=else,DC=where"}, "base DN", "DC=else,DC=where"),
        ({"groups": f"CN=Gone,{GROUPS}"}, "groups", "CN=Gone"),
        ({"filter": "(objectClass=device)"}, "people", "nobody with an address"),
        ({"id": "employeeNumber"}, "people", "employeenumber"),
        ({"addresses": "telephoneNumber"}, "people", "nobody with an address"),
    ],
)
def test_a_test_says_what_is_wrong(ad: LdapServer, changed: dict[str, str], what: str, said: str) -> None:
    problem = next(one for one in _directory(ad, **changed).check() if one.state == "problem")
    assert problem.what == what
    assert said in problem.text
    assert SERVICE_PASSWORD not in problem.text


def test_no_ids_are_an_error_and_not_an_empty_listing(ad: LdapServer) -> None:
    with pytest.raises(UsageError, match="employeenumber"):
        _directory(ad, id="employeeNumber").people(_untold)


def test_certificates_that_are_not_to_be_trusted(tmp_path: Path) -> None:
    with ldap_server(tmp_path, AD, AD_ENTRIES) as server:
        for names, days, authority, said in (
            (["dc1.corp.example"], 30, None, "is for dc1.corp.example, not for localhost"),
            (["localhost"], -1, None, "which is over"),
            (["localhost"], 30, Authority(), "“Corp Test Authority”, which is not trusted here"),
            (["localhost"], 30, Authority("Somebody"), "“Somebody”, which is not trusted here"),
        ):
            server.certificate(names, days, authority)
            before = server.log.count("BIND")
            for url in (server.url, server.tls_url):
                checks = list(_directory(server, url=url).check())
                assert [one.state for one in checks] == ["problem"]
                assert said in checks[0].text
                with pytest.raises(UnavailableError):
                    _directory(server, url=url).sign_in(str(ANNA), "Änna's pässword")
            assert server.log.count("BIND") == before, "no password to a server that is not known"
        server.certificate(["localhost"])
        assert [one.state for one in _directory(server).check()] == ["ok", "ok", "ok", "ok", "warning"]
        assert "not trusted here" in next(iter(_directory(server, ca="").check())).text


def test_the_next_server_is_asked_when_one_is_down(ad: LdapServer) -> None:
    dead = FaultProxy(1)
    try:
        dead.fault = "cut"
        urls = f"ldap://localhost:{dead.port} {ad.url}"
        assert len(_listed(ad, url=urls)) == 6
        assert _directory(ad, url=urls).sign_in(str(ANNA), "Änna's pässword")
        assert [one.state for one in _directory(ad, url=urls).check()][:3] == ["problem", "ok", "ok"]
    finally:
        dead.close()


def test_a_thousand_people_by_pages_of_fifty(tmp_path: Path) -> None:
    """The server gives at most a hundred entries at once, and refuses to be asked for more than fifty."""
    people = [ad_user(f"user {n}", mail=f"user{n}@corp.example") for n in range(1000)]
    limits = "limits * size.soft=100 size.hard=100 size.pr=50 size.prtotal=unlimited"
    with ldap_server(tmp_path, AD, people, limits) as server:
        told: list[tuple[int, int | None]] = []
        listing = _directory(server).people(lambda done, total: told.append((done, total)))
        assert {one.addresses for one in listing.people} == {(f"user{n}@corp.example",) for n in range(1000)}
        assert len({one.id for one in listing.people}) == 1000
        assert told[0] == (100, None) and told[-1] == (1000, 1000)


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_twenty_thousand_people(tmp_path: Path) -> None:
    people = [
        ad_user(f"user {n}", proxyAddresses=[f"SMTP:user{n}@corp.example", f"smtp:u{n}@corp.example"])
        for n in range(20_000)
    ]
    with ldap_server(tmp_path, AD, people, "limits * size=unlimited") as server:
        begun = time.monotonic()
        listing = _directory(server).people(_untold)
        print(f"{len(people) / (time.monotonic() - begun):,.0f} people a second")
        assert {one.addresses[1] for one in listing.people} == {f"u{n}@corp.example" for n in range(20_000)}


@pytest.mark.parametrize(
    "limits",
    [
        "limits * size.soft=500 size.hard=500 size.prtotal=500",
        "limits * size.soft=100 size.hard=100 size.prtotal=disabled",
        "limits * size.unchecked=10 size.prtotal=unlimited",
    ],
)
def test_a_limit_that_would_cut_the_listing_is_an_error(tmp_path: Path, limits: str) -> None:
    people = [ad_user(f"user {n}", mail=f"user{n}@corp.example") for n in range(600)]
    with ldap_server(tmp_path, AD, people, limits) as server:
        with pytest.raises(MailkeepError, match=r"limits|page by page"):
            _directory(server, filter="(mail=*)").people(_untold)
        problem = list(_directory(server, filter="(mail=*)").check())[-1]
        assert (problem.what, problem.state) == ("people", "problem")


def test_entries_on_another_server(tmp_path: Path) -> None:
    child = "ldap://child.corp.example/dc=child,dc=corp,dc=example"
    zones = "ldap://DomainDnsZones.corp.example/DC=DomainDnsZones,DC=corp,DC=example"

    def elsewhere(name: str, url: str) -> Entry:
        return f"dc={name},{AD.suffix}", {"objectClass": ["referral", "extensibleObject"], "dc": name, "ref": url}

    with ldap_server(tmp_path / "1", AD, [*AD_ENTRIES, elsewhere("DomainDnsZones", zones)]) as server:
        assert len(_listed(server)) == 6, "every domain controller names those: nobody is there"
    with ldap_server(tmp_path / "2", AD, [*AD_ENTRIES, elsewhere("child", child)]) as server:
        with pytest.raises(UsageError, match=r"child\.corp\.example"):
            _directory(server).people(_untold)
        listing = _directory(server, referrals="ignore").people(_untold)
        assert len(listing.people) == 6
        assert child in [one.who.partition("??")[0] for one in listing.left_out]
        with pytest.raises(UsageError, match="lies on another server"):
            _directory(server, base=f"DC=child,{AD.suffix}").people(_untold)


@pytest.fixture
def openldap(tmp_path: Path) -> Iterator[LdapServer]:
    groups = f"ou=groups,{OPENLDAP.suffix}"
    people = f"ou=people,{OPENLDAP.suffix}"
    entries: list[Entry] = [
        person("anna", mail=["anna@example.org", "a@example.org"], mailAlternateAddress="anna@old.example"),
        person("ben", mail="ben@example.org", password="ben's"),
        person("cora", mail="cora@example.org", password="cora's"),
        person("dora", mail="dora@example.org", nsAccountLock="TRUE", password="dora's"),
        person("nobody"),
        (
            f"cn=all,{groups}",
            {
                "objectClass": "groupOfNames",
                "cn": "all",
                # Written as a person would: other case, blanks, escapes; one who is gone; a group inside.
                "member": [f"UID=\\41nna, OU=People,{OPENLDAP.suffix}", f"uid=gone,{people}", f"cn=some,{groups}"],
            },
        ),
        (
            f"cn=some,{groups}",
            {
                "objectClass": "groupOfUniqueNames",
                "cn": "some",
                "uniqueMember": [f"uid=ben,{people}", f"cn=all,{groups}"],
            },
        ),
        (
            f"cn=unix,{groups}",
            {"objectClass": "posixGroup", "cn": "unix", "gidNumber": "7", "memberUid": ["cora", "root"]},
        ),
    ]
    with ldap_server(tmp_path, OPENLDAP, entries) as server:
        yield server


def test_people_of_openldap(openldap: LdapServer) -> None:
    listing = _directory(openldap).people(_untold)
    by_name = {one.name: one for one in listing.people}
    assert by_name["Anna"].addresses == ("anna@example.org", "a@example.org", "anna@old.example")
    assert by_name["Anna"].login == "anna"
    assert {one.name: one.state for one in listing.people} == {
        "Anna": "active",
        "Ben": "active",
        "Cora": "active",
        "Dora": "disabled",
    }
    assert all(str(uuid.UUID(one.id)) == one.id for one in listing.people)
    assert [one.who for one in listing.left_out] == ["Nobody"]


def test_groups_of_openldap(openldap: LdapServer) -> None:
    groups = f"ou=groups,{OPENLDAP.suffix}"
    assert _listed(openldap, groups=f"cn=all,{groups}").keys() == {"anna@example.org", "ben@example.org"}
    assert _listed(openldap, groups=f"cn=unix,{groups}\ncn=some,{groups}").keys() == {
        *("anna@example.org", "ben@example.org"),
        "cora@example.org",
    }
    assert _directory(openldap, groups=f"cn=unix,{groups}").people(_untold).excluded == 4


def test_a_person_who_is_renamed_and_moved_keeps_the_id(openldap: LdapServer) -> None:
    before = _listed(openldap)["ben@example.org"]
    openldap.modify(
        f"dn: uid=ben,ou=people,{OPENLDAP.suffix}\nchangetype: modrdn\nnewrdn: uid=benno\ndeleteoldrdn: 1\n"
        f"newsuperior: ou=services,{OPENLDAP.suffix}\n\n"
        f"dn: uid=benno,ou=services,{OPENLDAP.suffix}\nchangetype: modify\nreplace: mail\nmail: benno@example.org\n"
    )
    after = _listed(openldap)["benno@example.org"]
    assert (after.id, after.login) == (before.id, "benno")
    assert _directory(openldap).sign_in(before.id, "ben's")


def test_locked_accounts(openldap: LdapServer) -> None:
    """Locked for good is switched off; locked for a while after wrong passwords is not."""
    directory = _directory(openldap)
    ids = {one.name: one.id for one in directory.people(_untold).people}
    assert directory.sign_in(ids["Cora"], "cora's")
    assert not directory.sign_in(ids["Dora"], "dora's")
    for who, since in (("ben", "20260102030405Z"), ("cora", "000001010000Z")):
        openldap.modify(
            f"dn: uid={who},ou=people,{OPENLDAP.suffix}\nchangetype: modify\nadd: pwdAccountLockedTime\n"
            f"pwdAccountLockedTime: {since}\n"
        )
    states = {one.name: one.state for one in directory.people(_untold).people}
    assert states == {"Anna": "active", "Ben": "active", "Cora": "disabled", "Dora": "disabled"}
    assert not directory.sign_in(ids["Cora"], "cora's")


def test_a_server_of_another_kind(openldap: LdapServer) -> None:
    options = openldap.options | {
        "preset": "custom",
        "filter": "(&(objectClass=person)(!(uid=dora)))",
        "id": "uid",
        "name": "sn",
        "addresses": "mailAlternateAddress mail",
    }
    check_options("ldap", options)
    listing = open_directory("ldap", options).people(_untold)
    assert {one.id for one in listing.people} == {"anna", "ben", "cora"}
    anna = next(one for one in listing.people if one.id == "anna")
    assert anna == Person("anna", "Anna", ("anna@old.example", "anna@example.org", "a@example.org"))


def test_an_account_that_may_read_nothing_of_people_is_not_an_empty_directory(tmp_path: Path) -> None:
    """The entries can be seen and their ids cannot: people would seem to have gone."""
    hidden = f"access to attrs=mail,uid,cn by dn.exact={OPENLDAP.service} read by * none"
    with ldap_server(tmp_path, OPENLDAP, [person("anna", mail="anna@example.org")]) as server:
        conf = tmp_path / "slapd" / "slapd.conf"
        conf.write_text(
            conf.read_text().replace("access to *", f"access to attrs=entryUUID by * none\n{hidden}\naccess to *", 1)
        )
        server.restart()
        with pytest.raises(UsageError, match="entryuuid"):
            _directory(server).people(_untold)


@pytest.mark.parametrize("fault", ["cut", "hang"])
def test_a_line_that_breaks(ad: LdapServer, fault: str) -> None:
    proxy = FaultProxy(ad.tls_port)
    try:
        limits = Limits(connect=1, answer=1)
        directory = _directory(ad, limits, url=f"ldaps://localhost:{proxy.port}")
        assert len(directory.people(_untold).people) == 6
        proxy.fault = "cut" if fault == "cut" else "hang"
        with pytest.raises(UnavailableError):
            directory.people(_untold)
        with pytest.raises(UnavailableError):
            directory.sign_in(str(ANNA), "Änna's pässword")
        assert [one.state for one in directory.check()] == ["problem"]
    finally:
        proxy.close()


def test_a_line_that_breaks_at_any_byte_gives_all_or_an_error(tmp_path: Path) -> None:
    """Requests are cut after each so many bytes; a listing is whole or there is none."""
    people = [ad_user(f"user {n}", mail=f"user{n}@corp.example") for n in range(150)]
    settings = "limits * size.soft=50 size.hard=50 size.pr=20 size.prtotal=unlimited"
    with ldap_server(tmp_path, AD, people, settings) as server:
        proxy = FaultProxy(server.port)
        directory = _directory(server, url=f"ldap://localhost:{proxy.port}", security="none", groups="(cn=*)")
        try:
            directory.people(_untold)
            whole, broken = proxy.sent_up, 0
            for cut in range(1, whole + 40, 97):
                proxy.sent_up, proxy.cut_after = 0, cut
                try:
                    assert len(directory.people(_untold).people) == 150
                except UnavailableError:
                    broken += 1
            assert broken >= whole // 97 - 2
        finally:
            proxy.close()


def test_a_server_that_dies_while_it_is_read(tmp_path: Path) -> None:
    people = [ad_user(f"user {n}", mail=f"user{n}@corp.example") for n in range(600)]
    settings = "limits * size.pr=100 size.prtotal=unlimited"
    with ldap_server(tmp_path, AD, people, settings) as server:

        def dies(done: int, _total: int | None) -> None:
            if done == 300:
                server.kill()

        with pytest.raises(UnavailableError):
            _directory(server).people(dies)
        with pytest.raises(UnavailableError, match="cannot be reached"):
            _directory(server).sign_in(str(ANNA), "x")
        server.restart()
        assert len(_directory(server).people(_untold).people) == 600


def test_the_directorys_own_account_is_not_the_persons_password(ad: LdapServer) -> None:
    with pytest.raises(RemoteDeniedError, match="does not accept the account"):
        _directory(ad, bind_password="changed").sign_in(str(ANNA), "Änna's pässword")
