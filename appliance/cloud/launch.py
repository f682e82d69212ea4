"""``python -m appliance.cloud.launch RCLONE ARGUMENT…``: this process becomes rclone, confined as far as it can be.

rclone ends with the thread that started this, leaves no core dump (its memory holds the remotes' secrets), gains no
privileges, and makes files that are nobody else's to write.
"""

from __future__ import annotations

import os
import sys

from appliance import confine


def main() -> None:
    """Give up what rclone does not need, then execve(2): none of it comes back by that."""
    confine.die_with_parent()
    confine.no_new_privileges()
    confine.limit()
    os.umask(os.umask(0o077) | 0o007)  # as the store's own files: restored volumes are among those made
    program = sys.argv[1]
    os.execv(program, sys.argv[1:])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
