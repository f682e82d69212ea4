"""Users: creating, changing, importing, inviting them, and giving roles."""

from __future__ import annotations

import csv
import io
import secrets
from collections.abc import Iterable, Sequence

from sqlalchemy import func, select

from appliance.errors import ConflictError, ForbiddenError, MailkeepError, NotFoundError, UsageError
from appliance.language import later
from appliance.mail.addresses import normalise
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.identity import Identity, new_user_id
from appliance.services.principal import Principal
from appliance.settings import events, tables

ROLES = ("admin", "auditor")

_SLICE = 500  # values in one IN (...)


def users(archive: Archive, principal: Principal, *, find: str = "", offset: int = 0, limit: int = 50) -> api.UserPage:
    """Users whose name or one of whose addresses contains ``find``, by name."""
    principal.require("admin")
    with archive.settings.read() as database:
        rows = database.scalars(select(tables.User)).all()
        addresses = _open_addresses(archive)
        # Names are encrypted one by one, so they are compared here and not in SQL.
        wanted = find.casefold()
        matching = sorted(
            (
                row
                for row in rows
                if not wanted
                or wanted in row.name.casefold()
                or any(wanted in one for one in addresses.get(row.id, ()))
            ),
            key=lambda row: (row.name.casefold(), row.id),
        )
        start = max(offset, 0)
        page = [row.id for row in matching[start : start + max(limit, 0)]]
    return api.UserPage(len(matching), tuple(_infos(archive, page, addresses)))


def user(archive: Archive, principal: Principal, *, id: str) -> api.UserInfo:
    """One user."""
    principal.require("admin")
    return _info(archive, id)


def user_create(
    archive: Archive, principal: Principal, *, name: str, primary: str, aliases: Sequence[str] = ()
) -> api.UserInfo:
    """A new user, who receives the unassigned mail of the addresses."""
    principal.require("admin")
    addresses = _addresses(primary, aliases)
    id = new_user_id()
    with archive.directory:
        _require_free(archive, addresses, "")
        archive.record(principal, events.UserPut(id, name.strip() or addresses[0], addresses))
    return _info(archive, id)


def user_change(
    archive: Archive,
    principal: Principal,
    *,
    id: str,
    name: str | None = None,
    primary: str | None = None,
    aliases: Sequence[str] | None = None,
    state: str | None = None,
) -> api.UserInfo:
    """Change what is given. A disabled user cannot sign in; its archive stays."""
    principal.require("admin")
    if state is not None and state not in ("active", "disabled"):
        raise UsageError("The state of a user is active or disabled.")
    if state == "disabled" and id == principal.id:
        raise ConflictError(later("You cannot disable yourself."))
    with archive.directory:
        before = _info(archive, id)
        addresses = _addresses(primary or before.primary, before.aliases if aliases is None else aliases)
        _require_free(archive, addresses, id)
        archive.record(
            principal,
            events.UserPut(id, before.name if name is None else name.strip(), addresses, state or before.state),  # type: ignore[arg-type]
        )
    return _info(archive, id)


def user_import(archive: Archive, principal: Principal, *, csv: bytes) -> api.ImportResult:
    """Users from a CSV file with the columns primary, aliases (separated by ;) and name.

    A line with a mistake is listed and left out; the others count. An import never takes an address away from
    anybody: aliases that the file no longer names stay.
    """
    principal.require("admin")
    counts = {"created": 0, "changed": 0, "unchanged": 0}
    wrong: list[tuple[int, str]] = []
    with archive.directory:
        known = _Directory(archive)
        for number, row in _rows(csv):
            try:
                outcome, event = known.take(row)
            except MailkeepError as error:
                wrong.append((number, error.message))
                continue
            if event is not None:
                archive.record(principal, event)
            counts[outcome] += 1
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    archive.note(principal, "user.import", f"{said}, {len(wrong)} lines wrong")
    return api.ImportResult(counts["created"], counts["changed"], counts["unchanged"], tuple(wrong))


def create_from_mail(archive: Archive, address: str) -> None:
    """A user for an address seen in mail, where the mailbox's rule wants one."""
    with archive.directory:
        if archive.owners.archive_of(address, int(archive.clock() * 1e6)) is None:
            archive.system_log.append(events.UserPut(new_user_id(), address, (address,), origin="mail"), by="system")


def user_invite(
    archive: Archive, principal: Principal, identity: Identity, *, ids: Sequence[str] = ()
) -> tuple[api.Invitation, ...]:
    """One-time codes for these users, or, with none given, for all who have no password yet."""
    principal.require("admin")
    if ids:
        wanted = [_info(archive, one) for one in ids]
        disabled = [one.primary for one in wanted if one.state != "active"]
        if disabled:
            raise ConflictError(later("{address} is disabled. Enable the user first."), address=disabled[0])
        if not principal.is_auditor and any("auditor" in one.roles and one.sign_in == "password" for one in wanted):
            # Whoever gets the code signs in as that auditor: otherwise it would be a way to appoint oneself.
            raise ForbiddenError(
                later(
                    "An auditor's password is set anew by another auditor who is an administrator, or on the box "
                    "with `mailkeep user invite`."
                )
            )
    else:
        with archive.settings.read() as database:
            all_ids = database.scalars(select(tables.User.id).where(tables.User.state == "active")).all()
        wanted = [one for one in _infos(archive, all_ids, _open_addresses(archive)) if one.sign_in != "password"]
    return tuple(identity.invite(principal, one.id, one.primary) for one in wanted)


def user_reset_totp(archive: Archive, principal: Principal, *, id: str) -> api.UserInfo:
    """Take away a user's second factor, for somebody who lost the device."""
    principal.require("admin")
    _info(archive, id)
    archive.record(principal, events.TotpSet(id, ""))
    return _info(archive, id)


def role_grant(archive: Archive, principal: Principal, *, id: str, role: str, reason: str) -> api.UserInfo:
    """Give a role. Where an auditor exists already, another auditor's appointment waits for a second approval."""
    principal.require("admin")
    _info(archive, id)
    if role not in ROLES:
        raise UsageError("The roles are admin and auditor.")
    if not reason.strip():
        raise UsageError("Give a reason. It stays in the audit trail.")
    if role == "auditor" and _auditors(archive) and not principal.id.startswith("local:"):
        archive.record(principal, events.RoleAsked(secrets.token_hex(8), id, role, reason.strip()))
    else:
        archive.record(principal, events.RoleGranted(id, role, reason.strip()))
    return _info(archive, id)


def role_revoke(archive: Archive, principal: Principal, *, id: str, role: str) -> api.UserInfo:
    """Take a role away. The last administrator cannot be removed."""
    principal.require("admin")
    with archive.settings.read() as database:
        held = database.get(tables.Grant, (id, role))
        admins = database.scalar(select(func.count()).select_from(tables.Grant).where(tables.Grant.role == "admin"))
    if held is None:
        raise NotFoundError("The user does not have this role.")
    if role == "admin" and admins == 1:
        raise ConflictError("This is the last administrator. Make another one first.")
    if role == "auditor" and _auditors(archive) == 1 and not principal.is_auditor:
        # Without any auditor an administrator could appoint the next one alone.
        raise ForbiddenError(
            "This is the last auditor. Disable the user if need be; the role is taken away by the auditor, or on "
            "the box with `mailkeep user revoke`."
        )
    archive.record(principal, events.RoleRevoked(id, role))
    return _info(archive, id)


def role_requests(archive: Archive, principal: Principal) -> tuple[api.RoleRequest, ...]:
    """Appointments that wait for a second auditor; administrators and auditors see them."""
    if not principal.roles & {"admin", "auditor"}:
        principal.require("auditor")
    names = {one: addresses[0] for one, addresses in _open_addresses(archive).items() if addresses}
    with archive.settings.read() as database:
        return tuple(
            api.RoleRequest(
                row.id, row.user_id, names.get(row.user_id, ""), row.reason, names.get(row.asked_by, row.asked_by),
                row.at // 1_000_000,
            )
            for row in database.scalars(select(tables.GrantRequest).order_by(tables.GrantRequest.at))
        )  # fmt: skip


def role_decide(archive: Archive, principal: Principal, *, id: str, approve: bool) -> None:
    """Approve or refuse an appointment: an auditor other than the one who asked and the one appointed."""
    principal.require("auditor")
    with archive.settings.read() as database:
        wish = database.get(tables.GrantRequest, id)
        if wish is None:
            raise NotFoundError("This appointment was decided already.")
        user_id, role, reason, asked_by = wish.user_id, wish.role, wish.reason, wish.asked_by
    if principal.id in (asked_by, user_id):
        raise ForbiddenError("Somebody else has to approve this: neither who asked nor who is appointed may.")
    if approve:
        archive.record(principal, events.RoleGranted(user_id, role, reason, id))
    else:
        archive.record(principal, events.RoleRefused(id))


def user_by_address(archive: Archive, principal: Principal, *, address: str) -> api.UserInfo:
    """The user who holds an address now. Raises NotFoundError."""
    principal.require("admin")
    return _info(archive, find_user(archive, address))


def find_user(archive: Archive, address: str) -> str:
    """The id of the user who holds an address now. Raises NotFoundError."""
    found = archive.owners.archive_of(normalise(address), int(archive.clock() * 1e6))
    if found is None:
        raise NotFoundError(f"No user has the address {address}.")
    return found


# -- helpers --------------------------------------------------------------------------------------------------


def _auditors(archive: Archive) -> int:
    with archive.settings.read() as database:
        return (
            database.scalar(select(func.count()).select_from(tables.Grant).where(tables.Grant.role == "auditor")) or 0
        )


def _rows(raw: bytes) -> Iterable[tuple[int, dict[str, str]]]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", "replace")
    reader = csv.reader(io.StringIO(text), dialect=_dialect(text))
    header = [one.strip().lower() for one in next(reader, [])]
    if "primary" not in header:
        raise UsageError("The first line of the file must name its columns: primary, aliases, name.")
    for row in reader:
        if any(one.strip() for one in row):
            yield reader.line_num, dict(zip(header, (one.strip() for one in row), strict=False))


def _dialect(text: str) -> type[csv.Dialect]:
    first = text.split("\n", 1)[0]

    class Found(csv.excel):
        delimiter = "\t" if "\t" in first else ";" if ";" in first and "," not in first else ","

    return Found


class _Directory:
    """Who holds which address while an import goes on: read once, then kept up with what the import does."""

    def __init__(self, archive: Archive) -> None:
        self._doors = archive.settings.open_doors()
        addresses = _open_addresses(archive)
        with archive.settings.read() as database:
            self._users = {
                row.id: events.UserPut(row.id, row.name, addresses.get(row.id, ()), row.state)  # type: ignore[arg-type]
                for row in database.scalars(select(tables.User))
            }
        self._holders = {one: id for id, held in addresses.items() for one in held}

    def take(self, row: dict[str, str]) -> tuple[str, events.UserPut | None]:
        """What one line of the file asks for: created, changed or unchanged, and the event that does it."""
        addresses = _addresses(row.get("primary", ""), row.get("aliases", "").split(";"))
        if door := self._doors.intersection(addresses):
            raise ConflictError(f"{min(door)} is an address of a mailbox.")
        holders = {self._holders[one] for one in addresses if one in self._holders}
        if len(holders) > 1:
            raise ConflictError(f"The addresses of {addresses[0]} belong to different users already.")
        name = row.get("name", "")
        if not holders:
            event = events.UserPut(new_user_id(), name or addresses[0], addresses, origin="import")
            outcome = "created"
        else:
            before = self._users[holders.pop()]
            merged = tuple(dict.fromkeys((*addresses, *before.addresses)))
            event = events.UserPut(before.user, name or before.name, merged, before.state)
            if (event.name, event.addresses) == (before.name, before.addresses):
                return "unchanged", None
            outcome = "changed"
        self._users[event.user] = event
        self._holders.update(dict.fromkeys(event.addresses, event.user))
        return outcome, event


def _addresses(primary: str, aliases: Iterable[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(normalise(one) for one in (primary, *aliases) if one.strip()))
    if not primary.strip():
        raise UsageError(later("A user needs a primary address."))
    for one in found:
        local, _, domain = one.rpartition("@")
        if (not local or not domain) and one != "admin":
            raise UsageError(later("“{text}” is not a mail address."), text=one)
    return found


def _require_free(archive: Archive, addresses: Sequence[str], user_id: str) -> None:
    now = int(archive.clock() * 1e6)
    doors = archive.settings.open_doors()
    for address in addresses:
        holder = archive.owners.archive_of(address, now)
        if holder not in (None, user_id):
            raise ConflictError(
                later("The address {address} belongs to another user. Take it away there first."), address=address
            )
        if address in doors:
            raise ConflictError(later("{address} is an address of a mailbox."), address=address)


def _open_addresses(archive: Archive) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    with archive.settings.read() as database:
        rows = database.scalars(
            select(tables.Address)
            .where(tables.Address.until.is_(None))
            .order_by(tables.Address.rank, tables.Address.id)
        )
        for row in rows:
            found[row.user_id] = (*found.get(row.user_id, ()), row.address)
    return found


def _info(archive: Archive, id: str) -> api.UserInfo:
    found = _infos(archive, [id], _open_addresses(archive))
    if not found:
        raise NotFoundError(later("There is no such user."))
    return found[0]


def _infos(archive: Archive, ids: Sequence[str], addresses: dict[str, tuple[str, ...]]) -> list[api.UserInfo]:
    parts = (ids[start : start + _SLICE] for start in range(0, len(ids), _SLICE))
    return [info for part in parts for info in _slice_of_infos(archive, part, addresses)]


def _slice_of_infos(archive: Archive, ids: Sequence[str], addresses: dict[str, tuple[str, ...]]) -> list[api.UserInfo]:
    sizes = archive.catalogue.archive_sizes(ids)
    with archive.settings.read() as database:
        rows = {row.id: row for row in database.scalars(select(tables.User).where(tables.User.id.in_(ids)))}
        roles: dict[str, list[str]] = {}
        for grant in database.scalars(select(tables.Grant).where(tables.Grant.user_id.in_(ids))):
            roles.setdefault(grant.user_id, []).append(grant.role)
        invited = set(database.scalars(select(tables.Invitation.user_id).where(tables.Invitation.user_id.in_(ids))))
        found = []
        for id in ids:
            row = rows.get(id)
            if row is None:
                continue
            held = addresses.get(id, ())
            found.append(
                api.UserInfo(
                    id=id, name=row.name, primary=held[0] if held else "", aliases=held[1:],
                    roles=("user", *sorted(roles.get(id, ()))),  # type: ignore[arg-type]
                    state=row.state,  # type: ignore[arg-type]
                    sign_in="password" if row.password else "invited" if id in invited else "none",
                    totp_enabled=bool(row.totp), messages=sizes.get(id, 0),
                )
            )  # fmt: skip
        return found
