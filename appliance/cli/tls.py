"""``mailkeep tls``: the certificate of gateway, POP3 and web."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from appliance.cli.following import follow
from appliance.cli.output import errors_in_words, say, with_json
from appliance.cli.state import State
from appliance.errors import LockedError, UsageError
from appliance.services import api, certificates
from appliance.services.certificates import LETS_ENCRYPT
from appliance.services.mailboxes import told_hostname

_SOURCES = {
    "self-signed": "self-signed",
    "own": "brought from elsewhere",
    "acme": "an authority, renewed by itself",
    "issued": "an authority",
}
_LARGEST_FILE = 1024 * 1024


@click.group()
def tls() -> None:
    """The certificate that mail servers, mail programs and browsers are shown."""


@tls.command()
@with_json
@click.pass_obj
@errors_in_words
def show(state: State, as_json: bool) -> None:
    """Show the certificate in use. Exit code 1 where something is wrong with it."""
    try:
        with state.box() as box:
            now = box.call("certificate", api.Certificate)
    except LockedError:  # the certificate itself is no secret
        now = certificates.read(state.paths.tls, told_hostname(state.paths))
    _show(now, as_json=as_json)
    if now.problems:
        click.get_current_context().exit(1)


@tls.command("self-signed")
@click.argument("names", nargs=-1)
@with_json
@click.pass_obj
@errors_in_words
def self_signed(state: State, names: tuple[str, ...], as_json: bool) -> None:
    """Make a certificate that nobody vouches for, for NAMES or the archive's own name.

    Mail comes in encrypted by it; browsers warn, and senders that check certificates do not send.
    """
    with state.box() as box:
        _show(box.call("certificate_self_signed", api.Certificate, names=names), as_json=as_json)


@tls.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--password", is_flag=True, help="Ask for the password of the key or of the PKCS #12 file.")
@with_json
@click.pass_obj
@errors_in_words
def own(state: State, files: tuple[Path, ...], password: bool, as_json: bool) -> None:
    """Use the certificate and key in FILES: PEM (certificate, chain and key in any order), DER or PKCS #12.

    They are checked first: that they belong together, are valid today and fit the archive's name.
    """
    content = tuple(map(_read, files))
    secret = click.prompt("Password", hide_input=True, err=True) if password else ""
    with state.box() as box:
        _show(box.call("certificate_own", api.Certificate, content=content, password=secret), as_json=as_json)


@tls.command()
@click.argument("names", nargs=-1)
@click.option("--contact", default="", metavar="ADDRESS", help="Where the authority may write to.")
@click.option("--agree", is_flag=True, help="Agree to the authority's terms.")
@click.option("--directory", default=LETS_ENCRYPT, show_default=True, metavar="URL", help="Another authority (ACME).")
@with_json
@click.pass_obj
@errors_in_words
def acme(state: State, names: tuple[str, ...], contact: str, agree: bool, directory: str, as_json: bool) -> None:
    """Get a certificate from an authority and renew it by itself, for NAMES or the archive's own name.

    The names have to lead here and port 80 has to be reachable from outside: the authority looks there. Without --agree
    it is said where the terms are, and nothing happens.
    """
    with state.box() as box:
        if not agree:
            where = box.call("certificate_acme_terms", str, directory=directory)
            raise UsageError(f"Read the authority's terms ({where or 'it has none'}) and give --agree.")
        job = box.call("certificate_acme", api.JobInfo, contact=contact, agree=True, names=names, directory=directory)
        follow(box, job, unit="steps")
        _show(box.call("certificate", api.Certificate), as_json=as_json)


@tls.command()
@with_json
@click.pass_obj
@errors_in_words
def renew(state: State, as_json: bool) -> None:
    """Renew it now, the way it was made. The running archive does that by itself in time."""
    with state.box() as box:
        follow(box, box.call("certificate_renew", api.JobInfo), unit="steps")
        _show(box.call("certificate", api.Certificate), as_json=as_json)


def _show(now: api.Certificate, *, as_json: bool) -> None:
    if as_json:
        return say(now)
    for name, value in (
        ("For", ", ".join(now.names)), ("From", _SOURCES[now.source]), ("Issuer", now.issuer),
        ("Valid", f"{_day(now.not_before)} to {_day(now.not_after)}, {max(now.days_left, 0):.0f} days left"),
        ("Key", now.key), ("SHA-256", now.fingerprint),
        ("Authority", now.acme.directory if now.acme else ""),
        ("Tried again", f"{datetime.fromtimestamp(now.acme.next_try, UTC):%Y-%m-%d %H:%M} UTC"
         if now.acme and now.acme.next_try else ""),
    ):  # fmt: skip
        if value:
            click.echo(f"{name + ':':<13}{value}")
    for problem in (*now.problems, *filter(None, (now.acme.problem if now.acme else "",))):
        click.echo(f"PROBLEM: {problem}")
    return None


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise UsageError(f"{file} is too large to be a certificate.")
    return content
