"""The answer file: what the wizard would ask, written down beforehand in YAML (docs/setup.md explains every key).

The whole file is read and checked before anything is done. What is wrong is told by line and by place, and secrets are
either in the file or, better, in files of their own that it names.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from appliance import decoding
from appliance.errors import UsageError
from appliance.services.setup.progress import Listen


class SecretFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A secret in a file of its own; its first line counts."""

    file: str


Secret = str | SecretFile


class NetworkAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one interface gets its addresses; DHCP where no address is given."""

    interface: str
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()


class TimeAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Time zone, whether the clock is kept right over the network, and by which servers."""

    zone: str = ""
    ntp: bool | None = None
    servers: tuple[str, ...] = ()


class ArchiveAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the archive is opened. ``recovery_key`` is a file to write it to; else it is printed, once."""

    passphrase: Secret = ""
    unlocks_itself: bool = False
    recovery_key: str = ""

    def __repr__(self) -> str:
        return "ArchiveAnswer(…)"


class AdministratorAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first administrator."""

    address: str
    password: Secret
    name: str = ""

    def __repr__(self) -> str:
        return f"AdministratorAnswer({self.address}, …)"


class CertificateAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the certificate comes from. ``own`` takes ``files``, ``acme`` the rest."""

    source: Literal["self-signed", "own", "acme"] = "self-signed"
    files: tuple[str, ...] = ()
    password: Secret = ""
    contact: str = ""
    agree: bool = False
    directory: str = ""
    names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"CertificateAnswer({self.source}, …)"


class MailboxAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first journal mailbox. Of ``@archive.example.com`` the local part is made up, so that nobody guesses it."""

    address: str
    name: str = "Journal"
    domains: tuple[str, ...] = ()
    password: str = ""  # a file to write its password to; else it is printed, once


class RemoteAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the archive is replicated to, as in ``mailkeep remote add``."""

    name: str
    type: str
    path: str = ""
    options: dict[str, Secret] = {}

    def __repr__(self) -> str:
        return f"RemoteAnswer({self.name}, {self.type}, …)"


class Answers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole set-up. What is left out is left as it is, but for the archive, which is always made."""

    archive: ArchiveAnswer
    language: str = ""
    hostname: str = ""
    network: NetworkAnswer | None = None
    time: TimeAnswer | None = None
    administrator: AdministratorAnswer | None = None
    certificate: CertificateAnswer | None = None
    mailbox: MailboxAnswer | None = None
    remote: RemoteAnswer | None = None
    listen: Listen | None = None
    wait_for_report: int = 0
    """Seconds to wait at the end for the first journal report."""


def read(path: Path) -> Answers:
    """The answers in a file. Raises UsageError that names the line and the key of what is wrong."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"The answer file {path} cannot be read ({reason}). Nothing was done.") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Answers:
    """The answers in YAML; ``name`` is what errors call the file. Raises UsageError."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            raise UsageError(f"{name} is empty. Nothing was done.")
        _refuse_twice(root, name)
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{name}, line {line}: this is not YAML ({error.problem}). Nothing was done.") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{name} is not YAML ({error}). Nothing was done.") from error
    try:
        answers = decoding.from_values(value, Answers)
    except msgspec.ValidationError as error:
        words, place = _told(error)
        raise UsageError(f"{name}, line {_line(root, place)}: {_shown(place)}{words} Nothing was done.") from error
    _check(answers, root, name)
    return answers


def secret(value: Secret) -> str:
    """A secret, from the file that is named where one is. Raises UsageError."""
    if isinstance(value, str):
        return value
    path = Path(value.file)
    try:
        return path.read_text("utf-8").split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}, which holds a secret of the answer file, cannot be read. Nothing was done."
        ) from error


def secrets_of(answers: Answers) -> Iterator[Secret]:
    """All secrets of the answers, to be tried before anything is done."""
    yield answers.archive.passphrase
    if answers.administrator:
        yield answers.administrator.password
    if answers.certificate:
        yield answers.certificate.password
    if answers.remote:
        yield from answers.remote.options.values()


def _check(answers: Answers, root: yaml.Node, name: str) -> None:
    """Raises UsageError for what the types alone do not tell."""

    def fail(words: str, *place: str | int) -> UsageError:
        return UsageError(f"{name}, line {_line(root, place)}: {_shown(place)}{words} Nothing was done.")

    if not answers.archive.passphrase and not answers.archive.unlocks_itself:
        raise fail("give a passphrase, or “unlocks_itself: true”: nothing else would open it.", "archive")
    certificate = answers.certificate
    if certificate and certificate.source == "own" and not certificate.files:
        raise fail("name the files of your certificate and key.", "certificate")
    if certificate and certificate.source == "acme" and not certificate.agree:
        raise fail("“agree: true” says that you have read the authority's terms.", "certificate")
    if not 0 <= answers.wait_for_report <= 86_400:
        raise fail("give 0 to 86400 seconds.", "wait_for_report")


def _refuse_twice(node: yaml.Node, name: str) -> None:
    """YAML lets a later key win over an earlier one in silence; here that is a mistake. Raises UsageError."""
    if isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, value in node.value:
            if key.value in seen:
                raise UsageError(
                    f"{name}, line {key.start_mark.line + 1}: “{key.value}” stands here twice. Nothing was done."
                )
            seen.add(key.value)
            _refuse_twice(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for one in node.value:
            _refuse_twice(one, name)


_PLACE = re.compile(r" - at `\$(.*)`$")
_STEPS = re.compile(r"\.([A-Za-z0-9_-]+)|\[(\d+)\]")
_EXPECTED: Mapping[str, str] = {
    "str": "text (in quotes, if it looks like a number)", "bool": "true or false", "int": "a whole number",
    "object": "keys with values below it", "array": "a list",
}  # fmt: skip


def _told(error: msgspec.ValidationError) -> tuple[str, tuple[str | int, ...]]:
    """What is wrong in words, and where."""
    text = str(error)
    found = _PLACE.search(text)
    steps = _STEPS.finditer(found[1]) if found else ()
    place: tuple[str | int, ...] = tuple(one[1] if one[1] else int(one[2]) for one in steps)
    text = text[: found.start()] if found else text
    if unknown := re.search(r"unknown field `(.*)`", text):
        return "there is no such key.", (*place, unknown[1])
    if missing := re.search(r"missing required field `(.*)`", text):
        return f"“{missing[1]}” is missing here.", place
    if wrong := re.match(r"Expected `(.*)`, got `(.*)`", text):
        wanted = [_EXPECTED[one] for one in wrong[1].split(" | ") if one in _EXPECTED]
        return f"this has to be {' or '.join(wanted) or wrong[1]}.", place
    if choice := re.match(r"Invalid enum value (.*)", text):
        return f"{choice[1]} is none of the values that there are.", place
    return f"{text}.", place


def _line(node: yaml.Node, place: tuple[str | int, ...]) -> int:
    """The line (from 1) of what is at a place, or of the nearest above it that is there."""
    line = node.start_mark.line
    for step in place:
        following: Any = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == step:
                    line, following = key.start_mark.line, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            following = node.value[step]
            line = following.start_mark.line
        if following is None:
            break
        node = following
    return line + 1


def _shown(place: tuple[str | int, ...]) -> str:
    return f"{'.'.join(map(str, place))}: " if place else ""
