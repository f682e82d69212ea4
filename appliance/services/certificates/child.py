"""One order at an authority, in a process of its own: ``python -m appliance.services.certificates.child``.

An errand (``services.errand``): asked an ``Order`` or a ``Look``, it says ``Step`` as it goes on, ``Issued`` or
``Seen`` at the end. It may change nothing but the folder of challenges, which the process on port 80 answers from
(HTTP-01, RFC 8555 section 8.3).
"""

from __future__ import annotations

import contextlib
import re
import ssl
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from appliance.errors import UnavailableError
from appliance.language import _
from appliance.services import errand
from appliance.services.certificates import ordering
from appliance.services.certificates.authority import ORDER_SECONDS, Issued, Look, Order, Seen, Step

TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")
"""A challenge's token, which becomes a file's name (RFC 8555 section 8.3: base64url)."""

_SPARE_SECONDS = 20.0
"""What is left of an order's time to say that it was too long."""
_FOR_THE_REDIRECT = 0o640


def main() -> int:
    """Do what standard input asks for."""
    return errand.answer(Look | Order, _work, write=_challenges)


def _challenges(asked: Look | Order) -> tuple[Path, ...]:
    return (Path(asked.challenges),) if isinstance(asked, Order) else ()


def _work(asked: Look | Order, say: Callable[[Step | Seen | Issued], None]) -> None:
    authorities = ssl.get_default_verify_paths().cafile
    if isinstance(asked, Look):
        say(Seen(ordering.terms(asked.directory, authorities)))
        return
    folder = Path(asked.challenges)
    until = datetime.now() + timedelta(seconds=ORDER_SECONDS - _SPARE_SECONDS)

    def publish(token: str, content: str) -> None:
        if not TOKEN.fullmatch(token):
            raise UnavailableError(_("The authority's challenge is none that can be answered. Nothing was changed."))
        (folder / token).write_text(content, "ascii")
        (folder / token).chmod(_FOR_THE_REDIRECT)

    with _emptied(folder):
        issued = ordering.issue(asked, authorities, publish, lambda done, total: say(Step(done, total)), until)
    say(issued)


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


if __name__ == "__main__":
    sys.exit(main())
