"""What the course of a light curve tells without a network: whether it changes, and how far it has been followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

if TYPE_CHECKING:
    from pipeline.prepare.resample import Resampled

__all__ = ["NIGHTS_AFTER", "constancy", "highest_snr", "nights_after_brightest"]

Floats = npt.NDArray[np.float64]

CALIBRATION_FLOOR: Final = 0.02
"""Share of a flux that photometry may be wrong by, beyond its error: a bright star is no variable for it."""

NIGHTS_AFTER: Final = 5
"""Nights after the brightest that tell what an object is not; before, too many supernovae look like none."""


def constancy(resampled: Resampled) -> Floats:
    """(n,) probability of fluxes that differ as much or more, had each band one constant flux; 1 where none could.

    It is the tail of chi² about each band's weighted mean, over all bands together, with errors of at least 2 % of
    the flux.
    """
    if not len(resampled):
        return np.zeros(0)
    seen, flux = resampled.observed, resampled.flux.astype(np.float64)
    variance = resampled.flux_err.astype(np.float64) ** 2 + (CALIBRATION_FLOOR * flux) ** 2
    weight = np.divide(1.0, variance, out=np.zeros_like(flux), where=seen)
    weighted = weight * flux
    starts = resampled.offsets[:-1]
    sums = [np.add.reduceat(values, starts, axis=0) for values in (weight, weighted, weighted * flux)]
    counts = np.add.reduceat(seen, starts, axis=0, dtype=np.int64)
    of_mean = np.divide(sums[1] ** 2, sums[0], out=np.zeros_like(sums[0]), where=counts > 0)
    freedom = (counts - (counts > 0)).sum(axis=1)
    chi_square = np.maximum((sums[2] - of_mean).sum(axis=1), 0.0)
    return np.where(freedom > 0, chdtrc(np.maximum(freedom, 1), chi_square), 1.0)


def nights_after_brightest(resampled: Resampled) -> npt.NDArray[np.int64]:
    """(n,) steps after the one whose S/N is the highest of any band; each object has at least one step."""
    if not len(resampled):
        return np.zeros(0, dtype=np.int64)
    best = _best_of_steps(resampled)
    highest = np.repeat(np.maximum.reduceat(best, resampled.offsets[:-1]), resampled.lengths)
    is_highest = np.flatnonzero(best == highest)
    last = is_highest[np.searchsorted(is_highest, resampled.offsets[1:]) - 1]
    return np.asarray(resampled.offsets[1:] - 1 - last, dtype=np.int64)


def highest_snr(resampled: Resampled) -> Floats:
    """(n,) highest S/N of any step and band; each object has at least one step."""
    if not len(resampled):
        return np.zeros(0)
    return np.asarray(np.maximum.reduceat(_best_of_steps(resampled), resampled.offsets[:-1]), dtype=np.float64)


def _best_of_steps(resampled: Resampled) -> npt.NDArray[np.float32]:
    """(n_steps,) highest S/N of any band, −inf where nothing was observed."""
    error = np.where(resampled.observed, resampled.flux_err, 1.0)
    return np.asarray(np.where(resampled.observed, resampled.flux / error, -np.inf).max(axis=1))
