"""Mailboxes: creating and changing them, and telling the gateway."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from collections.abc import Iterable, Sequence

import msgspec

from appliance.errors import ConflictError, NotFoundError, StorageError, UsageError
from appliance.files import Files, replace_file
from appliance.language import later
from appliance.mail import published
from appliance.mail.addresses import domain, normalise
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.erasing import publish_erased
from appliance.services.paths import Paths
from appliance.services.principal import Principal
from appliance.services.sealed import Usage
from appliance.settings import events

RETIRED_SECONDS = 30 * 24 * 3600
"""How long mail to an address that no mailbox has any more is put off rather than refused: a mistake must not lose
journal mail."""

UNKNOWN_RULES = ("keep", "create", "ignore")
STATES = ("active", "suspended", "disabled")
LONGEST_RETENTION = 36_500
"""Days."""
LONGEST_DESCRIPTION = 2_000
MOST_ALIASES = 1_000


def mailboxes(archive: Archive, principal: Principal) -> tuple[api.MailboxInfo, ...]:
    """All mailboxes that are not deleted."""
    principal.require("admin")
    usage = archive.backlog.usage(archive.catalogue)
    return tuple(
        _info(put, created, usage.get(put.mailbox, Usage()))
        for put, created, deleted in archive.settings.all_mailboxes()
        if deleted is None
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
    description: str = "",
    aliases: Sequence[str] = (),
    catch_all: Sequence[str] = (),
    sealed: bool = False,
    delete_after_pull: bool = False,
    retention_days: int = 0,
) -> api.MailboxCreated:
    """A new mailbox with keys of its own, and the password that opens its mail, which is shown this once.

    Where ``address`` has no local part (``@archive.example.com``), one is made that nobody can guess. Of a
    ``sealed`` mailbox the archive keeps no key: without the password its mail is lost, and it is never searched.
    """
    principal.require("admin")
    put = _sound(
        events.MailboxPut(
            mailbox=os.urandom(16), name=name.strip(), address=_door(address, invent=True), unknown=_unknown(unknown),
            networks=_networks(networks), tls_required=tls_required, domains=_domains(domains),
            description=description.strip(), aliases=_aliases(aliases), catch_all=_domains(catch_all), sealed=sealed,
            delete_after_pull=delete_after_pull, retention_days=retention_days,
        )
    )  # fmt: skip
    with archive.directory:
        _require_free(archive, put)
        password = archive.keyring.create_mailbox(put.mailbox, sealed=sealed).password
        archive.record(principal, put)
    publish(archive)
    return api.MailboxCreated(_find(archive, put.mailbox), password)


def mailbox_change(
    archive: Archive,
    principal: Principal,
    *,
    id: str,
    name: str | None = None,
    address: str | None = None,
    state: str | None = None,
    unknown: str | None = None,
    networks: Sequence[str] | None = None,
    tls_required: bool | None = None,
    domains: Sequence[str] | None = None,
    description: str | None = None,
    aliases: Sequence[str] | None = None,
    catch_all: Sequence[str] | None = None,
    delete_after_pull: bool | None = None,
    retention_days: int | None = None,
) -> api.MailboxInfo:
    """Change what is given.

    A suspended mailbox puts mail off (450), so that the sender keeps it; a disabled one is not pulled from either.
    Mail to an address that the mailbox gives up is put off for 30 days, with an alarm.
    """
    principal.require("admin")
    with archive.directory:
        before = find_mailbox(archive, id)
        put = _sound(
            events.MailboxPut(
                mailbox=before.mailbox,
                name=(name or "").strip() or before.name,
                address=before.address if address is None else _door(address),
                state=before.state if state is None else _state(state),
                unknown=before.unknown if unknown is None else _unknown(unknown),
                networks=before.networks if networks is None else _networks(networks),
                tls_required=before.tls_required if tls_required is None else tls_required,
                domains=before.domains if domains is None else _domains(domains),
                description=before.description if description is None else description.strip(),
                aliases=before.aliases if aliases is None else _aliases(aliases),
                catch_all=before.catch_all if catch_all is None else _domains(catch_all),
                sealed=before.sealed,
                delete_after_pull=before.delete_after_pull if delete_after_pull is None else delete_after_pull,
                retention_days=before.retention_days if retention_days is None else retention_days,
            )
        )
        _require_free(archive, put)
        archive.record(principal, put)
    publish(archive)
    return _find(archive, before.mailbox)


def mailbox_delete(archive: Archive, principal: Principal, *, id: str) -> None:
    """Delete an empty mailbox. Mail that still comes to its addresses is put off for 30 days, with an alarm."""
    principal.require("admin")
    with archive.directory:  # a change at the same time would put it back
        before = find_mailbox(archive, id)
        if _holds_mail(archive, before):
            raise ConflictError(later("This mailbox holds mail, so it stays. Suspend it to stop receiving."))
        archive.record(principal, msgspec.structs.replace(before, state="deleted"))
    publish(archive)


def find_mailbox(archive: Archive, id: str) -> events.MailboxPut:
    """A mailbox that is not deleted, by its id in hex. Raises NotFoundError."""
    for put in archive.settings.mailboxes():
        if put.mailbox.hex() == id:
            return put
    raise NotFoundError(later("There is no such mailbox."))


def publish(archive: Archive) -> None:
    """Tell the gateway what it needs to know, by replacing its files.

    Raises StorageError where the disk does not take it: what was changed is in force, and the gateway is told of it
    as soon as the disk takes writes again (``signing``).
    """
    with archive.directory:
        archive.gateway_is_told = False
        path = published.settings_path(archive.paths.data)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(Files(), path, published.encode(_for_the_gateway(archive)), 0o640)
            publish_erased(archive)
        except OSError as error:
            raise StorageError(
                f"The gateway could not be told ({error.strerror}). What you changed is in force here and safe; the "
                "gateway follows once the disk takes writes again."
            ) from error
        archive.gateway_is_told = True


def _for_the_gateway(archive: Archive) -> published.GatewaySettings:
    gateway = archive.settings.gateway()
    retired_after = int(archive.clock() * 1_000_000) - RETIRED_SECONDS * 1_000_000
    doors = [
        published.GatewayMailbox(
            id=put.mailbox.hex(), addresses=tuple(map(published.address_key, (put.address, *put.aliases))),
            public_key=archive.keyring.public_key(put.mailbox), state=put.state,  # type: ignore[arg-type]
            catch_all=put.catch_all, deletes=put.delete_after_pull, networks=put.networks,
            tls_required=put.tls_required,
        )
        for put in archive.settings.mailboxes()
    ]  # fmt: skip
    retired = [
        published.RetiredAddress(published.address_key(address), closed + RETIRED_SECONDS * 1_000_000)
        for address, closed in sorted(archive.settings.closed_doors(retired_after).items())
    ]
    return published.GatewaySettings(
        version=published.VERSION, hostname=hostname(archive), generation=archive.settings.directory_version(),
        size_limit=gateway.size_limit, mailboxes=tuple(doors), retired=tuple(retired),
        seal_key=published.SealKey(archive.keyring.archive_id, archive.keyring.verify_key),
    )  # fmt: skip


def told_hostname(paths: Paths) -> str:
    """The name of this box as the gateway was told it last; what the system says where it was not told yet."""
    try:
        return published.decode_settings(published.settings_path(paths.data).read_bytes()).hostname
    except (OSError, ValueError):  # the archiver writes it anew when it starts
        return socket.getfqdn()


def hostname(archive: Archive) -> str:
    """The name that this box goes by."""
    return archive.settings.gateway().hostname or socket.getfqdn()


def _sound(put: events.MailboxPut) -> events.MailboxPut:
    """``put``, if its values go together. Raises UsageError."""
    if not put.name:
        raise UsageError(later("Give the mailbox a name."))
    if len(put.description) > LONGEST_DESCRIPTION:
        raise UsageError(f"A description has at most {LONGEST_DESCRIPTION} characters.")
    if put.address in put.aliases:
        raise UsageError(f"{put.address} is the mailbox's own address, so it cannot be another one of it, too.")
    if not 0 <= put.retention_days <= LONGEST_RETENTION:
        raise UsageError(f"Mail is kept for 1 to {LONGEST_RETENTION} days, or with 0 for ever.")
    if not put.sealed and (put.delete_after_pull or put.retention_days):
        raise UsageError(
            "Only mail of a sealed mailbox can be deleted after it was pulled or after some days. The mail of this "
            "one belongs to people's archives and stays."
        )
    return put


def _require_free(archive: Archive, put: events.MailboxPut) -> None:
    """Raises ConflictError where an address or domain of ``put`` leads somewhere else already."""
    now = int(archive.clock() * 1e6)
    wanted = (put.address, *put.aliases)
    for other in archive.settings.mailboxes():
        if other.mailbox == put.mailbox:
            continue
        if taken := {other.address, *other.aliases}.intersection(wanted):
            raise ConflictError(
                later("There is a mailbox with the address {address} already: {name}."),
                address=min(taken),
                name=other.name,
            )
        if caught := set(other.catch_all).intersection(put.catch_all):
            raise ConflictError(
                later("The mailbox {name} takes all other mail for {domain} already. A domain has one catch-all."),
                name=other.name,
                domain=min(caught),
            )
    for address in wanted:
        if archive.owners.archive_of(address, now):
            raise ConflictError(
                later("{address} is a user's address. A mailbox needs addresses of its own."), address=address
            )


def _holds_mail(archive: Archive, put: events.MailboxPut) -> bool:
    if put.sealed:
        return archive.sealed.usage().get(put.mailbox, Usage()).records > 0
    volumes = archive.reader.volumes(put.mailbox)
    return any(volume.absent or any(True for _ in archive.reader.scan(volume)) for volume in volumes)


def _door(address: str, *, invent: bool = False) -> str:
    plain = normalise(address)
    local, at, where = plain.rpartition("@")
    if not local and invent:
        local = "journal-" + secrets.token_hex(6)
    if not at or not where or not local or local == "*" or any(one.isspace() for one in plain):
        raise UsageError(later("Enter a full address, such as journal@archive.example.com."))
    return f"{local}@{where}"


def _aliases(addresses: Sequence[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(_door(one) for one in addresses if one.strip()))
    if len(found) > MOST_ALIASES:
        raise UsageError(f"A mailbox has at most {MOST_ALIASES} further addresses. A catch-all takes a whole domain.")
    return found


def _domains(domains: Iterable[str]) -> tuple[str, ...]:
    found = set()
    for one in filter(None, (one.strip().removeprefix("*").removeprefix("@") for one in domains)):
        where = domain(normalise(published.ALL_OF + one))
        if not where or "@" in one or any(sign.isspace() or sign in "*," for sign in where):
            raise UsageError(later("“{text}” is not a domain, such as archive.example.com."), text=one)
        found.add(where)
    return tuple(sorted(found))


def _state(state: str) -> events.State:
    if state not in STATES:
        raise UsageError("The state of a mailbox is active, suspended or disabled.")
    return state  # type: ignore[return-value]


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


def _find(archive: Archive, mailbox: bytes) -> api.MailboxInfo:
    usage = archive.backlog.usage(archive.catalogue).get(mailbox, Usage())
    for put, created, _ in archive.settings.all_mailboxes():
        if put.mailbox == mailbox:
            return _info(put, created, usage)
    raise NotFoundError("There is no such mailbox.")


def _info(put: events.MailboxPut, created: int, usage: Usage) -> api.MailboxInfo:
    return api.MailboxInfo(
        id=put.mailbox.hex(), name=put.name, address=put.address, state=put.state, unknown=put.unknown,
        networks=put.networks, tls_required=put.tls_required, description=put.description, aliases=put.aliases,
        catch_all=put.catch_all, sealed=put.sealed, delete_after_pull=put.delete_after_pull,
        retention_days=put.retention_days, records=usage.records, bytes=usage.bytes, first_at=_seconds(usage.first),
        last_at=_seconds(usage.last), created_at=created // 1_000_000,
    )  # fmt: skip


def _seconds(at: int | None) -> int | None:
    return None if at is None else at // 1_000_000
