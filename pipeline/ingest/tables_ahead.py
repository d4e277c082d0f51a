"""Tables of many objects, read in their turn: in this process, or in others while it waits for the first of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, cast

import pyarrow as pa

from pipeline.ingest.bundles import TableRead, fingerprint, read_bundle
from pipeline.ingest.chunks import ChunkRead, ChunkReader
from pipeline.ingest.readers import Bundle, Rejection
from pipeline.ingest.table_processes import TableProcesses

__all__ = ["Table", "TablesAhead"]

Table = tuple[str, Bundle, tuple[str, ...]]
"""A format, what is read together, and the names of the files that count with it."""

_AHEAD: Final = 64
"""Tables and chunks that wait for a table before them, at most."""
_OBJECTS_AHEAD: Final = 5_000
"""Objects that wait for a table before them, at most (or those of one chunk)."""
BYTES_FOR_PROCESSES: Final = 256 << 20
"""Tables smaller than this, together and unpacked, are read sooner than processes start."""


@dataclass
class _Waiting:
    """A table, or a chunk that was found after one.

    Attributes:
        n_bytes: of a table on disk, unpacked; 0 of one in memory, and of one that cannot be read.
        is_sent: whether another process reads it.
    """

    found: ChunkRead | Table
    n_bytes: int
    is_sent: bool = False

    @property
    def is_table(self) -> bool:
        return not isinstance(self.found, ChunkRead)

    @property
    def n_objects(self) -> int:
        return len(self.found.light_curves) if isinstance(self.found, ChunkRead) else 0


class TablesAhead:
    """Reads tables in their turn: here, or in processes as soon as those ahead are large enough for it to pay."""

    def __init__(self, reader: ChunkReader, workers: int) -> None:
        """Start with nothing ahead."""
        self._reader, self._workers = reader, workers
        self._waiting: deque[_Waiting] = deque()
        self._processes: TableProcesses[Table] | None = None

    def add(self, found: ChunkRead | Table) -> Iterator[ChunkRead]:
        """Put something at the end, and yield what cannot or need not wait."""
        self._waiting.append(_Waiting(found, 0 if isinstance(found, ChunkRead) else _n_bytes(found)))
        if self._workers > 1:
            self._send()
        while self._waiting and (not self._waiting[0].is_table or self._is_full()):
            yield from self._next()

    def finish(self) -> Iterator[ChunkRead]:
        """Yield the rest."""
        while self._waiting:
            yield from self._next()

    def stop(self) -> None:
        """End the processes."""
        if self._processes is not None:
            self._processes.stop()

    def _is_full(self) -> bool:
        """Tell whether no more may wait: for what is in memory already, nothing waits."""
        is_in_memory = any(item.is_table and not item.n_bytes for item in self._waiting)
        n_objects = sum(item.n_objects for item in self._waiting)
        return self._workers == 1 or is_in_memory or len(self._waiting) > _AHEAD or n_objects > _OBJECTS_AHEAD

    def _send(self) -> None:
        tables = [item for item in self._waiting if item.n_bytes and not item.is_sent]
        if self._processes is None:
            if len(tables) < 2 or sum(item.n_bytes for item in tables) < BYTES_FOR_PROCESSES:
                return
            self._processes = TableProcesses(partial(_read_apart, replace(self._reader, known={})), self._workers)
        for item in tables:
            self._processes.send(cast(Table, item.found))
            item.is_sent = True

    def _next(self) -> Iterator[ChunkRead]:
        item = self._waiting.popleft()
        if isinstance(item.found, ChunkRead):
            yield item.found
        elif item.is_sent and self._processes is not None:
            for chunk, (light_curves, truth) in self._processes.take():
                yield replace(chunk, light_curves=light_curves, truth=truth)
        else:
            yield from _read_table(item.found, self._reader)


def _n_bytes(table: Table) -> int:
    """Return the unpacked size of a table on disk."""
    files = table[1].files
    try:
        return sum(file.size() for file in files) if all(file.path for file in files) else 0
    except OSError:
        return 0


def _read_apart(reader: ChunkReader, table: Table) -> Iterator[tuple[ChunkRead, tuple[pa.Table, pa.Table]]]:
    """Yield the chunks of a table as words and tables."""
    nothing = ChunkRead()
    for chunk in _read_table(table, reader):
        words = replace(chunk, light_curves=nothing.light_curves, truth=nothing.truth)
        yield words, (chunk.light_curves, chunk.truth)


def _read_table(table: Table, reader: ChunkReader) -> Iterator[ChunkRead]:
    """Read a table, but not one that the store has whole."""
    form, bundle, names = table
    try:
        digest = bundle.digest()
    except OSError as error:
        yield ChunkRead(rejections=[Rejection(name, f"cannot be opened: {error.strerror}") for name in names])
        return
    mark = fingerprint(digest, reader.options)
    finished = reader.finished.get(bundle.name)
    if finished is not None and finished.fingerprint == mark:
        yield ChunkRead(table=TableRead(names, bundle.name, digest, mark, True, finished))
        return
    for result, is_last in read_bundle(form, bundle, digest, reader.options):
        yield ChunkRead(*result, table=TableRead(names, bundle.name, digest, mark, is_last))
