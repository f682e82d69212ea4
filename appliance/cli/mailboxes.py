"""``mailkeep mailbox``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from appliance.cli.output import errors_in_words, moment, say, size, table, with_json
from appliance.cli.state import State
from appliance.errors import UsageError
from appliance.services import api
from appliance.services.box import OwnBox, RunningBox


@click.group()
def mailbox() -> None:
    """Journal mailboxes."""


@mailbox.command("create")
@click.option("--name", required=True)
@click.option("--address", required=True, help="Full address; @domain alone gets a local part that nobody can guess.")
@click.option("--unknown", type=click.Choice(["keep", "create", "ignore"]), default="keep", show_default=True)
@click.option("--network", "networks", multiple=True, help="Accept from this network only; may be repeated.")
@click.option("--tls-required", is_flag=True)
@click.option("--domain", "domains", multiple=True, help="One of the company's own domains; may be repeated.")
@with_json
@click.pass_obj
@errors_in_words
def mailbox_create(state: State, /, as_json: bool, **values: Any) -> None:
    """Create a mailbox that journal reports can be sent to."""
    with state.box() as box:
        info = box.call("mailbox_create", api.MailboxInfo, **values)
    if as_json:
        return say(info)
    click.echo(f"Send journal reports to {info.address}.")
    return None


@mailbox.command("list")
@with_json
@click.pass_obj
@errors_in_words
def mailbox_list(state: State, as_json: bool) -> None:
    """List the mailboxes."""
    with state.box() as box:
        found = box.call("mailboxes", tuple[api.MailboxInfo, ...])
    if as_json:
        return say(found)
    table(
        ("ADDRESS", "NAME", "STATE", "RECORDS", "SIZE", "LAST"),
        ((one.address, one.name, one.state, one.records, size(one.bytes), moment(one.last_at)) for one in found),
    )
    return None


@mailbox.command("change")
@click.argument("address")
@click.option("--state", "to_state", type=click.Choice(["active", "suspended"]))
@click.option("--unknown", type=click.Choice(["keep", "create", "ignore"]))
@click.option("--network", "networks", multiple=True)
@click.option("--tls-required/--tls-optional", default=None)
@with_json
@click.pass_obj
@errors_in_words
def mailbox_change(
    state: State, address: str, to_state: str | None, unknown: str | None, networks: Sequence[str],
    tls_required: bool | None, as_json: bool,
) -> None:  # fmt: skip
    """Change a mailbox, given by its address."""
    with state.box() as box:
        info = box.call(
            "mailbox_change", api.MailboxInfo, id=mailbox_id(box, address), state=to_state, unknown=unknown,
            networks=list(networks) or None, tls_required=tls_required,
        )  # fmt: skip
    if as_json:
        return say(info)
    click.echo(f"{info.address} is {info.state}.")
    return None


@mailbox.command("delete")
@click.argument("address")
@with_json
@click.pass_obj
@errors_in_words
def mailbox_delete(state: State, address: str, as_json: bool) -> None:
    """Delete an empty mailbox."""
    with state.box() as box:
        box.call("mailbox_delete", type(None), id=mailbox_id(box, address))
    if as_json:
        return say({"deleted": address})
    click.echo(f"{address} is deleted. Mail to it is put off for 30 days, then refused.")
    return None


def mailbox_id(box: RunningBox | OwnBox, address: str) -> str:
    for one in box.call("mailboxes", tuple[api.MailboxInfo, ...]):
        if one.address == address.lower():
            return one.id
    raise UsageError(f"There is no mailbox with the address {address}.")
