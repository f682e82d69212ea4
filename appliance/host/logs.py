"""What the processes say of themselves: one line an event, to standard error, with a level that journald understands.

Modules use ``logging`` as always; here is decided, once, how that looks. Under systemd a line begins with its priority
(sd-daemon(3)); ``MAILKEEP_LOG=json`` makes each line a JSON object, for those who collect them. Sentences are for
people; what is to be counted or searched for goes into ``extra={"…": …}`` and is shown as ``key=value``.

What mail says, who wrote it and who gets it is never logged at the level INFO or above (docs/decisions/0121).
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import Processor

from appliance.errors import MailkeepError

FORMAT = "MAILKEEP_LOG"
_PRIORITIES = (
    (logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7),
)  # fmt: skip
_INTERNAL = ("_record", "_from_structlog")

_Event = MutableMapping[str, Any]


def set_up(process: str, level: str = "info", *, stream: TextIO | None = None) -> None:
    """Have everything that this process logs written to ``stream`` (standard error), from ``level`` on."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    of_logging: list[Processor] = [structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder(), _trace]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=of_logging, processors=[_Rendered(process, stream)])
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, _trace, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _trace(_logger: Any, _method: str, event: _Event) -> _Event:
    """Where an unforeseen error happened, and of which kind it is; what it says may quote mail (decision 0121)."""
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        frames = traceback.format_tb(error.__traceback__)
        told = f": {error}" if isinstance(error, OSError | MailkeepError) else ""
        event["exception"] = "".join([*frames, f"{type(error).__qualname__}{told}"])
    return event


class _Rendered:
    """The last step: an event becomes a line."""

    def __init__(self, process: str, stream: TextIO) -> None:
        self._process = process
        self._journal = _is_journal(stream)
        self._json = structlog.processors.JSONRenderer() if os.environ.get(FORMAT) == "json" else None

    def __call__(self, logger: Any, name: str, event: _Event) -> str:
        record: logging.LogRecord = event["_record"]
        said = {key: value for key, value in event.items() if key not in _INTERNAL}
        priority = next(number for least, number in _PRIORITIES if record.levelno >= least)
        prefix = f"<{priority}>" if self._journal else ""
        if self._json is not None:
            stamped = {"process": self._process, "logger": record.name, **said}
            return f"{prefix}{self._json(logger, name, stamped)!s}"
        level = said.pop("level")
        trace = said.pop("exception", "")
        text = " ".join([str(said.pop("event")), *(f"{key}={_value(value)}" for key, value in said.items())])
        lines = [text, *trace.splitlines()]
        head = prefix if self._journal else f"{self._process}: {level.upper()} "
        # journald takes each line for an entry of its own, and each needs its priority.
        return "\n".join(f"{head if number == 0 or self._journal else ''}{line}" for number, line in enumerate(lines))


def _value(value: object) -> str:
    text = str(value)
    return repr(text) if not text or set(text) & set(' "=\n') else text


def _is_journal(stream: TextIO) -> bool:
    """Whether the stream goes to journald, as systemd has told (systemd.exec(5), JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))
