"""Trying what a directory needs, one thing after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from appliance.checks import Check
from appliance.errors import MailkeepError, UnavailableError
from appliance.framing import in_words
from appliance.language import _
from appliance.vendor import findings


def tried(attempts: Iterable[tuple[str, Callable[[], Check]]]) -> Iterator[Check]:
    """What each attempt found; one that fails is a problem, called as it stands beside it. Where the other side does
    not answer, the rest is not waited for. Never raises."""
    for what, attempt in attempts:
        try:
            yield attempt()
        except MailkeepError as error:
            yield problem(what, error)
            if isinstance(error, UnavailableError):
                return


def problem(what: str, error: MailkeepError) -> Check:
    """An error as a finding, in the language in use."""
    return Check(what, "problem", in_words(error))


def clock(skew: float | None, whose: str) -> Iterator[Check]:
    """A warning where the clock of ``whose`` is ``skew`` seconds, and so too far, ahead of ours."""
    if text := findings.clock(skew, whose):
        yield Check(_("clock"), "warning", text)
