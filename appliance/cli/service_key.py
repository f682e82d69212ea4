"""``mailkeep service-key``: what lets replicating and fetching go on while the archive is locked."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.cli.credential import encrypt_for_systemd, require_systemd_creds
from appliance.cli.output import errors_in_words, say, with_json
from appliance.cli.state import State
from appliance.services.service_key import CREDENTIAL, remove_service_keyfile

CREDENTIAL_FILE = Path("/etc/credstore.encrypted") / CREDENTIAL
"""Where systemd looks for LoadCredentialEncrypted=mailkeep-service (systemd.exec(5))."""


@click.group("service-key")
def service_key() -> None:
    """The key with which replicating and fetching go on while the archive is locked. It opens no archived mail; it
    opens the list of what lies on the remotes, and the credentials of remotes and archiving profiles."""


@service_key.command("write")
@with_json
@click.pass_obj
@errors_in_words
def service_key_write(state: State, as_json: bool) -> None:
    """Lay it beside the data folder, in a file that only the archive's own users read."""
    with state.box() as box:
        place = box.call("service_key_write", str)
    say({"path": place}) if as_json else click.echo(
        f"{place} lets replicating and fetching go on while the archive is locked. Leave it out of backups of the data "
        "folder."
    )


@service_key.command("systemd")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=CREDENTIAL_FILE, show_default=True,
    help="Where the encrypted credential goes.",
)  # fmt: skip
@click.option(
    "--with-key", type=click.Choice(["auto", "host", "tpm2", "host+tpm2"]), default="auto", show_default=True,
    help="What systemd binds it to.",
)  # fmt: skip
@with_json
@click.pass_obj
@errors_in_words
def service_key_systemd(state: State, out: Path, with_key: str, as_json: bool) -> None:
    """Have systemd keep it, encrypted for this box."""
    require_systemd_creds(with_key)
    with state.box() as box:
        secret = box.call("service_key", bytes)
    place = out.absolute()
    encrypt_for_systemd(secret, place, with_key, name=CREDENTIAL)
    where = CREDENTIAL if place == CREDENTIAL_FILE else f"{CREDENTIAL}:{place}"
    say({"path": str(place)}) if as_json else click.echo(
        f"{place} is encrypted for this box. The unit needs the line LoadCredentialEncrypted={where}"
    )


@service_key.command("remove")
@with_json
@click.pass_obj
@errors_in_words
def service_key_remove(state: State, as_json: bool) -> None:
    """Take the file away: from the next lock on, replicating and fetching wait until the archive is unlocked."""
    removed = remove_service_keyfile(state.paths)
    if as_json:
        return say({"removed": removed})
    click.echo(
        f"{state.paths.service_keyfile} is removed. A credential that systemd keeps is removed with its file."
        if removed
        else "There was no service key beside the data folder."
    )
    return None
