"""Putting documents into the index: the one writer of an index folder.

The caller follows the catalogue's change sequence: it puts and deletes documents, then commits with the number
that they reach. After a crash, or when the writer reports ``UnavailableError``, it goes on from ``sequence``;
putting a document again replaces it, so nothing is doubled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import tantivy

from appliance.errors import ConflictError, UnavailableError
from appliance.files import FILES, Files, create_directory
from appliance.index import schema, state
from appliance.index.engine import is_engine_failure

_THREADS = 1  # the rest of the projection needs the other cores


class IndexWriter:
    """Writes the index in ``folder``, which is made where it does not exist.

    An index that is missing, damaged or of another schema version is replaced by an empty one: ``sequence`` is 0
    then, and everything has to be put again. ``fresh`` starts an empty one beside the index in use, which goes on
    being searched until ``publish``.

    Raises ConflictError where another process writes this folder. All other trouble of the index is an
    UnavailableError: what was put since the last commit is gone from the writer, and ``sequence`` says where to
    go on.
    """

    def __init__(self, folder: Path, *, heap: int = 64 * 2**20, fresh: bool = False, files: Files = FILES) -> None:
        self._folder = folder
        self._heap = heap
        self._files = files
        self._schema = schema.build()
        folder.parent.mkdir(parents=True, exist_ok=True)
        create_directory(files, folder)
        self._lock = self._take_lock()
        try:
            found = None if fresh else self._usable()
            self._published = not fresh
            self._state = found or self._start()
            self._writer = self._open()
            if self._published:
                state.drop_others(folder, keep=self._state.generation)
        except BaseException:
            files.close(self._lock)
            raise

    @property
    def sequence(self) -> int:
        """The change number that the last commit reached; 0 for an index that holds nothing yet."""
        return self._state.sequence

    def put(self, document: schema.Document) -> None:
        """Add the document, or replace the one with its id. Not to be found before ``commit``."""
        converted = schema.convert(document)
        with self._recovering():
            self._writer.delete_documents_by_term("id", schema.clean(document.id))
            self._writer.add_document(converted)

    def delete(self, id: str) -> None:
        """Take the document with this id out; nothing happens where there is none."""
        with self._recovering():
            self._writer.delete_documents_by_term("id", schema.clean(id))

    def commit(self, sequence: int) -> None:
        """Make everything put and deleted so far durable and searchable, as what reaches ``sequence``."""
        with self._recovering():
            opstamp = self._writer.commit()
            reached = state.State(schema.SCHEMA_VERSION, self._state.generation, sequence, opstamp)
            if self._published:
                state.write(self._folder, reached, files=self._files)
        self._state = reached

    def publish(self) -> None:
        """Let the index begun with ``fresh`` take the place of the one in use, as of the last commit."""
        state.write(self._folder, self._state, files=self._files)
        self._published = True
        state.drop_others(self._folder, keep=self._state.generation)

    def close(self) -> None:
        """Finish merges and let go of the folder. What was not committed is dropped."""
        with contextlib.suppress(ValueError):
            self._writer.wait_merging_threads()
        self._files.close(self._lock)

    def _take_lock(self) -> int:
        path = self._folder / "writer.lock"
        with contextlib.suppress(FileExistsError):
            self._files.close(self._files.create(path, 0o600))
        descriptor = self._files.open(path)
        if not self._files.lock(descriptor):
            self._files.close(descriptor)
            raise ConflictError(
                "Another process is writing the search index. Nothing is lost; stop that process first."
            )
        return descriptor

    def _usable(self) -> state.State | None:
        """The state of an index that opens, is of this version and not older than its state; else None."""
        found = state.read(self._folder, files=self._files)
        if found is None or found.schema != schema.SCHEMA_VERSION:
            return None
        if not state.reaches(self._folder, found, files=self._files):
            return None
        try:
            index = tantivy.Index.open(str(self._folder / found.generation))
            index.searcher()
        except BaseException as error:
            if not is_engine_failure(error):
                raise
            return None
        return found

    def _start(self) -> state.State:
        """An empty index in a new generation; published at once where no other one is in use."""
        generation = state.new_generation()
        create_directory(self._files, self._folder / generation)
        tantivy.Index(self._schema, str(self._folder / generation))
        begun = state.State(schema.SCHEMA_VERSION, generation, 0, 0)
        if self._published:
            state.write(self._folder, begun, files=self._files)
        return begun

    def _open(self) -> tantivy.IndexWriter:
        index = tantivy.Index.open(str(self._folder / self._state.generation))
        writer = index.writer(heap_size=self._heap, num_threads=_THREADS)
        writer.garbage_collect_files()  # what a killed writer began and never committed
        return writer

    @contextlib.contextmanager
    def _recovering(self) -> Iterator[None]:
        """A failed call leaves Tantivy's writer dead: open another one at the last commit, and say so."""
        try:
            yield
        except BaseException as error:
            if not is_engine_failure(error):
                raise
            del self._writer
            try:
                self._writer = self._open()
            except BaseException as again:
                if not is_engine_failure(again):
                    raise
                raise UnavailableError(
                    "The search index cannot be written. The mail itself is safe; it becomes searchable once the "
                    "disk takes writes again."
                ) from error
            raise UnavailableError(
                "The search index was interrupted and has been taken up again from its last commit. "
                "The mail itself is safe."
            ) from error
