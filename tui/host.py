"""The machine that the console runs on: functions of ``appliance.host`` and ``doctoring``, each in a thread of its own.

They ask systemd, apt and files, and take their time; the keys must not wait for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Host(Protocol):
    """What the console asks of the machine."""

    async def ask(self, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
        """What ``function`` says. Raises the MailkeepError that it raised."""
        ...


class ThisMachine:
    """The machine itself."""

    async def ask(self, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
        """See ``Host.ask``."""
        return await asyncio.to_thread(function, *arguments, **named)
