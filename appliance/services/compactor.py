"""Making archive volumes, which takes minutes of a processor: in a process of its own that stands back for all others.

``python -m appliance.services.compactor --data DIR`` reads one order from standard input, has its keys from the key
agent in the projector's role, and says on standard output how far it is and what it made. It signs nothing and
replaces nothing; the archiver reads back what it made before it does.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from appliance import decoding
from appliance.confine import die_with_parent, undumpable
from appliance.errors import MailkeepError, UnavailableError
from appliance.framing import Failure, error_of, failure_of
from appliance.keys.access import Keys
from appliance.services.paths import Paths
from appliance.services.unlock import agent_keys
from appliance.store.compaction import Step, StoppedError, Throttle, compact
from appliance.store.names import ArchiveName, parse_archive
from appliance.store.reader import LogReader
from appliance.store.seal import Chain

BYTES_PER_SECOND = 32 * 1024 * 1024
"""Of volumes read, at most: what is left of a plain disk is for mail that comes in."""


class _Word(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line that the process says: how many bytes are done, what it made, or what went wrong."""

    done: int = 0
    made: str = ""
    error: Failure | None = None


def make_here(
    paths: Paths, keys: Keys, step: Step, progress: Callable[[int], None], stopped: Callable[[], bool]
) -> ArchiveName | None:
    """Make a step's archive volume in this process; None where it was stopped. Raises as ``compact`` does."""
    chain = Chain.load(paths.volumes, archive_id=keys.archive_id, verify_key=keys.verify_key)
    reader = LogReader(paths.volumes, keys)
    throttle = Throttle(BYTES_PER_SECOND)
    try:
        return compact(paths.volumes, step, chain, reader, keys, throttle=throttle, progress=progress, stopped=stopped)
    except StoppedError:
        return None


def make_beside(
    paths: Paths, step: Step, progress: Callable[[int], None], stopped: Callable[[], bool]
) -> ArchiveName | None:
    """As ``make_here``, in a process of its own; UnavailableError where that died."""
    command = [sys.executable, "-m", "appliance.services.compactor", "--data", str(paths.data)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(step))
            process.stdin.close()
            for line in process.stdout:
                word = decoding.from_json(line, _Word)
                if word.error is not None:
                    raise error_of(word.error)
                if word.made:
                    return parse_archive(word.made)
                progress(word.done)
                if stopped():
                    return None
        except (BrokenPipeError, msgspec.DecodeError) as error:
            raise _died() from error
        finally:
            process.terminate()
    raise _died()


def main() -> int:
    """Carry out one order."""
    parser = argparse.ArgumentParser(prog="appliance.services.compactor")
    parser.add_argument("--data", type=Path, required=True)
    paths = Paths(parser.parse_args().data)
    die_with_parent()
    undumpable()
    # Idle class: processor time, and on disks with a scheduler the disk's, only when nobody else wants it.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # taking along what it was making
    step = decoding.from_json(sys.stdin.buffer.read(), Step)
    try:
        made = make_here(paths, agent_keys(paths, "projector"), step, lambda done: _say(_Word(done)), lambda: False)
    except MailkeepError as error:
        _say(_Word(error=failure_of(error)))
        return 1
    _say(_Word(made=str(made)))
    return 0


def _say(word: _Word) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(word) + b"\n")
    sys.stdout.buffer.flush()


def _died() -> UnavailableError:
    return UnavailableError("The compacting process died. Nothing was changed; the log has the details.")


if __name__ == "__main__":
    sys.exit(main())
