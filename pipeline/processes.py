"""Worker processes that share nothing with their parent, and do not outlive it.

They are loky's: fresh interpreters, neither forked (a fork copies locks that Prefect's threads may hold, and can hang)
nor importing the calling script again (which would run one that has no `if __name__ == "__main__"`).
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from filelock import FileLock, Timeout
from loky import ProcessPoolExecutor
from loky.backend import get_context

__all__ = [
    "AtWorkError",
    "ProcessPoolExecutor",
    "end_with_parent",
    "keep_freed_memory",
    "only_one",
    "process_context",
    "return_freed_memory",
    "who_holds",
]

SECONDS_BETWEEN_LOOKS: Final = 0.5
SECONDS_FOR_LOCK: Final = 0.3
"""`who_holds` has a lock for some microseconds, which is no reason to give up."""
LARGE_BLOCK: Final = 8 << 20
"""Twice as many freed bytes are kept [bytes]."""


class AtWorkError(RuntimeError):
    """Another process does what only one may do at a time."""


@contextmanager
def only_one(lock: Path, what: str) -> Iterator[None]:
    """Do what only one process at a time may do; the system gives the lock back when its process ends, however it does.

    Raises:
        AtWorkError: at once, if another process holds the lock; it says which, and since when.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    held, beside = FileLock(lock, timeout=SECONDS_FOR_LOCK), _holder(lock)
    try:
        held.acquire()
    except Timeout:
        raise AtWorkError(f"another run is at work on {what} ({_read(beside)}); nothing was done") from None
    try:
        beside.write_text(f"process {os.getpid()}, since {datetime.now(UTC).isoformat(timespec='seconds')}")
        yield
    finally:
        held.release()


def who_holds(lock: Path) -> str:
    """Say which process does what only one may do, and since when; nothing if none does."""
    if not lock.exists():
        return ""
    held = FileLock(lock, timeout=0)
    try:
        held.acquire()
    except Timeout:
        return _read(_holder(lock))
    held.release()
    return ""


def _holder(lock: Path) -> Path:
    return lock.with_suffix(".holder")


def _read(holder: Path) -> str:
    return holder.read_text(encoding="utf-8") if holder.exists() else "unknown"


def process_context() -> Any:
    """Return `Process`, `Queue` and their like for workers that are not in a pool."""
    return get_context("loky")


def keep_freed_memory() -> None:
    """Let the C library keep some megabytes that are freed, for what is allocated next; call it before work in chunks.

    glibc returns them to the system when more are free than twice the largest block that was ever freed, and gets them
    back page by page, which is a tenth of the time of reading. Freeing a larger block, though it was never touched,
    moves this bound (mallopt(3), M_MMAP_THRESHOLD); to other C libraries it means nothing.
    """
    np.empty(LARGE_BLOCK, np.uint8)


def return_freed_memory() -> None:
    """Return to the system what was freed, of Arrow and, where it is glibc, of the C library; call it after a peak."""
    import pyarrow as pa  # not all processes that import this module need it

    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def end_with_parent(parent: int) -> None:
    """Make this process end when its parent, by process id, is gone, also by `kill -9`; call it first in a worker."""
    threading.Thread(target=_watch, args=(parent,), daemon=True, name="end with parent").start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)
