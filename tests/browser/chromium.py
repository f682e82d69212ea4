"""Where Chromium is, and how it is started in tests."""

from __future__ import annotations

import os
import shutil

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """The path of a Chromium (MAILKEEP_CHROMIUM, else what the system has); None without one."""
    return os.environ.get("MAILKEEP_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
