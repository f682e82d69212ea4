"""Errands: what has to be asked of the network, by a process that lives for one question.

The archiver stays off the network, and whoever goes there holds none of the archive's keys. The process gets the
question on standard input and says what it finds out piece by piece on standard output, as the archiver's sockets do
(``services.wire``); where the kernel has Landlock, it can read no file but code and what the resolver and TLS need.

    # asking
    for piece in ask("appliance.services.directories.errand", Ask(…), Piece, seconds=60):
        …

    # the process: python -m appliance.services.directories.errand
    def main() -> int:
        return answer(Ask, lambda asked, say: say(Piece(…)))
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from appliance import decoding, language
from appliance.confine import die_with_parent, restrict_filesystem, undumpable
from appliance.errors import MailkeepError, UnavailableError
from appliance.services.wire import Reply, error_of, failure_of, pack, read

T = TypeVar("T")

_HANDED_ON = frozenset({"PATH", "LANG", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"})
_SYSTEM = (
    "/etc",
    "/usr/lib",
    "/usr/share",
    "/lib",
    "/lib64",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/dev/urandom",
)
_LOOK = 0.2


class _Question(msgspec.Struct, frozen=True):
    """What goes to the process: the question, and the language of what it says."""

    asked: msgspec.Raw
    language: str


def ask(
    module: str, asked: msgspec.Struct, pieces: Any, *, seconds: float, late: str, stopped: Callable[[], bool] = bool
) -> Iterator[Any]:
    """What ``python -m module`` says, values of the type ``pieces``, as it says them.

    Raises the MailkeepError that the process ended with; UnavailableError with the sentence ``late`` where it was not
    done after ``seconds`` or came to nothing, and where ``stopped`` says that nobody wants to know any more.
    """
    # Isolated: the folder it is started in, which could be anybody's, is not looked into for modules.
    child = subprocess.Popen(
        [sys.executable, "-I", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name in _HANDED_ON or name.lower() in _HANDED_ON},
    )
    assert child.stdin and child.stdout
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(child, seconds, stopped, ended), daemon=True)
    watch.start()
    try:
        with contextlib.suppress(BrokenPipeError), child.stdin:
            question = _Question(msgspec.Raw(msgspec.msgpack.encode(asked)), language.current())
            child.stdin.write(msgspec.msgpack.encode(question))
        while (frame := read(child.stdout)) is not None:
            reply = decoding.from_msgpack(frame, Reply)
            if reply.error is not None:
                raise error_of(reply.error)
            yield decoding.from_msgpack(reply.result, pieces)
        if child.wait() != 0:
            raise UnavailableError(late)
    finally:
        ended.set()
        child.kill()
        child.wait()
        watch.join()
        child.stdout.close()


def _watch(child: subprocess.Popen[bytes], seconds: float, stopped: Callable[[], bool], ended: threading.Event) -> None:
    waited = 0.0
    while not ended.wait(_LOOK):
        waited += _LOOK
        if waited > seconds or stopped():
            child.kill()
            return


def answer(
    kind: Any,
    work: Callable[[Any, Callable[[msgspec.Struct], None]], None],
    *,
    write: Callable[[Any], Iterable[Path]] = lambda _asked: (),
) -> int:
    """The process's side: have ``work(asked, say)`` answer the question on standard input, a value of type ``kind``.

    ``say`` takes each piece of the answer; ``write`` names the folders that may be changed. Returns the exit code.
    """
    question = decoding.from_msgpack(sys.stdin.buffer.read(), _Question)
    asked = decoding.from_msgpack(question.asked, kind)
    die_with_parent()
    undumpable()
    language.use(question.language)
    confine(write=write(asked))
    try:
        work(asked, lambda piece: _say(Reply(result=msgspec.Raw(msgspec.msgpack.encode(piece)))))
    except MailkeepError as error:
        _say(Reply(error=failure_of(error)))
    return 0


def confine(*, write: Iterable[Path] = ()) -> bool:
    """Give up every file but code, certificates and the resolver's settings; False where the kernel has no Landlock."""
    code = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    code.append(Path(__file__).parents[2])
    authorities = [Path(path) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if (path := os.environ.get(name))]
    return restrict_filesystem(read=[*code, *map(Path, _SYSTEM), *authorities], write=write)


def _say(reply: Reply) -> None:
    sys.stdout.buffer.write(pack(reply))
    sys.stdout.buffer.flush()
