"""``mailkeep mailbox``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from appliance.cli.options import given
from appliance.cli.output import errors_in_words, moment, say, table, with_json
from appliance.cli.state import State
from appliance.errors import UsageError
from appliance.services import api
from appliance.services.box import RunningBox
from appliance.services.sizes import size

if TYPE_CHECKING:
    from appliance.services.own_box import OwnBox

Decorated = Callable[..., Any]


def _settings(function: Decorated) -> Decorated:
    """The options that ``create`` and ``change`` share; what is not given is None."""
    for option in reversed((
        click.option("--description", help="For administrators."),
        click.option("--unknown", type=click.Choice(["keep", "create", "ignore"]),
                     help="What becomes of mail for addresses that nobody holds: keep (the default), create, ignore."),
        click.option("--tls-required/--tls-optional", default=None, help="Accept over TLS only."),
        click.option("--delete-after-pull/--keep-after-pull", default=None,
                     help="Sealed mailboxes: what a mail program deletes after fetching it is erased."),
        click.option("--retention-days", type=click.IntRange(min=0),
                     help="Sealed mailboxes: erase mail that is older; 0 keeps it for ever."),
    )):  # fmt: skip
        function = option(function)
    return function


@click.group()
def mailbox() -> None:
    """Mailboxes that mail servers send to."""


@mailbox.command("create")
@click.option("--name", required=True)
@click.option("--address", required=True, help="Full address; @domain alone gets a local part that nobody can guess.")
@click.option("--sealed", is_flag=True, help="Only its password opens it: no search, and lost without the password.")
@click.option("--alias", "aliases", multiple=True, help="A further address; may be repeated.")
@click.option("--catch-all", multiple=True, metavar="DOMAIN", help="All other addresses of a domain; may be repeated.")
@click.option("--network", "networks", multiple=True, help="Accept from this network only; may be repeated.")
@click.option("--domain", "domains", multiple=True, help="One of the company's own domains; may be repeated.")
@_settings
@with_json
@click.pass_obj
@errors_in_words
def mailbox_create(state: State, /, as_json: bool, **values: Any) -> None:
    """Create a mailbox. Its password is shown once."""
    with state.box() as box:
        made = box.call("mailbox_create", api.MailboxCreated, **given(values))
    if as_json:
        return say({**msgspec.to_builtins(made.mailbox), "password": made.password})
    click.echo(f"Send mail to {made.mailbox.address}.\n")
    click.echo(f"Password:  {made.password}\n")
    for line in _warning(made.mailbox):
        click.echo(line)
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
        ("ADDRESS", "NAME", "STATE", "MESSAGES", "SIZE", "OLDEST", "LAST"),
        (
            (
                one.address, one.name, f"{one.state}, sealed" if one.sealed else one.state, one.records,
                size(one.bytes), moment(one.first_at), moment(one.last_at),
            )
            for one in found
        ),
    )  # fmt: skip
    return None


@mailbox.command("show")
@click.argument("address")
@with_json
@click.pass_obj
@errors_in_words
def mailbox_show(state: State, address: str, as_json: bool) -> None:
    """Show all that is set for a mailbox, what it holds, and its tokens."""
    with state.box() as box:
        info = find_mailbox(box, address)
        tokens = box.call("mailbox_tokens", tuple[api.TokenInfo, ...], id=info.id)
        pull = box.call("mailbox_pulling", api.PullInfo, id=info.id)
    if as_json:
        return say({**msgspec.to_builtins(info), "tokens": msgspec.to_builtins(tokens)})
    for name, value in (
        ("Name", info.name), ("Address", info.address), ("Description", info.description),
        ("Also", ", ".join(info.aliases)), ("Catch-all", ", ".join(info.catch_all)),
        ("State", f"{info.state}{', sealed: only its password opens its mail' if info.sealed else ''}"),
        ("Unknown", "" if info.sealed else info.unknown), ("Networks", ", ".join(info.networks)),
        ("TLS", "required" if info.tls_required else ""),
        ("After pull", "erased when the reader deletes it" if info.delete_after_pull else ""),
        ("Kept", f"{info.retention_days} days" if info.retention_days else "for ever"),
        ("Messages", f"{info.records}, {size(info.bytes)}"), ("Oldest", moment(info.first_at)),
        ("Last", moment(info.last_at)), ("Pull", f"POP3S {pull.host} port {pull.port}, user {pull.user}"),
        ("Tokens", ", ".join(f"{one.name} ({one.id})" for one in tokens)),
    ):  # fmt: skip
        if value:
            click.echo(f"{name + ':':<13}{value}")
    return None


@mailbox.command("change")
@click.argument("address")
@click.option("--name")
@click.option("--address", "new_address", help="Another address; mail to the old one is put off for 30 days.")
@click.option("--state", type=click.Choice(["active", "suspended", "disabled"]),
              help="suspended: senders try again later. disabled: neither can anybody pull from it.")  # fmt: skip
@click.option("--add-alias", multiple=True, help="A further address; may be repeated.")
@click.option("--remove-alias", multiple=True)
@click.option("--add-catch-all", multiple=True, metavar="DOMAIN")
@click.option("--remove-catch-all", multiple=True, metavar="DOMAIN")
@click.option("--network", "networks", multiple=True, help="Accept from this network only; may be repeated.")
@click.option("--domain", "domains", multiple=True, help="One of the company's own domains; may be repeated.")
@_settings
@with_json
@click.pass_obj
@errors_in_words
def mailbox_change(
    state: State, /, address: str, new_address: str | None, add_alias: Sequence[str], remove_alias: Sequence[str],
    add_catch_all: Sequence[str], remove_catch_all: Sequence[str], as_json: bool, **values: Any,
) -> None:  # fmt: skip
    """Change a mailbox, given by its address. Whether it is sealed never changes."""
    with state.box() as box:
        info = find_mailbox(box, address)
        if add_alias or remove_alias:
            values["aliases"] = _changed(info.aliases, add_alias, remove_alias)
        if add_catch_all or remove_catch_all:
            values["catch_all"] = _changed(info.catch_all, add_catch_all, remove_catch_all)
        changed = box.call(
            "mailbox_change",
            api.MailboxInfo,
            id=info.id,
            **given({**values, "address": new_address}),
        )
    if as_json:
        return say(changed)
    click.echo(f"{changed.address} is {changed.state}.")
    return None


@mailbox.command("delete")
@click.argument("address")
@with_json
@click.pass_obj
@errors_in_words
def mailbox_delete(state: State, address: str, as_json: bool) -> None:
    """Delete an empty mailbox."""
    with state.box() as box:
        box.call("mailbox_delete", type(None), id=find_mailbox(box, address).id)
    if as_json:
        return say({"deleted": address})
    click.echo(f"{address} is deleted. Mail to it is put off for 30 days, then refused.")
    return None


@mailbox.command("password")
@click.argument("address")
@click.option("--old-stdin", is_flag=True, help="The present password is the first line of standard input.")
@click.option("--new-stdin", is_flag=True, help="The new password is the next line of standard input.")
@with_json
@click.pass_obj
@errors_in_words
def mailbox_password(state: State, address: str, old_stdin: bool, new_stdin: bool, as_json: bool) -> None:
    """Give a mailbox another password; the one before opens it no more.

    A sealed mailbox takes its present password. Without --new-stdin a strong one is made, and printed before it is
    in force: where the command fails, the one before still counts.
    """
    with state.box() as box:
        info = find_mailbox(box, address)
        old = _present_password(info, old_stdin)
        new = _line() if new_stdin else box.call("mailbox_proposed_password", str)
        if not new_stdin:
            say({"id": info.id, "address": info.address, "password": new}) if as_json else click.echo(
                f"Password:  {new}\n"
            )
            sys.stdout.flush()
        box.call("mailbox_password", type(None), id=info.id, old=old, new=new)
    if as_json:
        return say({"id": info.id, "address": info.address}) if new_stdin else None
    click.echo("It is in force; the one before opens nothing any more. Tokens stay.")
    for line in _warning(info):
        click.echo(line)
    return None


@mailbox.group("token")
def token() -> None:
    """Tokens with which programs pull a mailbox over HTTPS."""


@token.command("add")
@click.argument("address")
@click.option("--name", required=True, help="What it is for.")
@click.option("--password-stdin", is_flag=True, help="The mailbox's password is a line of standard input.")
@with_json
@click.pass_obj
@errors_in_words
def token_add(state: State, address: str, name: str, password_stdin: bool, as_json: bool) -> None:
    """Make a token. It is shown once. A sealed mailbox takes its password."""
    with state.box() as box:
        info = find_mailbox(box, address)
        password = _present_password(info, password_stdin)
        made = box.call("mailbox_token_add", api.TokenCreated, id=info.id, name=name, password=password)
    if as_json:
        return say({**msgspec.to_builtins(made.info), "token": made.token})
    click.echo(f"Token:  {made.token}\n")
    click.echo("It opens all mail of the mailbox, and is not shown a second time.")
    return None


@token.command("list")
@click.argument("address")
@with_json
@click.pass_obj
@errors_in_words
def token_list(state: State, address: str, as_json: bool) -> None:
    """List a mailbox's tokens."""
    with state.box() as box:
        found = box.call("mailbox_tokens", tuple[api.TokenInfo, ...], id=find_mailbox(box, address).id)
    if as_json:
        return say(found)
    table(("ID", "NAME", "CREATED"), ((one.id, one.name, moment(one.created_at)) for one in found))
    return None


@token.command("remove")
@click.argument("address")
@click.argument("id")
@with_json
@click.pass_obj
@errors_in_words
def token_remove(state: State, address: str, id: str, as_json: bool) -> None:
    """Take a token away, given by its id."""
    with state.box() as box:
        box.call("mailbox_token_remove", type(None), id=find_mailbox(box, address).id, which=id)
    if as_json:
        return say({"removed": id})
    click.echo("The token opens nothing any more.")
    return None


def find_mailbox(box: RunningBox | OwnBox, address: str) -> api.MailboxInfo:
    """The mailbox with this address of its own."""
    for one in box.call("mailboxes", tuple[api.MailboxInfo, ...]):
        if one.address == address.lower():
            return one
    raise UsageError(f"There is no mailbox with the address {address}.")


def _changed(before: Iterable[str], added: Iterable[str], removed: Iterable[str]) -> list[str]:
    gone = {one.lower() for one in removed}
    if unknown := gone - set(before):
        raise UsageError(f"{min(unknown)} is not one of the mailbox's. Nothing was changed.")
    return [*(one for one in before if one not in gone), *added]


def _present_password(info: api.MailboxInfo, from_stdin: bool) -> str:
    """The mailbox's password, where it is needed: from standard input, or from whoever sits at the terminal."""
    if from_stdin:
        return _line()
    if info.sealed and sys.stdin.isatty():
        return str(click.prompt("Present password of the mailbox", hide_input=True, err=True))
    return ""


def _line() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _warning(info: api.MailboxInfo) -> tuple[str, ...]:
    """What to know of a password that is shown once."""
    if info.sealed:
        return (
            "Nothing but this password, and tokens made with it, opens the mail of this sealed mailbox. Write it down",
            "and keep it safe: it is not shown a second time, and without it the mail is lost. There is no search, and",
            "nobody, no administrator and no recovery key, can help.",
        )
    return (
        "It opens all mail of the mailbox (POP3, user name is the address), and is not shown a second time. Whoever",
        "administers the archive can replace it.",
    )
