"""One order at an authority, in a process of its own: ``python -m appliance.services.certificates.child``.

Standard input says what is asked for (``Order`` or ``Look``, JSON); standard output gets lines of JSON: ``Step`` as it
goes on, ``Issued`` or ``Seen`` at the end. Where it does not come that far, a sentence is on standard error and the
exit code is 1. Where the kernel has Landlock it can write to nothing but the folder of challenges, which the process on
port 80 answers from (HTTP-01, RFC 8555 section 8.3).
"""

from __future__ import annotations

import contextlib
import re
import ssl
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from appliance import decoding
from appliance.confine import die_with_parent, restrict_filesystem, undumpable
from appliance.errors import MailkeepError, UnavailableError
from appliance.language import _
from appliance.services.certificates import ordering
from appliance.services.certificates.authority import ORDER_SECONDS, Issued, Look, Order, Seen, Step

TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")
"""A challenge's token, which becomes a file's name (RFC 8555 section 8.3: base64url)."""

_SPARE_SECONDS = 20.0
"""What is left of an order's time to say that it was too long."""
_SYSTEM = (
    "/etc",
    "/usr/lib",
    "/usr/share",
    "/lib",
    "/lib64",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/dev/urandom",
)
_FOR_THE_REDIRECT = 0o640


def main() -> int:
    """Do what standard input asks for."""
    asked = decoding.from_json(sys.stdin.buffer.read(), Look | Order)
    die_with_parent()
    undumpable()
    authorities = ssl.get_default_verify_paths().cafile
    write = [Path(asked.challenges)] if isinstance(asked, Order) else []
    _confine(write, [Path(authorities)] if authorities else [])
    try:
        if isinstance(asked, Order):
            _say(_issued(asked, authorities))
        else:
            _say(Seen(ordering.terms(asked.directory, authorities)))
    except MailkeepError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


def _issued(asked: Order, authorities: str | None) -> Issued:
    folder = Path(asked.challenges)
    until = datetime.now() + timedelta(seconds=ORDER_SECONDS - _SPARE_SECONDS)

    def publish(token: str, content: str) -> None:
        if not TOKEN.fullmatch(token):
            raise UnavailableError(_("The authority's challenge is none that can be answered. Nothing was changed."))
        (folder / token).write_text(content, "ascii")
        (folder / token).chmod(_FOR_THE_REDIRECT)

    with _emptied(folder):
        return ordering.issue(asked, authorities, publish, lambda done, total: _say(Step(done, total)), until)


@contextlib.contextmanager
def _emptied(folder: Path) -> Iterator[None]:
    """No challenge is left afterwards, nor one that an order before left when it was killed."""
    _empty(folder)
    try:
        yield
    finally:
        _empty(folder)


def _empty(folder: Path) -> None:
    for one in folder.iterdir():
        one.unlink(missing_ok=True)


def _say(line: Step | Seen | Issued) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def _confine(write: Sequence[Path], read: Sequence[Path]) -> None:
    code = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    code.append(Path(__file__).parents[2])
    restrict_filesystem(read=[*code, *map(Path, _SYSTEM), *read], write=write)


if __name__ == "__main__":
    sys.exit(main())
