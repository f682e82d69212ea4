"""What the archiver answers while the archive is locked: how to unlock it, and that nothing else can be asked.

Mail is received all the while: to seal it the gateway needs public keys only. Nothing of settings can be read, so
nobody can be signed in, and whoever reaches the unlock page may try a passphrase. Tries are slowed down here by where
they come from and in the key agent altogether; they are written into the audit trail as soon as there is one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from appliance.errors import KeyringError, LockedError, MailkeepError, UnavailableError
from appliance.keys.agent_client import Agent
from appliance.language import later
from appliance.services import alarming, api
from appliance.services.alarms.keeper import Alarms
from appliance.services.archive import Archive
from appliance.services.calling import Service
from appliance.services.dispatch import LONGEST_CLIENT
from appliance.services.health import health
from appliance.services.identity import Brake, client_key
from appliance.services.locked_alarms import LockedAlarms
from appliance.services.locked_status import LockedStatus
from appliance.services.locked_support import locked_bundle
from appliance.services.looking import SharedLook
from appliance.services.metrics import exposition, measured, require_token
from appliance.services.paths import Paths
from appliance.services.principal import KEYHOLDER, Principal
from appliance.services.reading import Download
from appliance.services.replicator.asking import ask
from appliance.services.replicator.history import Run
from appliance.services.unlock import load_keyring
from appliance.services.wire import Call
from appliance.settings.store import metrics_token_in

OPEN_SECONDS = 25.0
"""How long who unlocked the archive waits until it is open."""
MOST_TRIES = 1000
"""Lines that are remembered for the audit trail; of more, the last ones."""

NOBODY = "nobody"
"""Who somebody is that cannot be signed in, in the audit trail."""


class _Done(NamedTuple):
    """What somebody did, for the audit trail."""

    at: datetime
    who: Principal
    action: str
    what: str


class Locked:
    """The services of a locked archive."""

    def __init__(self, paths: Paths, agent: Agent) -> None:
        self._paths = paths
        self._agent = agent
        self._numbers = LockedStatus(paths)
        self._looks = SharedLook(self._numbers.status)
        self._alarms = LockedAlarms(paths, self._numbers, self._looks.lately)
        self._brake = Brake(tries=self._numbers.tries)
        self._one = threading.Lock()
        self._opened = threading.Event()
        self._done: deque[_Done] = deque(maxlen=MOST_TRIES)
        self._anybody = _services({
            "lock_state": self._state, "unlock": self._unlock_on_the_web, "health": self._health,
            "metrics": self._metrics,
        })  # fmt: skip
        self._local = _services({
            "lock_state": lambda _who: self._state(), "unlock": self._unlock_on_the_box,
            "lock": lambda _who: self._state(), "status": self._status, "slots": lambda _who: slots(paths),
            "health": lambda _who: self._health(), "alarms": self._alarm_page,
            "metrics_read": lambda _who: self._measured(),
            "replicate_begin": self._replicate, "replica_runs": self._runs, "replica_stop": self._stop_run,
            "support_write": self._support,
        })  # fmt: skip

    @property
    def paths(self) -> Paths:
        """The archive's data folder."""
        return self._paths

    def from_web(self, call: Call) -> Any:
        """Answer the web process: anybody may try to unlock, and nobody may anything else."""
        service, client = self._found(self._anybody, call), call.client[:LONGEST_CLIENT]
        return service(params={**call.params, "client": client} if service.takes("client") else call.params)

    def from_box(self, call: Call, principal: Principal) -> Any:
        """Answer the box's own command line."""
        return self._found(self._local, call)(principal, params=call.params)

    def from_pop3(self, _call: Call) -> Any:
        """Answer the POP3 server, which reads without the archiver: erasing has to wait until it is unlocked."""
        raise self._refusal()

    @property
    def alarms(self) -> Alarms:
        """The alarms; the open archive goes on with them."""
        return self._numbers.alarms

    def start(self) -> None:
        """Begin to look for alarms."""
        self._alarms.start()

    def end(self) -> None:
        """Look for alarms no more: the archive is unlocked, or the process ends."""
        self._alarms.close()

    def opened(self, archive: Archive) -> None:
        """Say that the archive is open, and write down who did what meanwhile."""
        while self._done:
            one = self._done.popleft()
            place = f" from {one.who.client}" if one.who.client else ""
            archive.note(one.who, one.action, f"{one.what}{place} at {one.at.isoformat(timespec='seconds')}")
        self._opened.set()

    def _found(self, services: Mapping[str, Service], call: Call) -> Service:
        service = services.get(call.method)
        if service is None:
            raise self._refusal()
        return service

    def _refusal(self) -> MailkeepError:
        if self._agent.is_unlocked():
            return UnavailableError(later("The archive was unlocked and is being opened. Try again in a moment."))
        return LockedError(
            later(
                "The archive is locked. Mail is received and stored safely, but nothing can be read until it is "
                "unlocked: with `mailkeep unlock` on the box, or on its web page."
            )
        )

    def _state(self) -> api.LockState:
        return api.LockState(unlocked=False, passphrase=_has_passphrase(self._paths))

    def _status(self, _principal: Principal, *, recent: bool = False) -> api.Status:
        return self._looks.lately() if recent else self._looks.now()

    def _health(self) -> api.Health:
        return health(self._paths, self._numbers.clock(), unlocked=False)

    def _alarm_page(self, principal: Principal, *, recent: bool = False) -> api.AlarmPage:
        principal.require("admin")
        return alarming.page(self._status(principal, recent=recent).alarms, self.alarms.book.over, {})

    def _metrics(self, *, secret: str = "", on_the_box: bool = False) -> bytes:
        require_token(metrics_token_in(self._paths.settings), secret, on_the_box)
        return self._measured()

    def _measured(self) -> bytes:
        numbers = self._numbers
        found = measured(
            self._paths, self._looks.lately(), numbers.clock(), wrong_tries=numbers.tries.total,
        )  # fmt: skip
        return exposition(found)

    def _support(self, principal: Principal) -> Download:
        """A support bundle, as far as it can be made without the key."""
        principal.require("admin")
        made = locked_bundle(self._paths, self._numbers, self._looks, self._measured)
        self._note(principal, "support.download", made.head.name)
        return made

    def _note(self, who: Principal, action: str, what: str) -> None:
        self._done.append(_Done(datetime.now(UTC), who, action, what))

    # -- replicating, which needs no key that opens mail ------------------------------------------------------

    def _replicate(self, principal: Principal, *, remote: str = "") -> tuple[api.RunInfo, ...]:
        """As ``Replicas.replicate``. Raises UnavailableError where the box has no key for it while it is locked."""
        principal.require("admin")
        self._note(principal, "replicate.begin", remote or "all remotes")
        begun = ask(self._paths, "begin", tuple[Run, ...], kind="replicate", remote=remote)
        return tuple(map(self._numbers.replicas.run, begun))

    def _runs(self, principal: Principal, *, ids: tuple[int, ...]) -> tuple[api.RunInfo, ...]:
        principal.require("admin")
        replicas = self._numbers.replicas
        return tuple(replicas.run(replicas.history.run(id)) for id in ids)

    def _stop_run(self, principal: Principal, *, id: int) -> None:
        principal.require("admin")
        self._note(principal, "replicate.stop", str(id))
        ask(self._paths, "stop", type(None), id=id)

    # -- unlocking --------------------------------------------------------------------------------------------

    def _unlock_on_the_web(self, *, client: str, passphrase: str = "", recovery_key: str = "") -> api.LockState:
        """Unlock with either. Raises KeyringError where it does not fit, SignInError after too many tries."""
        if not (passphrase or recovery_key):
            raise KeyringError(later("Enter the passphrase or the recovery key."))
        who = Principal(id=NOBODY, client=client)
        return self._unlock(who, client_key(client), passphrase, recovery_key)

    def _unlock_on_the_box(
        self, principal: Principal, *, passphrase: str = "", recovery_key: str = ""
    ) -> api.LockState:
        """Unlock with either, or, with neither, with the keyfile beside the data folder."""
        principal.require(KEYHOLDER)
        return self._unlock(principal, "", passphrase, recovery_key)

    def _unlock(self, who: Principal, client: str, passphrase: str, recovery_key: str) -> api.LockState:
        """``client`` is where the secret comes from, empty for the box itself."""
        brake_key = f"unlock {client or who.id}"
        how = "passphrase" if passphrase else "recovery key" if recovery_key else "keyfile"
        # One at a time: a try costs 64 MiB, and those who wait here are counted before the next one is let in.
        with self._one:
            self._brake.check(brake_key)
            try:
                if passphrase:
                    self._agent.unlock(passphrase=passphrase, client=client)
                elif recovery_key:
                    self._agent.unlock(recovery_key=recovery_key, client=client)
                else:
                    self._agent.unlock(keyfile=self._paths.keyfile)
            except KeyringError:
                self._brake.failed(brake_key)
                self._note(who, "unlock.failed", how)
                raise
            self._brake.passed(brake_key)
            self._note(who, "unlock", how)
        if not self._opened.wait(OPEN_SECONDS):
            raise UnavailableError("The archive was unlocked and is being opened. Try again in a moment.")
        return api.LockState(unlocked=True)


def slots(paths: Paths) -> tuple[api.SlotInfo, ...]:
    """The ways to the appliance key, which the keyring tells without being opened."""
    return tuple(
        api.SlotInfo(one.id, one.kind, one.name, one.created // 1_000_000) for one in load_keyring(paths).slots()
    )


def _has_passphrase(paths: Paths) -> bool:
    try:
        return any(one.kind == "passphrase" for one in load_keyring(paths).slots())
    except MailkeepError:
        return True  # the try itself will tell what is wrong with the keyring


def _services(functions: Mapping[str, Callable[..., Any]]) -> dict[str, Service]:
    return {name: Service(function) for name, function in functions.items()}
