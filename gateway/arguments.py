"""What the command lines of all gateway workers have in common."""

from __future__ import annotations

import argparse
from pathlib import Path


def worker_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """A parser that knows the data folder, the worker's number and how much is to be logged."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--data", type=lambda text: Path(text).absolute(), required=True, metavar="DIR")
    parser.add_argument("--worker", type=int, required=True, metavar="N", help="this worker's number, from 0")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    return parser


def place(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``, ``[IPv6]:PORT`` or ``:PORT``. Raises argparse.ArgumentTypeError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"not HOST:PORT: {text}")
    return host.removeprefix("[").removesuffix("]"), int(port)
