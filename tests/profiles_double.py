"""A collector for tests that have none: what it was asked, its answers, and runs in a real ledger."""

from __future__ import annotations

from typing import Any

from appliance.checks import Check
from appliance.services import api
from appliance.services.collector.ledger import AccountFigures, Ledger
from appliance.services.collector.told import CollectorKeys, Told, read_told
from appliance.services.profiles.managing import Profiles
from tests.scratch import ScratchArchive

CHECKS: tuple[Check, ...] = (
    Check("connection", "ok", "The server answers, encrypted."),
    Check("accounts", "ok", "1 account is archived."),
)
DELETIONS = api.ProfileDeletions(3, 4096, (api.ProfileDeletion("anna", "INBOX", "7", 1_600_000_000, 1024),))


class CollectorDouble:
    """Answers for the collector of an archive in this process."""

    def __init__(self, archive: ScratchArchive) -> None:
        self.archive = archive
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.checks = CHECKS
        self.begins = True
        """Whether a run begins as it is asked for, or waits."""
        self.words = ""
        """What a run's one account has to say."""
        keyring = archive.archive.keyring
        self.keys = CollectorKeys.of(keyring.key("service"), keyring.archive_id)
        self.ledger = Ledger(archive.paths.ledger, self.keys)

    def close(self) -> None:
        """Close the ledger."""
        self.ledger.close()

    def told(self) -> Told | None:
        """What it was told last."""
        return read_told(self.archive.paths.collecting, self.keys)

    def answer(self, _profiles: Profiles, method: str, _kind: object, /, **params: Any) -> Any:
        """In the place of ``Profiles._ask``."""
        self.asked.append((method, params))
        match method:
            case "begin":
                told = self.told()
                assert told is not None and told.find(params["profile"]), "told before it is asked"
                id = self.ledger.add(params["profile"], asked=True)
                if self.begins:
                    self.ledger.claim(id)
                return id
            case "stop":
                self.ledger.claim(params["id"])
                self.ledger.end(params["id"], "stopped", "Stopped.")
                return None
            case "deletions":
                return DELETIONS
            case _:
                return self.checks

    def fetched(self, run: int, counts: api.ProfileCounts, *, archive: str = "", expected: int | None = None) -> None:
        """Say what became of a run's one account; it goes on."""
        self.ledger.accounts(run, [("anna", "anna@x.test", archive)])
        figures = AccountFigures(
            state="running", counts=counts, expected=expected, folder="INBOX", words=self.words
        )  # fmt: skip
        self.ledger.figures(run, 0, figures)

    def failures(self, run: int, *items: str) -> None:
        """Say which messages could not be fetched."""
        with self.ledger.changing() as connection:
            self.ledger.failed(
                run, "anna", [("INBOX", one, "The server does not give it.") for one in items], connection
            )
