"""Mails about alarms: what began, what got worse, what is over, in plain words, as text and as HTML."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid, parseaddr
from typing import NamedTuple

from appliance.language import _, ngettext, speaking
from appliance.services.alarms import words
from appliance.services.alarms.book import Alarm

WORTH_TELLING = 600.0
"""Seconds after which a mail says for how long an alarm has stood."""
_WIDTH = 76


class Part(NamedTuple):
    """A heading and what stands below it, each with a mark: ``error``, ``warning``, ``good`` or nothing."""

    heading: str
    lines: Sequence[tuple[str, str]]


def about_alarms(alarms: Sequence[Alarm], now: float, *, host: str, language: str) -> tuple[str, list[Part]]:
    """Subject and parts of a mail about alarms as they are ``now`` (seconds)."""
    standing = [one for one in alarms if one.until is None]
    over = [one for one in alarms if one.until is not None]
    with speaking(language):
        parts = []
        if standing:
            parts.append(
                Part(_("What needs attention"), [(one.level, standing_line(one, now)) for one in _ranked(standing)])
            )
        if over:
            parts.append(Part(_("What is over"), [("good", _over_line(one)) for one in over]))
        return _subject(standing, over, host), parts


def _subject(standing: Sequence[Alarm], over: Sequence[Alarm], host: str) -> str:
    if not standing:
        first = words.title(over[0].kind)
        more = len(over) - 1
        return _("[{host}] over: {what}").format(host=host, what=_with_more(first, more))
    ranked = _ranked(standing)
    mark = _("ERROR") if ranked[0].level == "error" else _("warning")
    what = _with_more(words.title(ranked[0].kind), len(standing) - 1)
    return _("[{host}] {mark}: {what}").format(host=host, mark=mark, what=what)


def _with_more(first: str, more: int) -> str:
    if not more:
        return first
    return ngettext("{first}, and {count} more", "{first}, and {count} more", more).format(first=first, count=more)


def _ranked(alarms: Sequence[Alarm]) -> list[Alarm]:
    return sorted(alarms, key=lambda one: (one.level != "error", one.since))


def standing_line(alarm: Alarm, now: float) -> str:
    """An alarm that stands: its sentence, for how long it has been so, and whether somebody has seen it."""
    said = words.sentence(alarm.kind, alarm.figures)
    if alarm.acknowledged_by:
        return _("{sentence} (For {span}. Somebody has seen it.)").format(
            sentence=said, span=words.span(now - alarm.since)
        )
    if now - alarm.since < WORTH_TELLING:
        return said
    return _("{sentence} (For {span}.)").format(sentence=said, span=words.span(now - alarm.since))


def _over_line(alarm: Alarm) -> str:
    assert alarm.until is not None
    lasted = words.span(alarm.until - alarm.since)
    return _("{title}: over after {span}. It said: {sentence}").format(
        title=words.title(alarm.kind), span=lasted, sentence=words.sentence(alarm.kind, alarm.figures)
    )


def mail(
    subject: str, parts: Sequence[Part], foot: str, *, sender: str, recipients: Sequence[str], language: str, now: float
) -> bytes:
    """A message of text and HTML (RFC 2046 section 5.1.4) that no filter answers (RFC 3834 section 5)."""
    message = EmailMessage(policy=SMTP)
    message["From"] = Address("mailkeep", addr_spec=parseaddr(sender)[1] or sender)
    message["To"] = ", ".join(recipients)
    message["Subject"] = subject
    message["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2] or "localhost")
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_text(parts, foot))
    message.add_alternative(_page(subject, parts, foot, language), subtype="html")
    return message.as_bytes()


_MARKS = {"error": "!!", "warning": "! ", "good": "+ "}


def _text(parts: Sequence[Part], foot: str) -> str:
    pieces = []
    for part in parts:
        lines = [_wrapped(line, _MARKS.get(mark, "  ")) for mark, line in part.lines]
        pieces.append("\n".join([part.heading, "=" * len(part.heading), *lines]))
    return "\n\n".join([*pieces, f"-- \n{foot}"]) + "\n"


def _wrapped(line: str, mark: str) -> str:
    """A paragraph for who reads the plain text; addresses, commands and hashes stay whole."""
    return textwrap.fill(
        line, _WIDTH, initial_indent=f"{mark} ", subsequent_indent="   ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


# Mail programs know tables and inline styles; colours that are readable on white and on dark paper.
_COLOURS = {"error": "#b3261e", "warning": "#9a6700", "good": "#1a7f37"}


def _page(subject: str, parts: Sequence[Part], foot: str, language: str) -> str:
    rows = []
    for part in parts:
        rows.append(f'<h2 style="font-size:16px;margin:24px 0 8px">{html.escape(part.heading)}</h2>')
        for mark, line in part.lines:
            colour = _COLOURS.get(mark, "#8c959f")
            rows.append(
                f'<p style="margin:0 0 8px;padding:2px 0 2px 12px;border-left:4px solid {colour}">'
                f"{html.escape(line)}</p>"
            )
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        f"<title>{html.escape(subject)}</title></head>"
        '<body style="font:15px/1.5 system-ui,sans-serif;max-width:640px;margin:0 auto;padding:16px">'
        f'{"".join(rows)}<p style="margin-top:24px;font-size:13px;opacity:.7">{html.escape(foot)}</p></body></html>'
    )
