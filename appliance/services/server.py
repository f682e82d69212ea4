"""The archiver's sockets: one for the web process, one for the POP3 server, one for the box itself.

Who reaches the web socket can ask what a signed-in person may ask, given that person's session, and nothing else.
The local socket is for root, for the archive's own user and for members of the group ``mailkeep-audit``. Landlock
keeps a process from opening files, but not from connecting to a socket that has a name. So a caller there also names
the secret that lies beside the socket, which the gateway and the web process cannot read. The POP3 server's socket
has a secret of its own; what can be asked there is asked for a mailbox that the key agent has opened for the caller.
"""

from __future__ import annotations

import grp
import hmac
import logging
import os
import pwd
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

from appliance.errors import ForbiddenError, MailkeepError, UnavailableError, UsageError
from appliance.files import FILES, replace_file
from appliance.language import later
from appliance.services.paths import Paths
from appliance.services.principal import KEYHOLDER, LOCAL_GROUP, Principal
from appliance.services.reading import Download
from appliance.services.wire import Call, Reply, failure_of, pack, read

log = logging.getLogger(__name__)

ACCEPT_PAUSE = 0.1
"""Seconds to wait after the system refused a connection, as it does while too many files are open."""

_decode = msgspec.msgpack.Decoder(Call).decode
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid

Answer = Callable[[Call], Any]


class Answers(Protocol):
    """What answers the calls: the open archive's services, or those of a locked one."""

    @property
    def paths(self) -> Paths:
        """The data folder."""
        ...

    def from_web(self, call: Call) -> Any:
        """Answer the web process."""
        ...

    def from_box(self, call: Call, principal: Principal) -> Any:
        """Answer the box's own command line and processes."""
        ...

    def from_pop3(self, call: Call) -> Any:
        """Answer the POP3 server."""
        ...


class Listeners:
    """Unix sockets on which calls are answered, with a thread for each connection."""

    def __init__(self) -> None:
        self._listeners: list[socket.socket] = []

    def open(self, path: Path, accept: Callable[[socket.socket], Answer]) -> None:
        """Listen at ``path``; ``accept`` gives what answers the calls of a connection, or raises who is refused."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen(64)
        self._listeners.append(listener)
        threading.Thread(target=self._accept, args=(listener, accept), daemon=True).start()

    def close(self) -> None:
        """Stop listening; connections end with the process."""
        for listener in self._listeners:
            listener.close()

    def _accept(self, listener: socket.socket, accept: Callable[[socket.socket], Answer]) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if listener.fileno() < 0:
                    return  # closed
                log.warning("a connection could not be taken: %s", error)
                time.sleep(ACCEPT_PAUSE)
                continue
            try:
                threading.Thread(target=_serve, args=(connection, accept), daemon=True).start()
            except RuntimeError:
                log.warning("a connection was dropped: there are too many already")
                connection.close()


class Server:
    """The archiver's sockets."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._listeners = Listeners()
        self._secret = secrets.token_hex(32)
        self._pull_secret = secrets.token_hex(32)

    def start(self) -> None:
        """Open the sockets and answer until ``close``."""
        paths = self._answers.paths
        for place, secret in ((paths.local_secret, self._secret), (paths.pull_secret, self._pull_secret)):
            place.parent.mkdir(parents=True, exist_ok=True)
            replace_file(FILES, place, secret.encode("ascii"), 0o640)
        self._listeners.open(paths.pull_socket, self._pop3)
        self._listeners.open(paths.web_socket, self._web)
        self._listeners.open(paths.local_socket, self._local)

    def answer_with(self, answers: Answers) -> None:
        """Have every later call answered by ``answers``, also those on connections that are open already."""
        self._answers = answers

    def close(self) -> None:
        """Stop listening; connections end with the process."""
        self._listeners.close()

    def _web(self, _connection: socket.socket) -> Answer:
        return lambda call: self._answers.from_web(call)

    def _pop3(self, _connection: socket.socket) -> Answer:
        return guarded("pull", self._pull_secret, lambda call: self._answers.from_pop3(call))

    def _local(self, connection: socket.socket) -> Answer:
        principal = local_principal(_peer_uid(connection))
        return guarded("local", self._secret, lambda call: self._answers.from_box(call, principal))


def guarded(name: str, secret: str, answer: Answer) -> Answer:
    """``answer`` for calls that name the secret which lies beside the socket."""

    def checked(call: Call) -> Any:
        if not hmac.compare_digest(call.token.encode(), secret.encode()):
            raise ForbiddenError(f"The {name} socket is for those who can read the secret beside it.")
        return answer(call)

    return checked


def local_principal(uid: int) -> Principal:
    """The built-in auditor that a Unix user acts as; only root and the archive's own user also hold its keys.

    Raises ForbiddenError for users who may not.
    """
    try:
        entry = pwd.getpwuid(uid)
        name, groups = entry.pw_name, os.getgrouplist(entry.pw_name, entry.pw_gid)
    except KeyError:
        name, groups = str(uid), []
    holds_keys = uid in (0, os.getuid())
    if not holds_keys and _group_id(LOCAL_GROUP) not in groups:
        raise ForbiddenError(f"Only root and members of the group {LOCAL_GROUP} may use the archive's command line.")
    roles = {"admin", "auditor", KEYHOLDER} if holds_keys else {"admin", "auditor"}
    return Principal(id=f"local:{name}", name=name, roles=frozenset(roles))


def _group_id(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _peer_uid(connection: socket.socket) -> int:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return int(_PEER.unpack(raw)[1])


def _serve(connection: socket.socket, accept: Callable[[socket.socket], Answer]) -> None:
    with connection, connection.makefile("rwb") as stream:
        try:
            answer = accept(connection)
        except MailkeepError as refused:
            stream.write(pack(Reply(error=failure_of(refused))))
            stream.flush()
            return
        while True:
            try:
                raw = read(stream)
                if raw is None:
                    return
                for frame in _replies(answer, raw):
                    stream.write(frame)
                stream.flush()
            except (OSError, ValueError):
                return


def _replies(answer: Answer, raw: bytes) -> Iterator[bytes]:
    """The frames that answer one call; whatever goes wrong becomes an error frame."""
    try:
        result = answer(_call(raw))
        if isinstance(result, Download):
            yield pack(Reply(chunk=msgspec.msgpack.encode(result.head)))
            for chunk in result.chunks:
                yield pack(Reply(chunk=chunk))
            result = None
        yield pack(Reply(result=msgspec.Raw(msgspec.msgpack.encode(result))))
    except MailkeepError as error:
        yield pack(Reply(error=failure_of(error)))
    except Exception:  # the caller gets a sentence, the log the trace: a fault in one call must not end the archiver
        log.exception("a call failed")
        sorry = UnavailableError(
            later("Something went wrong inside mailkeep. Nothing was lost; the log has the details.")
        )
        yield pack(Reply(error=failure_of(sorry)))


def _call(raw: bytes) -> Call:
    try:
        return _decode(raw)
    except msgspec.DecodeError as error:
        raise UsageError("That call cannot be understood.") from error
