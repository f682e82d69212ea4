"""What set-up asks, in which order, and in which steps something may be left for later."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from appliance.language import _
from appliance.services.setup.progress import Progress

Id = Literal[
    "language", "host", "network", "time", "archive", "administrator", "certificate", "mailbox", "instructions",
    "remote", "finish",
]  # fmt: skip


class Step(msgspec.Struct, frozen=True):
    """One step: its title, and what it is for in a sentence."""

    id: Id
    title: str
    what: str
    may_wait: bool = False  # can be left out for now


def steps() -> tuple[Step, ...]:
    """All steps in their order, in the language in use."""
    return (
        Step("language", _("Language"), _("In which language this box speaks to you.")),
        Step("host", _("Host name"), _("The name under which mail servers and browsers reach this box."), True),
        Step("network", _("Network"), _("Which addresses this box has."), True),
        Step("time", _("Time"), _("The clock that stands in every proof and every log."), True),
        Step("archive", _("Archive"), _("The keys without which nobody reads the mail.")),
        Step("administrator", _("Administrator"), _("The person who may change settings in the browser.")),
        Step("certificate", _("Certificate"), _("What mail servers and browsers encrypt with."), True),
        Step("mailbox", _("Journal mailbox"), _("The address that your mail server sends journal reports to.")),
        Step("instructions", _("Mail server"), _("What to enter in Exchange or Google.")),
        Step("remote", _("Replica"), _("A second, encrypted copy of the archive somewhere else."), True),
        Step("finish", _("First report"), _("Wait for the first journal report.")),
    )


ORDER: tuple[Id, ...] = get_args(Id)
"""All ids in their order."""


def step(id: Id) -> Step:
    """One step by its id."""
    return next(one for one in steps() if one.id == id)


def number(id: Id) -> int:
    """Its place, from 1."""
    return ORDER.index(id) + 1


def after(id: Id) -> Id:
    """The step that follows; the last is followed by itself."""
    return ORDER[min(ORDER.index(id) + 1, len(ORDER) - 1)]


def before(id: Id) -> Id:
    """The step before; the first is preceded by itself."""
    return ORDER[max(ORDER.index(id) - 1, 0)]


def first_open(progress: Progress) -> Id:
    """Where to go on: the first step that is not done."""
    return next((one for one in ORDER if one not in progress.done), ORDER[-1])
