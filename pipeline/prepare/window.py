"""The part of a light curve that shows the supernova: what is years before or after it tells a network nothing."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.prepare.resample import Resampled

__all__ = ["brightest_day", "in_window", "keep_steps", "within"]

NEIGHBOURHOOD: Final = 15.0
"""A supernova is bright in all steps within so many days of its brightest; an outlier is alone [d]."""

HIGHEST_SNR: Final = 10.0
"""A single measurement counts no more than one of this S/N."""

FINENESS: Final = 1024
"""Parts of a day, and of an S/N, in which these are counted."""


def within(resampled: Resampled, before: float, after: float) -> Resampled:
    """Keep the steps of each object in a window about its brightest day; see `in_window` and `keep_steps`."""
    return keep_steps(resampled, in_window(resampled, before, after))


def in_window(resampled: Resampled, before: float, after: float) -> npt.NDArray[np.bool_]:
    """(n_steps,) whether a step is so many days or fewer before, or after, the brightest day of its object [d]."""
    since = resampled.days - np.repeat(brightest_day(resampled), resampled.lengths)
    return np.asarray((since >= -before) & (since <= after))


def keep_steps(resampled: Resampled, kept: npt.NDArray[np.bool_]) -> Resampled:
    """Return the same objects with some of their steps; days count from the first step that is left."""
    if kept.all():
        return resampled
    offsets = np.concatenate([[0], np.cumsum(kept)])[resampled.offsets].astype(np.int64)
    days, lengths = resampled.days[kept], np.diff(offsets)
    first = days[np.minimum(offsets[:-1], len(days) - 1)]
    return Resampled(
        offsets=offsets,
        days=days - np.repeat(first, lengths),
        flux=resampled.flux[kept],
        flux_err=resampled.flux_err[kept],
        observed=resampled.observed[kept],
        header=resampled.header,
    )


def brightest_day(resampled: Resampled) -> npt.NDArray[np.float32]:
    """(n_objects,) day of the highest S/N near which most others are high as well; 0 for an object without a step.

    Sums and distances of all objects are taken at once, in integers, so that no object's company changes its day.
    """
    error = np.where(resampled.observed, resampled.flux_err, 1)
    snr = np.where(resampled.observed, resampled.flux / error, 0.0)
    owner = np.repeat(np.arange(len(resampled)), resampled.lengths)
    near, weight = int(NEIGHBOURHOOD * FINENESS), _whole(snr.clip(0, HIGHEST_SNR).sum(axis=1))
    ticks = _whole(resampled.days)
    place = ticks + owner * (int(ticks.max(initial=0)) + near + 1)
    total = np.concatenate([[0], np.cumsum(weight)])
    low, high = np.searchsorted(place, place - near), np.searchsorted(place, place + near, side="right")
    centre = place[_first_highest(total[high] - total[low], owner)]
    is_near = np.abs(place - np.repeat(centre, resampled.lengths[resampled.lengths > 0])) <= near
    best = _first_highest(np.where(is_near, snr.max(axis=1, initial=0), -1.0), owner)
    days = np.zeros(len(resampled), dtype=np.float32)
    days[owner[best]] = resampled.days[best]
    return days


def _whole(values: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Return values in units of 1/FINENESS."""
    return np.rint(values.astype(np.float64) * FINENESS).astype(np.int64)


def _first_highest(values: npt.NDArray[np.number], owner: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Place of the highest value of each owner that has one, in order; owners stand together."""
    order = np.lexsort((-values, owner))
    return order[np.flatnonzero(np.diff(owner[order], prepend=-1))]
