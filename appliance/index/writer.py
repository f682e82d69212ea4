"""Putting documents into the index: the one writer of an index, shard by shard.

The caller follows the catalogue's change sequence: it puts each changed message's document with its shard and its
change number, in the order of the numbers, then commits. ``reached`` tells for each shard from which number on to go
on, after a crash or an UnavailableError too; putting a document again replaces it, so nothing is doubled.

Tantivy works in memory. What it has committed is searchable at once; the mirror on the disk follows some seconds
later, since segments of a second are merged away soon. It does not have to be newer: whatever it lacks is put again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from appliance.errors import ConflictError, DamageError, MailkeepError, UnavailableError
from appliance.files import FILES, Files, create_directory
from appliance.index import live, schema
from appliance.index import manifest as m
from appliance.index.engine import keep_memory_flat
from appliance.index.mirror import LOCK, Mirror, Stamp
from appliance.index.place import Place
from appliance.index.shard_writer import ShardWriter
from appliance.index.state import STATE, write_state

log = logging.getLogger(__name__)

HEAP = 48 * 2**20
"""Bytes in which one shard gathers documents before they become a segment."""

MOST_OPEN = 2
"""Shards that are open at a time: the one that mail comes into, and one that is caught up."""

BUSY_SECONDS, REST_SECONDS = 30.0, 3.0
"""How far the mirror may lag behind while documents keep coming, and while nothing comes."""

UNUSED_SECONDS = 600.0
"""A shard that nothing was put into for so long leaves the memory, but for the newest."""


class IndexWriter:
    """Writes the index of ``place``.

    A shard whose sealed files are missing, damaged, of another version or of changes beyond ``newest`` (the catalogue's
    last change number) is begun anew: ``reached`` is 0 then. ``before_save`` is called before the mirror is written, to
    make durable what the numbers in it stand for.

    Raises ConflictError where another process writes this index. All other trouble is an UnavailableError, after which
    the writer has to be closed: what was put since the last commit is gone.
    """

    def __init__(
        self,
        place: Place,
        *,
        newest: int,
        before_save: Callable[[], None] = lambda: None,
        heap: int = HEAP,
        files: Files = FILES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = place
        self._before_save = before_save
        self._heap = heap
        self._files = files
        self._clock = clock
        keep_memory_flat()
        self._mirror = Mirror(place, files=files)
        place.sealed.parent.mkdir(parents=True, exist_ok=True)
        create_directory(files, place.sealed)
        self._lock = self._take_lock()
        self._open: dict[int, ShardWriter] = {}  # the one used last at the end
        self._used: dict[int, float] = {}
        self._stamps: dict[int, Stamp | None] = {}  # of the manifests of cold shards
        try:
            self._mirror.drop_strangers()
            self._cold = self._sound(newest)
            live.make(place.root, place.live)
            self._write_state()
            self._remove_leftovers()
        except BaseException:
            files.close(self._lock)
            raise
        self._saved_at = clock()

    def reached(self, shard: int) -> int:
        """The change number up to which this shard's documents are put; 0 for a shard that holds nothing yet."""
        if shard in self._open:
            return self._open[shard].put_up_to
        return self._cold[shard].sequence if shard in self._cold else 0

    def put(self, document: schema.Document, *, shard: int, change: int) -> None:
        """Add the document, or replace the one with its id. Not to be found before ``commit``."""
        self._opened(shard).put(document, change)

    def skip(self, *, shard: int, change: int) -> None:
        """There is no document for this change."""
        self._opened(shard).put_up_to = change

    def commit(self) -> None:
        """Make everything put so far searchable."""
        for one in self._open.values():
            if one.committed < one.put_up_to:
                one.commit()
        self._write_state()
        if self._clock() - self._saved_at >= BUSY_SECONDS:
            self._save_all()

    def rest(self) -> bool:
        """Nothing is to be put just now: bring the mirror up to date, after a while. Returns False where a shard has
        lost its sealed manifest or has got another one, so that it has to be put again."""
        now = self._clock()
        if now - self._saved_at >= REST_SECONDS:
            self._save_all()
        newest = max((*self._open, *self._cold), default=0)
        for shard in [one for one in self._open if one != newest and now - self._used[one] >= UNUSED_SECONDS]:
            self._leave(shard)
        lost = [shard for shard in self._cold if self._mirror.stamp(shard) != self._stamps[shard]]
        for shard in lost:
            log.warning("shard %s of the search index is made anew from the log", shard)
            self._mirror.drop(shard)
            del self._cold[shard]
        if lost:
            self._write_state()
        return not lost

    def close(self) -> None:
        """Bring the mirror up to date and give everything back. What was not committed is dropped."""
        try:
            for shard in list(self._open):
                try:
                    self._leave(shard, commit=False)
                except MailkeepError as error:
                    log.error("shard %s of the search index: %s", shard, error.message)
            (self._place.live / STATE).unlink(missing_ok=True)
            live.remove(self._place.root, self._place.written)
        finally:
            self._files.close(self._lock)

    # -- shards -----------------------------------------------------------------------------------------------

    def _opened(self, shard: int) -> ShardWriter:
        if shard not in self._open:
            while len(self._open) >= MOST_OPEN:
                self._leave(next(iter(self._open)))
            self._open[shard] = self._restored(shard)
        one = self._open.pop(shard)
        self._open[shard] = one
        self._used[shard] = self._clock()
        return one

    def _restored(self, shard: int) -> ShardWriter:
        try:
            opened = ShardWriter(self._place, self._mirror, shard, self._cold.get(shard), heap=self._heap)
        except DamageError as error:
            self._mirror.drop(shard)
            self._cold.pop(shard, None)
            raise UnavailableError(f"{error.message} It becomes searchable again shard by shard.") from error
        self._cold.pop(shard, None)
        return opened

    def _leave(self, shard: int, *, commit: bool = True) -> None:
        """Give a shard's memory back, with all that was put into it in the mirror."""
        one = self._open.pop(shard)
        try:
            if commit and one.committed < one.put_up_to:
                one.commit()
            one.finish_merges()
            if not (one.mirrored and one.manifest and one.manifest.threads):
                self._save(one, closing=True)
        finally:
            if one.manifest is not None:
                self._cold[shard] = one.manifest
                self._stamps[shard] = self._mirror.stamp(shard)
            try:
                self._write_state()
            finally:
                one.close()

    def _save_all(self) -> None:
        for one in self._open.values():
            if not one.mirrored:
                self._save(one)
        self._saved_at = self._clock()

    def _save(self, one: ShardWriter, *, closing: bool = False) -> None:
        try:
            self._before_save()
            one.save(closing=closing)
        except OSError as error:
            # The mirror only spares work at the next start: the log and the catalogue have it all.
            log.error("the search index cannot be written to the disk: %s", error.strerror)

    # -- what is there at the start ---------------------------------------------------------------------------

    def _sound(self, newest: int) -> dict[int, m.Manifest]:
        sound = {}
        for shard in self._mirror.shards():
            self._stamps[shard] = self._mirror.stamp(shard)
            try:
                found = self._mirror.manifest(shard)
            except DamageError:
                found = None
            if found is not None and found.sequence <= newest:
                sound[shard] = found
            else:
                self._mirror.drop(shard)
        return sound

    def _remove_leftovers(self) -> None:
        """What a killed writer had open."""
        live.remove(self._place.root, self._place.written)

    def _take_lock(self) -> int:
        path = self._place.sealed / LOCK
        if not path.exists():
            self._files.close(self._files.create(path, 0o600))
        descriptor = self._files.open(path)
        if not self._files.lock(descriptor):
            self._files.close(descriptor)
            raise ConflictError(
                "Another process is writing the search index. Nothing is lost; stop that process first."
            )
        return descriptor

    def _write_state(self) -> None:
        hot = tuple(
            m.Hot(one.shard, one.folder, one.committed, one.documents, one.live_bytes()) for one in self._open.values()
        )
        cold = tuple(m.Cold(shard, found.mark) for shard, found in self._cold.items())
        write_state(self._place, m.State(schema.SCHEMA_VERSION, hot, cold), files=self._files)
