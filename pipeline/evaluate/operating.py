"""Where to cut: samples that thresholds on P(Ia) select, counts at every threshold, and what abstaining gains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from pipeline.evaluate.findings import Abstention, OperatingPoint, SelectionCounts
from pipeline.evaluate.metrics import PSEUDO_PURITY_WEIGHT, Bootstrap, Estimate, selection_metrics
from pipeline.evaluate.scores import Floats, Scores, collapse
from pipeline.train.calibration import halfway_below

__all__ = ["choose_thresholds", "count_selections", "judge_thresholds", "trace_abstention"]

TARGETS: Final = (0.90, 0.95, 0.98)
"""Completeness, and purity, that thresholds are chosen for."""

GRID_STEPS: Final = 1000
MAX_ABSTENTION_POINTS: Final = 200


def judge_thresholds(
    scores: Scores, thresholds: Mapping[str, float], bootstrap: Bootstrap, *, is_optimistic: bool = False
) -> tuple[OperatingPoint, ...]:
    """Say what each threshold selects, with bootstrap errors.

    Args:
        scores: of the objects.
        thresholds: on P(Ia), by name; NaN selects nothing and leaves the metrics undefined.
        bootstrap: of the metrics.
        is_optimistic: whether the thresholds were chosen on these very objects.
    """
    return tuple(_judge(scores, name, value, bootstrap, is_optimistic) for name, value in thresholds.items())


def choose_thresholds(scores: Scores) -> dict[str, float]:
    """Choose thresholds on the labels of these very objects, by what is asked; NaN where nothing does it.

    A completeness is reached by the highest threshold, hence at the best purity to be had there that way; a purity
    at the highest completeness. A threshold stands halfway between the last probability that it lets in and the next
    one below, so that writing it with fewer digits does not change the sample.
    """
    p, true, called = _count_down(scores)
    n_ia = int(scores.is_ia.sum())
    purity = true / called
    merit = true**2 / (max(n_ia, 1) * (true + PSEUDO_PURITY_WEIGHT * (called - true)))
    chosen = {}
    for target in TARGETS:
        places = np.flatnonzero((true / max(n_ia, 1) >= target) & (true > 0))
        chosen[f"completeness {100 * target:.0f} %"] = halfway_below(p, places[0]) if len(places) else math.nan
    for target in TARGETS:
        places = np.flatnonzero((purity >= target) & (true > 0))
        chosen[f"purity {100 * target:.0f} %"] = halfway_below(p, places[-1]) if len(places) else math.nan
    chosen["best figure of merit"] = halfway_below(p, merit.argmax()) if merit.max(initial=0.0) > 0 else math.nan
    return chosen


def count_selections(scores: Scores) -> SelectionCounts:
    """Count true Ia and others with P(Ia) above each threshold of the grid."""
    grid = np.arange(GRID_STEPS + 1) / GRID_STEPS
    ia, others = np.sort(scores.p_ia[scores.is_ia]), np.sort(scores.p_ia[~scores.is_ia])
    above_ia, above_others = (len(p) - np.searchsorted(p, grid, side="right") for p in (ia, others))
    return SelectionCounts(
        tuple(grid.tolist()), tuple(above_ia.tolist()), tuple(above_others.tolist()), len(ia), len(others)
    )


def trace_abstention(scores: Scores) -> Abstention:
    """Leave out more and more of the objects, the least certain first; objects of one confidence go together."""
    if not len(scores):
        return Abstention()
    confidence = scores.probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(confidence[order])), len(order) - 1)
    coverage = (ends + 1) / len(order)
    wanted = np.linspace(coverage[0], 1, MAX_ABSTENTION_POINTS - 1)
    kept = np.unique(np.append(np.searchsorted(coverage, wanted - 1e-12), len(ends) - 1))[::-1]
    called_ia = scores.called == scores.positive
    correct, called, true = (
        np.cumsum(claim[order])[ends[kept]].astype(float)
        for claim in (scores.is_correct, called_ia, called_ia & scores.is_ia)
    )
    n_ia = float(scores.is_ia.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = (
            coverage[kept],
            confidence[order][ends[kept]],
            correct / (ends[kept] + 1),
            true / called,
            true / n_ia,
        )
    return Abstention(*(tuple(np.round(values, 6).tolist()) for values in columns))


def _judge(scores: Scores, name: str, threshold: float, bootstrap: Bootstrap, is_optimistic: bool) -> OperatingPoint:
    metrics = selection_metrics(threshold)
    if math.isnan(threshold):
        undefined = dict.fromkeys(metrics, Estimate(math.nan, math.nan))
        return OperatingPoint(name, threshold, 0, undefined, is_optimistic)
    found = bootstrap.estimate(scores, metrics, cells=collapse(scores, (threshold,)))
    return OperatingPoint(name, threshold, int((scores.p_ia > threshold).sum()), found, is_optimistic)


def _count_down(scores: Scores) -> tuple[Floats, Floats, Floats]:
    """Lower the threshold: each probability above 0 that occurs, with true Ia and all objects at or above it."""
    order = np.argsort(-scores.p_ia, kind="stable")
    p = scores.p_ia[order]
    ends = np.append(np.flatnonzero(np.diff(p)), len(p) - 1)[: len(p)]
    ends = ends[p[ends] > 0]
    return p[ends], np.cumsum(scores.is_ia[order])[ends].astype(float), ends + 1.0
