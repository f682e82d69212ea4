"""Entries of an LDAP directory as people: ids, addresses, states; DNs in a form that can be compared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from uuid import UUID

import msgspec

from appliance.directory.base import LeftOut, Person, State
from appliance.directory.ldap_connection import Entry, in_short
from appliance.directory.ldap_options import Options
from appliance.errors import UsageError
from appliance.language import _, later
from appliance.mail.addresses import domain, local_part, normalise

STATES: Final = ("useraccountcontrol", "nsaccountlock", "pwdaccountlockedtime", "msexchrecipienttypedetails")
"""What tells how an account is; a server that does not know an attribute leaves it out."""

UID: Final = "uid"
"""What a posixGroup (RFC 2307) calls its members by."""

Comparable = tuple[tuple[tuple[str, str], ...], ...]
"""A DN's parts, each of them pairs of an attribute and a value."""

_DISABLED: Final = 0x2  # ADS_UF_ACCOUNTDISABLE
# draft-behera-ldap-password-policy section 5.3.3. Any other time there is a lock that ends by itself.
_LOCKED_FOR_GOOD: Final = b"000001010000Z"
_SHARED: Final = frozenset({b"4", b"34359738368"})  # SharedMailbox, RemoteSharedMailbox
# ArbitrationMailbox, DiscoveryMailbox, PublicFolderMailbox, MonitoringMailbox: Exchange's own.
_SYSTEM: Final = frozenset({b"8388608", b"536870912", b"68719476736", b"4398046511104"})
_PREFIX: Final = re.compile(r"([A-Za-z][A-Za-z0-9._-]*):(.*)", re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\([0-9A-Fa-f]{2}|.)", re.DOTALL)
_BINARY_ID: Final = "objectguid"


def attributes(options: Options) -> tuple[str, ...]:
    """What has to be asked for of each person."""
    named = (options.id, *options.names, *options.addresses, options.login, UID, *STATES)
    return tuple(dict.fromkeys(filter(None, named)))


def id_of(entry: Entry, options: Options) -> str:
    """The entry's id in text. Raises UsageError where the account may not see it: without ids people cannot be told
    from one another, and an entry that was skipped would look like somebody who has left."""
    raw = entry.first(options.id)
    try:
        # Active Directory keeps the first three parts of a GUID with the low byte first ([MS-DTYP] section 2.3.4.2).
        found = str(UUID(bytes_le=raw)) if options.id == _BINARY_ID else raw.decode().strip().lower()
    except ValueError as error:
        raise UsageError(
            later("The {attribute} of {entry} is no id. Is the kind of server right?"),
            attribute=options.id,
            entry=in_short(entry.dn),
        ) from error
    if not found:
        raise UsageError(
            later(
                "{entry} has no {attribute} that the account may read. Is the kind of server right, and may the "
                "account read that attribute?"
            ),
            attribute=options.id,
            entry=in_short(entry.dn),
        )
    return found


def id_value(person: str, options: Options) -> bytes:
    """The id as the server keeps it. Raises ValueError for what is no id there."""
    return UUID(person).bytes_le if options.id == _BINARY_ID else person.encode()


def is_system(entry: Entry) -> bool:
    """Whether it is one of Exchange's own mailboxes, which nobody has."""
    return entry.first("msexchrecipienttypedetails") in _SYSTEM


def is_shared(entry: Entry) -> bool:
    """Whether Exchange says that it is a shared mailbox."""
    return entry.first("msexchrecipienttypedetails") in _SHARED


def state_of(entry: Entry) -> State:
    """Whether the account has been switched off; one that is locked for a while after wrong passwords is active."""
    control = entry.first("useraccountcontrol")
    off = (
        bool(control.isdigit() and int(control) & _DISABLED)
        or entry.first("nsaccountlock").lower() == b"true"
        or entry.first("pwdaccountlockedtime") == _LOCKED_FOR_GOOD
    )
    return "disabled" if off else "active"


def person_of(entry: Entry, options: Options, *, shared: bool) -> tuple[Person | None, tuple[LeftOut, ...]]:
    """The person, and what of the entry cannot be taken. Nobody, and nothing left out, where all of its addresses are
    in domains that do not count. Raises UsageError as ``id_of``."""
    given = _addresses(entry, options)
    addresses = tuple(dict.fromkeys(normalise(one) for one in given if _is_address(one)))
    wrong = [one for one in given if not _is_address(one)]
    counting = tuple(one for one in addresses if not options.domains or domain(one) in options.domains)
    name = _text(entry, *options.names) or in_short(_first_value(entry.dn))
    left_out = [LeftOut(name, _("“{text}” is not a mail address.").format(text=in_short(one))) for one in wrong]
    if not addresses and not wrong:
        left_out.append(LeftOut(name, _("{entry} has no mail address.").format(entry=in_short(entry.dn))))
    if not addresses:
        return None, tuple(msgspec.structs.replace(one, id=_id_if_any(entry, options)) for one in left_out)
    if not counting:
        return None, tuple(left_out)
    # Nobody signs in to a shared mailbox: its account is switched off while the mailbox is in use.
    state = "active" if shared else state_of(entry)
    login = _text(entry, options.login)
    return Person(
        id=id_of(entry, options),
        name=name,
        addresses=counting,
        kind="shared" if shared else "user",
        state=state,
        login="" if normalise(login) == counting[0] else login,
    ), tuple(left_out)


def _id_if_any(entry: Entry, options: Options) -> str:
    try:
        return id_of(entry, options)
    except UsageError:
        return ""


def comparable(dn: str) -> Comparable:
    """A DN (RFC 4514) in a form in which two writings of one are equal: without case, escapes and blanks that mean
    nothing. Case counts in few attributes, in none that name people."""
    parts = []
    for part in _pieces(dn, ","):
        named = (piece.partition("=") for piece in _pieces(part, "+"))
        parts.append(tuple(sorted((kind.strip().lower(), _unescaped(value)) for kind, _, value in named)))
    return tuple(parts)


def _addresses(entry: Entry, options: Options) -> list[str]:
    """As they are written, the primary one first: Exchange marks it by SMTP: in capitals, others by smtp:, and what is
    no mail address by other words (X500:, sip:)."""
    found: list[tuple[int, str]] = []
    for attribute in options.addresses:
        for raw in entry.values.get(attribute, ()):
            value = raw.decode("utf-8", "replace").strip()
            if prefixed := _PREFIX.fullmatch(value):
                if prefixed[1].lower() == "smtp":
                    found.append((0 if prefixed[1] == "SMTP" else 2, prefixed[2].strip()))
            elif value:
                found.append((1, value))
    return [address for _rank, address in sorted(found, key=lambda one: one[0])]


def _is_address(text: str) -> bool:
    address = normalise(text)
    return bool(domain(address) and local_part(address)) and "\ufffd" not in address and " " not in domain(address)


def _text(entry: Entry, *names: str) -> str:
    for name in names:
        if text := in_short(entry.first(name).decode("utf-8", "replace")):
            return text
    return ""


def _first_value(dn: str) -> str:
    return next(_pieces(dn, ","), dn).partition("=")[2] or dn


def _pieces(text: str, at: str) -> Iterator[str]:
    begin = 0
    for stop in re.finditer(rf"\\.|{re.escape(at)}", text, re.DOTALL):
        if stop[0] == at:
            yield text[begin : stop.start()]
            begin = stop.end()
    yield text[begin:]


def _unescaped(value: str) -> str:
    raw = _ESCAPE.sub(lambda one: bytes.fromhex(one[1].decode()) if len(one[1]) == 2 else one[1], value.encode())
    return " ".join(raw.decode("utf-8", "replace").split()).casefold()
