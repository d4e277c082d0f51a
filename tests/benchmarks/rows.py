"""One line of a benchmark's table, and how its rate is measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A measured rate."""

    name: str
    value: float
    unit: str
    note: str = ""


def rate(
    amount: float,
    work: Callable[[], object],
    clock: Callable[[], float] = time.process_time,
    repeats: int = 3,
) -> float:
    """Return the best rate of several repeats [1/s]: of CPU time, which other work on the machine disturbs least."""
    seconds = []
    for _ in range(repeats):
        start = clock()
        work()
        seconds.append(clock() - start)
    return amount / min(seconds)
