"""``mailkeep doctor``: whether this box is fit for an archive, line by line, with how to mend what is not."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence

import click
import msgspec

from appliance.cli.output import errors_in_words, say, with_json
from appliance.cli.state import State
from appliance.errors import MailkeepError
from appliance.services import doctoring
from appliance.services.box import RunningBox
from appliance.services.doctoring import Finding, Subject
from appliance.services.doctoring.names import parse_resolver
from appliance.services.doctoring.subject import of_folder
from appliance.services.paths import Paths

_WIDTH = 100
_MARKS = {"ok": "ok", "warning": "WARNING", "problem": "PROBLEM"}


@click.command()
@click.option("--resolver", default="", metavar="ADDRESS[:PORT]", help="Ask this name server instead of the system's.")
@with_json
@click.pass_obj
@errors_in_words
def doctor(state: State, resolver: str, as_json: bool) -> None:
    """Look whether this box is fit for an archive, and say how to mend what is not.

    Needs no keys; where the archive runs unlocked, its mailboxes' domains and its remotes are looked at too. Exit code
    1 where something has to be mended. A name server outside (--resolver 9.9.9.9) sees what senders see.
    """
    if resolver:
        parse_resolver(resolver)
    subject = msgspec.structs.replace(_subject(state.paths), resolver=resolver)
    found = tuple(doctoring.examine(state.paths, subject))
    if as_json:
        say(found)
    else:
        _print(found)
    sys.exit(1 if any(one.state == "problem" for one in found) else 0)


def _subject(paths: Paths) -> Subject:
    """What the running archive tells; of one that is locked or does not run, its name."""
    try:
        box = RunningBox(paths.local_socket)
    except (OSError, MailkeepError):
        return of_folder(paths)
    try:
        return doctoring.subject(box)
    except MailkeepError:
        return of_folder(paths)
    finally:
        box.close()


def _print(found: Sequence[Finding]) -> None:
    marks = max(map(len, _MARKS.values()))
    names = max((len(one.what) for one in found), default=0)
    indent = " " * (marks + names + 4)
    for one in found:
        mend = f"\n{_wrapped(f'→ {one.mend}', indent, indent)}" if one.mend and one.state != "ok" else ""
        click.echo(_wrapped(one.text, f"{_MARKS[one.state]:<{marks}}  {one.what:<{names}}  ", indent) + mend)


def _wrapped(text: str, first: str, indent: str) -> str:
    wide = max(_WIDTH, len(indent) + 40)
    return textwrap.fill(
        text, wide, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )
