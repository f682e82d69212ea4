"""``python -m tui``: the console in this terminal."""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import sys
from contextlib import suppress
from pathlib import Path

from appliance.host import screen
from appliance.language import _, use
from appliance.services import setup
from appliance.services.paths import Paths
from tui.app import Console

SYSLOG = Path("/dev/log")


def log_elsewhere(place: Path = SYSLOG) -> None:
    """Have logs and warnings go to the system's log where there is one: the terminal shows the console, drawn on
    standard error."""
    handler: logging.Handler = logging.NullHandler()
    if place.exists():
        with suppress(OSError):
            handler = logging.handlers.SysLogHandler(str(place))
            handler.setFormatter(logging.Formatter("mailkeep-console: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)


def main(arguments: list[str] | None = None) -> int:
    """Run the console until the person leaves it. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="mailkeep console")
    parser.add_argument("--data", type=Path, required=True, help="data folder")
    parser.add_argument("--sign-in", action="store_true", help="ask for an administrator's password first")
    look = parser.add_mutually_exclusive_group()
    look.add_argument("--plain", action="store_const", const=True, dest="plain", help="16 colours, plain characters")
    look.add_argument("--rich", action="store_const", const=False, dest="plain", help="all colours and characters")
    given = parser.parse_args(arguments)
    paths = Paths(given.data)
    use(setup.language(paths))
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(_("The console needs a terminal. Over SSH, give ssh the option -t."), file=sys.stderr)
        return 2
    log_elsewhere()
    console = Console(
        paths, sign_in=given.sign_in, plain=given.plain, font=screen.characters(sys.stdin.fileno())
    )  # fmt: skip
    # A virtual terminal has no mouse, and one that is asked to tell of it shows the answers as text.
    console.run(mouse=not console.plain)
    return console.return_code or 0


if __name__ == "__main__":
    sys.exit(main())
