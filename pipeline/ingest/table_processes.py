"""Worker processes that read tables of many objects; what comes of the tables stays in their order.

Each worker reads whole tables, every n-th of them. Its chunks reach the parent as Arrow files in a temporary folder,
which is several times faster than a pipe; a worker that is some chunks ahead waits. The files are gone as soon as they
are mapped, and the folder when all is read or reading fails; a killed parent leaves it with a few chunks.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Generic, TypeVar

import pyarrow as pa

from pipeline.processes import end_with_parent, keep_freed_memory, process_context

__all__ = ["CHUNKS_AHEAD", "TableProcesses"]

CHUNKS_AHEAD: Final = 4
"""Chunks that a worker has written and nobody has taken, at most."""

Task = TypeVar("Task")
Tables = Sequence[pa.Table]
Read = Callable[[Task], Iterator[tuple[Any, Tables]]]


@dataclass(frozen=True)
class _Worker:
    process: Any
    connection: Connection
    free: Any  # counts the chunks that the worker may still write


class TableProcesses(Generic[Task]):
    """Processes that give what one process would, in the same order.

    Args:
        read: reads one table: some words and Arrow tables for each chunk; it is sent to the workers.
        n_workers: processes.
    """

    def __init__(self, read: Read[Task], n_workers: int) -> None:
        """Start the processes."""
        self._folder = TemporaryDirectory(prefix="snflow-tables-", ignore_cleanup_errors=True)
        self._n_sent = self._n_taken = 0
        self._workers: list[_Worker] = []
        context = process_context()
        for number in range(n_workers):
            ours, theirs = context.Pipe()
            free = context.Semaphore(CHUNKS_AHEAD)
            arguments = (read, theirs, free, Path(self._folder.name) / str(number), os.getpid())
            process = context.Process(target=_work, args=arguments, daemon=True, name=f"tables-{number}")
            process.start()
            theirs.close()
            self._workers.append(_Worker(process, ours, free))

    def send(self, task: Task) -> None:
        """Hand a table to the next worker."""
        self._workers[self._n_sent % len(self._workers)].connection.send(task)
        self._n_sent += 1

    def take(self) -> Iterator[tuple[Any, list[pa.Table]]]:
        """Yield what comes of the first table that was sent and not yet taken.

        Raises:
            RuntimeError: if its worker died.
        """
        worker = self._workers[self._n_taken % len(self._workers)]
        self._n_taken += 1
        while (message := _receive(worker)) is not None:
            words, path, n_tables = message
            tables = _map_tables(path, n_tables)
            worker.free.release()
            yield words, tables

    def stop(self) -> None:
        """End the processes, and remove their files."""
        for worker in self._workers:
            worker.process.terminate()
            worker.process.join()
            worker.connection.close()
        self._folder.cleanup()


def _receive(worker: _Worker) -> Any:
    try:
        message = worker.connection.recv()
    except (EOFError, ConnectionError):
        worker.process.join()
        code = worker.process.exitcode
        raise RuntimeError(f"a process that read tables died with exit code {code}; run the same again") from None
    if isinstance(message, BaseException):
        raise message
    return message


def _work(read: Read[Task], connection: Connection, free: Any, stem: Path, parent: int) -> None:
    """Read the tables that come, one after the other."""
    end_with_parent(parent)
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    numbers = count()
    while True:
        task = connection.recv()
        try:
            for words, tables in read(task):
                free.acquire()
                path = stem.with_suffix(f".{next(numbers)}")
                _write_tables(path, tables)
                connection.send((words, path, len(tables)))
            connection.send(None)
        except Exception as error:  # noqa: BLE001  the parent raises it
            connection.send(error)


def _write_tables(path: Path, tables: Tables) -> None:
    with pa.OSFile(str(path), "wb") as file:
        for table in tables:
            with pa.ipc.new_stream(file, table.schema) as writer:
                writer.write_table(table)


def _map_tables(path: Path, n_tables: int) -> list[pa.Table]:
    """Map tables into memory, and unlink their file."""
    with pa.memory_map(str(path)) as file:
        tables = [pa.ipc.open_stream(file).read_all() for _ in range(n_tables)]
    path.unlink()
    return tables
