"""The numbers a classifier is judged by, with bootstrap errors over objects.

Every metric takes how often each object counts, one row per resample, and answers for all rows at once: a row of ones
is the value itself, rows drawn with replacement are its bootstrap. Undefined is NaN, never zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, WithJsonSchema

from pipeline.evaluate.scores import (
    CALIBRATION_BINS,
    THRESHOLD,
    Cells,
    Floats,
    Scores,
    calibration_bin,
    condense,
)

__all__ = [
    "CALIBRATION_BINS",
    "LOWER_IS_BETTER",
    "METRICS",
    "PSEUDO_PURITY_WEIGHT",
    "RESAMPLES",
    "THRESHOLD",
    "Bootstrap",
    "Estimate",
    "Metric",
    "Number",
    "Reweigh",
    "Scores",
    "bootstrap",
    "calibration_bin",
    "draw_counts",
    "measure",
    "selection_metrics",
]

PSEUDO_PURITY_WEIGHT: Final = 3.0
"""W of the SPCC figure of merit: how many true Ia one contaminant costs (Kessler et al. 2010, arXiv:1008.1024)."""

RESAMPLES: Final = 300
"""Bootstrap resamples behind each standard deviation."""

MAX_RESAMPLED: Final = 50_000
"""Of more objects than this, cells of objects are resampled."""

MAX_COUNTS_IN_MEMORY: Final = 3_000_000
LOG_FLOOR: Final = float(np.finfo(np.float64).eps)


Metric = Callable[[Scores, Floats], Floats]
"""From scores and counts (n_resamples, n_objects) to one value per resample."""

Reweigh = Callable[[Scores, Floats], Floats]
"""From scores and counts (n_resamples, n_objects) to weights of that shape; a row of NaN leaves metrics undefined."""


def _null_is_nan(value: object) -> object:
    return float("nan") if value is None else value


Number = Annotated[float, BeforeValidator(_null_is_nan), WithJsonSchema({"type": ["number", "null"]})]
"""A float whose undefined value is NaN in Python and null in JSON."""


@dataclass(frozen=True)
class Estimate:
    """A value and its bootstrap standard deviation; NaN where undefined."""

    value: Number
    std: Number


def accuracy(scores: Scores, counts: Floats) -> Floats:
    """Share of objects whose most probable class is the true one."""
    return _ratio(counts @ scores.is_correct.astype(float), counts.sum(axis=1))


def balanced_accuracy(scores: Scores, counts: Floats) -> Floats:
    """Unweighted mean, over the classes that occur, of the share of a class that is recognised."""
    n_classes = scores.probabilities.shape[1]
    per_class = np.eye(n_classes)[scores.targets]
    present = counts @ per_class
    recognised = counts @ (per_class * scores.is_correct[:, None])
    shares = np.divide(recognised, present, out=np.zeros_like(present), where=present > 0)
    return _ratio(shares.sum(axis=1), (present > 0).sum(axis=1).astype(float))


def auc(scores: Scores, counts: Floats) -> Floats:
    """Area under the ROC curve; beyond two classes the unweighted mean of one-versus-rest, NaN if one is absent."""
    n_classes = scores.probabilities.shape[1]
    columns = [scores.positive] if n_classes == 2 else range(n_classes)
    areas = [_auc_one_versus_rest(scores.probabilities[:, c], scores.targets == c, counts) for c in columns]
    return np.asarray(np.mean(areas, axis=0))


def average_precision(scores: Scores, counts: Floats) -> Floats:
    """Mean of the purity over the completeness it is reached at, Ia against the rest (no interpolation)."""
    if not len(scores):
        return np.full(len(counts), np.nan)
    true, false = _cumulate_down(scores.p_ia, scores.is_ia, counts)
    called = true + false
    purity_there = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
    gained = np.diff(true, axis=1, prepend=0.0)
    return _ratio((gained * purity_there).sum(axis=1), true[:, -1])


def figure_of_merit(scores: Scores, counts: Floats, threshold: float = THRESHOLD) -> Floats:
    """Completeness × pseudo-purity, TP/(TP+FN) × TP/(TP+3 FP) (Kessler et al. 2010, arXiv:1008.1024, W = 3).

    Zero where no true Ia is called Ia, NaN where there is no true Ia.
    """
    true, false, all_ia = _count_called(scores, counts, threshold)
    denominator = all_ia * (true + PSEUDO_PURITY_WEIGHT * false)
    merit = np.divide(true**2, denominator, out=np.zeros_like(true), where=denominator > 0)
    return np.where(all_ia > 0, merit, np.nan)


def purity(scores: Scores, counts: Floats, threshold: float = THRESHOLD) -> Floats:
    """Share of the objects called Ia that are Ia, TP/(TP+FP)."""
    true, false, _ = _count_called(scores, counts, threshold)
    return _ratio(true, true + false)


def completeness(scores: Scores, counts: Floats, threshold: float = THRESHOLD) -> Floats:
    """Share of the true Ia that are called Ia, TP/(TP+FN)."""
    true, _, all_ia = _count_called(scores, counts, threshold)
    return _ratio(true, all_ia)


def log_loss(scores: Scores, counts: Floats) -> Floats:
    """Mean of −ln P(true class), over all classes of the model; P is kept above 2e-16."""
    losses = -np.log(np.clip(scores.p_target, LOG_FLOOR, 1.0))
    return _ratio(counts @ losses, counts.sum(axis=1))


def brier(scores: Scores, counts: Floats) -> Floats:
    """Mean of (P(Ia) − is Ia)², from 0 to 1 (Brier 1950)."""
    return _ratio(counts @ (scores.p_ia - scores.is_ia) ** 2, counts.sum(axis=1))


def ece(scores: Scores, counts: Floats) -> Floats:
    """Expected calibration error of P(Ia): Σ n_bin/n |mean P(Ia) − share of Ia| over 15 bins of equal width."""
    bins = calibration_bin(scores.p_ia)
    excess = np.zeros((len(scores), CALIBRATION_BINS))
    excess[np.arange(len(scores)), bins] = scores.p_ia - scores.is_ia
    return _ratio(np.abs(counts @ excess).sum(axis=1), counts.sum(axis=1))


METRICS: Final[dict[str, Metric]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "auc": auc,
    "average_precision": average_precision,
    "figure_of_merit": figure_of_merit,
    "purity": purity,
    "completeness": completeness,
    "log_loss": log_loss,
    "brier": brier,
    "ece": ece,
}
"""Every metric of the report; a new one is a function and a line here."""

LOWER_IS_BETTER: Final = frozenset({"log_loss", "brier", "ece"})
"""Of METRICS."""


def selection_metrics(threshold: float) -> dict[str, Metric]:
    """Return purity, completeness and figure of merit of the objects with P(Ia) above a threshold."""
    return {
        "purity": lambda scores, counts: purity(scores, counts, threshold),
        "completeness": lambda scores, counts: completeness(scores, counts, threshold),
        "figure_of_merit": lambda scores, counts: figure_of_merit(scores, counts, threshold),
    }


def measure(
    scores: Scores,
    metrics: Mapping[str, Metric] = METRICS,
    reweigh: Reweigh | None = None,
    cells: Cells | None = None,
) -> dict[str, float]:
    """Return the value of each metric; of the cells where some are handed in."""
    scores, once = (scores, np.ones(len(scores))) if cells is None else (cells.scores[0], cells.counts.astype(float))
    counts = once[None] if reweigh is None else reweigh(scores, once[None])
    return {name: float(metric(scores, counts)[0]) for name, metric in metrics.items()}


def bootstrap(
    scores: Scores,
    rng: np.random.Generator,
    metrics: Mapping[str, Metric] = METRICS,
    n_resamples: int = RESAMPLES,
    *,
    reweigh: Reweigh | None = None,
    cells: Cells | None = None,
) -> dict[str, Estimate]:
    """Return each metric with its standard deviation over resamples of the objects.

    Values are those of all objects, exactly. Up to MAX_RESAMPLED objects are resampled one by one. Of more, the cells
    of `condense` are: how many of the drawn objects belong to each (a multinomial draw, as resampling objects amounts
    to), with one object of the cell standing for all of them. What counts classes and calls has exactly the deviation
    of resampled objects; what orders or averages probabilities has that of about 30,000 chosen objects scaled to the
    size of the sample, which is within the noise of 300 resamples (4 %).

    A resample in which a metric is undefined is left out; where that is more than half of them, the deviation is NaN.
    Resamples are drawn and measured in blocks, so memory does not grow with the catalogue beyond one block.

    Args:
        scores: of the objects.
        rng: of the resamples.
        metrics: what is measured.
        n_resamples: fewer than two give no deviation.
        reweigh: turns counts into weights, once for each resample.
        cells: of these objects, to be measured and resampled instead; for metrics to which nothing is lost by it.
    """
    values = measure(scores, metrics, reweigh, cells)
    if len(scores) < 2 or n_resamples < 2:
        return {name: Estimate(value, np.nan) for name, value in values.items()}
    if cells is None and len(scores) > MAX_RESAMPLED:
        cells = condense(scores)
    drawn: dict[str, list[Floats]] = {name: [] for name in metrics}
    drawn_from = scores if cells is None else cells.scores[0]
    for counts in draw_counts(len(scores), n_resamples, rng, cells):
        weights = counts if reweigh is None else reweigh(drawn_from, counts)
        for name, metric in metrics.items():
            drawn[name].append(metric(drawn_from, weights))
    return {name: Estimate(values[name], _spread(np.concatenate(drawn[name]))) for name in metrics}


@dataclass(frozen=True)
class Bootstrap:
    """A bootstrap that starts from its seed every time: one quantity has one error wherever it is shown."""

    seed: int = 0
    n_resamples: int = RESAMPLES

    def estimate(
        self,
        scores: Scores,
        metrics: Mapping[str, Metric] = METRICS,
        reweigh: Reweigh | None = None,
        cells: Cells | None = None,
    ) -> dict[str, Estimate]:
        """Return each metric with its deviation; see `bootstrap`."""
        rng = np.random.default_rng(self.seed)
        return bootstrap(scores, rng, metrics, self.n_resamples, reweigh=reweigh, cells=cells)


def draw_counts(n_objects: int, n_resamples: int, rng: np.random.Generator, cells: Cells | None) -> Iterator[Floats]:
    """Draw n_objects with replacement, n_resamples times, in blocks that fit into memory.

    Yields:
        (block, n_objects) how often each object is drawn, or (block, n_cells) how often one of each cell.
    """
    width = n_objects if cells is None else len(cells.counts)
    block = max(1, min(n_resamples, MAX_COUNTS_IN_MEMORY // max(1, width)))
    for start in range(0, n_resamples, block):
        n = min(block, n_resamples - start)
        if cells is None:
            yield _draw_objects(n_objects, n, rng)
        else:
            yield rng.multinomial(n_objects, cells.counts / n_objects, n).astype(np.float64)


def _draw_objects(n_objects: int, n_resamples: int, rng: np.random.Generator) -> Floats:
    """(n_resamples, n_objects) how often each object is drawn when n_objects are drawn with replacement."""
    rows = rng.integers(0, n_objects, (n_resamples, n_objects))
    rows += np.arange(n_resamples)[:, None] * n_objects
    return np.bincount(rows.ravel(), minlength=rows.size).reshape(rows.shape).astype(np.float64)


def _spread(values: Floats) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.std(ddof=1)) if len(defined) > max(1, len(values) / 2) else float("nan")


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def _count_called(scores: Scores, counts: Floats, threshold: float) -> tuple[Floats, Floats, Floats]:
    """Count per resample the true Ia called Ia, the others called Ia, and all true Ia."""
    called = scores.p_ia > threshold
    true = counts @ (called & scores.is_ia).astype(float)
    false = counts @ (called & ~scores.is_ia).astype(float)
    return true, false, counts @ scores.is_ia.astype(float)


def _cumulate_down(p: Floats, is_positive: npt.NDArray[np.bool_], counts: Floats) -> tuple[Floats, Floats]:
    """Count positives and others at or above each distinct probability, from the highest down: (resample, level)."""
    order = np.argsort(-p, kind="stable")
    level_ends = np.append(np.flatnonzero(np.diff(p[order])), len(p) - 1)
    ordered = counts[:, order]
    positives = np.cumsum(ordered * is_positive[order], axis=1)[:, level_ends]
    return positives, np.cumsum(ordered, axis=1)[:, level_ends] - positives


def _auc_one_versus_rest(p: Floats, is_positive: npt.NDArray[np.bool_], counts: Floats) -> Floats:
    """Probability that a positive is ranked above another object, ties counting half (Mann & Whitney 1947)."""
    if not len(p):
        return np.full(len(counts), np.nan)
    true, false = _cumulate_down(p, is_positive, counts)
    heights = true - 0.5 * np.diff(true, axis=1, prepend=0.0)
    area = (np.diff(false, axis=1, prepend=0.0) * heights).sum(axis=1)
    return _ratio(area, true[:, -1] * false[:, -1])
