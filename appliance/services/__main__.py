"""The archive's own processes: ``python -m appliance.services archiver|projector|replicator|collector --data DIR``.

The archiver answers calls, writes settings and the audit trail, and signs volumes. The projector follows the log
and writes catalogue and index. The replicator copies the archive to its remotes, the collector fetches mail by
archiving profiles. All have their keys from the key agent and wait for it to be unlocked; when it is locked, or dies,
they end, and whoever started them starts them again to wait. Only replicator and collector may have their one key
otherwise, and work on meanwhile. Each prints ``ready`` on a line of its own when it works, or waits.
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
from typing import TYPE_CHECKING, TypeVar

from appliance.confine import die_with_parent, undumpable
from appliance.errors import LockedError, MailkeepError, UnavailableError
from appliance.host import logs
from appliance.host.notify import Notifier
from appliance.keys.agent_client import Agent
from appliance.services.api import LockState
from appliance.services.paths import Paths
from appliance.services.unlock import agent_keys, agent_of

if TYPE_CHECKING:
    from appliance.imports.nursery import Nursery

log = logging.getLogger("mailkeep")

T = TypeVar("T")

EXIT_LOCKED = 3
"""Exit code of a process that ended because the keys were taken away."""
AGENT_SECONDS = 10.0
"""How long an agent that does not answer is waited for, since it is started again when it dies."""
LEAVE_SECONDS = 5.0
"""How long a process may take to end in order when the keys were taken away."""
ANSWER_SECONDS = 0.2
"""What is left to answer who asked for the lock."""
PAUSE = 0.1
OPENING_SECONDS = 3600.0
"""How long an archive may take to be opened: after an upgrade its databases may have to be made over."""


def main() -> int:
    """Run one process until SIGTERM."""
    parser = argparse.ArgumentParser(prog="appliance.services")
    parser.add_argument("role", choices=tuple(_ROLES))
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    logs.set_up(arguments.role)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    die_with_parent()
    undumpable()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    paths = Paths(arguments.data.absolute())
    run, agent_role = _ROLES[arguments.role]
    duty = Duty(agent_of(paths, agent_role), stop, Notifier.from_environment())
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

    def __init__(self, agent: Agent, stop: threading.Event, notifier: Notifier) -> None:
        self.agent = agent
        self.stop = stop
        self.notifier = notifier
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
        self.notifier.status("Waits for the archive to be unlocked")
        while not self.stop.is_set():
            self.notifier.alive()
            try:
                if self.agent.wait_unlocked(1.0):
                    self.notifier.status("")
                    return True
            except UnavailableError:
                self.stop.wait(PAUSE)
        return False

    def last(self, works: Callable[[], object]) -> None:
        """Return when the duty ends. Where somebody watches this process he is told that it ``works``, if it does."""
        while not self.stop.wait(self.notifier.interval):
            try:
                works()
            except (MailkeepError, OSError) as error:
                log.error("this process does not answer itself: %s", error)
            else:
                self.notifier.alive()
        self.notifier.stopping()

    def watch(self) -> None:
        """End the process when the keys are taken away: in order, or after ``LEAVE_SECONDS`` anyhow."""
        self.agent.watch(self._on_lock)

    def end_when_unlocked(self) -> None:
        """Have the process begin anew with the agent's key: it counts before one that lies on the box, which may be
        another archive's."""
        threading.Thread(target=self._await_agents_key, daemon=True).start()

    def _await_agents_key(self) -> None:
        if self.await_unlocked():
            self.locked = True
            self.stop.set()

    def _on_lock(self) -> None:
        self.locked = True
        hard = threading.Timer(LEAVE_SECONDS, os._exit, [EXIT_LOCKED])
        hard.daemon = True
        hard.start()
        self.stop.wait(ANSWER_SECONDS)
        self.stop.set()


def run_archiver(paths: Paths, duty: Duty) -> None:
    """Answer calls until the duty ends; while the archive is locked, those that ask to unlock it."""
    from appliance.services import certificates
    from appliance.services.archive import Archive
    from appliance.services.dispatch import Dispatcher
    from appliance.services.generations import remove_live
    from appliance.services.locked import Locked
    from appliance.services.mailboxes import publish, told_hostname
    from appliance.services.rolling import Roller
    from appliance.services.server import Server
    from appliance.services.signing import Signer

    certificates.prepare(paths, told_hostname(paths))
    locked = Locked(paths, duty.agent)
    server = Server(locked)
    if waiting := not duty.begins_unlocked():
        remove_live(paths)
        server.start()
        locked.start()
        duty.notifier.ready()
        unlocked = duty.await_unlocked()
        locked.end()
        if not unlocked:
            server.close()
            return
    duty.watch()
    with duty.notifier.patience(OPENING_SECONDS):
        archive = Archive(paths, agent_keys(paths, "archiver"), alarms=locked.alarms)
        dispatcher = Dispatcher(archive)
        publish(archive)
        archive.open_projections()
    signer = Signer(archive)
    roller = Roller(archive)
    server.answer_with(dispatcher)
    locked.opened(archive)
    if not waiting:
        server.start()
        duty.notifier.ready()
    signer.start()
    roller.start()
    dispatcher.timestamping.start()
    dispatcher.certificates.start()
    dispatcher.directories.start()
    dispatcher.profiles.start()
    dispatcher.imports.start()
    dispatcher.fetching.start()
    dispatcher.compactions.start()
    dispatcher.replicas.start()
    dispatcher.trends.start()
    dispatcher.alarming.start()
    dispatcher.notifications.start()
    duty.last(partial(_lock_state, paths))
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
        duty.notifier.ready()
        if not (duty.await_unlocked() and _await_archiver(paths, duty)):
            return
    duty.watch()
    projecting = Projecting(paths, agent_keys(paths, "projector"), create_user=partial(_create_user, paths))
    if not waiting:
        duty.notifier.ready()
    projecting.run(duty.stop, duty.notifier.alive)
    duty.notifier.stopping()
    projecting.close()


def run_replicator(paths: Paths, duty: Duty) -> None:
    """Replicate until the duty ends; while the archive is locked too, where the box has the key for that."""
    from appliance.services import between
    from appliance.services.replicator.process import keys_of_agent, keys_on_the_box, work

    found = _service_keys(duty, partial(keys_on_the_box, paths), partial(keys_of_agent, paths))
    if found is not None:
        keys, follow = found
        follow()
        work(paths, keys, duty.notifier.ready, partial(duty.last, partial(between.answers, paths.replica_socket)))


def run_collector(paths: Paths, duty: Duty) -> None:
    """Fetch mail until the duty ends; while the archive is locked too, where the box has the key for that."""
    from appliance.imports.nursery import Nursery
    from appliance.services import between
    from appliance.services.collector.confinement import confine_collector
    from appliance.services.collector.holding import keys_of_agent, keys_on_the_box
    from appliance.services.collector.importing import by_children_of
    from appliance.services.collector.process import work

    found = _service_keys(duty, partial(keys_on_the_box, paths, duty.agent), partial(keys_of_agent, duty.agent))
    if found is not None:
        keys, follow = found
        with Nursery() as nursery:
            confine_collector(paths)  # before there are threads, which would keep what they had
            follow()
            # A confined process starts no other: where the nursery dies, both begin anew.
            threading.Thread(target=_end_after, args=(nursery, duty), daemon=True).start()
            works = partial(between.answers, paths.collector_socket)
            work(paths, keys, by_children_of(nursery), duty.notifier.ready, partial(duty.last, works))


def _end_after(nursery: Nursery, duty: Duty) -> None:
    nursery.wait()
    duty.stop.set()


def _service_keys(
    duty: Duty, on_the_box: Callable[[], T | None], of_agent: Callable[[], T]
) -> tuple[T, Callable[[], None]] | None:
    """Keys that open no mail, the agent's or, while that is locked, those on the box, and what is to be called so that
    the process ends when others are to be had; None where it is told to end before there are any."""
    if not duty.begins_unlocked():
        keys = on_the_box()
        if keys is not None:
            return keys, duty.end_when_unlocked
        duty.notifier.ready()
        if not duty.await_unlocked():
            return None
    return of_agent(), duty.watch


def _await_archiver(paths: Paths, duty: Duty) -> bool:
    """Return when the archiver has opened the archive, and so brought its databases up to date; False if stopped."""
    while not duty.stop.wait(PAUSE):
        duty.notifier.alive()
        try:
            if _lock_state(paths).unlocked:
                return True
        except (OSError, UnavailableError):
            continue
    return False


def _lock_state(paths: Paths) -> LockState:
    """What the archiver says. Raises OSError where none listens, UnavailableError."""
    from appliance.services.box import RunningBox

    box = RunningBox(paths.local_socket)
    try:
        return box.call("lock_state", LockState)
    finally:
        box.close()


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


_ROLES: Mapping[str, tuple[Callable[[Paths, Duty], None], str]] = {
    "archiver": (run_archiver, "archiver"),
    "projector": (run_projector, "projector"),
    "replicator": (run_replicator, "replica"),
    "collector": (run_collector, "collector"),
}
"""What each process does, and its role for the key agent."""


if __name__ == "__main__":
    sys.exit(main())
