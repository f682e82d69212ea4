"""What ``mailkeep serve`` does round the supervisor: checks first, a certificate, one line when it is ready."""

from __future__ import annotations

import ipaddress
import json
import socket
import time

import click

from appliance.cli.supervise import Listen, Supervisor
from appliance.errors import UnavailableError, UsageError
from appliance.services import api
from appliance.services.box import RunningBox
from appliance.services.certificates import prepare
from appliance.services.mailboxes import told_hostname
from appliance.services.paths import Paths
from appliance.services.swap import require_memory_stays
from appliance.services.unlock import Secret, load_keyring

LISTEN_SECONDS = 30.0


def serve(
    paths: Paths, secret: Secret | None, listen: Listen, *, allow_plain_swap: bool = False, as_json: bool = False
) -> None:
    """Run until SIGTERM or SIGINT. Without a secret on a box that has none the archive is locked at first."""
    load_keyring(paths)  # so that a folder without an archive is told at once
    require_memory_stays(paths.live, allow_plain_swap=allow_plain_swap)
    certificate, key = prepare(paths, told_hostname(paths))
    off_box = [place for place in listen.http if not _is_loopback(_place(place)[0])]
    tls = ["--tls-cert", str(certificate), "--tls-key", str(key)] if off_box else []
    for place in listen:
        _must_be_free(*_place(place))
    supervisor = Supervisor(paths.data, listen, secret.passphrase if secret else "", tls)
    supervisor.start()
    try:
        for place in listen:
            _await_listener(*_place(place))
        _announce(paths, listen, "https" if tls else "http", as_json=as_json)
        supervisor.run()
    finally:
        supervisor.stop()


def _announce(paths: Paths, listen: Listen, scheme: str, *, as_json: bool) -> None:
    smtp, http = listen.smtp, listen.http
    box = RunningBox(paths.local_socket)
    unlocked = box.call("lock_state", api.LockState).unlocked
    code = box.call("setup_code", str) if unlocked else ""
    box.close()
    places = {
        "smtp": list(smtp), "http": list(http), "pop3s": list(listen.pop3s), "pop3": list(listen.pop3),
        "redirect": list(listen.redirect),
    }  # fmt: skip
    paths.listening.write_text(json.dumps(places))
    if as_json:
        click.echo(json.dumps({"ready": True, "locked": not unlocked, **places, "setup_code": code}))
    pulled = f", POP3S at {', '.join(listen.pop3s)}" if listen.pop3s else ""
    web = ", ".join(f"{scheme}://{place}/" for place in http)
    click.echo(f"ready: mail at {', '.join(smtp)}, web at {web}{pulled}")
    if not unlocked:
        click.echo("The archive is locked: mail is received, nothing can be read. `mailkeep unlock` opens it.")
    if code:
        click.echo(f"No administrator yet. Open the web page and enter the set-up code {code}.")


def _place(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"“{text}” is not HOST:PORT.")
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _must_be_free(host: str, port: int) -> None:
    """Raises UnavailableError where the port cannot be had.

    The gateway's workers share their port with each other, so the kernel would let them share it with another
    archive's workers too, and each would get a part of the mail.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UnavailableError(
                f"{host}:{port} cannot be listened on ({error.strerror}). Is something else using it, or is it a port "
                "that only root may open?"
            ) from error


def _await_listener(host: str, port: int) -> None:
    deadline = time.monotonic() + LISTEN_SECONDS
    reachable = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    while True:
        try:
            with socket.create_connection((reachable, port), timeout=2):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"Nothing answers at {host}:{port}. Is the port taken, or one that only root may open?"
                ) from error
            time.sleep(0.1)
