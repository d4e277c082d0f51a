"""Where the Brier score comes from, and what purity and completeness the probabilities promise."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.evaluate.findings import BrierParts, ExpectedSelection
from pipeline.evaluate.scores import CALIBRATION_BINS, Floats, Scores, calibration_bin

__all__ = ["compare_promises", "take_brier_apart"]

PROMISE_STEPS: Final = 100


def take_brier_apart(scores: Scores) -> BrierParts | None:
    """Take the Brier score of P(Ia) apart over the reliability bins; None without objects.

    Within a bin of mean probability p̄ and share of Ia ō, Σ (p − o)² = n (p̄ − ō)² + Σ (p − p̄)² + Σ (o − ō)²
    − 2 Σ (p − p̄)(o − ō); the third term is summed over bins into uncertainty − resolution (Stephenson et al. 2008,
    Weather and Forecasting 23, 752, equations 9 to 11).
    """
    if not len(scores):
        return None
    bins = calibration_bin(scores.p_ia)
    is_ia = scores.is_ia.astype(float)
    count, p_sum, ia_sum = (np.bincount(bins, weights, CALIBRATION_BINS) for weights in (None, scores.p_ia, is_ia))
    filled = np.maximum(count, 1)
    p_mean, share = p_sum / filled, ia_sum / filled
    base = float(is_ia.mean())
    p_excess, ia_excess = scores.p_ia - p_mean[bins], is_ia - share[bins]
    return BrierParts(
        reliability=float(count @ (p_mean - share) ** 2) / len(bins),
        resolution=float(count @ (share - base) ** 2) / len(bins),
        uncertainty=base * (1 - base),
        within_bins=float((p_excess**2 - 2 * p_excess * ia_excess).mean()),
    )


def compare_promises(scores: Scores) -> ExpectedSelection:
    """Set purity and completeness that the probabilities promise beside the true ones, at 0, 0.01, … 1."""
    grid = np.arange(PROMISE_STEPS + 1) / PROMISE_STEPS
    order = np.argsort(scores.p_ia, kind="stable")
    first = np.searchsorted(scores.p_ia[order], grid, side="right")
    called = (len(order) - first).astype(float)
    promised, true = (_sum_from(values[order], first) for values in (scores.p_ia, scores.is_ia.astype(float)))
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = (
            grid,
            promised / called,
            true / called,
            promised / scores.p_ia.sum(),
            true / float(scores.is_ia.sum()),
        )
    return ExpectedSelection(*(tuple(np.round(values, 6).tolist()) for values in columns))


def _sum_from(values: Floats, first: npt.NDArray[np.int64]) -> Floats:
    """Sum the values from each place on."""
    return np.asarray(np.append(np.cumsum(values[::-1])[::-1], 0.0)[first])
