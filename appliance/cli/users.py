"""``mailkeep user``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.cli.output import errors_in_words, moment, say, table, with_json
from appliance.cli.state import State
from appliance.errors import UsageError
from appliance.services import api
from appliance.services.box import RunningBox

if TYPE_CHECKING:
    from appliance.services.own_box import OwnBox


@click.group()
def user() -> None:
    """Users, whose mail is kept."""


@user.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@with_json
@click.pass_obj
@errors_in_words
def user_import(state: State, file: Path, as_json: bool) -> None:
    """Import users from a CSV file with the columns primary, aliases (;-separated), name."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from error
    with state.box() as box:
        result = box.call("user_import", api.ImportResult, csv=content)
    if as_json:
        say(result)
    else:
        click.echo(f"{result.created} created, {result.changed} changed, {result.unchanged} unchanged.")
        for line, what in result.errors:
            click.echo(f"line {line}: {what}", err=True)
    sys.exit(1 if result.errors else 0)


@user.command("list")
@with_json
@click.pass_obj
@errors_in_words
def user_list(state: State, as_json: bool) -> None:
    """List the users."""
    with state.box() as box:
        page = box.call("users", api.UserPage, limit=1_000_000)
    if as_json:
        return say(page.users)
    table(
        ("ADDRESS", "NAME", "ALIASES", "ROLES", "STATE", "MESSAGES"),
        (
            (one.primary, one.name, ";".join(one.aliases), ",".join(one.roles), one.state, one.messages)
            for one in page.users
        ),
    )
    return None


@user.command("invite")
@click.argument("addresses", nargs=-1)
@with_json
@click.pass_obj
@errors_in_words
def user_invite(state: State, addresses: Sequence[str], as_json: bool) -> None:
    """Print one-time codes with which people set a password; for all who have none where no ADDRESS is given."""
    with state.box() as box:
        ids = [box.call("user_by_address", api.UserInfo, address=one).id for one in addresses]
        found = box.call("user_invite", tuple[api.Invitation, ...], ids=ids)
    if as_json:
        return say(found)
    table(("ADDRESS", "CODE", "VALID UNTIL"), ((one.address, one.code, moment(one.expires_at)) for one in found))
    return None


@user.command("reset-totp")
@click.argument("address")
@with_json
@click.pass_obj
@errors_in_words
def user_reset_totp(state: State, address: str, as_json: bool) -> None:
    """Take away a user's authenticator app, for somebody who lost the device."""
    with state.box() as box:
        found = box.call("user_by_address", api.UserInfo, address=address)
        info = box.call("user_reset_totp", api.UserInfo, id=found.id)
    if as_json:
        return say(info)
    click.echo(f"{info.primary} signs in with the password alone until an authenticator app is set up again.")
    return None


@user.command("grant")
@click.argument("address")
@click.argument("role", type=click.Choice(["admin", "auditor"]))
@click.option("--reason", required=True)
@with_json
@click.pass_obj
@errors_in_words
def user_grant(state: State, address: str, role: str, reason: str, as_json: bool) -> None:
    """Give a user a role."""
    with state.box() as box:
        found = box.call("user_by_address", api.UserInfo, address=address)
        info = box.call("role_grant", api.UserInfo, id=found.id, role=role, reason=reason)
    if as_json:
        return say(info)
    click.echo(f"{info.primary}: {', '.join(info.roles)}")
    return None


@user.command("revoke")
@click.argument("address")
@click.argument("role", type=click.Choice(["admin", "auditor"]))
@with_json
@click.pass_obj
@errors_in_words
def user_revoke(state: State, address: str, role: str, as_json: bool) -> None:
    """Take a role away."""
    with state.box() as box:
        found = box.call("user_by_address", api.UserInfo, address=address)
        info = box.call("role_revoke", api.UserInfo, id=found.id, role=role)
    if as_json:
        return say(info)
    click.echo(f"{info.primary}: {', '.join(info.roles)}")
    return None


@user.command("set-state")
@click.argument("address")
@click.argument("to_state", type=click.Choice(["active", "disabled"]))
@with_json
@click.pass_obj
@errors_in_words
def user_state(state: State, address: str, to_state: str, as_json: bool) -> None:
    """Disable or enable a user's sign-in; the archive stays."""
    with state.box() as box:
        found = box.call("user_by_address", api.UserInfo, address=address)
        info = box.call("user_change", api.UserInfo, id=found.id, state=to_state)
    if as_json:
        return say(info)
    click.echo(f"{info.primary} is {info.state}.")
    return None


@user.command("open")
@click.argument("address")
@click.option("--archive", required=True, help="Whose archive, by an address of that user.")
@click.option("--reason", required=True, help="Why; it stays in the audit trail.")
@with_json
@click.pass_obj
@errors_in_words
def user_open(state: State, address: str, archive: str, reason: str, as_json: bool) -> None:
    """Let a user read another's archive."""
    with state.box() as box:
        info = box.call("access_open", api.AccessInfo, **_of(box, address, archive), reason=reason)
    if as_json:
        return say(info)
    click.echo(
        f"{info.user_address or info.user_name} may read the archive of {_archive(info)}. Each look is recorded."
    )
    return None


@user.command("close")
@click.argument("address")
@click.option("--archive", required=True, help="Whose archive, by an address of that user.")
@with_json
@click.pass_obj
@errors_in_words
def user_close(state: State, address: str, archive: str, as_json: bool) -> None:
    """Let a user read another's archive no more, from this moment on."""
    with state.box() as box:
        ids = _of(box, address, archive)
        box.call("access_close", None, **ids)
    if as_json:
        return say(ids)
    click.echo(f"{address} may not read the archive of {archive} any more.")
    return None


@user.command("access")
@click.argument("address", required=False)
@with_json
@click.pass_obj
@errors_in_words
def user_access(state: State, address: str | None, as_json: bool) -> None:
    """List who may read which other archive; with ADDRESS what that user may read, and who may read that user's."""
    with state.box() as box:
        if address is None:
            found = box.call("access_list", tuple[api.AccessInfo, ...])
        else:
            id = box.call("user_by_address", api.UserInfo, address=address).id
            found = box.call("access_list", tuple[api.AccessInfo, ...], user=id)
            found += box.call("access_list", tuple[api.AccessInfo, ...], whose=id)
    if as_json:
        return say(found)
    table(
        ("USER", "ARCHIVE", "SINCE", "OPENED BY", "REASON"),
        (
            (one.user_address or one.user_name, _archive(one), moment(one.since), one.opened_by, one.reason)
            for one in found
        ),
    )
    return None


def _of(box: RunningBox | OwnBox, address: str, archive: str) -> dict[str, str]:
    """The ids of a user and of whose archive it is about."""
    return {
        "user": box.call("user_by_address", api.UserInfo, address=address).id,
        "whose": box.call("user_by_address", api.UserInfo, address=archive).id,
    }


def _archive(info: api.AccessInfo) -> str:
    return info.archive_address or info.archive_name
