"""What the key agent holds: the keyring, locked or unlocked, and the brakes on guessing.

It answers requests whose caller may make them; sockets and roles are ``agent``'s.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from appliance.errors import KeyringError, LockedError, SignInError, UsageError
from appliance.keys import agent_wire as wire
from appliance.keys import mailbox_keys
from appliance.keys.agent_wire import AgentState
from appliance.keys.brake import Brake
from appliance.keys.envelope import MailboxKeyPair
from appliance.keys.keyring import Keyring, Unlocked
from appliance.keys.mailbox_keys import Grants, UnlockedMailbox
from appliance.keys.management import NewToken, SlotKind

PASSWORDS_AT_A_TIME = 2
"""Mailboxes' passwords that are tried at one time: each takes 64 MiB of locked memory."""


_MOST_KNOWN = 10_000


class Vault:
    """The keys of one archive in this process. Threads may share it."""

    def __init__(self, path: Path, *, memory_locked: bool) -> None:
        """Raises KeyringError where there is no keyring that can be read at ``path``."""
        self._archive = Keyring.load(path).archive_id.bytes
        self._path = path
        self._memory_locked = memory_locked
        self._changed = threading.Condition()
        self._unlocking = threading.Lock()
        self._keys: Unlocked | None = None
        self._opened_by: SlotKind | None = None
        self._grants = Grants()
        self._trying = threading.BoundedSemaphore(PASSWORDS_AT_A_TIME)
        self._remembering = threading.Lock()
        self._unlock_brake = Brake(free=10, longest=30.0)
        # Whoever knows a mailbox's address can try passwords. So one client's tries keep that client out for long,
        # all clients' together slow down everybody whom the mailbox does not know: the owner's program, at an address
        # where the password was right before, gets in while others guess.
        self._client_brake = Brake(free=5, longest=60.0)
        self._mailbox_brake = Brake(free=50, longest=5.0)
        self._known: OrderedDict[tuple[bytes, str], None] = OrderedDict()

    # -- locked and unlocked -----------------------------------------------------------------------------------------

    def state(self) -> AgentState:
        """What may be told."""
        with self._changed:
            return AgentState(self._keys is not None, self._memory_locked, self._opened_by, self._archive)

    def wait(self, seconds: float) -> bool:
        """Wait until it is unlocked; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._keys is not None, min(seconds, wire.LONGEST_WAIT))

    def unlock(self, request: wire.Unlock) -> None:
        """Open the keyring. Raises KeyringError where the secret does not fit, SignInError after too many tries."""
        # All guesses over the network count together, and apart from those at the box: anybody may make the former.
        place = "network" if request.client else "box"
        # One at a time: a try costs 64 MiB, and who waits here is counted before the next one is let in.
        with self._unlocking:
            self._unlock_brake.check(place)
            try:
                if request.passphrase:
                    self.open("passphrase", lambda keyring: keyring.unlock_with_passphrase(request.passphrase))
                elif request.recovery_key:
                    self.open("recovery", lambda keyring: keyring.unlock_with_recovery_key(request.recovery_key))
                elif request.keyfile:
                    path = Path(request.keyfile)
                    self.open("keyfile", lambda keyring: keyring.unlock_with_keyfile(path))
                else:
                    raise UsageError("Give a passphrase, a recovery key or a keyfile.")
            except KeyringError:
                self._unlock_brake.failed(place)
                raise
            self._unlock_brake.passed(place)

    def open(self, kind: SlotKind, unlock: Callable[[Keyring], Unlocked]) -> None:
        """Open the keyring by ``unlock``, and raise what that raises."""
        keys = unlock(Keyring.load(self._path))
        with self._changed:
            # Who unlocks what is unlocked proves that the secret fits; what is begun on the keys there are goes on.
            if self._keys is None:
                self._keys, self._opened_by = keys, kind
            self._changed.notify_all()

    def lock(self) -> bool:
        """Answer nothing more that needs the appliance key; whether there was one.

        To forget it for good the process has to go: Python leaves copies of bytes behind.
        """
        with self._changed:
            was_unlocked = self._keys is not None
            self._keys, self._opened_by = None, None
        return was_unlocked

    @property
    def keys(self) -> Unlocked:
        """The unlocked keyring. Raises LockedError."""
        keys = self._keys
        if keys is None:
            raise LockedError(
                "The archive is locked: mail is received and stored safely, but nothing can be read until it is "
                "unlocked with `mailkeep unlock`."
            )
        return keys

    # -- mailboxes by their own secrets ------------------------------------------------------------------------------

    def open_mailbox(self, mailbox_id: bytes, secret: str, client: str) -> UnlockedMailbox:
        """Open a mailbox, whether the archive is locked or not. Raises SignInError, KeyringError."""
        private = self._tried(mailbox_id, secret, client)
        return UnlockedMailbox(mailbox_id, MailboxKeyPair(private), self._grants)

    def granted(self, grant: str) -> bytes:
        """The id of the mailbox that is open under ``grant``. Raises ForbiddenError."""
        return self._grants.mailbox(grant)

    def set_mailbox_password(self, request: wire.SetMailboxPassword) -> str:
        """As ``management.KeyManagement``; who guesses the old password is slowed down."""
        if request.old:
            self._tried(request.mailbox, request.old, "")
        return self.keys.set_mailbox_password(request.mailbox, old=request.old, new=request.new)

    def add_mailbox_token(self, request: wire.AddMailboxToken) -> NewToken:
        """As ``management.KeyManagement``; who guesses the password is slowed down."""
        if request.password:
            self._tried(request.mailbox, request.password, "")
        return self.keys.add_mailbox_token(request.mailbox, request.name, password=request.password)

    def _tried(self, mailbox_id: bytes, secret: str, client: str) -> bytes:
        """A mailbox's private key by its password or token, braked."""
        keyring = self._keys or Keyring.load(self._path)
        if mailbox_keys.is_token(secret):  # 256 random bits: nobody guesses them, so nobody is kept out
            return keyring.open_private(mailbox_id, secret)
        place = mailbox_id, client
        with self._trying:
            self._client_brake.check(place)
            if place not in self._known:
                self._mailbox_brake.check(mailbox_id)
            try:
                private = keyring.open_private(mailbox_id, secret)
            except SignInError:
                self._client_brake.failed(place)
                self._mailbox_brake.failed(mailbox_id)
                raise
            self._client_brake.passed(place)
        self._remember(place)
        return private

    def _remember(self, place: tuple[bytes, str]) -> None:
        with self._remembering:
            self._known[place] = None
            self._known.move_to_end(place)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
