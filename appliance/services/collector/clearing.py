"""The deletion rule: what lies at the source for longer than it has to, and is safe here, is deleted there.

Nothing is deleted on this process's word. It holds no key that opens mail, so it asks the archiver, through the ledger,
to read each archived copy back from the disk and to compare it with what was fetched; what the archiver does not call
sound within a minute stays where it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import Final

from appliance.errors import UsageError
from appliance.language import _, ngettext
from appliance.services.collector.choosing import DAY
from appliance.services.collector.stock import Stock
from appliance.sources.base import Folder, Session

PROOF_SECONDS: Final = 60.0
"""How long the archiver is waited for."""
_LOOK_SECONDS: Final = 0.1


class Clearing:
    """The rule of one account's run. Used by one thread."""

    def __init__(self, stock: Stock, account: int, days: int, stopped: threading.Event) -> None:
        """``account`` is the account's number in the stock."""
        self._stock = stock
        self._account = account
        self._now = int(time.time() * 1_000_000)
        self._before = self._now - days * DAY
        self._stopped = stopped
        self._unsound = 0
        self.words = ""
        """Why something was not deleted that the rule applies to."""

    def clear(self, session: Session, folder: Folder, number: int, deleted: Callable[[int], None]) -> None:
        """Delete in one folder; ``deleted`` is told how many were, some at a time. Raises what the source does."""
        last = ""
        while not self.words and (some := self._stock.old(number, self._before, last)):
            last = some[-1].item.id
            sound = self._sound({one.record for one in some if one.record})
            ids = [one.item.id for one in some if one.record in sound]
            if self._stopped.is_set():
                return
            if not ids:
                continue
            try:
                gone = session.delete(folder, ids)
            except UsageError as error:
                self.words = error.message
                return
            self._stock.forget(number, gone)
            deleted(len(gone))

    def _sound(self, records: Collection[bytes]) -> frozenset[bytes]:
        """Those whose archived copies the archiver has read back now."""
        self._stock.ask_for_proof(self._account, records, self._now)
        deadline = time.monotonic() + PROOF_SECONDS
        while len(found := self._stock.proofs(self._account)) < len(records):
            if time.monotonic() > deadline:
                self.words = _("Not everything was deleted there: the archiver did not verify the archived copies, "
                               "perhaps because the archive is locked. The next run tries again.")  # fmt: skip
                break
            if self._stopped.wait(_LOOK_SECONDS):
                break
        self._stock.ask_for_proof(self._account, (), self._now)  # none counts twice
        self._unsound += sum(not sound for sound in found.values())
        return frozenset(record for record, sound in found.items() if sound)

    def ended(self) -> str:
        """What has to be told at the end."""
        if self.words or not self._unsound:
            return self.words
        text = ngettext(
            "{count} message was not deleted there, since its archived copy could not be read back.",
            "{count} messages were not deleted there, since their archived copies could not be read back.",
            self._unsound,
        )
        return text.format(count=self._unsound)
