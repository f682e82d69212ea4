"""``python -m gateway.pop3 --data DIR --worker N --pop3s HOST:PORT``: one worker of the pull server; ``mailkeep serve``
starts them.

systemd, which does too, hands it sockets with the names ``pop3s`` and ``pop3`` instead of places to listen.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import time

import uvloop

from appliance import confine
from appliance.host import logs
from appliance.host.notify import Notifier
from appliance.host.sockets import inherited
from appliance.services.paths import Paths
from gateway.arguments import place, worker_parser
from gateway.pop3.archiver import Archiver
from gateway.pop3.confinement import confine_worker
from gateway.pop3.opening import opener
from gateway.pop3.worker import Options, Worker
from gateway.worker import listen, stop_on_signals

_SWITCH_INTERVAL = 0.0005
"""Seconds. A client waits for the loop, so a thread that decrypts must not keep it 5 ms (the default) from its turn."""


def main(arguments: list[str] | None = None) -> int:
    """Run a worker until SIGTERM. Exit code 0, or 1 where a port cannot be had."""
    given = _parse(arguments)
    logs.set_up(f"pop3 {given.worker}", given.log_level)
    notifier = Notifier.from_environment()
    confine.die_with_parent()
    time.tzset()  # reads the time zone now: later its file is out of reach
    try:
        opened = inherited()
        encrypted = opened.get("pop3s") or [listener for where in given.pop3s for listener in listen(*where)]
        plain = opened.get("pop3") or [listener for where in given.pop3 for listener in listen(*where)]
    except OSError as error:
        print(f"mailkeep pop3: cannot listen: {error.strerror}", file=sys.stderr)
        return 1
    confine_worker(given.data)
    sys.setswitchinterval(_SWITCH_INTERVAL)
    options = Options(
        data=given.data, worker=given.worker, idle_timeout=given.idle_timeout, login_timeout=given.login_timeout
    )
    uvloop.run(_serve(options, encrypted, plain, notifier))
    return 0


async def _serve(
    options: Options, encrypted: list[socket.socket], plain: list[socket.socket], notifier: Notifier
) -> None:
    paths = Paths(options.data)
    stop = asyncio.Event()
    stop_on_signals(asyncio.get_running_loop(), stop)
    worker = Worker(options, opener(paths), Archiver(paths.pull_socket, paths.pull_secret), notifier)
    await worker.run(encrypted, plain, stop)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = worker_parser("python -m gateway.pop3", "One worker of mailkeep's POP3 server.")
    parser.add_argument(
        "--pop3s", type=place, default=[], action="append", metavar="HOST:PORT", help="TLS; may be given again"
    )
    parser.add_argument(
        "--pop3", type=place, default=[], action="append", metavar="HOST:PORT", help="TLS by STLS; may be given again"
    )
    parser.add_argument("--idle-timeout", type=float, default=Options.__struct_defaults__[0], metavar="SECONDS")
    parser.add_argument("--login-timeout", type=float, default=Options.__struct_defaults__[1], metavar="SECONDS")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
