"""``python -m appliance.services.preparing --data DIR``: what root does once before the archive's processes start.

There is a certificate, so that the gateway offers TLS from the first connection on. It is noted where systemd listens,
for those who tell people of it. And every file gets its owner (``appliance.host.accounts``): root may have worked on
the archive while nothing was served.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from appliance.errors import MailkeepError
from appliance.files import FILES, create_directory, replace_file
from appliance.host import accounts, logs, units
from appliance.services import certificates
from appliance.services.mailboxes import told_hostname
from appliance.services.paths import Paths


def prepare(paths: Paths) -> None:
    """Make the data folder ready for processes that run under users of their own. Raises OSError, MailkeepError."""
    certificates.prepare(paths, told_hostname(paths))
    create_directory(FILES, paths.run)
    replace_file(FILES, paths.listening, msgspec.json.encode({**units.listening(), "pop3": ()}), 0o640)
    accounts.settle(paths.data)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 1 with a sentence."""
    parser = argparse.ArgumentParser(prog="python -m appliance.services.preparing")
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args(arguments)
    logs.set_up("prepare")
    try:
        prepare(Paths(given.data.absolute()))
    except (MailkeepError, OSError) as error:
        print(f"mailkeep: the archive could not be made ready: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
