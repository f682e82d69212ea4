"""What has to be asked of the network, in a process of its own: ``python -m appliance.services.doctoring.outside``.

Standard input is ``Asked``, standard output the findings, both JSON. The archiver stays off the network: this child
lives for one examination, without keys, and where the kernel has Landlock without any file but code and the settings of
the resolver.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import msgspec

from appliance import decoding, language
from appliance.confine import die_with_parent, restrict_filesystem, undumpable
from appliance.host import clock, network
from appliance.language import _
from appliance.services.doctoring import doors, names, timekeeping
from appliance.services.doctoring.finding import Finding
from appliance.services.doctoring.subject import Subject

SECONDS = 90.0
"""How long the network is asked altogether."""

_SYSTEM = ("/etc", "/usr/lib", "/usr/share", "/lib", "/lib64", "/run/systemd/resolve", "/run/resolvconf")


class Asked(msgspec.Struct, frozen=True):
    """What is to be looked at; ``addresses`` are the machine's own, ``language`` that of the findings."""

    subject: Subject
    addresses: tuple[str, ...]
    clock: clock.Clock
    language: str


def examine(subject: Subject) -> tuple[Finding, ...]:
    """The findings about names, clock and the way in from outside."""
    own = tuple(one.partition("/")[0] for card in network.current().interfaces for one in card.addresses)
    asked = Asked(subject, own, clock.current(), language.current())
    # Isolated: the folder it is started in, which could be anybody's, is not looked into for modules.
    command = [sys.executable, "-I", "-m", "appliance.services.doctoring.outside"]
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
    try:
        done = subprocess.run(
            command,
            input=msgspec.json.encode(asked),
            capture_output=True,
            timeout=SECONDS,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return (
            Finding("network", "problem", _("The network did not answer in time."), _("Look at the network settings.")),
        )
    try:
        return decoding.from_json(done.stdout, tuple[Finding, ...])
    except msgspec.DecodeError:
        told = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return (Finding("network", "warning", _("Could not be looked at ({why}).").format(why="".join(told[-1:]))),)


def main() -> int:
    """Look, and tell."""
    asked = decoding.from_json(sys.stdin.buffer.read(), Asked)
    die_with_parent()
    language.use(asked.language)
    confine()
    sys.stdout.buffer.write(msgspec.json.encode(tuple(_found(asked))))
    return 0


def confine() -> None:
    """Give up every file but code and the settings of the resolver, where the kernel has Landlock."""
    undumpable()
    code = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    restrict_filesystem(read=[*code, Path(__file__).parents[2], *map(Path, _SYSTEM)], write=())


def _found(asked: Asked) -> Iterator[Finding]:
    about_names = tuple(names.examine(asked.subject, asked.addresses))
    yield from about_names
    answered = all(one.what != names.SILENT for one in about_names)
    if answered:  # else every name would be waited for once more
        yield from doors.outside(asked.subject)
    yield timekeeping.examine(asked.clock, by_name=answered)


if __name__ == "__main__":
    sys.exit(main())
