"""What a server's refusals mean: NO, BAD and BYE, as errors for people.

Codes are those of RFC 5530 and RFC 9051; words are what Gmail, Exchange, Dovecot and Cyrus say where they give no code.
"""

from __future__ import annotations

import re
from typing import Final

from appliance.errors import MailkeepError, RemoteDeniedError, ThrottledError, UnavailableError
from appliance.language import later
from appliance.sources.imap.grammar import Response

_PATIENCE: Final = 60.0
_DAILY: Final = 3600.0
"""Seconds: Gmail's limits are a day's; asking sooner lengthens them."""
_THROTTLED_CODES: Final = frozenset({b"THROTTLED", b"LIMIT", b"OVERQUOTA", b"INUSE"})
_DENIED_CODES: Final = frozenset(
    {b"AUTHENTICATIONFAILED", b"AUTHORIZATIONFAILED", b"EXPIRED", b"PRIVACYREQUIRED", b"CONTACTADMIN", b"NOPERM"}
)
_BACKOFF: Final = re.compile(r"backoff time:? *(\d{1,9}) *(?:ms|milliseconds)", re.IGNORECASE)
_DAILY_WORDS: Final = re.compile(r"bandwidth limit|exceeded command", re.IGNORECASE)
_THROTTLED_WORDS: Final = re.compile(
    r"too many (?:simultaneous|concurrent|logins?|connections?|commands|requests)|maximum number of connections"
    r"|connection limit|throttl|rate limit|server (?:is )?busy|try again later",
    re.IGNORECASE,
)
_BUSY_WORDS: Final = re.compile(
    r"temporar|server unavailable|timed? ?out|user is authenticated but not connected", re.IGNORECASE
)


class RefusedError(MailkeepError):
    """The server answered NO or BAD to one command; the connection is well, and another command may do."""

    code = "refused"

    def __init__(self, answer: Response) -> None:
        super().__init__(said(answer))
        self.answer = answer


def said(answer: Response) -> str:
    """The server's own words."""
    return answer.text().rstrip(".") or answer.name.decode("ascii", "replace")


def refusal(host: str, answer: Response) -> MailkeepError:
    """The error for NO or BAD to a command of somebody signed in: ThrottledError, UnavailableError or RefusedError.

    SERVERBUG is no reason to come again later: servers say it whenever they meet a certain message."""
    return _impatient(host, answer) or RefusedError(answer)


def goodbye(host: str, answer: Response) -> MailkeepError:
    """The error for BYE: the server ends the connection."""
    return _impatient(host, answer) or UnavailableError(
        later("{host} ended the connection: “{words}”. What was read before is kept; the rest is read next time."),
        host=host,
        words=said(answer),
    )


def greeting_refusal(host: str, greeting: bytes) -> MailkeepError:
    """The error for a server that does not even greet: its first line, or what became of it."""
    answer = Response(b"*", b"BYE", (greeting.removeprefix(b"* ").removeprefix(b"BYE "),))
    return _impatient(host, answer) or UnavailableError(
        later("{host} takes no connection: “{words}”."), host=host, words=said(answer)
    )


def sign_in_refusal(host: str, user: str, answer: Response, reason: str = "") -> MailkeepError:
    """The error for NO or BAD to a sign-in, and for the reason that was told before it."""
    code = answer.code()[0]
    if code not in _DENIED_CODES and (impatient := _impatient(host, answer)) is not None:
        return impatient
    match code:
        case b"SERVERBUG":
            text = later("{host} cannot sign anybody in just now: “{words}”. It is tried again next time.")
            return UnavailableError(text, host=host, words=said(answer))
        case b"PRIVACYREQUIRED":
            text = later("{host} takes passwords over an encrypted connection only: choose tls or starttls.")
            return RemoteDeniedError(text, host=host)
        case b"EXPIRED":
            text = later("{host} says that the password of “{user}” has run out: set a new one there, and here.")
            return RemoteDeniedError(text, host=host, user=user)
        case _:
            text = later(
                "{host} did not let “{user}” in: “{words}”. Check name and password, and whether IMAP is allowed there."
            )
            return RemoteDeniedError(text, host=host, user=user, words=reason or said(answer))


def _impatient(host: str, answer: Response) -> UnavailableError | None:
    """The error for an answer that may be another one later; None for any other answer."""
    code, words = answer.code()[0], said(answer)
    if backoff := _BACKOFF.search(words):
        seconds = max(1.0, int(backoff[1]) / 1000)
        return ThrottledError(
            later("{host} asks to be left alone for {time} seconds: “{words}”. What was read before is kept."),
            seconds,
            host=host,
            time=round(seconds),
            words=words,
        )
    if _DAILY_WORDS.search(words):
        text = later("{host} has given as much as it gives in a day: “{words}”. What was read before is kept.")
        return ThrottledError(text, _DAILY, host=host, words=words)
    if code in _THROTTLED_CODES or _THROTTLED_WORDS.search(words):
        text = later("{host} asks for patience: “{words}”. What was read before is kept.")
        return ThrottledError(text, _PATIENCE, host=host, words=words)
    if code == b"UNAVAILABLE" or _BUSY_WORDS.search(words):
        text = later(
            "{host} cannot answer just now: “{words}”. What was read before is kept; the rest is read next time."
        )
        return UnavailableError(text, host=host, words=words)
    return None
