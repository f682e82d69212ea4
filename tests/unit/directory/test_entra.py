"""What a Microsoft Entra tenant's directory says, asked of a strict double of Microsoft's services."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from appliance.directory import kinds
from appliance.directory.base import Listing, Person
from appliance.directory.entra import open_directory
from appliance.errors import MailkeepError, RemoteDeniedError, UnavailableError, UsageError
from appliance.services.directories import errand
from tests.doubles.graph import CLIENT, SECRET, TENANT, GraphDouble, user
from tests.doubles.https import Asked, Said, on, serving


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[GraphDouble]:
    """A tenant, whose Graph found nothing to complain about."""
    double = GraphDouble(tmp_path / "graph")
    with serving(double):
        yield double
    assert double.complaints == []


@pytest.fixture
def pauses() -> list[float]:
    """The seconds that were waited, without waiting."""
    return []


class Tenant:
    """The directory of the double, with these options."""

    def __init__(self, graph: GraphDouble, pauses: list[float]) -> None:
        self.graph = graph
        self.pauses = pauses

    def options(self, **options: str) -> dict[str, str]:
        credential = {} if "certificate" in options else {"secret": SECRET}
        places = {"authority": self.graph.url, "graph": self.graph.url}
        return {"tenant": TENANT, "client": CLIENT, **credential, **places, **options}

    def people(self, **options: str) -> Listing:
        directory = open_directory(self.options(**options), tls=self.graph.tls, sleep=self.pauses.append)
        return directory.people(lambda _done, _total: None)

    def check(self, **options: str) -> dict[str, str]:
        """State and sentence of each thing that was looked at."""
        directory = open_directory(self.options(**options), tls=self.graph.tls, sleep=self.pauses.append)
        return {one.what: f"{one.state}: {one.text}" for one in directory.check()}


@pytest.fixture
def tenant(graph: GraphDouble, pauses: list[float]) -> Tenant:
    return Tenant(graph, pauses)


def test_a_person_has_the_addresses_of_the_mailbox_and_no_others(graph: GraphDouble, tenant: Tenant) -> None:
    anna = user(
        "anna.berg",
        proxyAddresses=[
            "smtp:Anna@Contoso.de",
            "X500:/o=ExchangeLabs/ou=Exchange Administrative Group/cn=anna",
            "SMTP:Anna.Berg@contoso.com",
            "SIP:anna.berg@contoso.com",
            "smtp:anna@xn--mnchen-3ya.example",
            "smtp:broken",
        ],
        userPrincipalName="aberg@contoso.onmicrosoft.com",
    )
    graph.users = [anna]
    assert tenant.people().people == (
        Person(
            id=anna["id"],
            name="Anna Berg",
            addresses=("anna.berg@contoso.com", "anna@contoso.de", "anna@münchen.example"),
            login="aberg@contoso.onmicrosoft.com",
        ),
    )


def test_mail_is_the_address_where_there_is_no_other(graph: GraphDouble, tenant: Tenant) -> None:
    graph.users = [user("anna", proxyAddresses=[]), user("bob", proxyAddresses=None, userPrincipalName=None)]
    assert [one.addresses for one in tenant.people().people] == [("anna@contoso.com",), ("bob@contoso.com",)]


def test_an_account_without_an_address_is_told_of(graph: GraphDouble, tenant: Tenant) -> None:
    graph.users = [user("anna"), user("sync.service", mail=None, proxyAddresses=[])]
    found = tenant.people()
    assert [one.name for one in found.people] == ["Anna"]
    assert [(one.who, one.why) for one in found.left_out] == [("Sync Service", "The account has no mail address.")]


def test_guests_are_left_out_and_counted(graph: GraphDouble, tenant: Tenant) -> None:
    graph.users = [user("anna"), user("eve", domain="fabrikam.com", kind="Guest"), user("old", kind=None)]
    found = tenant.people()
    assert [one.name for one in found.people] == ["Anna", "Old"]
    assert found.excluded == 1


def test_who_may_not_sign_in_is_disabled(graph: GraphDouble, tenant: Tenant) -> None:
    graph.users = [user("anna"), user("bob", enabled=False)]
    assert [(one.name, one.state) for one in tenant.people().people] == [("Anna", "active"), ("Bob", "disabled")]


def test_only_licensed_leaves_the_others_out(graph: GraphDouble, tenant: Tenant) -> None:
    graph.users = [user("anna"), user("printer", licensed=False)]
    found = tenant.people(licensed="true")
    assert [one.name for one in found.people] == ["Anna"]
    assert found.excluded == 1
    assert len(tenant.people().people) == 2


def test_shared_mailboxes_are_told_apart_and_taken_without_licence(graph: GraphDouble, tenant: Tenant) -> None:
    anna, info, room, old = (
        user("anna"),
        user("info", licensed=False, enabled=False),
        user("room", licensed=False, enabled=False),
        user("on.premises", licensed=False),
    )
    graph.users = [anna, info, room, old]
    graph.purposes = {anna["id"]: "user", info["id"]: "shared", room["id"]: "room"}
    found = tenant.people(licensed="true", shared="true")
    assert [(one.name, one.kind, one.state) for one in found.people] == [
        ("Anna", "user", "active"),
        ("Info", "shared", "active"),
    ]
    assert found.excluded == 2


def test_mailboxes_are_only_asked_about_where_it_is_wanted(graph: GraphDouble, tenant: Tenant) -> None:
    graph.users = [user("anna")]
    graph.permissions = {"User.Read.All"}
    assert [one.kind for one in tenant.people().people] == ["user"]
    assert not [one for one in graph.asked if one.path.endswith("$batch")]


def test_the_purposes_of_many_are_asked_twenty_at_a_time(graph: GraphDouble, tenant: Tenant) -> None:
    graph.users = [user(f"user{number}") for number in range(45)]
    graph.purposes = {one["id"]: "shared" if number % 2 else "user" for number, one in enumerate(graph.users)}
    found = tenant.people(shared="true")
    assert [one.kind for one in found.people] == ["shared" if number % 2 else "user" for number in range(45)]
    assert len([one for one in graph.asked if one.path.endswith("$batch")]) == 3


def test_a_busy_mailbox_is_asked_again_when_it_said(graph: GraphDouble, tenant: Tenant, pauses: list[float]) -> None:
    graph.users = [user(f"user{number}") for number in range(5)]
    graph.purposes = {one["id"]: "shared" for one in graph.users}
    graph.mailbox_faults = [(429, {"Retry-After": "17"}, "TooManyRequests"), (503, {}, "ErrorServerBusy")]
    assert {one.kind for one in tenant.people(shared="true").people} == {"shared"}
    assert pauses == [17.0]


@pytest.mark.parametrize("status", [403, 418])
def test_a_mailbox_that_does_not_answer_is_no_user(graph: GraphDouble, tenant: Tenant, status: int) -> None:
    """Taken for one, a shared mailbox without a licence would silently be left out."""
    graph.users = [user("anna"), user("info", licensed=False)]
    graph.purposes = {one["id"]: "shared" for one in graph.users}
    graph.mailbox_faults = [(status, {}, "ErrorAccessDenied")]
    with pytest.raises(MailkeepError, match="what the mailbox of"):
        tenant.people(shared="true")


def test_deleted_accounts_are_marked_and_do_not_keep_what_others_have_now(graph: GraphDouble, tenant: Tenant) -> None:
    new, old = user("anna", "office@contoso.com"), user("anna", "former@contoso.com", "office@contoso.com")
    old["userPrincipalName"] = f"{old['id'].replace('-', '')}anna@contoso.com"
    guest, service = user("eve", kind="Guest"), user("service", mail=None, proxyAddresses=[])
    graph.users, graph.deleted = [new], [old, guest, service]
    found = tenant.people()
    assert [(one.id, one.state, one.addresses, one.login) for one in found.people] == [
        (new["id"], "active", ("anna@contoso.com", "office@contoso.com"), ""),
        (old["id"], "deleted", ("former@contoso.com",), ""),
    ]
    assert found.excluded == 2


def test_who_is_deleted_while_the_list_is_read_is_deleted(graph: GraphDouble, tenant: Tenant) -> None:
    anna, bob = user("anna"), user("bob")
    graph.users, graph.deleted = [anna, bob], [bob]
    assert [(one.name, one.state) for one in tenant.people().people] == [("Anna", "active"), ("Bob", "deleted")]


def test_who_is_on_two_pages_is_listed_once(graph: GraphDouble, tenant: Tenant) -> None:
    anna = user("anna")
    graph.users = [anna, user("bob"), {**anna, "displayName": "Anna New"}]
    graph.page = 1
    assert sorted(one.name for one in tenant.people().people) == ["Anna New", "Bob"]


def test_the_process_that_asks_reaches_it(graph: GraphDouble, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Confined, without files of its own, and with the system's certificates, which SSL_CERT_FILE stands for here."""
    graph.users = [user("anna"), user("bob", kind="Guest")]
    monkeypatch.setenv("SSL_CERT_FILE", str(graph.trusted))
    found = errand.listing("entra", tenant.options(), lambda _done, _total: None, lambda: False)
    assert [one.name for one in found.people] == ["Anna"]
    assert found.excluded == 1
    graph.secret_expired = True
    assert [one.state for one in errand.checks("entra", tenant.options())] == ["problem"]
    with pytest.raises(RemoteDeniedError, match="client secret has expired"):
        errand.listing("entra", tenant.options(), lambda _done, _total: None, lambda: False)


class TestGroups:
    """Selecting by groups."""

    def test_a_group_is_named_by_name_address_or_id(self, graph: GraphDouble, tenant: Tenant) -> None:
        anna, bob, carl, eve = graph.users = [user("anna"), user("bob"), user("carl"), user("eve")]
        graph.group("Mail d'archive & Co", anna)
        graph.group("Sales", bob, mail="sales@contoso.com")
        by_id = graph.group("Board", carl)
        found = tenant.people(groups=f"Mail d'archive & Co\nsales@contoso.com; {by_id.upper()}")
        assert [one.id for one in found.people] == [anna["id"], bob["id"], carl["id"]]
        assert eve["id"] not in {one.id for one in found.people}
        assert found.excluded == 1

    def test_a_long_group_is_read_to_its_end(self, graph: GraphDouble, tenant: Tenant) -> None:
        graph.users = [user(f"user{number}") for number in range(30)]
        graph.group("Staff", *graph.users[:25])
        graph.page = 4
        assert len(tenant.people(groups="Staff").people) == 25

    def test_deleted_accounts_are_in_no_group_and_listed_all_the_same(self, graph: GraphDouble, tenant: Tenant) -> None:
        graph.users, graph.deleted = [user("anna"), user("bob")], [user("gone")]
        graph.group("Staff", graph.users[0])
        assert [one.name for one in tenant.people(groups="Staff").people] == ["Anna", "Gone"]

    def test_an_unknown_group_is_an_error_and_no_empty_list(self, graph: GraphDouble, tenant: Tenant) -> None:
        graph.users = [user("anna")]
        for name in ("Staff", "staff@contoso.com", "4d0ef681-e88f-42a3-a2db-e6bf1e249e10"):
            with pytest.raises(UsageError, match="There is no group"):
                tenant.people(groups=name)

    def test_a_group_that_shows_nobody_is_an_error(self, graph: GraphDouble, tenant: Tenant) -> None:
        """Its members may be hidden; taken as it is, everybody would be gone."""
        graph.users = [user("anna")]
        graph.group("Staff", user("somebody.else"))
        with pytest.raises(UsageError, match=r"Member\.Read\.Hidden"):
            tenant.people(groups="Staff")

    def test_two_groups_of_one_name_are_not_guessed(self, graph: GraphDouble, tenant: Tenant) -> None:
        graph.users = [user("anna")]
        first, second = graph.group("Staff", graph.users[0]), graph.group("Staff")
        with pytest.raises(UsageError, match="There are 2 groups") as told:
            tenant.people(groups="Staff")
        assert first in told.value.message
        assert second in told.value.message


class TestManyAndBroken:
    """Long lists, and what goes wrong in the middle of them: all or an error."""

    @pytest.fixture(autouse=True)
    def thousand(self, graph: GraphDouble) -> None:
        graph.users = [user(f"user{number:04}", f"alias{number:04}@contoso.com") for number in range(1000)]
        graph.page = 300

    def everybody(self, tenant: Tenant) -> None:
        found = tenant.people()
        assert [one.addresses[0] for one in found.people] == [f"user{number:04}@contoso.com" for number in range(1000)]

    def test_a_thousand(self, graph: GraphDouble, tenant: Tenant) -> None:
        self.everybody(tenant)
        first = next(one for one in graph.asked if one.path == "/v1.0/users")
        assert first.query["$top"] == "999"

    def test_five_thousand_tell_how_far_they_are(self, graph: GraphDouble, tenant: Tenant) -> None:
        graph.users = [user(f"user{number:04}") for number in range(5000)]
        graph.page = 999
        told: list[tuple[int, int | None]] = []
        directory = open_directory(tenant.options(), tls=graph.tls)
        assert len(directory.people(lambda done, total: told.append((done, total))).people) == 5000
        assert told[0] == (999, None)
        assert told[-1] == (5000, 5000)
        assert told == sorted(told, key=lambda one: one[0])

    def test_too_many_requests(self, graph: GraphDouble, tenant: Tenant, pauses: list[float]) -> None:
        graph.faults = [on("/users", Said(429, headers={"Retry-After": "42"}), after=2)]
        self.everybody(tenant)
        assert pauses == [42.0]

    def test_unavailable_for_a_while(self, graph: GraphDouble, tenant: Tenant, pauses: list[float]) -> None:
        graph.faults = [on("/users", Said(status), after=1) for status in (503, 500, 504)]
        self.everybody(tenant)
        assert len(pauses) == 3

    def test_busy_for_longer_than_we_wait(self, graph: GraphDouble, tenant: Tenant) -> None:
        graph.faults = [on("/users", Said(503), after=1) for _ in range(50)]
        with pytest.raises(UnavailableError, match="busy"):
            tenant.people()

    def test_the_token_expires_in_the_middle(self, graph: GraphDouble, tenant: Tenant) -> None:
        def expiring(asked: Asked) -> Said | None:
            if "$skiptoken" in asked.query:
                graph.expire()
                graph.faults.remove(expiring)
            return None

        graph.faults = [expiring]
        self.everybody(tenant)
        assert len([one for one in graph.asked if one.path.endswith("/token")]) == 2

    def test_the_application_is_withdrawn_in_the_middle(self, graph: GraphDouble, tenant: Tenant) -> None:
        def withdrawn(asked: Asked) -> Said | None:
            if "$skiptoken" in asked.query:
                graph.expire()
                graph.secret = "another"
            return None

        graph.faults = [withdrawn]
        with pytest.raises(RemoteDeniedError, match="client secret is wrong"):
            tenant.people()

    @pytest.mark.parametrize("status", [400, 410])
    def test_a_place_that_is_lost_begins_the_list_again(self, graph: GraphDouble, tenant: Tenant, status: int) -> None:
        gone = {"error": {"code": "Directory_ExpiredPageToken", "message": "The page token has expired."}}
        graph.faults = [on("/users", Said(status, gone), after=3)]
        self.everybody(tenant)
        assert len([one for one in graph.asked if one.path == "/v1.0/users"]) == 4 + 4

    def test_a_place_that_is_lost_for_ever_is_an_error(self, graph: GraphDouble, tenant: Tenant) -> None:
        def losing(asked: Asked) -> Said | None:
            graph.lose_places()
            return None

        graph.faults = [losing]
        with pytest.raises(UnavailableError, match="lost its place"):
            tenant.people()

    def test_a_cut_connection(self, graph: GraphDouble, tenant: Tenant) -> None:
        graph.faults = [on("/users", Said(body={"value": []}, cut=True), after=1)]
        self.everybody(tenant)

    @pytest.mark.parametrize(
        "body",
        [b"<html>Sign in to the guest network</html>", {"value": [{"displayName": "x"}]}, {}, [], {"value": None}, b""],
    )
    def test_an_answer_of_something_else(self, graph: GraphDouble, tenant: Tenant, body: object) -> None:
        graph.faults = [on("/users", Said(body=body), after=1)]
        with pytest.raises(UnavailableError, match="cannot be read"):
            tenant.people()

    @pytest.mark.parametrize("link", ["https://graph.example/v1.0/users", "http://localhost/v1.0/users", "/users"])
    def test_a_next_page_elsewhere_is_not_followed(self, graph: GraphDouble, tenant: Tenant, link: str) -> None:
        graph.faults = [on("/users", Said(body={"value": [], "@odata.nextLink": link}))]
        with pytest.raises(UnavailableError, match="another address"):
            tenant.people()

    def test_next_pages_in_circles_end(self, graph: GraphDouble, tenant: Tenant) -> None:
        circle = Said(body={"value": [], "@odata.nextLink": f"{graph.url}/v1.0/users?$skiptoken=x"})
        graph.faults = [on("/users", circle) for _ in range(3)]
        with pytest.raises(UnavailableError, match="circles"):
            tenant.people()

    def test_a_redirect_is_not_followed(self, graph: GraphDouble, tenant: Tenant) -> None:
        graph.faults = [on("/users", Said(302, headers={"Location": "https://evil.example/"}))]
        with pytest.raises(MailkeepError, match="302"):
            tenant.people()

    def test_no_user_at_all_is_an_error(self, graph: GraphDouble, tenant: Tenant) -> None:
        graph.users = []
        with pytest.raises(UnavailableError, match="no user at all"):
            tenant.people()


class TestSigningIn:
    """The application's credentials."""

    @pytest.fixture(autouse=True)
    def somebody(self, graph: GraphDouble) -> None:
        graph.users = [user("anna")]

    def test_a_certificate_in_place_of_a_secret(self, graph: GraphDouble, tenant: Tenant) -> None:
        pem, graph.certificate = certificate()
        assert len(tenant.people(certificate=pem).people) == 1
        assert tenant.check(certificate=pem)["certificate"].startswith("ok: ")

    def test_a_certificate_that_nobody_uploaded(self, graph: GraphDouble, tenant: Tenant) -> None:
        pem, _ = certificate()
        assert "does not know the certificate" in tenant.check(certificate=pem)["sign-in"]
        _, graph.certificate = certificate()
        assert "does not know the certificate" in tenant.check(certificate=pem)["sign-in"]

    @pytest.mark.parametrize(
        ("days", "said"), [(-1, "problem: The certificate expired on"), (12, "warning: The certificate expires on")]
    )
    def test_a_certificate_that_runs_out(self, graph: GraphDouble, tenant: Tenant, days: int, said: str) -> None:
        pem, graph.certificate = certificate(days=days)
        assert tenant.check(certificate=pem)["certificate"].startswith(said)

    def test_a_wrong_secret(self, tenant: Tenant) -> None:
        said = tenant.check(secret="qWgdYAmab0YSkuL1qKv5bPX~8x")
        assert list(said) == ["sign-in"]
        assert said["sign-in"].startswith("problem: The client secret is wrong.")
        assert "qWgdYAmab0YSkuL1qKv5bPX" not in said["sign-in"]

    def test_an_expired_secret(self, graph: GraphDouble, tenant: Tenant) -> None:
        graph.secret_expired = True
        assert "The client secret has expired." in tenant.check()["sign-in"]

    def test_another_tenant(self, tenant: Tenant) -> None:
        assert "There is no tenant “fabrikam.com”" in tenant.check(tenant="fabrikam.com")["sign-in"]

    def test_another_application(self, tenant: Tenant) -> None:
        said = tenant.check(client="00000000-1111-2222-3333-444444444444")["sign-in"]
        assert "There is no application 00000000-1111-2222-3333-444444444444" in said

    def test_a_reason_that_nobody_knows_is_told_as_it_is(self, graph: GraphDouble, tenant: Tenant) -> None:
        words = "AADSTS99999: Something new. Trace ID: 1 Correlation ID: 2"
        said = Said(400, {"error": "invalid_request", "error_description": words})
        graph.faults = [on("/token", said)]
        text = tenant.check()["sign-in"]
        assert "AADSTS99999: Something new." in text
        assert "Trace ID" not in text

    def test_a_clock_that_is_wrong(self, graph: GraphDouble, tenant: Tenant) -> None:
        graph.ahead = 3600
        assert tenant.check()["clock"].startswith(
            "warning: This machine's clock is 60 minutes behind that of Microsoft."
        )
        pem, graph.certificate = certificate()
        graph.ahead = 2 * 3600
        assert "Set this machine's clock" in tenant.check(certificate=pem)["sign-in"]

    def test_a_certificate_of_an_unknown_authority_is_not_trusted(self, graph: GraphDouble, tenant: Tenant) -> None:
        directory = open_directory(tenant.options(), sleep=tenant.pauses.append)
        said = next(iter(directory.check()))
        assert (said.what, said.state) == ("sign-in", "problem")
        assert "cannot be trusted" in said.text
        assert graph.asked == []
        assert tenant.pauses == []

    def test_nobody_there(self, tenant: Tenant) -> None:
        said = tenant.check(authority="https://localhost:1")
        assert "cannot be reached" in said["sign-in"]

    def test_the_token_service_is_busy(self, graph: GraphDouble, tenant: Tenant) -> None:
        graph.faults = [on("/token", Said(503)), on("/token", Said(429, headers={"Retry-After": "3"}))]
        assert len(tenant.people().people) == 1
        assert tenant.pauses == [1.0, 3.0]

    def test_the_secret_is_in_no_error(self, graph: GraphDouble, tenant: Tenant) -> None:
        graph.faults = [on("/token", Said(body=b"<html>"))]
        with pytest.raises(UnavailableError) as told:
            tenant.people()
        assert SECRET not in repr(told.value)


class TestChecking:
    """The test button."""

    def test_all_is_well(self, graph: GraphDouble, tenant: Tenant) -> None:
        graph.users = [user("anna"), user("info", licensed=False)]
        graph.group("Staff", *graph.users)
        graph.purposes = {one["id"]: "shared" for one in graph.users}
        said = tenant.check(groups="Staff", shared="true")
        assert set(said) == {
            *("sign-in", "User.Read.All", "deleted accounts", "GroupMember.Read.All", "MailboxSettings.Read"),
        }
        assert all(one.startswith("ok: ") for one in said.values())
        assert "2 members" in said["GroupMember.Read.All"]

    @pytest.mark.parametrize("missing", ["User.Read.All", "GroupMember.Read.All", "MailboxSettings.Read"])
    def test_a_permission_that_is_missing_is_named(self, graph: GraphDouble, tenant: Tenant, missing: str) -> None:
        graph.users = [user("anna")]
        graph.purposes = {graph.users[0]["id"]: "user"}
        graph.group("Staff", *graph.users)
        graph.permissions.remove(missing)
        said = tenant.check(groups="Staff", shared="true")
        assert said[missing].startswith(("problem: ", "warning: "))
        if missing != "User.Read.All":
            assert f"Application permissions, {missing}; then Grant admin consent." in said[missing]
            assert said["User.Read.All"].startswith("ok: ")
        with pytest.raises(RemoteDeniedError, match=missing):
            tenant.people(groups="Staff", shared="true")

    def test_a_group_that_is_not_there(self, graph: GraphDouble, tenant: Tenant) -> None:
        graph.users = [user("anna")]
        assert "There is no group “Staff”" in tenant.check(groups="Staff")["GroupMember.Read.All"]

    def test_nothing_raises(self, graph: GraphDouble, tenant: Tenant) -> None:
        graph.faults = [on("", Said(418)) for _ in range(9)]
        assert list(tenant.check()) == ["sign-in"]
        graph.users, graph.faults = [user("anna")], [on("/users", Said(418)), on("user", Said(body=b"no"))]
        said = tenant.check()
        assert said["User.Read.All"].startswith("problem: ")
        assert said["deleted accounts"].startswith("problem: ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tenant": "https://contoso.com"}, "tenant"),
        ({"client": "mailkeep"}, "client"),
        ({"secret": ""}, "either a client secret or a certificate"),
        ({"secret": "535fb089-9ff3-47b6-9bfb-4f1264799865"}, "secret's id"),
        ({"certificate": "x"}, "either a client secret or a certificate"),
        ({"secret": "", "certificate": "x"}, "no private key"),
        ({"authority": "http://login.example"}, "https"),
        ({"graph": "graph.microsoft.com"}, "https"),
        ({"licensed": "sometimes"}, "true or false"),
        ({"license": "true"}, "has no option"),
    ],
)
def test_options_that_make_no_sense(change: dict[str, str], words: str) -> None:
    good = {"tenant": "contoso.onmicrosoft.com", "client": CLIENT, "secret": SECRET}
    kinds.check_options("entra", good)
    with pytest.raises(UsageError, match=words):
        kinds.check_options("entra", {**good, **change})


def test_certificates_that_cannot_be_used() -> None:
    pem, _ = certificate()
    other, _ = certificate()
    key, own = pem.split("-----BEGIN CERTIFICATE")
    mixed = other.split("-----BEGIN CERTIFICATE")[0] + "-----BEGIN CERTIFICATE" + own
    curve = ec.generate_private_key(ec.SECP256R1())
    for given, words in (
        (key, "no certificate"),
        (mixed, "does not belong"),
        (_private(curve), "RSA"),
        (_private(curve, b"secret"), "passphrase"),
    ):
        with pytest.raises(UsageError, match=words):
            kinds.check_options("entra", {"tenant": "contoso.com", "client": CLIENT, "certificate": given})


def certificate(*, days: int = 365) -> tuple[str, x509.Certificate]:
    """Key and certificate in PEM, and what is uploaded to the app registration; another one each time."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mailkeep")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days, minutes=1))
        .sign(key, hashes.SHA256())
    )
    return _private(key) + made.public_bytes(serialization.Encoding.PEM).decode(), made


def _private(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> str:
    hidden = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden).decode()
