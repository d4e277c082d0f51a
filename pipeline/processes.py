"""Worker processes that share nothing with their parent, and do not outlive it.

They are loky's: fresh interpreters, neither forked (a fork copies locks that Prefect's threads may hold, and can hang)
nor importing the calling script again (which would run one that has no `if __name__ == "__main__"`).
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Final

from loky import ProcessPoolExecutor
from loky.backend import get_context

__all__ = ["ProcessPoolExecutor", "end_with_parent", "process_context"]

SECONDS_BETWEEN_LOOKS: Final = 0.5


def process_context() -> Any:
    """Return `Process`, `Queue` and their like for workers that are not in a pool."""
    return get_context("loky")


def end_with_parent(parent: int) -> None:
    """Make this process end when its parent, by process id, is gone, also by `kill -9`; call it first in a worker."""
    threading.Thread(target=_watch, args=(parent,), daemon=True, name="end with parent").start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)
