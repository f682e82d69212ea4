"""The archive's own processes: ``python -m appliance.services archiver|projector|replicator --data DIR``.

The archiver answers calls, writes settings and the audit trail, and signs volumes. The projector follows the log
and writes catalogue and index. The replicator copies the archive to its remotes. All have their keys from the key
agent and wait for it to be unlocked; when it is locked, or dies, they end, and whoever started them starts them again
to wait. Only the replicator may have its one key otherwise, and work on meanwhile. Each prints ``ready`` on a line of
its own when it works, or waits.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from appliance.confine import die_with_parent, undumpable
from appliance.errors import LockedError, MailkeepError, UnavailableError
from appliance.keys.agent_client import Agent
from appliance.services.paths import Paths
from appliance.services.unlock import agent_keys, agent_of

log = logging.getLogger("mailkeep")

EXIT_LOCKED = 3
"""Exit code of a process that ended because the keys were taken away."""
AGENT_SECONDS = 10.0
"""How long an agent that does not answer is waited for, since it is started again when it dies."""
LEAVE_SECONDS = 5.0
"""How long a process may take to end in order when the keys were taken away."""
ANSWER_SECONDS = 0.2
"""What is left to answer who asked for the lock."""
PAUSE = 0.1


def main() -> int:
    """Run one process until SIGTERM."""
    parser = argparse.ArgumentParser(prog="appliance.services")
    parser.add_argument("role", choices=("archiver", "projector", "replicator"))
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format=f"{arguments.role}: %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    die_with_parent()
    undumpable()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    paths = Paths(arguments.data.absolute())
    run, agent_role = _ROLES[arguments.role]
    duty = Duty(agent_of(paths, agent_role), stop)
    try:
        run(paths, duty)
    except LockedError:
        return EXIT_LOCKED
    except MailkeepError as error:
        log.error("%s", error.message)
        return 1
    return EXIT_LOCKED if duty.locked else 0


class Duty:
    """The time in which a process has its keys: from the agent's unlocking until its lock, or until SIGTERM."""

    def __init__(self, agent: Agent, stop: threading.Event) -> None:
        self.agent = agent
        self.stop = stop
        self.locked = False

    def begins_unlocked(self) -> bool:
        """Whether the agent has the key already."""
        deadline = AGENT_SECONDS
        while not self.stop.is_set() and deadline > 0:
            try:
                return self.agent.state().unlocked
            except UnavailableError:  # it is being started again
                self.stop.wait(PAUSE)
                deadline -= PAUSE
        return False

    def await_unlocked(self) -> bool:
        """Return when the agent has the key; False where the process is told to stop before."""
        while not self.stop.is_set():
            try:
                if self.agent.wait_unlocked(1.0):
                    return True
            except UnavailableError:
                self.stop.wait(PAUSE)
        return False

    def watch(self) -> None:
        """End the process when the keys are taken away: in order, or after ``LEAVE_SECONDS`` anyhow."""
        self.agent.watch(self._on_lock)

    def _on_lock(self) -> None:
        self.locked = True
        hard = threading.Timer(LEAVE_SECONDS, os._exit, [EXIT_LOCKED])
        hard.daemon = True
        hard.start()
        self.stop.wait(ANSWER_SECONDS)
        self.stop.set()


def run_archiver(paths: Paths, duty: Duty) -> None:
    """Answer calls until the duty ends; while the archive is locked, those that ask to unlock it."""
    from appliance.services.archive import Archive
    from appliance.services.dispatch import Dispatcher
    from appliance.services.generations import remove_live
    from appliance.services.locked import Locked
    from appliance.services.mailboxes import publish
    from appliance.services.rolling import Roller
    from appliance.services.server import Server
    from appliance.services.signing import Signer

    locked = Locked(paths, duty.agent)
    server = Server(locked)
    if waiting := not duty.begins_unlocked():
        remove_live(paths)
        server.start()
        _ready()
        if not duty.await_unlocked():
            server.close()
            return
    duty.watch()
    archive = Archive(paths, agent_keys(paths, "archiver"))
    dispatcher = Dispatcher(archive)
    publish(archive)
    archive.open_projections()
    signer = Signer(archive)
    roller = Roller(archive)
    server.answer_with(dispatcher)
    locked.opened(archive)
    if not waiting:
        server.start()
        _ready()
    signer.start()
    roller.start()
    dispatcher.timestamping.start()
    dispatcher.compactions.start()
    dispatcher.replicas.start()
    duty.stop.wait()
    server.close()
    dispatcher.close()
    roller.close()
    signer.close()
    archive.close()


def run_projector(paths: Paths, duty: Duty) -> None:
    """Follow the log until the duty ends."""
    from appliance.services.generations import remove_live
    from appliance.services.projecting import Projecting

    os.nice(10)  # receiving and answering go first
    if waiting := not duty.begins_unlocked():
        remove_live(paths)
        _ready()
        if not (duty.await_unlocked() and _await_archiver(paths, duty.stop)):
            return
    duty.watch()
    projecting = Projecting(paths, agent_keys(paths, "projector"), create_user=partial(_create_user, paths))
    if not waiting:
        _ready()
    projecting.run(duty.stop)
    projecting.close()


def run_replicator(paths: Paths, duty: Duty) -> None:
    """Replicate until the duty ends; while the archive is locked too, where the box has the key for that."""
    from appliance.services.replicator.process import keys_of_agent, keys_on_the_box, work

    keys = None
    if not duty.begins_unlocked():
        keys = keys_on_the_box(paths)
        if keys is None:
            _ready()
            if not duty.await_unlocked():
                return
    if keys is None:
        duty.watch()
        keys = keys_of_agent(paths)
    else:
        threading.Thread(target=_begin_anew_when_unlocked, args=(duty,), daemon=True).start()
    work(paths, keys, duty.stop, _ready)


def _begin_anew_when_unlocked(duty: Duty) -> None:
    """The agent's key counts before one that lies on the box, which may be another archive's."""
    if duty.await_unlocked():
        duty.locked = True
        duty.stop.set()


def _await_archiver(paths: Paths, stop: threading.Event) -> bool:
    """Return when the archiver has opened the archive, and so brought its databases up to date; False if stopped."""
    from appliance.services import api
    from appliance.services.box import RunningBox

    while not stop.wait(PAUSE):
        try:
            box = RunningBox(paths.local_socket)
        except OSError:
            continue
        try:
            if box.call("lock_state", api.LockState).unlocked:
                return True
        except UnavailableError:
            continue
        finally:
            box.close()
    return False


def _create_user(paths: Paths, address: str) -> None:
    """Ask the archiver, who alone writes settings, for a user. Raises UnavailableError where it does not answer."""
    from appliance.services.box import RunningBox

    try:
        box = RunningBox(paths.local_socket)
    except OSError as error:
        raise UnavailableError("The archiver does not answer; a new user could not be made yet.") from error
    try:
        box.call("create_user_from_mail", type(None), address=address)
    finally:
        box.close()


def _ready() -> None:
    print("ready", flush=True)


_ROLES: Mapping[str, tuple[Callable[[Paths, Duty], None], str]] = {
    "archiver": (run_archiver, "archiver"),
    "projector": (run_projector, "projector"),
    "replicator": (run_replicator, "replica"),
}
"""What each process does, and its role for the key agent."""


if __name__ == "__main__":
    sys.exit(main())
