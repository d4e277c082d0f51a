"""Calibrated probabilities and thresholds, both from validation objects."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

__all__ = ["choose_thresholds", "ensemble_probabilities", "fit_temperature", "halfway_below"]

FloatArray = npt.NDArray[np.float64]

PSEUDO_PURITY_WEIGHT: Final = 3.0
"""W of the SPCC figure of merit (Kessler et al. 2010, arXiv:1008.1024)."""


def ensemble_probabilities(logits: FloatArray, temperature: float = 1.0) -> FloatArray:
    """Return (member, n, class) probabilities from logits of that shape: softmax of logits / temperature."""
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def fit_temperature(logits: FloatArray, labels: npt.NDArray[np.int64]) -> float:
    """Find the temperature that minimises the ensemble's log-loss (Guo et al. 2017, arXiv:1706.04599).

    Args:
        logits: (member, n, class) of validation objects.
        labels: (n) index of the true class.
    """

    def log_loss(log_temperature: float) -> float:
        mean = ensemble_probabilities(logits, float(np.exp(log_temperature))).mean(axis=0)
        return float(-np.log(np.maximum(mean[np.arange(len(labels)), labels], 1e-12)).mean())

    found = minimize_scalar(log_loss, bounds=(np.log(0.1), np.log(10.0)), method="bounded")
    return float(np.exp(found.x))


def choose_thresholds(p_ia: FloatArray, is_ia: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Choose thresholds above which P(Ia) means Ia: the best figure of merit, 95 % purity, 90 % completeness.

    Each stands between two probabilities (`halfway_below`). One that no cut on these objects reaches is left out.
    """
    order = np.argsort(-p_ia, kind="stable")
    cuts, hits = p_ia[order], np.cumsum(is_ia[order])
    wrong = np.arange(1, len(cuts) + 1) - hits
    last_of_tie = np.append(np.diff(cuts) != 0, True)
    completeness, purity = hits / max(int(is_ia.sum()), 1), hits / (hits + wrong)
    merit = np.where(last_of_tie, completeness * hits / np.maximum(hits + PSEUDO_PURITY_WEIGHT * wrong, 1), -1)
    thresholds = {"figure_of_merit": halfway_below(cuts, merit.argmax())}
    pure, complete = (np.flatnonzero(last_of_tie & ok) for ok in (purity >= 0.95, completeness >= 0.90))
    if len(pure):
        thresholds["purity95"] = halfway_below(cuts, pure[-1])
    if len(complete):
        thresholds["completeness90"] = halfway_below(cuts, complete[0])
    return thresholds


def halfway_below(probabilities: FloatArray, place: int | np.integer[Any]) -> float:
    """Return the middle between a probability and the next one after it, or 0; never the probability itself.

    Args:
        probabilities: (n,) falling.
        place: of one that is higher than the next.
    """
    lower = float(probabilities[place + 1]) if place + 1 < len(probabilities) else 0.0
    middle = (float(probabilities[place]) + lower) / 2
    return middle if middle < probabilities[place] else lower
