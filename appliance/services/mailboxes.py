"""Journal mailboxes: creating and changing them, and telling the gateway."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from collections.abc import Sequence

from appliance.errors import ConflictError, NotFoundError, StorageError, UsageError
from appliance.files import Files, replace_file
from appliance.mail import published
from appliance.mail.addresses import domain, normalise
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.principal import Principal
from appliance.settings import events

RETIRED_SECONDS = 30 * 24 * 3600
"""How long mail to a deleted mailbox is put off rather than refused: a mistake must not lose journal mail."""

UNKNOWN_RULES = ("keep", "create", "ignore")


def mailboxes(archive: Archive, principal: Principal) -> tuple[api.MailboxInfo, ...]:
    """All mailboxes that are not deleted."""
    principal.require("admin")
    sums = archive.catalogue.mailbox_sums()
    return tuple(
        _info(put, created, sums) for put, created, deleted in archive.settings.all_mailboxes() if deleted is None
    )


def mailbox_create(
    archive: Archive,
    principal: Principal,
    *,
    name: str,
    address: str,
    unknown: str = "keep",
    networks: Sequence[str] = (),
    tls_required: bool = False,
    domains: Sequence[str] = (),
) -> api.MailboxInfo:
    """A new mailbox with keys of its own.

    Where ``address`` has no local part (``@archive.example.com``), one is made that nobody can guess.
    """
    principal.require("admin")
    plain = _door(address)
    if not name.strip():
        raise UsageError("Give the mailbox a name.")
    mailbox = os.urandom(16)
    put = events.MailboxPut(
        mailbox=mailbox, name=name.strip(), address=plain, unknown=_unknown(unknown), networks=_networks(networks),
        tls_required=tls_required, domains=_domains(domains),
    )  # fmt: skip
    with archive.directory:
        if any(other.address == plain for other in archive.settings.mailboxes()):
            raise ConflictError(f"There is a mailbox with the address {plain} already.")
        if archive.owners.archive_of(plain, int(archive.clock() * 1e6)):
            raise ConflictError(f"{plain} is a user's address. A journal mailbox needs one of its own.")
        archive.keyring.create_mailbox(mailbox)
        archive.record(principal, put)
    publish(archive)
    return _find(archive, mailbox.hex())


def mailbox_change(
    archive: Archive,
    principal: Principal,
    *,
    id: str,
    name: str | None = None,
    state: str | None = None,
    unknown: str | None = None,
    networks: Sequence[str] | None = None,
    tls_required: bool | None = None,
    domains: Sequence[str] | None = None,
) -> api.MailboxInfo:
    """Change what is given. A suspended mailbox puts mail off (450), so that the sender keeps it."""
    principal.require("admin")
    before = _put(archive, id)
    if state is not None and state not in ("active", "suspended"):
        raise UsageError("The state of a mailbox is active or suspended.")
    archive.record(
        principal,
        events.MailboxPut(
            mailbox=before.mailbox,
            name=before.name if name is None else name.strip() or before.name,
            address=before.address,
            state=before.state if state is None else state,  # type: ignore[arg-type]
            unknown=before.unknown if unknown is None else _unknown(unknown),
            networks=before.networks if networks is None else _networks(networks),
            tls_required=before.tls_required if tls_required is None else tls_required,
            domains=before.domains if domains is None else _domains(domains),
        ),
    )
    publish(archive)
    return _find(archive, id)


def mailbox_delete(archive: Archive, principal: Principal, *, id: str) -> None:
    """Delete an empty mailbox. Mail that still comes to its address is put off for 30 days, with an alarm."""
    principal.require("admin")
    before = _put(archive, id)
    volumes = archive.reader.volumes(before.mailbox)
    if any(True for volume in volumes for _ in archive.reader.scan(volume)):
        raise ConflictError("This mailbox holds mail, so it stays. Suspend it to stop receiving.")
    archive.record(
        principal,
        events.MailboxPut(
            mailbox=before.mailbox, name=before.name, address=before.address, state="deleted",
            unknown=before.unknown, networks=before.networks, tls_required=before.tls_required,
            domains=before.domains,
        ),
    )  # fmt: skip
    publish(archive)


def mailbox_setup(archive: Archive, principal: Principal, *, id: str) -> tuple[api.SetupText, ...]:
    """What to type into Exchange, Google and others, with this mailbox's address."""
    principal.require("admin")
    put = _put(archive, id)
    host = hostname(archive)
    address, where = put.address, domain(put.address)
    return (
        api.SetupText(
            "Microsoft 365 (Exchange Online)",
            (
                f"DNS: make an MX record for {where} that points to {host}, and let port 25 through to this box.",
                "Exchange admin center → Mail flow → Remote domains: add "
                f"{where} and allow automatic forwarding and rich text “never”.",
                "Exchange admin center → Mail flow → Connectors: add one from Office 365 to a partner organisation, "
                f"for the domain {where}, routed to {host}, “Always use TLS” with any certificate (or a trusted one "
                "once you have loaded it here). Validate it with the journal address below: the test mail is accepted.",
                "Microsoft Purview → Data lifecycle management → Exchange (legacy) → Journal rules: under “Send "
                "undeliverable journal reports to” choose a mailbox outside Microsoft 365 that you read. Its own mail "
                "is not journaled.",
                f"New journal rule: send journal reports to {address}, “Everyone”, type of message “All messages” "
                "(a rule for external mail only misses spoofed senders).",
                "Send a mail to yourself. It appears here within a minute or two; watch the status page.",
            ),
        ),
        api.SetupText(
            "Exchange Server 2013–2019",
            (
                f"New-SendConnector -Name mailkeep -AddressSpaces {where} -SmartHosts {host} -RequireTLS $true",
                f"New-JournalRule -Name mailkeep -JournalEmailAddress {address} -Scope Global -Enabled $true "
                "(first make a mail contact with that address).",
            ),
        ),
        api.SetupText(
            "Google Workspace",
            (
                "Admin console → Apps → Google Workspace → Gmail → Routing → Third-party email archiving.",
                f"Add the address {address} and save; changes take up to 24 hours.",
                "Google sends each message as it is, without a journal report: Bcc recipients and the members of "
                "groups are only known where Google adds them to the headers.",
            ),
        ),
        api.SetupText(
            "Postfix and other servers",
            (
                f"always_bcc = {address}",
                f"Route {where} to [{host}] in the transport map and require TLS for it.",
                "A plain copy does not tell Bcc recipients or the members of groups.",
            ),
        ),
    )


def publish(archive: Archive) -> None:
    """Tell the gateway what it needs to know, by replacing its file.

    Raises StorageError where the disk does not take it: what was changed is in force, and the gateway is told of it
    as soon as the disk takes writes again (``signing``).
    """
    with archive.directory:
        archive.gateway_is_told = False
        path = published.settings_path(archive.paths.data)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(Files(), path, published.encode(_for_the_gateway(archive)))
        except OSError as error:
            raise StorageError(
                f"The gateway could not be told ({error.strerror}). What you changed is in force here and safe; the "
                "gateway follows once the disk takes writes again."
            ) from error
        archive.gateway_is_told = True


def _for_the_gateway(archive: Archive) -> published.GatewaySettings:
    gateway = archive.settings.gateway()
    now = int(archive.clock() * 1_000_000)
    doors, retired = [], []
    rows = archive.settings.all_mailboxes()
    taken = {put.address for put, _, deleted in rows if deleted is None}
    for put, _, deleted in rows:
        if deleted is not None:
            until = deleted + RETIRED_SECONDS * 1_000_000
            if until > now and put.address not in taken:
                retired.append(published.RetiredAddress(published.address_key(put.address), until))
            continue
        doors.append(
            published.GatewayMailbox(
                id=put.mailbox.hex(), addresses=(published.address_key(put.address),),
                public_key=archive.keyring.public_key(put.mailbox), state=put.state,  # type: ignore[arg-type]
                networks=put.networks, tls_required=put.tls_required,
            )
        )  # fmt: skip
    return published.GatewaySettings(
        version=published.VERSION, hostname=hostname(archive), generation=archive.settings.directory_version(),
        size_limit=gateway.size_limit, mailboxes=tuple(doors), retired=tuple(retired),
    )  # fmt: skip


def hostname(archive: Archive) -> str:
    """The name that this box goes by."""
    return archive.settings.gateway().hostname or socket.getfqdn()


def _door(address: str) -> str:
    plain = normalise(address)
    local, at, where = plain.rpartition("@")
    if not at or not where or any(one.isspace() for one in plain):
        raise UsageError("Enter a full address, such as journal@archive.example.com.")
    if not local:
        local = "journal-" + secrets.token_hex(6)
    return f"{local}@{where}"


def _domains(domains: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({one.strip().lower() for one in domains if one.strip()}))


def _unknown(rule: str) -> events.Unknown:
    if rule not in UNKNOWN_RULES:
        raise UsageError("The rule for unknown addresses is keep, create or ignore.")
    return rule  # type: ignore[return-value]


def _networks(networks: Sequence[str]) -> tuple[str, ...]:
    found = []
    for one in networks:
        try:
            found.append(str(ipaddress.ip_network(one.strip(), strict=False)))
        except ValueError:
            raise UsageError(f"“{one}” is not a network, such as 40.92.0.0/15 or 2a01:111::/32.") from None
    return tuple(found)


def _put(archive: Archive, id: str) -> events.MailboxPut:
    for put in archive.settings.mailboxes():
        if put.mailbox.hex() == id:
            return put
    raise NotFoundError("There is no such mailbox.")


def _find(archive: Archive, id: str) -> api.MailboxInfo:
    sums = archive.catalogue.mailbox_sums()
    for put, created, _ in archive.settings.all_mailboxes():
        if put.mailbox.hex() == id:
            return _info(put, created, sums)
    raise NotFoundError("There is no such mailbox.")


def _info(put: events.MailboxPut, created: int, sums: dict[bytes, tuple[int, int, int]]) -> api.MailboxInfo:
    records, size, last = sums.get(put.mailbox, (0, 0, None))
    return api.MailboxInfo(
        id=put.mailbox.hex(), name=put.name, address=put.address, state=put.state, unknown=put.unknown,
        networks=put.networks, tls_required=put.tls_required, records=records, bytes=size,
        last_at=None if last is None else last // 1_000_000, created_at=created // 1_000_000,
    )  # fmt: skip
