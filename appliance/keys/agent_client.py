"""The key agent as the other processes see it: ``Agent`` to lock and unlock, ``AgentKeys`` in place of the keyring.

Every call may raise UnavailableError where the agent does not answer, LockedError where it has no keys, and
ForbiddenError where it does not do that for this caller. Threads may share everything here.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar
from uuid import UUID

import msgspec

from appliance import decoding, framing
from appliance.errors import ForbiddenError, KeyringError, UnavailableError
from appliance.framing import error_of
from appliance.keys import agent_wire as wire
from appliance.keys.agent_wire import AgentState, Answer, Request
from appliance.keys.keyring import Keyring
from appliance.keys.management import NewMailbox, NewToken, SlotInfo, TokenInfo

__all__ = ["Agent", "AgentKeys", "AgentState", "OpenedMailbox"]

CALL_SECONDS: Final = 60.0
"""How long an answer is waited for; the longest call makes a password's key on a busy machine."""
_IDLE_CONNECTIONS: Final = 4
_REFRESH_TRIES: Final = 5

_TIMEVAL: Final = struct.Struct("ll")  # struct timeval: seconds, microseconds (socket(7))

T = TypeVar("T")
_decode = msgspec.msgpack.Decoder(Answer).decode


class Agent:
    """What the agent does itself, as far as the role that ``secret`` (a file) stands for may ask it."""

    def __init__(self, socket: Path, secret: Path) -> None:
        """Where it listens, and where the caller's secret lies. Connects when it is first needed."""
        self._lines = _Lines(socket, secret)

    def state(self) -> AgentState:
        """Whether it is unlocked, by what, and whether its memory is locked."""
        return self._lines.call(wire.State(), AgentState)

    def is_unlocked(self) -> bool:
        """Whether it answers and is unlocked."""
        try:
            return self.state().unlocked
        except UnavailableError:
            return False

    def unlock(
        self, *, passphrase: str = "", recovery_key: str = "", keyfile: Path | None = None, client: str = ""
    ) -> None:
        """Unlock by one of these; the agent itself reads the keyfile.

        ``client`` is where the secret came from, empty for the box itself: who guesses over the network keeps
        nobody out who sits at the box. Raises KeyringError where it does not fit, SignInError after too many wrong
        tries.
        """
        path = str(keyfile.absolute()) if keyfile is not None else ""
        self._lines.call(wire.Unlock(passphrase, recovery_key, path, client), None)

    def lock(self) -> None:
        """Have it forget everything. All its connections end, those of opened mailboxes too.

        On return it is locked, and answers again.
        """
        with suppress(UnavailableError):  # the end of the connection is the answer
            self._lines.call(wire.Lock(), None)
        if self.state().unlocked:
            raise UnavailableError("The key agent could not be locked. Try again; stopping mailkeep locks it too.")

    def wait_unlocked(self, timeout: float) -> bool:
        """Wait until it is unlocked, at most ``timeout`` seconds (and never more than a minute); whether it is."""
        return self._lines.call(wire.Wait(timeout), bool)

    def watch(self, on_lock: Callable[[], None]) -> None:
        """Have ``on_lock`` called, once and in a thread of its own, when the agent is locked or ends.

        It is called at once where the agent is locked now.
        """
        line = self._lines.connect()
        try:
            unlocked = line.call(wire.State(), AgentState).unlocked
        except BaseException:
            line.close()
            raise

        def wait() -> None:
            if unlocked:
                line.wait_for_end()
            line.close()
            on_lock()

        threading.Thread(target=wait, name="watch the key agent", daemon=True).start()

    def collector_key(self) -> bytes:
        """``access.collector_key``."""
        return self._lines.call(wire.CollectorKey(), bytes)

    def open_mailbox(self, mailbox_id: bytes, secret: str, *, client: str = "") -> OpenedMailbox:
        """Open a mailbox on a connection of its own. Raises SignInError; see ``management.KeyManagement``."""
        return self._lines.open_mailbox(mailbox_id, secret, client)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._lines.close()


class OpenedMailbox:
    """A mailbox that the agent has opened (``management.OpenedMailbox``): it forgets it when the connection ends."""

    def __init__(self, mailbox_id: bytes, grant: str, line: _Line) -> None:
        """Made by ``open_mailbox``."""
        self._mailbox_id = mailbox_id
        self._grant = grant
        self._line = line
        self._lock = threading.Lock()

    @property
    def mailbox_id(self) -> bytes:
        """Which."""
        return self._mailbox_id

    @property
    def grant(self) -> str:
        """Random text that proves to the archiver that the mailbox is open here."""
        return self._grant

    def volume_key(self, mailbox_id: bytes, sealed: bytes, info: bytes) -> bytes:
        """The data key sealed in a volume's header. Raises DamageError, ForbiddenError, UnavailableError."""
        with self._lock:
            return self._line.call(wire.OpenedVolumeKey(mailbox_id, sealed, info), bytes)

    def close(self) -> None:
        """Have the private key forgotten."""
        self._line.close()

    def __enter__(self) -> OpenedMailbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AgentKeys:
    """``management.KeyManagement``, done by the agent. What never changes is asked for once."""

    def __init__(self, socket: Path, secret: Path, keyring: Path) -> None:
        """Where the agent listens, where the caller's secret and the keyring lie. Raises KeyringError too."""
        self._lines = _Lines(socket, secret)
        self._path = keyring
        self._keys: dict[str, bytes] = {}
        self._content_keys: dict[bytes, bytes] = {}
        self._public = self._authentic()

    # -- using the keys (access.Keys) --------------------------------------------------------------------------------

    @property
    def archive_id(self) -> UUID:
        """The archive's id."""
        return self._public.archive_id

    @property
    def verify_key(self) -> bytes:
        """The Ed25519 public key that belongs to ``sign``."""
        return self._public.verify_key

    @property
    def mailboxes(self) -> Mapping[bytes, bytes]:
        """Public key of each mailbox by its id, as of the last ``refresh``."""
        return self._public.mailboxes

    def key(self, purpose: str) -> bytes:
        """32 bytes for one purpose, always the same for this archive."""
        key = self._keys.get(purpose)
        if key is None:
            key = self._keys[purpose] = self._lines.call(wire.Key(purpose), bytes)
        return key

    def public_key(self, mailbox_id: bytes) -> bytes:
        """A mailbox's public key. Raises NotFoundError."""
        return self._public.public_key(mailbox_id)

    def is_sealed(self, mailbox_id: bytes) -> bool:
        """Whether only the mailbox's own password opens its mail. Raises NotFoundError."""
        return self._public.is_sealed(mailbox_id)

    def content_key(self, mailbox_id: bytes) -> bytes:
        """The 32-byte key of a mailbox's content hashes. Raises NotFoundError, DamageError, SealedError."""
        key = self._content_keys.get(mailbox_id)
        if key is None:
            key = self._content_keys[mailbox_id] = self._lines.call(wire.ContentKey(mailbox_id), bytes)
        return key

    def volume_key(self, mailbox_id: bytes, sealed: bytes, info: bytes) -> bytes:
        """The data key sealed in a volume's header. Raises DamageError, NotFoundError, SealedError."""
        return self._lines.call(wire.VolumeKey(mailbox_id, sealed, info), bytes)

    def sign(self, message: bytes) -> bytes:
        """Ed25519 signature (64 bytes, RFC 8032)."""
        return self._lines.call(wire.Sign(message), bytes)

    def refresh(self) -> None:
        """Learn of mailboxes that another process has made. Raises KeyringError where the file was altered."""
        self._public = self._authentic()

    # -- the ways to the appliance key (management.KeyManagement) ----------------------------------------------------

    def slots(self) -> tuple[SlotInfo, ...]:
        """All slots, in the order in which they were made."""
        return self._lines.call(wire.Slots(), tuple[SlotInfo, ...])

    def add_passphrase(self, passphrase: str, name: str = "") -> str:
        """One more passphrase; the slot's id. Raises UsageError for an empty one, KeyringError."""
        return self._lines.call(wire.AddPassphrase(passphrase, name), str)

    def add_keyfile(self, path: Path, name: str = "") -> str:
        """Have the agent write a new keyfile; the slot's id. Raises ConflictError, KeyringError."""
        return self._lines.call(wire.AddKeyfile(str(path.absolute()), name), str)

    def add_credential(self, name: str = "") -> tuple[str, bytes]:
        """A slot for a secret that systemd keeps: its id, and the 32 bytes for ``systemd-creds encrypt``."""
        return self._lines.call(wire.AddCredential(name), tuple[str, bytes])

    def begin_recovery_key(self) -> str:
        """A new recovery key as text. It opens nothing until ``confirm_recovery_key`` has seen it typed back."""
        return self._lines.call(wire.BeginRecoveryKey(), str)

    def confirm_recovery_key(self, text: str) -> str:
        """Put the begun recovery key in force; the slot's id. Raises UsageError, KeyringError."""
        return self._lines.call(wire.ConfirmRecoveryKey(text), str)

    def change_passphrase(self, id: str, passphrase: str) -> None:
        """Another passphrase in the slot of that id. Raises NotFoundError, UsageError, KeyringError."""
        self._lines.call(wire.ChangePassphrase(id, passphrase), None)

    def remove_slot(self, id: str) -> None:
        """Take a slot away. Raises NotFoundError, and ConflictError for the last slot and the only recovery key."""
        self._lines.call(wire.RemoveSlot(id), None)

    def new_appliance_key(self, *, passphrase: str = "", keyfile: Path | None = None) -> str:
        """A new appliance key, and the new recovery key's text; see ``management.KeyManagement``."""
        path = str(keyfile.absolute()) if keyfile is not None else ""
        return self._lines.call(wire.NewApplianceKey(passphrase, path), str)

    # -- who opens a mailbox (management.KeyManagement) --------------------------------------------------------------

    def create_mailbox(self, mailbox_id: bytes, *, sealed: bool = False, password: bool = True) -> NewMailbox:
        """Make a mailbox's keys, durable on return. Raises ConflictError, KeyringError."""
        made = self._lines.call(wire.CreateMailbox(mailbox_id, sealed, password), NewMailbox)
        self.refresh()
        return made

    def set_mailbox_password(self, mailbox_id: bytes, *, old: str = "", new: str = "") -> str:
        """Another password; its text. Raises NotFoundError, UsageError, SignInError, KeyringError."""
        return self._lines.call(wire.SetMailboxPassword(mailbox_id, old, new), str)

    def mailbox_tokens(self, mailbox_id: bytes) -> tuple[TokenInfo, ...]:
        """The tokens of a mailbox, oldest first. Raises NotFoundError."""
        return self._lines.call(wire.MailboxTokens(mailbox_id), tuple[TokenInfo, ...])

    def add_mailbox_token(self, mailbox_id: bytes, name: str, *, password: str = "") -> NewToken:
        """One more token; a sealed mailbox needs its ``password``. Raises NotFoundError, SignInError, KeyringError."""
        return self._lines.call(wire.AddMailboxToken(mailbox_id, name, password), NewToken)

    def remove_mailbox_token(self, mailbox_id: bytes, id: str) -> None:
        """Take a token away. Raises NotFoundError, KeyringError."""
        self._lines.call(wire.RemoveMailboxToken(mailbox_id, id), None)

    def open_mailbox(self, mailbox_id: bytes, secret: str, *, client: str = "") -> OpenedMailbox:
        """Open a mailbox by its password or one of its tokens. Raises SignInError."""
        return self._lines.open_mailbox(mailbox_id, secret, client)

    def granted(self, grant: str) -> bytes:
        """The id of the mailbox that is open under ``grant``. Raises ForbiddenError."""
        return self._lines.call(wire.Granted(grant), bytes)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._lines.close()

    def _authentic(self) -> Keyring:
        """The keyring's public part, as the agent vouches for it."""
        for _ in range(_REFRESH_TRIES):
            keyring = Keyring.load(self._path)
            if self._lines.call(wire.Vouch(), bytes) == keyring.digest:
                return keyring
            # It was replaced between the two looks.
        raise KeyringError(
            f"{self._path} is not the keyring that the key agent has, or changes all the time. Nothing was changed now."
        )


class _Line:
    """One connection; one call at a time."""

    def __init__(self, place: Path, secret: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # With Python's own timeout a connection would be refused at once while the agent has many to take.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(int(CALL_SECONDS), 0))
            self._socket.connect(str(place))
            self._socket.settimeout(CALL_SECONDS)
            self._stream = self._socket.makefile("rwb")
            self._send(wire.Hello(secret))
            self._receive()
        except (OSError, ValueError) as error:
            self._socket.close()
            raise _unavailable() from error
        except BaseException:
            self._socket.close()
            raise

    def call(self, request: Request, kind: type[T] | None) -> T:
        """Ask, and wait for the answer."""
        try:
            if isinstance(request, wire.Wait):
                self._socket.settimeout(CALL_SECONDS + min(request.seconds, wire.LONGEST_WAIT))
            self._send(request)
            result = self._receive()
        except (OSError, ValueError) as error:
            self.close()
            raise _unavailable() from error
        if kind is None:
            return None  # type: ignore[return-value]
        return decoding.from_msgpack(result, kind)

    def _send(self, value: msgspec.Struct) -> None:
        self._stream.write(framing.pack(value, wire.LARGEST_REQUEST))
        self._stream.flush()

    def _receive(self) -> msgspec.Raw:
        raw = framing.read(self._stream, wire.LARGEST_ANSWER)
        if raw is None:
            raise ConnectionResetError("the key agent ended the connection")
        answer = _decode(raw)
        if answer.error is not None:
            raise error_of(answer.error)
        return answer.result

    def is_idle(self) -> bool:
        """Whether it is whole: on a connection that nobody uses there is nothing to read but its end."""
        if self._socket.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def wait_for_end(self) -> None:
        """Return when the other side ends it."""
        with suppress(OSError):
            self._socket.settimeout(None)
            self._socket.recv(1)

    def close(self) -> None:
        """End it; a call under way in another thread fails."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with suppress(OSError, ValueError):
            self._stream.close()
        self._socket.close()


class _Lines:
    """Connections of one caller; those that are not in use are kept for the next call."""

    def __init__(self, place: Path, secret: Path) -> None:
        self._place = place
        self._secret = secret
        self._idle: list[_Line] = []
        self._lock = threading.Lock()

    def connect(self) -> _Line:
        """A connection of its own."""
        try:
            secret = self._secret.read_text("ascii")
        except PermissionError as error:
            raise ForbiddenError("Only root and the archive's own user may use the key agent.") from error
        except OSError as error:
            raise _unavailable() from error
        return _Line(self._place, secret)

    def call(self, request: Request, kind: type[T] | None) -> T:
        """Ask on any connection."""
        with self._line() as line:
            return line.call(request, kind)

    def open_mailbox(self, mailbox_id: bytes, secret: str, client: str) -> OpenedMailbox:
        """Open a mailbox on a connection of its own."""
        line = self.connect()
        try:
            grant = line.call(wire.OpenMailbox(mailbox_id, secret, client), str)
        except BaseException:
            line.close()
            raise
        return OpenedMailbox(mailbox_id, grant, line)

    def close(self) -> None:
        """End the connections that are not in use."""
        with self._lock:
            idle, self._idle = self._idle, []
        for line in idle:
            line.close()

    @contextmanager
    def _line(self) -> Iterator[_Line]:
        line = self._taken() or self.connect()
        try:
            yield line
        finally:
            with self._lock:
                keep = line.is_idle() and len(self._idle) < _IDLE_CONNECTIONS
                if keep:
                    self._idle.append(line)
            if not keep:
                line.close()

    def _taken(self) -> _Line | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                line = self._idle.pop()
            if line.is_idle():
                return line
            line.close()


def _unavailable() -> UnavailableError:
    return UnavailableError("The key agent does not answer just now. Mail is still received; try again shortly.")
