"""Mail that arrives at a real Dovecot and is fetched by a profile, again and again, while something dies.

Every message has a word of its own, and lies in one folder or in two. What the server has is what no fault may lose or
double.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from appliance.errors import LockedError, MailkeepError, UnavailableError
from appliance.services import api
from appliance.services.paths import Paths
from appliance.services.running import RunningBox
from tests.dovecot import PASSWORD, Dovecot
from tests.product import Product
from tests.scratch import mail

OWNER = "fetched@company.example"
PROFILE = "office"
INBOX, PROJECTS = "INBOX", "Projects"
IN_BOTH = 0.2  # of the messages
AT_ONCE = 40  # messages that come together
PAUSE = 0.5  # seconds until the next ones come
RUN_PAUSE = 0.5  # seconds until a run is asked for again
SIZE = 20_000
ENOUGH = 180.0


class Arriving:
    """A mailbox that fills, and the profile that fetches it."""

    def __init__(self, product: Product, server: Dovecot, *, seed: int) -> None:
        """Sets owner and profile up on a product that serves."""
        self.sha256: dict[str, str] = {}
        """Of each message that came, by its word."""
        self.folders: Counter[str] = Counter()
        """How many messages are in each folder."""
        self._product = product
        self._random = random.Random(seed)
        self._maildir = server.folder / "mail" / OWNER
        self._user = pwd.getpwnam("nobody")
        self._stop = threading.Event()
        for folder in (INBOX, PROJECTS):
            server.fill(OWNER, folder, ())
        (people := server.folder / "people.csv").write_text(f"primary,name\n{OWNER},Fetched\n")
        product.run("user", "import", str(people))
        product.run(
            "profile", "add", PROFILE, "--kind", "imap", "host=127.0.0.1", f"port={server.plain}", "security=none",
            f"user={OWNER}", "password=-", "--archive", OWNER, said=f"{PASSWORD}\n",
        )  # fmt: skip

    @contextlib.contextmanager
    def flowing(self, run_id: str) -> Iterator[None]:
        """Mail comes and is fetched meanwhile; at the end all of it has been. ``run_id`` begins every word."""
        self._stop.clear()
        threads = [
            threading.Thread(target=self._deliver, args=(run_id,), daemon=True),
            threading.Thread(target=self._ask_for_runs, daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(ENOUGH)
                assert not thread.is_alive(), "who was asked for a run never answered"
        self._fetch_the_rest()

    # -- on threads -------------------------------------------------------------------------------------------

    def _deliver(self, run_id: str) -> None:
        number = 0
        while not self._stop.is_set():
            for _ in range(AT_ONCE):
                number += 1
                self._save(f"{run_id}f{number}")
            self._stop.wait(PAUSE)

    def _ask_for_runs(self) -> None:
        while not self._stop.wait(RUN_PAUSE):
            # Whoever is asked may have died, or not be there yet.
            with contextlib.suppress(MailkeepError, OSError):
                box = RunningBox(Paths(self._product.data).local_socket)
                with contextlib.closing(box):
                    box.call("profile_run", api.ProfileBegun, name=PROFILE)

    # -- helpers ----------------------------------------------------------------------------------------------

    def _fetch_the_rest(self) -> None:
        """A run that nobody disturbs brings all that is missing, whatever went wrong before."""
        deadline = time.monotonic() + ENOUGH
        while (ended := self._run()) not in ("", "done"):
            assert time.monotonic() < deadline, f"{ended}; serve said at last:\n{self._product.log_end()}"
            time.sleep(0.2)

    def _run(self) -> str:
        """How a run ended that began now; why there was none."""
        try:
            begun = self._product.call("profile_run", api.ProfileBegun, name=PROFILE)
            while (run := self._product.call("profile_run_get", api.ProfileRun, id=begun.run)).ended is None:
                time.sleep(0.1)
        except (UnavailableError, LockedError) as error:  # who would do it is being started again
            return str(error)
        return run.words or run.state

    def _save(self, word: str) -> None:
        noise = self._random.randbytes(self._random.randrange(SIZE) // 2).hex()
        raw = mail(f"Delivery {word}", noise, message_id=f"{word}@company.example")
        self.sha256[word] = sha256(raw).hexdigest()
        for folder in (INBOX, PROJECTS) if self._random.random() < IN_BOTH else (INBOX,):
            root = self._maildir if folder == INBOX else self._maildir / f".{folder}"
            self._into(root, f"{int(time.time())}.{word}.test", raw)
            self.folders[folder] += 1

    def _into(self, root: Path, name: str, raw: bytes) -> None:
        """As a delivery agent does: the server sees whole messages only."""
        written = root / "tmp" / name
        written.write_bytes(raw)
        os.chown(written, self._user.pw_uid, self._user.pw_gid)
        written.rename(root / "new" / name)
