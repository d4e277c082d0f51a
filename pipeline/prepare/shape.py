"""The shape of a light curve in numbers of fixed length, free of its brightness: what a novelty score looks at.

Vectorised over objects, and each object's numbers are the same whatever the company that it is in: sums run over its
own measurements only, in time order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.prepare.resample import Resampled

__all__ = ["describe_shapes", "shape_names"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

EDGES: Final = (-60.0, -40.0, -25.0, -15.0, -8.0, -3.0, 3.0, 8.0, 15.0, 25.0, 40.0, 60.0, 90.0)
"""Days from the brightest moment at which one bin of the curve ends and the next begins."""

WINDOW: Final = 6.0
"""Measurements within so many days of a step, in all bands, say how bright it is [d]."""

FLOOR: Final = 0.05
"""Of the flux at the brightest moment, added to each error in quadrature: a better S/N tells of calibration and of the
object's own wiggles, not of its kind, and would set a deep survey apart from a shallow one."""

LAG: Final = 15.0
"""Two measurements of a band further apart than this are no neighbours [d]."""

GLOBAL_NAMES: Final = (
    "log chi2 against zero",
    "log chi2 against constants",
    "von Neumann ratio",
    "von Neumann ratio of neighbours",
    "log chi2 of neighbours",
    "log chi2 of interpolation",
    "relative scatter about interpolation",
    "share below -3 sigma",
    "lowest S/N",
    "highest S/N",
    "S/N of the brightest moment",
)


@dataclass(frozen=True)
class Points:
    """Measurements one by one, ordered by object, band and time; all arrays (n_points,)."""

    owner: Integers
    band: Integers
    day: Floats
    flux: Floats
    error: Floats
    n_objects: int

    def total(self, values: Floats) -> Floats:
        """(n_objects,) sum over the points of each."""
        return np.bincount(self.owner, values, self.n_objects).astype(np.float64)

    def mean(self, values: Floats) -> Floats:
        """(n_objects,) mean over the points of each, 0 without one."""
        return self.total(values) / np.maximum(np.bincount(self.owner, minlength=self.n_objects), 1)


def shape_names(bands: tuple[str, ...]) -> tuple[str, ...]:
    """Name the columns of `describe_shapes`."""
    places = [f"{band} {place}" for place in range(len(EDGES) + 1) for band in bands]
    return (*(f"flux {place}" for place in places), *(f"S/N {place}" for place in places), *GLOBAL_NAMES)


def describe_shapes(resampled: Resampled) -> Floats:
    """Describe light curves by their binned course about the brightest moment, and by how smooth they are.

    Args:
        resampled: n objects; one without a step has no shape, all NaN.

    Returns:
        (n, len(shape_names(bands))) numbers of order one, NaN where nothing was measured: flux in units of that of the
        brightest moment, S/N and chi² compressed.
    """
    n_bands, seen = resampled.flux.shape[1], resampled.lengths > 0
    if not seen.all() or not len(resampled):
        shapes = np.full((len(resampled), len(shape_names(("",) * n_bands))), np.nan)
        if seen.any():
            offsets = np.append(resampled.offsets[:-1][seen], resampled.offsets[-1])
            shapes[seen] = describe_shapes(replace(resampled, offsets=offsets, header=resampled.header[seen]))
        return shapes
    peak, scale, peak_snr = find_brightest(resampled)
    points = take_points(resampled, FLOOR * scale)
    return np.column_stack([bin_course(points, peak, scale, n_bands), describe_whole(points, n_bands, scale, peak_snr)])


def take_points(resampled: Resampled, floor: Floats) -> Points:
    """List the measurements of each object band by band, their errors enlarged by its floor."""
    step, band = np.nonzero(resampled.observed)
    owner = np.repeat(np.arange(len(resampled)), resampled.lengths)[step]
    order = np.lexsort((step, band, owner))
    step, band, owner = step[order], band[order], owner[order]
    flux, error = (values[step, band].astype(np.float64) for values in (resampled.flux, resampled.flux_err))
    return Points(
        owner, band, resampled.days[step].astype(np.float64), flux, np.hypot(error, floor[owner]), len(resampled)
    )


def find_brightest(resampled: Resampled) -> tuple[Floats, Floats, Floats]:
    """Find when each object is brightest, by the S/N of all bands within WINDOW of a step.

    Returns:
        (n,) days since the first step; the mean flux there, or its error where that is larger [FLUXCAL]; its S/N.
    """
    weight = np.where(resampled.observed, resampled.flux_err.astype(np.float64) ** 2, np.inf) ** -1
    within = windows(resampled)
    total = sum_slices(weight.sum(axis=1), *within)
    flux = sum_slices((weight * resampled.flux).sum(axis=1), *within) / total
    snr = flux * np.sqrt(total)
    best = first_of_highest(snr, resampled.offsets)
    return resampled.days[best].astype(np.float64), np.maximum(flux[best], total[best] ** -0.5), snr[best]


def windows(resampled: Resampled) -> tuple[Integers, Integers]:
    """(n_steps,) first step within WINDOW of each, and the one after the last."""
    owner = np.repeat(np.arange(len(resampled)), resampled.lengths)
    minute = np.round(resampled.days.astype(np.float64) * 1440).astype(
        np.int64
    )  # whole, so that company rounds nothing
    width = round(WINDOW * 1440)
    key = owner * (minute.max() + 3 * width) + minute
    return np.searchsorted(key, key - width, "left"), np.searchsorted(key, key + width, "right")


def sum_slices(values: Floats, starts: Integers, ends: Integers) -> Floats:
    """Sum values[start:end] of each slice; none is empty."""
    indices = np.column_stack([starts, ends]).ravel()
    return np.asarray(np.add.reduceat(np.append(values, 0.0), indices)[::2])


def first_of_highest(values: Floats, offsets: Integers) -> Integers:
    """(n_objects,) index of the highest value of each object, the first of equals."""
    highest = np.repeat(np.maximum.reduceat(values, offsets[:-1]), np.diff(offsets))
    candidates = np.where(values >= highest, np.arange(len(values)), len(values))
    return np.asarray(np.minimum.reduceat(candidates, offsets[:-1]))


def bin_course(points: Points, peak: Floats, scale: Floats, n_bands: int) -> Floats:
    """(n, 2 × n_bins × n_bands) mean flux over scale, and asinh of its S/N; NaN where nothing was measured."""
    n_bins = len(EDGES) + 1
    place = np.searchsorted(EDGES, points.day - peak[points.owner])
    cell = (points.owner * n_bins + place) * n_bands + points.band
    size = points.n_objects * n_bins * n_bands
    weight = points.error**-2.0
    total = np.bincount(cell, weight, size)
    mean = np.divide(np.bincount(cell, weight * points.flux, size), total, out=np.full(size, np.nan), where=total > 0)
    shape = (points.n_objects, n_bins * n_bands)
    relative = np.clip(mean.reshape(shape) / scale[:, None], -3, 3)
    return np.column_stack([relative, np.arcsinh(mean * np.sqrt(total)).reshape(shape)])


def describe_whole(points: Points, n_bands: int, scale: Floats, peak_snr: Floats) -> Floats:
    """(n, len(GLOBAL_NAMES)): how variable, how smooth, how well measured."""
    snr = points.flux / points.error
    constant = chi2_of_constants(points, n_bands)
    step, near = differences(points)
    inner, interpolated, relative = interpolation(points, scale)
    columns = [
        np.log1p(points.mean(snr**2)),
        np.log1p(points.mean(constant)),
        ratio(points.total(step), 2 * points.total(constant)),
        ratio(points.total(step * near), 2 * points.total(constant)),
        np.log1p(ratio(points.total(step * near), points.total(near))),
        np.log1p(ratio(points.total(interpolated), points.total(inner))),
        np.sqrt(ratio(points.total(relative), points.total(inner))),
        points.mean((snr < -3).astype(np.float64)),
        np.arcsinh(np.minimum.reduceat(snr, starts(points))),
        np.arcsinh(np.maximum.reduceat(snr, starts(points))),
        np.arcsinh(peak_snr),
    ]
    return np.column_stack([np.clip(column, -20, 20) for column in columns])


def starts(points: Points) -> Integers:
    """(n_objects,) first point of each."""
    return np.searchsorted(points.owner, np.arange(points.n_objects)).astype(np.int64)


def chi2_of_constants(points: Points, n_bands: int) -> Floats:
    """(n_points,) squared distance from the mean of the object's band, in errors."""
    cell = points.owner * n_bands + points.band
    weight = points.error**-2.0
    size = points.n_objects * n_bands
    total = np.bincount(cell, weight, size)
    mean = np.bincount(cell, weight * points.flux, size) / np.where(total > 0, total, 1)
    return np.asarray((points.flux - mean[cell]) ** 2 * weight)


def differences(points: Points) -> tuple[Floats, Floats]:
    """(n_points,) squared difference from the point before in its band, in errors, and whether that is near; else 0."""
    same = follows(points)
    change = np.diff(points.flux, prepend=0.0) ** 2
    variance = points.error**2 + np.append(0.0, points.error[:-1]) ** 2
    near = same & (np.diff(points.day, prepend=0.0) <= LAG)
    return np.where(same, 2 * change / variance, 0.0), near.astype(np.float64)


def interpolation(points: Points, scale: Floats) -> tuple[Floats, Floats, Floats]:
    """Compare each point with the line between its two neighbours in its band.

    Returns:
        (n_points,) whether it has both near enough; squared distance in errors; squared distance in units of scale.
    """
    same = follows(points)
    before, after = np.arange(len(same)) - 1, np.minimum(np.arange(len(same)) + 1, len(same) - 1)
    gap = points.day[after] - points.day[before]
    inner = same & np.append(same[1:], False) & (gap > 0) & (gap <= 2 * LAG)
    share = np.where(inner, (points.day - points.day[before]) / np.where(inner, gap, 1), 0)
    line = (1 - share) * points.flux[before] + share * points.flux[after]
    variance = points.error**2 + ((1 - share) * points.error[before]) ** 2 + (share * points.error[after]) ** 2
    squared = np.where(inner, (points.flux - line) ** 2, 0.0)
    return inner.astype(np.float64), squared / variance, squared / scale[points.owner] ** 2


def follows(points: Points) -> npt.NDArray[np.bool_]:
    """(n_points,) whether the point before is of the same object and band."""
    return np.asarray((np.diff(points.owner, prepend=-1) == 0) & (np.diff(points.band, prepend=-1) == 0))


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Divide, 0 where there is nothing to divide by."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
