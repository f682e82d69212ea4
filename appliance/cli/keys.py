"""``mailkeep lock``, ``unlock`` and ``slot``: the ways to the appliance key."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from appliance.cli.credential import encrypt_for_systemd, require_systemd_creds
from appliance.cli.output import errors_in_words, moment, say, table, with_json
from appliance.cli.recovery_key import show_recovery_key, type_back
from appliance.cli.state import State
from appliance.errors import MailkeepError, UnavailableError, UsageError
from appliance.services import api
from appliance.services.box import RunningBox, running_box

CREDENTIAL_FILE = Path("/etc/credstore.encrypted/mailkeep")
"""Where systemd looks for LoadCredentialEncrypted=mailkeep (systemd.exec(5))."""

LOCK_SECONDS = 30.0
"""How long the archiver may take to end and to answer again."""
PAUSE = 0.1

KEPT_COPIES = (
    "Copies of keyring.json made before, as in backups, still open with what was removed. Destroy those that you can."
)


@click.command()
@with_json
@click.pass_obj
@errors_in_words
def lock(state: State, as_json: bool) -> None:
    """Take the keys out of memory. Mail is received on; nothing can be read until `mailkeep unlock`."""
    # The archiver ends as soon as the keys are gone, perhaps before its answer has left it.
    with _running(state) as box, suppress(UnavailableError):
        box.call("lock", api.LockState)
    _await_locked(state)
    say({"unlocked": False}) if as_json else click.echo("The archive is locked. Mail is still received.")


@click.command()
@click.option("--passphrase-stdin", is_flag=True, help="Read the passphrase from standard input.")
@click.option("--recovery-key-stdin", is_flag=True, help="Read the recovery key from standard input.")
@with_json
@click.pass_obj
@errors_in_words
def unlock(state: State, passphrase_stdin: bool, recovery_key_stdin: bool, as_json: bool) -> None:
    """Open a running archive that is locked, with the passphrase, the recovery key, or this box's keyfile."""
    if passphrase_stdin and recovery_key_stdin:
        raise UsageError("Give either the passphrase or the recovery key.")
    with _running(state) as box:
        before = box.call("lock_state", api.LockState)
        now = before
        if not before.unlocked:
            now = box.call("unlock", api.LockState, **_secret(state, before, passphrase_stdin, recovery_key_stdin))
    # The archive that was opened answers on connections of its own.
    with _running(state) as box:
        code = box.call("setup_code", str)
    if as_json:
        return say({"unlocked": now.unlocked, "was_unlocked": before.unlocked, "setup_code": code})
    click.echo(
        "The archive was unlocked already; nothing was checked." if before.unlocked else "The archive is unlocked."
    )
    if code:
        click.echo(f"No administrator yet. Open the web page and enter the set-up code {code}.")
    return None


@contextmanager
def _running(state: State) -> Iterator[RunningBox]:
    """The archiver that runs. Raises UnavailableError where none does."""
    box = running_box(state.paths)
    if box is None:
        raise UnavailableError("Nothing is running here, so nothing is unlocked. `mailkeep serve` starts the archive.")
    try:
        yield box
    finally:
        box.close()


def _await_locked(state: State) -> None:
    """Return when the archiver has ended with all it knew, and answers again that the archive is locked."""
    deadline = time.monotonic() + LOCK_SECONDS
    while time.monotonic() < deadline:
        try:
            with _running(state) as box:
                if not box.call("lock_state", api.LockState).unlocked:
                    return
        except UnavailableError:
            pass  # it is being started again
        time.sleep(PAUSE)
    raise UnavailableError("The key is gone from memory, but the archiver does not answer. Look at the log of `serve`.")


def _secret(state: State, now: api.LockState, passphrase_stdin: bool, recovery_key_stdin: bool) -> dict[str, str]:
    if recovery_key_stdin:
        return {"recovery_key": _line()}
    if passphrase_stdin:
        return {"passphrase": _line()}
    if state.secret is not None:
        return {"passphrase": state.secret.passphrase}
    if state.paths.keyfile.exists():
        return {}
    if now.passphrase:
        return {"passphrase": str(click.prompt("Passphrase", hide_input=True, err=True))}
    return {"recovery_key": str(click.prompt("Recovery key", err=True))}


@click.group()
def slot() -> None:
    """The ways to unlock this archive: passphrases, the recovery key, keyfiles, systemd. Changing them rewrites no
    mail."""


@slot.command("list")
@with_json
@click.pass_obj
@errors_in_words
def slot_list(state: State, as_json: bool) -> None:
    """List the slots; also while the archive is locked."""
    with state.box() as box:
        found = box.call("slots", tuple[api.SlotInfo, ...])
    if as_json:
        return say(found)
    table(("ID", "KIND", "NAME", "MADE"), ((one.id, one.kind, one.name, moment(one.created_at)) for one in found))
    return None


@slot.command("add")
@click.argument("kind", type=click.Choice(["passphrase", "keyfile", "systemd", "recovery"]))
@click.option("--name", default="", help="Whose passphrase, or which copy of a keyfile, it is.")
@click.option("--new-passphrase-stdin", is_flag=True, help="Read the new passphrase from standard input.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False),
    help=f"Where a keyfile (default: beside the data folder) or a credential (default: {CREDENTIAL_FILE}) goes.",
)  # fmt: skip
@click.option(
    "--with-key", type=click.Choice(["auto", "host", "tpm2", "host+tpm2"]), default="auto", show_default=True,
    help="What systemd binds the credential to.",
)  # fmt: skip
@with_json
@click.pass_obj
@errors_in_words
def slot_add(
    state: State, kind: str, name: str, new_passphrase_stdin: bool, out: Path | None, with_key: str, as_json: bool
) -> None:
    """Add a passphrase, a keyfile, a systemd credential, or a new recovery key in place of the one before."""
    match kind:
        case "passphrase":
            passphrase = _new_passphrase(new_passphrase_stdin)
            with state.box() as box:
                made = box.call("slot_add_passphrase", api.SlotInfo, passphrase=passphrase, name=name)
            _tell(made, as_json, "The new passphrase opens the archive.")
        case "keyfile":
            place = (out or state.paths.keyfile).absolute()
            with state.box() as box:
                made = box.call("slot_add_keyfile", api.SlotInfo, path=str(place), name=name or place.name)
            _tell(made, as_json, f"{place} opens the archive. Keep it out of backups of the data folder.")
        case "systemd":
            place = (out or CREDENTIAL_FILE).absolute()
            made = _add_credential(state, place, with_key)
            _tell(made, as_json, f"{place} is encrypted for this box. {_unit_line(place)}")
        case _:
            _new_recovery_key(state, as_json)


@slot.command("remove")
@click.argument("id")
@with_json
@click.pass_obj
@errors_in_words
def slot_remove(state: State, id: str, as_json: bool) -> None:
    """Remove a slot. The last one and the only recovery key stay."""
    with state.box() as box:
        box.call("slot_remove", type(None), id=id)
    say({"removed": id, "note": KEPT_COPIES}) if as_json else click.echo(f"{id} is removed. {KEPT_COPIES}")


@slot.command("rotate")
@click.argument("id", required=False)
@click.option("--new-key", is_flag=True, help="A new appliance key and recovery key, under the secrets given.")
@click.option("--new-passphrase-stdin", is_flag=True, help="Read the new passphrase from standard input.")
@with_json
@click.pass_obj
@errors_in_words
def slot_rotate(state: State, id: str | None, new_key: bool, new_passphrase_stdin: bool, as_json: bool) -> None:
    """Change a slot's passphrase, keyfile or recovery key; or, with --new-key, the appliance key under all of them."""
    if (id is None) == (not new_key):
        raise UsageError("Give either the id of a slot (`mailkeep slot list`) or --new-key.")
    if id is None:
        return _new_appliance_key(state, as_json)
    with state.box() as box:
        found = {one.id: one for one in box.call("slots", tuple[api.SlotInfo, ...])}
    if id not in found:
        raise UsageError(f"There is no slot {id}. `mailkeep slot list` shows those there are.")
    match found[id].kind:
        case "passphrase":
            passphrase = _new_passphrase(new_passphrase_stdin)
            with state.box() as box:
                made = box.call("slot_change_passphrase", api.SlotInfo, id=id, passphrase=passphrase)
            _tell(made, as_json, f"The new passphrase opens the archive; the one before does not. {KEPT_COPIES}")
        case "recovery":
            _new_recovery_key(state, as_json)
        case kind:
            raise UsageError(
                f"Add a new one with `mailkeep slot add {'systemd' if kind == 'credential' else kind}`, then remove "
                f"this one with `mailkeep slot remove {id}`: so the box never is without."
            )
    return None


def _new_recovery_key(state: State, as_json: bool) -> None:
    """A new recovery key, which counts when it was typed back; with --json shown and read back as lines."""
    with state.box() as box:
        text = box.call("slot_recovery_begin", str)
        show_recovery_key(text, as_json=as_json)
        type_back(lambda said: box.call("slot_recovery_confirm", type(None), text=said), as_json=as_json)
    say({"confirmed": True}) if as_json else click.echo(
        f"The new recovery key opens the archive; the one before does not. {KEPT_COPIES}"
    )


def _new_appliance_key(state: State, as_json: bool) -> None:
    with state.box() as box:
        kinds = {one.kind for one in box.call("slots", tuple[api.SlotInfo, ...])}
        keyfile = state.paths.keyfile if "keyfile" in kinds and state.paths.keyfile.exists() else None
        passphrase = state.secret.passphrase if state.secret is not None else ""
        if "passphrase" in kinds and not passphrase and not as_json:
            passphrase = str(
                click.prompt("Passphrase to keep", hide_input=True, err=True, default="", show_default=False)
            )
        if not passphrase and keyfile is None:
            raise UsageError("Give a passphrase to keep, with --passphrase-stdin: nothing else would open the archive.")
        text = box.call("slot_new_key", str, passphrase=passphrase, keyfile="" if keyfile is None else str(keyfile))
        left = box.call("slots", tuple[api.SlotInfo, ...])
    if as_json:
        return say({"recovery_key": text, "slots": left})
    show_recovery_key(text, as_json=False)
    click.echo("The appliance key is new. Only these open the archive now:")
    table(("ID", "KIND", "NAME", "MADE"), ((one.id, one.kind, one.name, moment(one.created_at)) for one in left))
    click.echo(f"No mail was rewritten. {KEPT_COPIES}")
    return None


def _add_credential(state: State, place: Path, with_key: str) -> api.SlotInfo:
    require_systemd_creds(with_key)
    with state.box() as box:
        made: api.NewCredential = box.call("slot_add_credential", api.NewCredential)
        try:
            encrypt_for_systemd(made.secret, place, with_key)
        except MailkeepError:
            box.call("slot_remove", type(None), id=made.slot.id)  # nobody has its secret
            raise
    return made.slot


def _tell(made: api.SlotInfo, as_json: bool, sentence: str) -> None:
    say(made) if as_json else click.echo(f"Slot {made.id}. {sentence}")


def _unit_line(place: Path) -> str:
    source = "" if place == CREDENTIAL_FILE else f":{place}"
    return (
        "The package's units find it there by themselves. A unit of your own that runs `mailkeep serve` needs "
        f"LoadCredentialEncrypted=mailkeep{source}."
        if not source
        else f"Put LoadCredentialEncrypted=mailkeep{source} into the unit that runs the key agent or `mailkeep serve`."
    )


def _new_passphrase(from_stdin: bool) -> str:
    if from_stdin:
        return _line()
    return str(click.prompt("New passphrase", hide_input=True, confirmation_prompt="The same again", err=True))


def _line() -> str:
    return sys.stdin.readline().rstrip("\r\n")
