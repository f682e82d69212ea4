"""Asking a directory, in a process of its own: ``python -m appliance.services.directories.errand``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from appliance.checks import Check
from appliance.directory.base import Listing, SigningIn
from appliance.directory.kinds import open_directory
from appliance.errors import UnavailableError, UsageError
from appliance.language import _
from appliance.services import errand

LISTING_SECONDS: Final = 1800.0
"""How long reading a whole directory may take; a large one asks for patience now and then."""
CHECK_SECONDS: Final = 120.0
SIGN_IN_SECONDS: Final = 20.0

_MODULE: Final = "appliance.services.directories.errand"


class _Asked(msgspec.Struct, frozen=True):
    kind: str
    options: dict[str, str]


class _List(_Asked, frozen=True, tag=True):
    """Who is in it?"""


class _Try(_Asked, frozen=True, tag=True):
    """Does everything work?"""


class _SignIn(_Asked, frozen=True, tag=True):
    """Is it this person's password?"""

    person: str
    password: str


class _Read(msgspec.Struct, frozen=True, tag=True):
    done: int
    total: int


class _Listed(msgspec.Struct, frozen=True, tag=True):
    listing: Listing


class _Checked(msgspec.Struct, frozen=True, tag=True):
    check: Check


class _Right(msgspec.Struct, frozen=True, tag=True):
    right: bool


def listing(
    kind: str, options: Mapping[str, str], report: Callable[[int, int], None], stopped: Callable[[], bool]
) -> Listing:
    """All of a directory. Raises what ``Directory.people`` raises; UnavailableError where it was stopped."""
    for piece in _ask(_List(kind, dict(options)), LISTING_SECONDS, stopped):
        match piece:
            case _Read():
                report(piece.done, piece.total)
            case _Listed():
                return piece.listing
    raise UnavailableError(_late())


def checks(kind: str, options: Mapping[str, str]) -> Iterator[Check]:
    """What a test of a directory finds. Raises UsageError for options that make no sense, UnavailableError."""
    for piece in _ask(_Try(kind, dict(options)), CHECK_SECONDS):
        if isinstance(piece, _Checked):
            yield piece.check


def is_right(kind: str, options: Mapping[str, str], person: str, password: str) -> bool:
    """Whether a password is the person's there. Raises UnavailableError, RemoteDeniedError, UsageError."""
    for piece in _ask(_SignIn(kind, dict(options), person, password), SIGN_IN_SECONDS):
        if isinstance(piece, _Right):
            return piece.right
    raise UnavailableError(_late())


def _late() -> str:
    return _("The directory did not answer in time. Nothing was changed; try again later.")


def _ask(asked: _List | _Try | _SignIn, seconds: float, stopped: Callable[[], bool] = bool) -> Iterator[object]:
    pieces = _Read | _Listed | _Checked | _Right
    return errand.ask(_MODULE, asked, pieces, seconds=seconds, late=_late(), stopped=stopped)


def main() -> int:
    """Answer what standard input asks."""
    return errand.answer(_List | _Try | _SignIn, _work)


def _work(asked: _List | _Try | _SignIn, say: Callable[[msgspec.Struct], None]) -> None:
    directory = open_directory(asked.kind, asked.options)
    match asked:
        case _List():
            say(_Listed(directory.people(lambda done, total: say(_Read(done, total or 0)))))
        case _Try():
            for one in directory.check():
                say(_Checked(one))
        case _SignIn():
            if not isinstance(directory, SigningIn):
                raise UsageError(_("This kind of directory cannot tell whether a password is right."))
            say(_Right(directory.sign_in(asked.person, asked.password)))


if __name__ == "__main__":
    sys.exit(main())
