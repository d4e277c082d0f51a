"""Progress on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["Report", "progress"]

Report = Callable[[int, int | None, str], None]
"""Called with what is done, out of how many (None: unknown), and a few words."""

SECONDS_BETWEEN_LINES: Final = 15.0


@contextmanager
def progress(task: str) -> Iterator[Report]:
    """Show the progress of a task while it runs."""
    # A notebook says FORCE_COLOR, so rich takes its output for a terminal; a bar would fill it with its movements.
    with _bar(task) if sys.stderr.isatty() else _lines(task) as report:
        yield report


@contextmanager
def _bar(task: str) -> Iterator[Report]:
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar = bars.add_task(task, total=None, words="")

        def report(done: int, total: int | None, words: str = "") -> None:
            bars.update(bar, completed=done, total=total, words=words)

        yield report


@contextmanager
def _lines(task: str) -> Iterator[Report]:
    last = time.monotonic()

    def report(done: int, total: int | None, words: str = "") -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            print(f"{task}: {done} of {total if total is not None else '?'} {words}".rstrip(), file=sys.stderr)  # noqa: T201

    yield report
