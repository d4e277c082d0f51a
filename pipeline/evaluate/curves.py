"""Curves and bins behind the figures: ROC, purity against completeness, reliability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipeline.evaluate.metrics import CALIBRATION_BINS, Number, Scores, calibration_bin

__all__ = [
    "MAX_CURVE_POINTS",
    "Number",
    "PurityCompletenessCurve",
    "ReliabilityBin",
    "RocCurve",
    "bin_reliability",
    "binomial_interval",
    "trace_curves",
]

MAX_CURVE_POINTS: Final = 400
"""Curves keep at most this many points, spread evenly along their length."""

INTERVAL_LEVEL: Final = 0.683

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RocCurve:
    """Share of non-Ia and of Ia with P(Ia) at or above each threshold; empty without both kinds."""

    false_positive_rate: tuple[Number, ...] = ()
    completeness: tuple[Number, ...] = ()
    threshold: tuple[Number, ...] = ()


@dataclass(frozen=True)
class PurityCompletenessCurve:
    """Purity and completeness of the objects with P(Ia) at or above each threshold; empty without true Ia."""

    completeness: tuple[Number, ...] = ()
    purity: tuple[Number, ...] = ()
    threshold: tuple[Number, ...] = ()


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin of P(Ia): how many objects, their mean P(Ia), and the share of them that is Ia.

    Attributes:
        fraction_low: lower end of the 68.3 % binomial interval of the share (Clopper & Pearson 1934).
        fraction_high: its upper end.
    """

    low: float
    high: float
    count: int
    mean_p_ia: Number
    fraction_ia: Number
    fraction_low: Number
    fraction_high: Number


def trace_curves(scores: Scores) -> tuple[RocCurve, PurityCompletenessCurve]:
    """Lower the threshold through every probability that occurs, and keep at most MAX_CURVE_POINTS."""
    order = np.argsort(-scores.p_ia, kind="stable")
    threshold = scores.p_ia[order]
    level_ends = np.append(np.flatnonzero(np.diff(threshold)), len(threshold) - 1)[: len(threshold)]
    true = np.cumsum(scores.is_ia[order])[level_ends].astype(float)
    false = level_ends + 1.0 - true
    threshold = threshold[level_ends]
    if not len(true) or not true[-1]:
        return RocCurve(), PurityCompletenessCurve()
    completeness, purity = true / true[-1], true / (true + false)
    kept = _thin(completeness, purity)
    tradeoff = PurityCompletenessCurve(_listed(completeness[kept]), _listed(purity[kept]), _listed(threshold[kept]))
    if not false[-1]:
        return RocCurve(), tradeoff
    x, y = np.insert(false / false[-1], 0, 0.0), np.insert(completeness, 0, 0.0)
    kept = _thin(x, y)
    return RocCurve(_listed(x[kept]), _listed(y[kept]), _listed(np.insert(threshold, 0, 1.0)[kept])), tradeoff


def bin_reliability(scores: Scores) -> tuple[ReliabilityBin, ...]:
    """Count objects and true Ia in CALIBRATION_BINS bins of equal width in P(Ia)."""
    bins = calibration_bin(scores.p_ia)
    count, n_ia, total = (
        np.bincount(bins, weights, CALIBRATION_BINS).astype(float) for weights in (None, scores.is_ia, scores.p_ia)
    )
    low, high = binomial_interval(n_ia, count)
    with np.errstate(invalid="ignore"):
        mean, fraction = total / count, n_ia / count
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    return tuple(
        ReliabilityBin(
            round(float(edges[i]), 6),
            round(float(edges[i + 1]), 6),
            int(count[i]),
            *(float(values[i]) for values in (mean, fraction, low, high)),
        )
        for i in range(CALIBRATION_BINS)
    )


def binomial_interval(successes: Floats, trials: Floats) -> tuple[Floats, Floats]:
    """Return the ends of the central 68.3 % interval of a share (Clopper & Pearson 1934); NaN without trials."""
    tail = (1 - INTERVAL_LEVEL) / 2
    failures = trials - successes
    low = np.where(successes > 0, stats.beta.ppf(tail, np.maximum(successes, 1), failures + 1), 0.0)
    high = np.where(failures > 0, stats.beta.ppf(1 - tail, successes + 1, np.maximum(failures, 1)), 1.0)
    return np.where(trials > 0, low, np.nan), np.where(trials > 0, high, np.nan)


def _thin(x: Floats, y: Floats) -> npt.NDArray[np.int64]:
    """Indices of at most MAX_CURVE_POINTS points, both ends among them, evenly spread along the curve."""
    if len(x) <= MAX_CURVE_POINTS:
        return np.arange(len(x))
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    wanted = np.linspace(0, length[-1], MAX_CURVE_POINTS - 1)
    return np.unique(np.append(np.searchsorted(length, wanted), [0, len(x) - 1]))[-MAX_CURVE_POINTS:]


def _listed(values: Floats) -> tuple[float, ...]:
    """Six digits after the point: finer than any page shows, and smaller files."""
    return tuple(np.round(values, 6).tolist())
