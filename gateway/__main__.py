"""``python -m gateway --data DIR --worker N --smtp HOST:PORT``: one gateway worker; ``mailkeep serve`` starts them.

systemd, which does too, hands it sockets with the name ``smtp`` instead of a place to listen.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import time

import uvloop

from appliance import confine
from appliance.files import ConfinedFiles
from appliance.host import logs
from appliance.host.notify import Notifier
from appliance.host.sockets import inherited
from appliance.store.writer import LogWriter
from gateway.arguments import place, worker_parser
from gateway.confinement import confine_worker
from gateway.worker import Options, Worker, listen, stop_on_signals

_SWITCH_INTERVAL = 0.0005
"""Seconds. The log's thread has little to do for each batch and must not wait 5 ms (the default) for its
turn."""


def main(arguments: list[str] | None = None) -> int:
    """Run a worker until SIGTERM. Exit code 0, or 1 where a port cannot be had."""
    given = _parse(arguments)
    logs.set_up(f"gateway {given.worker}", given.log_level)
    notifier = Notifier.from_environment()
    confine.die_with_parent()  # a worker left behind would keep its volumes from the next one
    time.tzset()  # reads the time zone now: later its file is out of reach
    try:
        listeners = inherited().get("smtp") or [listener for where in given.smtp for listener in listen(*where)]
    except OSError as error:
        print(f"mailkeep gateway: cannot listen: {error.strerror}", file=sys.stderr)
        return 1
    if not listeners:
        print("mailkeep gateway: nowhere to listen: give --smtp, or sockets named smtp", file=sys.stderr)
        return 2
    confined = confine_worker(given.data)
    sys.setswitchinterval(_SWITCH_INTERVAL)
    options = Options(data=given.data, worker=given.worker, idle_timeout=given.idle_timeout, grace=given.grace)
    uvloop.run(_serve(options, listeners, notifier, confined=confined))
    return 0


async def _serve(options: Options, listeners: list[socket.socket], notifier: Notifier, *, confined: bool) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    stop_on_signals(loop, stop)
    writer = LogWriter(
        options.data / "volumes",
        f"g{options.worker}",
        files=ConfinedFiles(options.data),
        max_age=options.volume_age,
    )
    await Worker(options, writer, loop, confined=confined, notifier=notifier).run(listeners, stop)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = worker_parser("python -m gateway", "One mailkeep gateway worker.")
    parser.add_argument(
        "--smtp", type=place, default=[], action="append", metavar="HOST:PORT", help="may be given again"
    )
    parser.add_argument("--idle-timeout", type=float, default=300.0, metavar="SECONDS")
    parser.add_argument(
        "--grace", type=float, default=30.0, metavar="SECONDS", help="for messages in transit when stopping"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
