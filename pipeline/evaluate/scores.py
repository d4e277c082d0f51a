"""Probabilities of objects whose class is known, and their grouping into cells of objects that are much alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = [
    "CALIBRATION_BINS",
    "MAX_CELLS",
    "THRESHOLD",
    "Cells",
    "Floats",
    "Scores",
    "calibration_bin",
    "collapse",
    "condense",
]

THRESHOLD: Final = 0.5
"""An object is called Ia above this P(Ia), unless another threshold is named."""

CALIBRATION_BINS: Final = 15
"""Bins of equal width in P(Ia) behind the expected calibration error and the reliability diagram."""

MAX_CELLS: Final = 30_000
"""Of `condense`, about. So many objects give standard deviations within 3 % of those of all, with 2 to 8 classes."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scores:
    """Probabilities of objects whose class is known.

    Attributes:
        probabilities: (n_objects, n_classes), rows sum to 1.
        targets: (n_objects,) int64, column of the true class.
        positive: column of Ia; metrics named after Ia compare P(Ia) with all the rest.

    Raises:
        ValueError: if shapes do not belong together, a probability is not finite, or a target has no column.
    """

    probabilities: Floats
    targets: Integers
    positive: int = 0

    def __post_init__(self) -> None:
        """Validate once, at the boundary."""
        if self.probabilities.ndim != 2 or self.targets.shape != self.probabilities.shape[:1]:
            raise ValueError(
                "expected probabilities (n_objects, n_classes) and targets (n_objects,); came "
                f"{self.probabilities.shape} and {self.targets.shape}"
            )
        if not np.isfinite(self.probabilities).all():
            raise ValueError("probabilities must be finite; leave out objects without one")
        if ((self.targets < 0) | (self.targets >= self.n_classes)).any() or not 0 <= self.positive < self.n_classes:
            raise ValueError(f"targets and positive must be columns 0 to {self.n_classes - 1}")

    def __len__(self) -> int:
        """Count the objects."""
        return len(self.targets)

    @property
    def n_classes(self) -> int:
        """Columns of the probabilities."""
        return int(self.probabilities.shape[1])

    @property
    def p_ia(self) -> Floats:
        """(n_objects,) probability of Ia."""
        return self.probabilities[:, self.positive]

    @cached_property
    def is_ia(self) -> npt.NDArray[np.bool_]:
        """(n_objects,) true Ia."""
        return np.asarray(self.targets == self.positive, dtype=np.bool_)

    @cached_property
    def called(self) -> Integers:
        """(n_objects,) column of the most probable class, the first of equals."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @cached_property
    def is_correct(self) -> npt.NDArray[np.bool_]:
        """(n_objects,) whether the most probable class is the true one."""
        return np.asarray(self.called == self.targets, dtype=np.bool_)

    @cached_property
    def p_target(self) -> Floats:
        """(n_objects,) probability given to the true class."""
        return self.probabilities[np.arange(len(self)), self.targets]

    def take(self, rows: npt.NDArray[np.integer]) -> Scores:
        """Return the objects at these rows."""
        return Scores(self.probabilities[rows], self.targets[rows], self.positive)


@dataclass(frozen=True)
class Cells:
    """Objects counted together: one object of each cell stands for all in it.

    Attributes:
        scores: (n_cells) the objects that stand for their cells, in each of the samples that were grouped.
        counts: (n_cells,) objects in each cell.
    """

    scores: tuple[Scores, ...]
    counts: Integers


def calibration_bin(p_ia: Floats) -> Integers:
    """Return the calibration bin of each probability; 1 belongs to the last."""
    return np.minimum((p_ia * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)


def collapse(scores: Scores, thresholds: Sequence[float] = (THRESHOLD,)) -> Cells:
    """Count objects of one true class, one called class, and P(Ia) above the same thresholds together.

    Nothing is lost for a metric that asks no more than that.
    """
    above = np.searchsorted(np.unique(np.asarray(thresholds, dtype=float)), scores.p_ia, side="left")
    key = (scores.targets * scores.n_classes + scores.called) * (len(thresholds) + 1) + above
    counts = np.bincount(key)
    member = np.zeros(len(counts), dtype=np.int64)
    member[key] = np.arange(len(key))
    is_filled = counts > 0
    return Cells((scores.take(member[is_filled]),), counts[is_filled])


def condense(*samples: Scores) -> Cells:
    """Count objects together that are much alike, in about MAX_CELLS cells.

    Objects of one true class, one called class, one calibration bin and one side of THRESHOLD (in every sample) are
    ordered by P(Ia) and cut into runs of equal length, whose middle object stands for its run; the number of runs goes
    with the square root of how many such objects there are, so that rare mistakes stay finely sampled. Counts of
    classes and calls are exact. P(Ia) is off by at most the width of a run, and other probabilities keep their
    distribution, because the middle by P(Ia) is a random object otherwise: a mean would narrow it.

    Args:
        samples: scores of the same objects, in the same order.
    """
    key = samples[0].targets
    for scores in samples:
        for label in (scores.called, calibration_bin(scores.p_ia), scores.p_ia > THRESHOLD):
            key = _number_pairs(key, label)
    order = np.lexsort((samples[0].p_ia, key))
    sizes = np.bincount(key)
    runs = np.minimum(sizes, np.ceil(MAX_CELLS * np.sqrt(sizes) / np.sqrt(sizes).sum()).astype(np.int64))
    group = key[order]
    place = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[group]
    cell = (np.cumsum(runs) - runs)[group] + place * runs[group] // sizes[group]
    counts = np.bincount(cell)
    rows = order[np.cumsum(counts) - counts + counts // 2]
    return Cells(tuple(scores.take(rows) for scores in samples), counts)


def _number_pairs(key: Integers, other: npt.NDArray[np.integer | np.bool_]) -> Integers:
    """Number the pairs of two keys that occur, from zero."""
    _, numbers = np.unique(key * (int(other.max(initial=0)) + 1) + other, return_inverse=True)
    return np.asarray(numbers, dtype=np.int64)
