"""Metrics in bins of redshift, of signal-to-noise and of how much was measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from pipeline.evaluate.findings import MetricBin
from pipeline.evaluate.metrics import METRICS, Bootstrap
from pipeline.evaluate.scores import Floats, Scores, collapse

__all__ = ["slice_by_redshift", "slice_by_scale"]

REDSHIFT_STEP: Final = 0.1
SLICE_METRICS: Final = ("accuracy", "purity", "completeness", "figure_of_merit")
"""What calls alone decide, so that no bin needs more than counts of calls."""

MANTISSAS: Final = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
"""Edges of bins in every decade: round numbers, about evenly spaced in the logarithm."""

SCALE_EDGES: Final = tuple(float(f"{mantissa}e{decade}") for decade in range(-2, 6) for mantissa in MANTISSAS)

Edges = Callable[[int], tuple[float, float]]


def slice_by_redshift(scores: Scores, redshift: Floats, bootstrap: Bootstrap) -> tuple[MetricBin, ...]:
    """Measure in bins of width 0.1; unknown redshifts are in none, empty bins left out.

    Args:
        scores: of n objects.
        redshift: (n,) NaN where unknown.
        bootstrap: of the metrics.
    """
    # The small shift keeps 0.3 out of the bin below it: 0.3 / 0.1 is 2.9999999999999996.
    index = np.floor(redshift / REDSHIFT_STEP + 1e-9)
    return _slice(scores, index, lambda k: (round(k * REDSHIFT_STEP, 6), round((k + 1) * REDSHIFT_STEP, 6)), bootstrap)


def slice_by_scale(scores: Scores, values: Floats, bootstrap: Bootstrap) -> tuple[MetricBin, ...]:
    """Measure in bins from 1 to 1.5, 2, 3, 5, 7, 10 and so on, and below 1; of counts, bins that hold one.

    Args:
        scores: of n objects.
        values: (n,) of any positive quantity; unknown values, and those not within 0.01 to 700,000, are in no bin.
        bootstrap: of the metrics.
    """
    edges = np.array(SCALE_EDGES)
    index = np.asarray(np.searchsorted(edges, values, side="right") - 1.0, dtype=np.float64)
    index[~((values >= edges[0]) & (values < edges[-1]))] = np.nan
    return _slice(scores, index, lambda k: (SCALE_EDGES[k], SCALE_EDGES[k + 1]), bootstrap)


def _slice(scores: Scores, index: Floats, edges: Edges, bootstrap: Bootstrap) -> tuple[MetricBin, ...]:
    metrics = {name: METRICS[name] for name in SLICE_METRICS}
    rows = []
    for place in np.unique(index[np.isfinite(index)]).astype(int).tolist():
        inside = scores.take(np.flatnonzero(index == place))
        found = bootstrap.estimate(inside, metrics, cells=collapse(inside))
        rows.append(MetricBin(*edges(place), len(inside), int(inside.is_ia.sum()), found))
    return tuple(rows)
