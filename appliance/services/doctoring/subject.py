"""What the doctor has to know of an archive that only the archive itself can tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec

from appliance.errors import MailkeepError
from appliance.mail.addresses import domain
from appliance.services import api, mailboxes
from appliance.services.archive import Archive
from appliance.services.paths import Paths

T = TypeVar("T")


class Remote(msgspec.Struct, frozen=True):
    """A remote that was tried just now; ``words`` says how that went, ``passed`` whether it can be written and read."""

    name: str
    passed: bool
    words: str


class Subject(msgspec.Struct, frozen=True):
    """The archive that is looked at.

    ``domains`` are those of its mailboxes' addresses. ``remotes`` is None where nobody could try them. ``resolver`` is
    a name server (address, or address:port) to ask in place of the system's: one outside sees what senders see.
    """

    host_name: str
    domains: tuple[str, ...] = ()
    remotes: tuple[Remote, ...] | None = None
    resolver: str = ""


class Box(Protocol):
    """A way to the archive's services."""

    def call(self, method: str, kind: type[T], /, **params: Any) -> T:
        """The service's answer."""
        ...


def subject(box: Box) -> Subject:
    """What the running archive tells; its remotes are tried, which may take a minute. Raises MailkeepError."""
    known = box.call("doctor_subject", Subject)
    remotes = box.call("remotes", tuple[api.RemoteInfo, ...])
    return with_remotes(
        known,
        tuple(one.name for one in remotes if not one.paused),
        lambda name: box.call("remote_test", api.RemoteTested, name=name),
    )


def with_remotes(known: Subject, names: tuple[str, ...], test: Callable[[str], api.RemoteTested]) -> Subject:
    """The subject with these remotes tried."""
    return msgspec.structs.replace(known, remotes=tuple(_tried(name, test) for name in names))


def of_archive(archive: Archive) -> Subject:
    """What an open archive says of itself, remotes not tried."""
    doors = {address for put in archive.settings.mailboxes() for address in (put.address, *put.aliases)}
    return Subject(mailboxes.hostname(archive), tuple(sorted({domain(one) for one in doors} - {""})))


def of_folder(paths: Paths) -> Subject:
    """What can be told without the archive: the name that the gateway goes by."""
    return Subject(mailboxes.told_hostname(paths))


def _tried(name: str, test: Callable[[str], api.RemoteTested]) -> Remote:
    try:
        found = test(name)
    except MailkeepError as error:
        return Remote(name, passed=False, words=error.message)
    return Remote(name, passed=found.passed, words=found.words)
