"""All that the doctor looks at, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from appliance.errors import MailkeepError, NotFoundError
from appliance.language import _
from appliance.services.certificates import read
from appliance.services.doctoring import disk, doors, keys, memory, outside, permissions, versions
from appliance.services.doctoring.finding import Finding
from appliance.services.doctoring.subject import Subject, of_folder
from appliance.services.paths import Paths

log = logging.getLogger(__name__)

SOON_DAYS, VERY_SOON_DAYS = 30, 7
"""Days before the certificate ends from which on there is a warning, and a problem."""

Check = Callable[[Paths, Subject], Iterable[Finding]]


def examine(
    paths: Paths, subject: Subject | None = None, report: Callable[[int, int], None] | None = None
) -> Iterator[Finding]:
    """Everything that is found; ``report`` is told how many of the checks are done.

    Without ``subject`` what only the running archive knows is left out. Takes up to some minutes, most of it waiting
    for the network. Raises nothing: a check that cannot be done is a finding.
    """
    about = subject or of_folder(paths)
    for number, (title, check) in enumerate(CHECKS):
        if report is not None:
            report(number, len(CHECKS))
        try:
            yield from check(paths, about)
        except (MailkeepError, OSError, ValueError) as error:
            log.exception("%s could not be looked at", title)
            why = error.message if isinstance(error, MailkeepError) else str(error)
            yield Finding(title, "warning", _("Could not be looked at ({why}).").format(why=why))
    if report is not None:
        report(len(CHECKS), len(CHECKS))


def _one(check: Callable[[Paths], Finding]) -> Check:
    return lambda paths, _subject: (check(paths),)


def _certificate(paths: Paths, subject: Subject) -> Iterator[Finding]:
    what = "certificate"
    try:
        now = read(paths.tls, subject.host_name)
    except NotFoundError as error:
        yield Finding(what, "ok", error.message)
        return
    except MailkeepError as error:
        yield Finding(what, "problem", error.message, _("`mailkeep tls self-signed` makes a new one."))
        return
    left = _("It is for {names} and good for {days:.0f} more days.").format(
        names=", ".join(now.names) or "–", days=max(now.days_left, 0)
    )
    mend = _("`mailkeep tls acme` gets one and renews it, `mailkeep tls own` takes yours.")
    if now.problems:
        yield Finding(what, "problem", " ".join(now.problems), mend)
    elif now.days_left < VERY_SOON_DAYS:
        yield Finding(what, "problem", left, mend)
    elif now.days_left < SOON_DAYS:
        yield Finding(what, "warning", left, mend)
    elif now.source == "self-signed":
        text = _("Self-signed: mail comes in encrypted, but browsers warn. {left}")
        yield Finding(what, "ok", text.format(left=left))
    else:
        yield Finding(what, "ok", _("From {issuer}. {left}").format(issuer=now.issuer, left=left))


def _remotes(_paths: Paths, subject: Subject) -> Iterator[Finding]:
    if subject.remotes is None:
        return
    if not subject.remotes:
        yield Finding(
            "remote", "warning",
            _("The archive is on this machine only."),
            _("Set up a remote, in the console or with `mailkeep remote add`: it is what is left without the machine."),
        )  # fmt: skip
    for one in subject.remotes:
        what = _("remote {name}").format(name=one.name)
        if one.passed:
            yield Finding(what, "ok", one.words or _("It can be written and read."))
        else:
            yield Finding(what, "problem", one.words, _("Correct it with `mailkeep remote change`, then try it again."))


CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("swap", _one(memory.swap)),
    ("live index", _one(memory.live)),
    ("memory", _one(memory.size_of)),
    ("memory lock", _one(memory.lock)),
    ("systemd-creds", _one(keys.credentials)),
    ("keyfile", _one(keys.keyfile)),
    ("permissions", _one(permissions.secrets)),
    ("disk", _one(disk.room)),
    ("disk speed", _one(disk.speed)),
    ("ports", lambda paths, _subject: doors.ports(paths)),
    ("certificate", _certificate),
    ("network", lambda _paths, subject: outside.examine(subject)),
    ("remote", _remotes),
    ("versions", _one(versions.programs)),
    ("confinement", _one(versions.confinement)),
)
"""What is looked at, by title; one may have more than one finding."""
