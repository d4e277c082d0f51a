"""When a classifier keeps quiet: too few epochs, nothing that changes, unlike a supernova, or undecided.

Who abstains keeps its probabilities; only the status says that they are not to be relied upon. The first reason that
holds is the one that is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from pipeline.prepare.resample import Resampled

__all__ = ["constancy", "nights_after_brightest", "reasons_to_abstain"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CALIBRATION_FLOOR: Final = 0.02
"""Share of a flux that photometry may be wrong by, beyond its error: a bright star is no variable for it."""


def reasons_to_abstain(
    resampled: Resampled,
    *,
    min_steps: int,
    constant_above: float,
    is_novel: Bools,
    undecided: tuple[float, float] | None,
    p_ia: Floats,
) -> npt.NDArray[np.object_]:
    """(n,) why each object abstains, "" for those that do not.

    Args:
        resampled: n objects, each with at least one step.
        min_steps: fewer are too few.
        constant_above: `constancy` above this is that of an object that does not change.
        is_novel: (n,) whether each is unlike a supernova.
        undecided: between these two values of P(Ia), both included, nothing is decided; None: always decided.
        p_ia: (n,) probability of Ia.
    """
    reasons = np.full(len(resampled), "", dtype=object)
    if undecided is not None:
        low, high = undecided
        reasons[(p_ia >= low) & (p_ia <= high)] = f"undecided: P(Ia) is between {low:.3g} and {high:.3g}"
    reasons[is_novel] = "novel: its course of flux is unlike those of the training supernovae"
    reasons[constancy(resampled) > constant_above] = "constant: its fluxes do not change beyond their errors"
    reasons[resampled.lengths < min_steps] = f"fewer than {min_steps} epochs after grouping"
    return reasons


def constancy(resampled: Resampled) -> Floats:
    """(n,) probability of fluxes that differ as much or more, had each band one constant flux; 1 where none could.

    It is the tail of chi² about each band's weighted mean, over all bands together, with errors of at least 2 % of
    the flux.
    """
    n_objects, n_bands = len(resampled), resampled.flux.shape[1]
    chi_square, freedom = np.zeros(n_objects), np.zeros(n_objects)
    for owner, flux, weight in _measurements(resampled, n_bands):
        total = np.bincount(owner, weight, n_objects)
        has_any = total > 0
        mean = np.bincount(owner, weight * flux, n_objects) / np.where(has_any, total, 1.0)
        chi_square += np.bincount(owner, weight * (flux - mean[owner]) ** 2, n_objects)
        freedom += np.bincount(owner, minlength=n_objects) - has_any
    return np.where(freedom > 0, chi2.sf(chi_square, np.maximum(freedom, 1)), 1.0)


def nights_after_brightest(resampled: Resampled) -> npt.NDArray[np.int64]:
    """(n,) steps after the one whose S/N is the highest of any band; each object has at least one step."""
    error = np.where(resampled.observed, resampled.flux_err, 1.0)
    best = np.where(resampled.observed, resampled.flux / error, -np.inf).max(axis=1)
    owner = np.repeat(np.arange(len(resampled)), resampled.lengths)
    order = np.lexsort((best, owner))
    brightest = order[resampled.offsets[1:] - 1]
    return np.asarray(resampled.offsets[1:] - 1 - brightest, dtype=np.int64)


def _measurements(resampled: Resampled, n_bands: int) -> Iterator[tuple[npt.NDArray[np.int64], Floats, Floats]]:
    """Yield of each band the owner, flux and weight of its measurements."""
    owner = np.repeat(np.arange(len(resampled), dtype=np.int64), resampled.lengths)
    for band in range(n_bands):
        seen = resampled.observed[:, band]
        flux = resampled.flux[seen, band].astype(np.float64)
        error = resampled.flux_err[seen, band].astype(np.float64)
        yield owner[seen], flux, 1 / (error**2 + (CALIBRATION_FLOOR * flux) ** 2)
