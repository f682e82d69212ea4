"""The child process of the pool: takes messages from a socket on descriptor 0, reads them, answers.

``python -m appliance.extract.child MEMORY`` gives up files, network and memory beyond MEMORY bytes before it reads
the first byte of mail. It is started by ``pool`` alone and ends with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import html as entities
import io
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

import appliance
from appliance import confine
from appliance.extract import alarm, text, winmail
from appliance.extract import html as safe_html
from appliance.extract.limits import reading_seconds
from appliance.extract.protocol import ANSWER, REQUEST, Answer, Described, Job, Ready, Sanitised
from appliance.mail import journal, message
from appliance.mail.facts import MessageFacts

RETIRE_ABOVE = 110 * 1024 * 1024  # bytes in memory after a job at which a child makes room for a fresh one
_BUFFER = 256 * 1024


def main() -> None:
    """Confine this process, then serve jobs until the pool closes the socket."""
    memory = int(sys.argv[1])
    with Path("/proc/self/statm").open("rb", buffering=0) as statm:
        ready = _confine(memory)
        with socket.socket(fileno=0) as channel, os.fdopen(0, "rb", _BUFFER, closefd=False) as requests:
            _send(channel, msgspec.msgpack.encode(ready))
            for job, raw in _jobs(requests):
                answer = _answer(job, raw)
                del raw
                if _resident(statm) > RETIRE_ABOVE:
                    answer = msgspec.structs.replace(answer, retiring=True)
                _send(channel, msgspec.msgpack.encode(answer))
                if answer.retiring:
                    return


def _confine(memory: int) -> Ready:
    confine.die_with_parent()
    confine.undumpable()
    confine.limit(memory=memory, files=64, file_size=0)
    code = {Path(appliance.__file__).parents[1], Path(sys.prefix), Path(sys.base_prefix), *map(Path, sys.path)}
    libraries = {Path("/lib"), Path("/lib64"), Path("/usr/lib"), Path("/usr/local/lib"), Path("/etc/ld.so.cache")}
    filesystem = confine.restrict_filesystem(read=code | libraries, write=())
    return Ready(filesystem=filesystem, network=confine.forbid_network())


def _jobs(requests: BinaryIO) -> Iterator[tuple[Job, bytes]]:
    decoder = msgspec.msgpack.Decoder(Job)
    while len(lengths := requests.read(REQUEST.size)) == REQUEST.size:
        job_length, raw_length = REQUEST.unpack(lengths)
        job = decoder.decode(requests.read(job_length))
        raw = requests.read(raw_length)
        if len(raw) < raw_length:
            return
        yield job, raw


def _answer(job: Job, raw: bytes) -> Answer:
    """Do one job; an empty answer says that it failed in a way that this process survives."""
    try:
        if job.kind == "sanitise":
            return Answer(sanitised=_sanitised(job, raw))
        if job.kind == "contents":
            with alarm.after(reading_seconds(len(raw)) + job.seconds):
                return Answer(contents=winmail.contents(raw, job.parts))
        return Answer(described=_described(job, raw))
    except (Exception, alarm.OutOfTime):
        return Answer()


def _described(job: Job, raw: bytes) -> Described:
    received = hashlib.sha256(raw).digest()
    with alarm.after(reading_seconds(len(raw))):
        reading = journal.read(raw)
        original = journal.original(raw, reading)
        shown = journal.readable(raw, reading) if reading.extra else original
        del raw  # a large report is not kept beside the message that was in it
        facts = message.read_head(shown) if job.kind == "describe-head" else message.read(shown)
    facts = _with_contents(job, shown, facts) if job.kind in ("describe", "list") else text.without_attachments(facts)
    facts = msgspec.structs.replace(facts, size=len(original))
    return Described(reading, facts, received, hashlib.sha256(original).digest())


def _with_contents(job: Job, shown: bytes, facts: MessageFacts) -> MessageFacts:
    """The facts with what TNEF parts hold and, to describe it, what all attachments say."""
    deadline = time.monotonic() + job.seconds
    inner: tuple[winmail.Inner, ...] = ()
    with contextlib.suppress(alarm.OutOfTime), alarm.after(job.seconds):
        facts, inner = winmail.opened(shown, facts)
    if job.kind == "list":
        return facts
    return text.with_attachments(shown, facts, deadline - time.monotonic(), inner)


def _sanitised(job: Job, raw: bytes) -> Sanitised:
    with alarm.after(reading_seconds(len(raw))):
        found = winmail.html(raw)
        if found is None:
            return Sanitised(f"<pre>{entities.escape(message.read(raw).text)}</pre>")
        return Sanitised(*safe_html.sanitise(found.text, cid_base=job.cid_base, remote=job.remote, parts=found.parts))


def _send(channel: socket.socket, body: bytes) -> None:
    channel.sendall(ANSWER.pack(len(body)))
    channel.sendall(body)


def _resident(statm: io.FileIO) -> int:
    statm.seek(0)
    return int(statm.read(200).split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
