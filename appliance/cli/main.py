"""The subcommands. Each asks the services, over the running archiver's socket or in this process."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from appliance import __version__
from appliance.cli.lazy import LazyGroup
from appliance.cli.output import errors_in_words, iso, moment, say, table, with_json
from appliance.cli.recovery_key import require_same, show_recovery_key, type_back
from appliance.cli.searching import QueryCommand, search_pages
from appliance.cli.state import State
from appliance.errors import UnavailableError, UsageError
from appliance.services import api
from appliance.services.box import RunningBox
from appliance.services.paths import Paths
from appliance.services.sizes import size
from appliance.services.unlock import Secret

_PLACES = {
    "alarms": "appliance.cli.alarms:alarms",
    "compact": "appliance.cli.compacting:compact",
    "console": "appliance.cli.console:console",
    "directory": "appliance.cli.directories:directory",
    "doctor": "appliance.cli.doctor:doctor",
    "folders": "appliance.cli.folders:folders",
    "health": "appliance.cli.alarms:health",
    "import": "appliance.cli.importing:import_",
    "imports": "appliance.cli.imports:imports",
    "lock": "appliance.cli.keys:lock",
    "mailbox": "appliance.cli.mailboxes:mailbox",
    "metrics": "appliance.cli.notifying:metrics",
    "notify": "appliance.cli.notifying:notify",
    "profile": "appliance.cli.profiles:profile",
    "proof": "appliance.cli.proofs:proof",
    "remote": "appliance.cli.remotes:remote",
    "replica": "appliance.cli.remotes:replica",
    "replicate": "appliance.cli.remotes:replicate",
    "restore": "appliance.cli.restoring:restore",
    "service-key": "appliance.cli.service_key:service_key",
    "setup": "appliance.cli.setup:setup",
    "slot": "appliance.cli.keys:slot",
    "support-bundle": "appliance.cli.notifying:support_bundle",
    "timestamp": "appliance.cli.proofs:timestamp",
    "tls": "appliance.cli.tls:tls",
    "unlock": "appliance.cli.keys:unlock",
    "unpack": "appliance.cli.unpacking:unpack",
    "user": "appliance.cli.users:user",
    "verify": "appliance.cli.proofs:verify",
}
"""Commands in modules of their own, which are loaded when they are asked for."""

DEFAULT_DATA = Path("/var/lib/mailkeep/archive")
WAIT_PAUSE = 0.1


@click.group(cls=LazyGroup, places=_PLACES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mailkeep")
@click.option(
    # Who may use the command line may not read the folder itself: the archiver answers.
    "--data", type=click.Path(path_type=Path, readable=False), default=DEFAULT_DATA, show_default=True,
    help="Data folder.",
)  # fmt: skip
@click.option("--passphrase-stdin", is_flag=True, help="Read the passphrase from standard input.")
@click.pass_context
def main(context: click.Context, data: Path, passphrase_stdin: bool) -> None:
    """mailkeep: a complete, searchable, tamper-evident mail archive that you own."""
    os.umask(os.umask(0o077) | 0o007)  # what is made of an archive here is nobody else's
    secret = Secret(passphrase=sys.stdin.readline().rstrip("\n")) if passphrase_stdin else None
    context.obj = State(data, secret)


@main.command()
@click.option(
    "--unattended", is_flag=True, help="Ask nothing: keys that open by themselves on this box, an administrator."
)
@click.option("--hostname", default="", help="The name by which other servers reach this box.")
@with_json
@click.pass_obj
@errors_in_words
def init(state: State, unattended: bool, hostname: str, as_json: bool) -> None:
    """Make a new archive and print its recovery key."""
    from appliance.services.setup.create import create

    passphrase = None if unattended else state.secret.passphrase if state.secret else _new_passphrase()
    created = create(
        state.paths, passphrase=passphrase, keyfile=unattended, administrator=unattended, hostname=hostname
    )
    if as_json:
        return say(created)
    click.echo(f"A new archive is in {created.data}.\n")
    show_recovery_key(created.recovery_key, as_json=False)
    if not unattended and sys.stdin.isatty():
        type_back(partial(require_same, created.recovery_key), as_json=False)
    if created.admin_user:
        click.echo(f"Administrator:  {created.admin_user}")
        click.echo(f"Password:       {created.admin_password}\n")
        click.echo(f"This box unlocks itself with {state.paths.keyfile}. Leave that file out of backups.")
    return None


@main.command()
@click.option("--smtp", multiple=True, default=("0.0.0.0:25",), show_default=True, metavar="HOST:PORT")
@click.option("--http", multiple=True, default=("127.0.0.1:8080",), show_default=True, metavar="HOST:PORT")
@click.option("--redirect", multiple=True, metavar="HOST:PORT", help="Send browsers from here to HTTPS (port 80).")
@click.option("--pop3s", multiple=True, metavar="HOST:PORT", help="Let programs pull mail by POP3 with TLS (port 995).")
@click.option("--pop3", multiple=True, metavar="HOST:PORT", help="The same where TLS begins with STLS (port 110).")
@click.option("--allow-plain-swap", is_flag=True, help="Start though words of the mail may reach unencrypted swap.")
@with_json
@click.pass_obj
@errors_in_words
def serve(
    state: State, smtp: tuple[str, ...], http: tuple[str, ...], redirect: tuple[str, ...], pop3s: tuple[str, ...],
    pop3: tuple[str, ...], allow_plain_swap: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run the whole product until SIGTERM. Ready when it prints a line that starts with "ready".

    Without a passphrase, on a box that does not unlock itself, the archive is locked until `mailkeep unlock`: mail
    is received all the while.
    """
    from appliance.cli.serving import serve as run
    from appliance.cli.supervise import Listen

    listen = Listen(smtp, http, redirect, pop3s, pop3)
    run(state.paths, state.secret, listen, allow_plain_swap=allow_plain_swap, as_json=as_json)


@main.command(cls=QueryCommand)
@click.argument("query")
@click.option("--user", default="", help="See what this user sees.")
@click.option("--folder", default="", help="Only what lay in this folder of the user's, such as Projects/2026.")
@click.option("--below", is_flag=True, help="And in the folders in it.")
@click.option("--limit", type=click.IntRange(min=0), default=25, show_default=True)
@click.option("--offset", type=click.IntRange(min=0), default=0)
@click.option("--sort", type=click.Choice(["date", "date-asc", "relevance"]), default="date", show_default=True)
@click.option("--reason", default="", help="Why; it stays in the audit trail.")
@with_json
@click.pass_obj
@errors_in_words
def search(
    state: State, query: str, user: str, folder: str, below: bool, limit: int, offset: int, sort: str, reason: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Search all archives and the unassigned mail, or with --user one person's view. Audited. * finds everything."""
    from appliance.cli.folders import folder_id

    with state.box() as box:
        kept = {"folder": folder_id(box, user, folder), "below": below} if folder else {}
        page = search_pages(
            box, offset=offset, limit=limit, query=query, user=user, sort=sort, reason=reason, **kept
        )  # fmt: skip
    if as_json:
        return say(
            {
                "total": page.total,
                "offset": page.offset,
                "hits": [_hit(one) for one in page.hits],
                "facets": {
                    "years": {one.label: one.count for one in page.years},
                    "senders": {one.label: one.count for one in page.senders},
                    "attachments": {one.label: one.count for one in page.attachments},
                },
                "milliseconds": round(page.milliseconds, 2),
            }
        )
    click.echo(f"{page.total} found")
    table(
        ("ID", "DATE", "FROM", "SUBJECT"),
        ((one.id, moment(one.date), _people(one.from_)[:32], one.subject[:60]) for one in page.hits),
    )
    return None


@main.command()
@click.argument("id")
@with_json
@click.pass_obj
@errors_in_words
def show(state: State, id: str, as_json: bool) -> None:
    """Show a message. Audited."""
    with state.box() as box:
        view = box.call("local_show", api.MessageView, id=id)
    if as_json:
        return say(view)
    for name, value in (
        ("From", _people(view.from_)), ("To", _people(view.to)), ("Cc", _people(view.cc)), ("Bcc", _people(view.bcc)),
        ("Date", moment(view.date)), ("Subject", view.subject), ("Size", size(view.size)),
        ("Attachments", ", ".join(f"{one.name or one.content_type} ({size(one.size)})" for one in view.attachments)),
    ):  # fmt: skip
        if value:
            click.echo(f"{name + ':':<13}{value}")
    if view.envelope:
        click.echo(f"{'Envelope:':<13}from {view.envelope.sender}")
        for line in view.envelope.recipients:
            through = f", through {line.expanded}" if line.expanded else ""
            forwarder = f", forwarded by {line.forwarded}" if line.forwarded else ""
            click.echo(f"{'':<13}{line.kind} {line.address}{through}{forwarder}")
    click.echo(f"\n{view.text}")
    return None


@main.command()
@click.argument("id", required=False)
@click.option("--report", is_flag=True, help="The journal report as it was received.")
@click.option("--query", default=None, help="Export all hits of a search as a ZIP of EML files with a manifest.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
@with_json
@click.pass_obj
@errors_in_words
def export(state: State, id: str | None, report: bool, query: str | None, out: Path | None, as_json: bool) -> None:
    """Write an original to standard output, bit for bit; or with --query a ZIP to --out. Audited."""
    from appliance.cli.exporting import export_one, export_query

    if (id is None) == (query is None):
        raise UsageError("Give either the id of a message or --query.")
    with state.box() as box:
        if query is not None:
            if out is None:
                raise UsageError("Give --out FILE.zip for the hits of a search.")
            result = export_query(box, query, out)
            say(result) if as_json else click.echo(f"{result['messages']} messages in {out}")
        else:
            export_one(box, str(id), report=report, out=out)


@main.command()
@with_json
@click.pass_obj
@errors_in_words
def rebuild(state: State, as_json: bool) -> None:
    """Make catalogue and index anew from the volumes; searching goes on meanwhile."""
    from appliance.cli.rebuilding import rebuild_all

    records = rebuild_all(state.paths, state.secret, None if as_json else _progress)
    if as_json:
        return say({"records": records})
    click.echo(f"{records} records projected.")
    return None


@main.command("wait-idle")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds.")
@with_json
@click.pass_obj
@errors_in_words
def wait_idle(state: State, timeout: float, as_json: bool) -> None:
    """Return when all accepted mail is searchable."""
    deadline = time.monotonic() + timeout
    with state.box() as box:
        if not isinstance(box, RunningBox):
            box.project()
        while not (now := box.call("idle", api.Idle)).idle:
            if time.monotonic() > deadline:
                raise UnavailableError(f"{now.backlog} records are not searchable yet.")
            time.sleep(WAIT_PAUSE)
    if as_json:
        say(now)


@main.command()
@with_json
@click.pass_obj
@errors_in_words
def status(state: State, as_json: bool) -> None:
    """Show how the archive is, in numbers."""
    with state.box() as box:
        now = box.call("status", api.Status)
        running = isinstance(box, RunningBox)
    if as_json:
        return say(_status_json(now, running))
    for name, value in (
        ("Serving", "yes" if running else "no"),
        ("Archive", "unlocked" if now.unlocked else "LOCKED"),
        ("Unlocking", "this box unlocks itself" if now.unlocks_itself else "by passphrase"),
        ("Ways in", ", ".join(now.slots)),
        ("Keys", "never swapped out" if now.memory_locked else "may be swapped out; see `mailkeep doctor`"),
        ("Records", f"{now.records - now.sealed} in the log, {now.projected} in the catalogue"),
        ("Sealed", f"{now.sealed} records in sealed mailboxes" if now.sealed else "none"),
        ("Messages", f"{now.messages} in the catalogue, {now.indexed} searchable"),
        ("Counts", "agree" if now.agrees else "DO NOT AGREE"),
        ("Backlog", f"{now.backlog} (oldest {now.oldest_unsearchable_seconds:.0f} s)"),
        ("Unassigned", now.unassigned), ("Unparsed", now.unparsed), ("Users", now.users),
        ("Mailboxes", now.mailboxes), ("Last message", moment(now.last_message_at)),
        ("Volumes", f"{now.volumes}, {now.volumes_signed} signed, {size(now.log_bytes)}"),
        ("Index", f"{size(now.index_bytes)} sealed on disk, {size(now.index_live_bytes)} in memory"),
        ("Disk", f"{size(now.disk_free)} free of {size(now.disk_total)}"),
        ("Since start", f"{now.accepted} accepted, {now.deferred} deferred, {now.refused} refused"),
    ):  # fmt: skip
        click.echo(f"{name + ':':<14}{value}")
    for one in now.replicas:
        reached = f"up to {moment(one.reached_at)}" if one.reached_at else "nothing there yet"
        click.echo(f"{'Replica:':<14}{one.name} {one.state}, {reached}, {one.waiting} messages not there")
    click.echo(f"{'Only here:':<14}{now.only_here} messages")
    for alarm in now.alarms:
        click.echo(f"{alarm.level.upper()}: {alarm.text}")
    return None


@main.command()
@click.option("--smtp", default="", metavar="HOST:PORT", help="By default what serves this archive.")
@click.option("--count", type=int, default=300, show_default=True)
@with_json
@click.pass_obj
@errors_in_words
def demo(state: State, smtp: str, count: int, as_json: bool) -> None:
    """Send made-up journal reports through the real SMTP port, so that there is something to find."""
    from appliance.cli.demo import run

    with state.box() as box:
        if not isinstance(box, RunningBox):
            raise UnavailableError("Start the archive first, with `mailkeep serve`.")
        result = run(box, smtp or _smtp_of(state.paths), count)
    if as_json:
        return say(result)
    click.echo(f"{result['sent']} journal reports sent to {result['mailbox']}.")
    click.echo(f"Sign in as {result['user']} with the code {result['code']}, and search for anything.")
    return None


def _hit(hit: api.Hit) -> dict[str, object]:
    return {
        "id": hit.id, "subject": hit.subject, "from": _people(hit.from_), "to": [one.address for one in hit.to],
        "date": iso(hit.date), "size": hit.size, "attachments": hit.attachments, "unparsed": hit.unparsed,
        "snippet": hit.snippet,
    }  # fmt: skip


def _people(people: Sequence[api.Person]) -> str:
    return ", ".join(f"{one.name} <{one.address}>" if one.name else one.address for one in people)


def _status_json(now: api.Status, running: bool) -> dict[str, object]:
    import msgspec

    return {**msgspec.to_builtins(now), "running": running}


def _smtp_of(paths: Paths) -> str:
    place: str = json.loads(paths.listening.read_text())["smtp"][0]
    host, _, port = place.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("", "0.0.0.0", "[::]") else place  # noqa: S104 - compared, not bound


def _new_passphrase() -> str:
    return str(
        click.prompt("Passphrase for the archive", hide_input=True, confirmation_prompt="The same again", err=True)
    )


def _progress(records: int) -> None:
    click.echo(f"\r{records} records", nl=False, err=True)


if __name__ == "__main__":
    main()
