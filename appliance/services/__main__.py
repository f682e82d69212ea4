"""The archive's own processes: ``python -m appliance.services archiver|projector --data DIR``.

The archiver answers calls, writes settings and the audit trail, and signs volumes. The projector follows the log
and writes catalogue and index. With ``--passphrase-stdin`` the passphrase is the first line of standard input.
Each prints ``ready`` on a line of its own when it works.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path

from appliance.confine import die_with_parent, undumpable
from appliance.errors import MailkeepError, UnavailableError
from appliance.services.paths import Paths
from appliance.services.unlock import Secret, unlock

log = logging.getLogger("mailkeep")


def main() -> int:
    """Run one process until SIGTERM."""
    parser = argparse.ArgumentParser(prog="appliance.services")
    parser.add_argument("role", choices=("archiver", "projector"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--passphrase-stdin", action="store_true")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format=f"{arguments.role}: %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    die_with_parent()
    undumpable()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    secret = Secret(passphrase=sys.stdin.readline().rstrip("\n")) if arguments.passphrase_stdin else None
    paths = Paths(arguments.data)
    try:
        if arguments.role == "archiver":
            run_archiver(paths, secret, stop)
        else:
            run_projector(paths, secret, stop)
    except MailkeepError as error:
        log.error("%s", error.message)
        return 1
    return 0


def run_archiver(paths: Paths, secret: Secret | None, stop: threading.Event) -> None:
    """Answer calls until ``stop``."""
    from appliance.services.archive import Archive
    from appliance.services.dispatch import Dispatcher
    from appliance.services.mailboxes import publish
    from appliance.services.server import Server
    from appliance.services.signing import Signer

    archive = Archive(paths, unlock(paths, secret))
    dispatcher = Dispatcher(archive)
    publish(archive)
    archive.open_projections()
    server, signer = Server(dispatcher), Signer(archive)
    server.start()
    signer.start()
    _ready()
    stop.wait()
    server.close()
    signer.close()
    archive.close()


def run_projector(paths: Paths, secret: Secret | None, stop: threading.Event) -> None:
    """Follow the log until ``stop``."""
    from appliance.services.projecting import Projecting

    os.nice(10)  # receiving and answering go first
    projecting = Projecting(paths, unlock(paths, secret), create_user=partial(_create_user, paths))
    _ready()
    projecting.run(stop)
    projecting.close()


def _create_user(paths: Paths, address: str) -> None:
    """Ask the archiver, who alone writes settings, for a user. Raises UnavailableError where it does not answer."""
    from appliance.services.box import RunningBox

    try:
        box = RunningBox(paths.local_socket)
    except OSError as error:
        raise UnavailableError("The archiver does not answer; a new user could not be made yet.") from error
    try:
        box.call("create_user_from_mail", type(None), address=address)
    finally:
        box.close()


def _ready() -> None:
    print("ready", flush=True)


if __name__ == "__main__":
    sys.exit(main())
