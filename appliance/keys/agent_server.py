"""The key agent's socket: who is there, in which role, and what the role may ask of the ``Vault``.

Each connection has a thread of its own, so one that stalls blocks nobody. Who has not said in time who he is, or is
one of too many that have not, is put out. A mailbox that was opened is forgotten when its connection ends.
"""

from __future__ import annotations

import hmac
import logging
import os
import select
import socket
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from io import BufferedRWPair
from pathlib import Path
from typing import Any

from appliance import decoding, framing
from appliance.errors import ForbiddenError, LockedError, MailkeepError, UnavailableError, UsageError
from appliance.framing import failure_of
from appliance.host.notify import Notifier
from appliance.keys import agent_wire as wire
from appliance.keys.access import collector_key
from appliance.keys.agent_wire import MAY, PURPOSES, Answer, Request, Role
from appliance.keys.mailbox_keys import UnlockedMailbox
from appliance.keys.vault import Vault

log = logging.getLogger(__name__)

HELLO_SECONDS = 5.0
MOST_STRANGERS = 64
"""Connections that have not said who they are; of more, the oldest go."""
MOST_CONNECTIONS: Mapping[Role, int] = {
    "archiver": 256, "projector": 64, "box": 64, "pull": 1024, "replica": 16, "collector": 16,
}  # fmt: skip
"""Connections of one role at a time: a flood in one leaves the others their threads."""

_ACCEPT_PAUSE = 0.1
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))


class AgentServer:
    """Answers on one listening socket."""

    def __init__(
        self,
        vault: Vault,
        roles: Mapping[str, Role],
        *,
        start_again: Callable[[int], None],
        callers: Iterable[int] = (),
        notifier: Notifier | None = None,
    ) -> None:
        """``roles`` by their secrets; ``start_again`` forgets everything and keeps the listening descriptor.

        ``callers`` are users that are answered beside root and the agent's own. ``notifier`` hears that the agent
        goes on accepting.
        """
        self._vault = vault
        self._roles = dict(roles)
        self._start_again = start_again
        self._callers = frozenset({0, os.getuid(), *callers})
        self._notifier = notifier or Notifier()
        self._strangers: OrderedDict[int, socket.socket] = OrderedDict()
        self._connected = dict.fromkeys(MOST_CONNECTIONS, 0)
        self._lock = threading.Lock()
        self._accepting = threading.Lock()
        self._listening = -1

    def listen(self, path: Path) -> int:
        """Open the socket at ``path``; its descriptor. Raises UnavailableError."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(str(path))
            path.chmod(0o660)  # for the group of its folder; where all run under one user there is nobody in it
            listener.listen(512)
        except OSError as error:
            raise UnavailableError(f"The key agent's socket {path} cannot be opened ({error}).") from error
        return listener.detach()

    def run(self, listening: int) -> None:
        """Answer for ever."""
        self._listening = listening
        listener = socket.socket(fileno=listening)
        listener.setblocking(False)
        while True:
            select.select([listener], [], [], self._notifier.interval)
            self._notifier.alive()
            try:
                with self._accepting:
                    connection, _ = listener.accept()
            except BlockingIOError:
                continue  # nobody came
            except OSError as error:
                log.warning("a connection could not be taken: %s", error)
                time.sleep(_ACCEPT_PAUSE)
                continue
            self._expect(connection)
            try:
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
            except RuntimeError:
                log.warning("a connection was dropped: there are too many already")
                self._introduced(connection)
                connection.close()

    # -- who is there ------------------------------------------------------------------------------------------------

    def _expect(self, connection: socket.socket) -> None:
        with self._lock:
            self._strangers[id(connection)] = connection
            if len(self._strangers) > MOST_STRANGERS:
                _, oldest = self._strangers.popitem(last=False)
                _put_out(oldest)

    def _introduced(self, connection: socket.socket) -> None:
        with self._lock:
            self._strangers.pop(id(connection), None)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rwb") as stream:
                try:
                    self._answer_all(connection, stream)
                except MailkeepError as error:
                    _send(stream, Answer(error=failure_of(error)))
        except (OSError, ValueError):
            return  # it went away, took too long, or speaks another language

    def _answer_all(self, connection: socket.socket, stream: BufferedRWPair) -> None:
        connection.settimeout(HELLO_SECONDS)
        try:
            role = self._role(connection, stream)
        finally:
            self._introduced(connection)
        if role is not None:
            connection.settimeout(None)
            self._converse(stream, role)

    def _role(self, connection: socket.socket, stream: BufferedRWPair) -> Role | None:
        """The role of who connected; None where nobody did. Raises ForbiddenError."""
        raw = framing.read(stream, wire.LARGEST_HELLO)  # first, so that who is refused gets to read why
        if raw is None:
            return None
        if _peer_uid(connection) not in self._callers:
            raise ForbiddenError("The key agent answers root and the archive's own users only.")
        given = decoding.from_msgpack(raw, wire.Hello).secret.encode()
        found = [role for secret, role in self._roles.items() if hmac.compare_digest(secret.encode(), given)]
        if not found:
            raise ForbiddenError("The key agent does not know this caller.")
        return found[0]

    def _converse(self, stream: BufferedRWPair, role: Role) -> None:
        with self._lock:
            if self._connected[role] >= MOST_CONNECTIONS[role]:
                raise UnavailableError("The key agent has too many connections just now. Try again shortly.")
            self._connected[role] += 1
        session = Session(self._vault, role)
        largest = wire.LARGEST_REQUEST if wire.Sign in MAY[role] else wire.LARGEST_SMALL_REQUEST
        try:
            _send(stream, Answer())
            while (raw := framing.read(stream, largest)) is not None:
                answer = session.answer(raw)
                if session.locked:
                    # Who connects from now on waits for the new agent, and is not cut off with this one.
                    self._accepting.acquire()
                    self._start_again(self._listening)
                _send(stream, answer)
        finally:
            session.close()
            with self._lock:
                self._connected[role] -= 1


class Session:
    """One connection's requests, and the mailbox that it has opened."""

    def __init__(self, vault: Vault, role: Role) -> None:
        self._vault = vault
        self._may = MAY[role]
        self._purposes = PURPOSES.get(role)
        self._opened: UnlockedMailbox | None = None
        self.locked = False
        """Whether the agent was told to lock."""

    def answer(self, raw: bytes) -> Answer:
        """The answer to one request, whatever its bytes are."""
        try:
            request = wire.decode(raw)
        except ValueError:
            return Answer(error=failure_of(UsageError("The key agent does not understand this request.")))
        try:
            if type(request) not in self._may:
                raise ForbiddenError("The key agent does not do that for this caller.")
            return wire.answer(self._do(request))
        except MailkeepError as error:
            return Answer(error=failure_of(error))
        except Exception:  # a fault in one request must not end the agent; no request is logged, they hold secrets
            log.exception("a request of the kind %s failed", type(request).__name__)
            return Answer(error=failure_of(UnavailableError("Something went wrong inside the key agent.")))

    def close(self) -> None:
        """Forget the mailbox."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _do(self, request: Request) -> Any:
        vault = self._vault
        match request:
            case wire.State():
                return vault.state()
            case wire.Wait(seconds):
                return vault.wait(seconds)
            case wire.Unlock():
                return vault.unlock(request)
            case wire.Lock():
                self.locked = vault.lock()
                return None
            case wire.Vouch():
                vault.keys.refresh()
                return vault.keys.digest
            case wire.Key(purpose):
                return self._key(purpose)
            case wire.CollectorKey():
                return collector_key(vault.keys.key(wire.SERVICE), vault.keys.archive_id)
            case wire.ContentKey(mailbox):
                return vault.keys.content_key(mailbox)
            case wire.VolumeKey(mailbox, sealed, info):
                return vault.keys.volume_key(mailbox, sealed, info)
            case wire.Sign(message):
                return vault.keys.sign(message)
            case wire.OpenMailbox(mailbox, secret, client):
                return self._open(mailbox, secret, client)
            case wire.OpenedVolumeKey(mailbox, sealed, info):
                return self._open_volume(mailbox, sealed, info)
            case wire.Granted(grant):
                return vault.granted(grant)
        return _manage(vault, request)

    def _key(self, purpose: str) -> bytes:
        if self._purposes is not None and purpose not in self._purposes:
            raise ForbiddenError("The key agent does not give this key to this caller.")
        return self._vault.keys.key(purpose)

    def _open(self, mailbox: bytes, secret: str, client: str) -> str:
        if self._opened is not None:
            raise UsageError("A mailbox is open on this connection already.")
        self._opened = self._vault.open_mailbox(mailbox, secret, client)
        return self._opened.grant

    def _open_volume(self, mailbox: bytes, sealed: bytes, info: bytes) -> bytes:
        if self._opened is None:
            raise LockedError("No mailbox is open on this connection.")
        return self._opened.volume_key(mailbox, sealed, info)


def _manage(vault: Vault, request: Request) -> Any:
    keys = vault.keys
    match request:
        case wire.Slots():
            return keys.slots()
        case wire.AddPassphrase(passphrase, name):
            return keys.add_passphrase(passphrase, name)
        case wire.AddKeyfile(path, name):
            return keys.add_keyfile(Path(path), name)
        case wire.AddCredential(name):
            return keys.add_credential(name)
        case wire.BeginRecoveryKey():
            return keys.begin_recovery_key()
        case wire.ConfirmRecoveryKey(text):
            return keys.confirm_recovery_key(text)
        case wire.ChangePassphrase(id, passphrase):
            return keys.change_passphrase(id, passphrase)
        case wire.RemoveSlot(id):
            return keys.remove_slot(id)
        case wire.NewApplianceKey(passphrase, keyfile):
            return keys.new_appliance_key(passphrase=passphrase, keyfile=Path(keyfile) if keyfile else None)
        case wire.CreateMailbox(mailbox, sealed, password):
            return keys.create_mailbox(mailbox, sealed=sealed, password=password)
        case wire.SetMailboxPassword():
            return vault.set_mailbox_password(request)
        case wire.MailboxTokens(mailbox):
            return keys.mailbox_tokens(mailbox)
        case wire.AddMailboxToken():
            return vault.add_mailbox_token(request)
        case wire.RemoveMailboxToken(mailbox, id):
            return keys.remove_mailbox_token(mailbox, id)
    raise UsageError("The key agent does not know this request.")


def _send(stream: BufferedRWPair, answer: Answer) -> None:
    stream.write(framing.pack(answer, wire.LARGEST_ANSWER))
    stream.flush()


def _put_out(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it has gone already


def _peer_uid(connection: socket.socket) -> int:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return int(_PEER.unpack(raw)[1])
