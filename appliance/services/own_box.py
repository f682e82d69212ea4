"""The services in this process, for a box on which nothing runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, TypeVar

import msgspec

from appliance import decoding
from appliance.errors import UnavailableError
from appliance.services.archive import Archive
from appliance.services.client import StreamHead
from appliance.services.dispatch import Dispatcher
from appliance.services.paths import Paths
from appliance.services.projecting import Projecting
from appliance.services.reading import Download
from appliance.services.server import local_principal
from appliance.services.unlock import Secret, unlock
from appliance.services.users import create_from_mail
from appliance.services.wire import Call

T = TypeVar("T")


class OwnBox:
    """The services in this process, for a box on which nothing runs."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self._principal = local_principal(os.getuid())

    def project(self) -> None:
        """Project what the log holds, since no projector runs here."""
        archive = self.dispatcher.archive
        projecting = Projecting(archive.paths, archive.keyring, create_user=partial(create_from_mail, archive))
        projecting.finish()
        projecting.close()

    def call(self, method: str, kind: type[T], /, **params: Any) -> T:
        """The service's answer."""
        answer = self.dispatcher.from_box(Call(method=method, params=params), self._principal)
        # Through the wire's types, so that both ways give the same.
        return decoding.from_values(msgspec.to_builtins(answer, builtin_types=(bytes,)), kind)

    def stream(self, method: str, /, **params: Any) -> tuple[StreamHead, Iterator[bytes]]:
        """A download."""
        answer = self.dispatcher.from_box(Call(method=method, params=params), self._principal)
        if not isinstance(answer, Download):
            raise UnavailableError(f"{method} is no download.")
        return answer.head, answer.chunks


@contextmanager
def opened(paths: Paths, secret: Secret | None) -> Iterator[OwnBox]:
    """The services of a data folder that nobody else has open. Raises as ``unlock`` and ``Archive``."""
    with closing(Archive(paths, unlock(paths, secret))) as archive, closing(Dispatcher(archive)) as dispatcher:
        yield OwnBox(dispatcher)
