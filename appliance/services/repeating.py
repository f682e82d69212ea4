"""What an open archive does again and again beside its work, on a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Repeating:
    """Does something at once and then every so many ``seconds``, until it is closed."""

    def __init__(self, name: str, do: Callable[[], object], seconds: float) -> None:
        self._name = name
        self._do = do
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, after what is under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._do()
            except Exception:  # a thread that has ended would do nothing and tell of nothing any more
                log.exception("%s: failed, and is done again", self._name)
            self._stop.wait(self._seconds)
