"""The shape of a light curve in numbers of fixed length, free of its brightness: what a novelty score looks at.

Vectorised over objects, and each object's numbers are the same whatever the company that it is in: sums run over its
own measurements only, in time order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

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
    """Measurements one by one, ordered by object, band and time.

    Attributes:
        counts: (n_objects, n_bands) points of each object in each band; no object is without any.
        owner, cell: (n_points,) its object, and its row in `counts.ravel()`.
        day, flux, variance, error: (n_points,) days since the object's first step, and FLUXCAL.
    """

    counts: Integers
    owner: Integers
    cell: Integers
    day: Floats
    flux: Floats
    variance: Floats
    error: Floats

    @cached_property
    def starts(self) -> Integers:
        """(n_objects,) first point of each."""
        numbers = self.counts.sum(axis=1)
        return np.asarray(np.cumsum(numbers) - numbers)

    @cached_property
    def follows(self) -> npt.NDArray[np.bool_]:
        """(n_points,) whether the point before is of the same object and band."""
        return np.asarray(np.diff(self.cell, prepend=-1) == 0)

    def total(self, values: npt.NDArray[Any]) -> Floats:
        """(n_objects,) sum over the points of each."""
        return np.asarray(np.add.reduceat(values, self.starts, dtype=np.float64))

    def mean(self, values: npt.NDArray[Any]) -> Floats:
        """(n_objects,) mean over the points of each."""
        return np.asarray(self.total(values) / self.counts.sum(axis=1))


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
    return np.column_stack([bin_course(points, peak, scale, n_bands), describe_whole(points, scale, peak_snr)])


def take_points(resampled: Resampled, floor: Floats) -> Points:
    """List the measurements of each object band by band, their errors enlarged by its floor."""
    n_objects, n_bands = len(resampled), resampled.flux.shape[1]
    counts = np.add.reduceat(resampled.observed, resampled.offsets[:-1], axis=0, dtype=np.int64)
    owner = np.repeat(np.arange(n_objects), counts.sum(axis=1))
    cell = np.repeat(np.arange(n_objects * n_bands), counts.ravel())
    step = steps_by_band(resampled, counts)
    place = step * n_bands + cell - owner * n_bands
    flux, error = (values.ravel()[place].astype(np.float64) for values in (resampled.flux, resampled.flux_err))
    variance = error * error + (floor * floor)[owner]
    return Points(counts, owner, cell, resampled.days[step].astype(np.float64), flux, variance, np.sqrt(variance))


def steps_by_band(resampled: Resampled, counts: Integers) -> Integers:
    """(n_points,) step of each measurement, ordered by object, band and time; by counting, which needs no sort."""
    owner = np.repeat(np.arange(len(resampled)), resampled.lengths)
    starts = (np.cumsum(counts) - counts.ravel()).reshape(counts.shape)
    ordered = np.empty(counts.sum(), dtype=np.int64)
    for band in range(counts.shape[1]):
        steps = np.flatnonzero(resampled.observed[:, band])
        before = np.cumsum(counts[:, band]) - counts[:, band]
        ordered[(starts[:, band] - before)[owner[steps]] + np.arange(len(steps))] = steps
    return ordered


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
    n_bins, n_objects = len(EDGES) + 1, len(points.counts)
    place = np.searchsorted(EDGES, points.day - peak[points.owner])
    cell = points.cell + n_bands * (points.owner * (n_bins - 1) + place)
    size = n_objects * n_bins * n_bands
    weight = 1 / points.variance
    total = np.bincount(cell, weight, size)
    seen = np.flatnonzero(total)
    mean = np.bincount(cell, weight * points.flux, size)[seen] / total[seen]
    course = np.full((2, size), np.nan)
    course[0, seen] = np.clip(mean / scale[seen // (n_bins * n_bands)], -3, 3)
    course[1, seen] = np.arcsinh(mean * np.sqrt(total[seen]))
    return np.column_stack(list(course.reshape(2, n_objects, -1)))


def describe_whole(points: Points, scale: Floats, peak_snr: Floats) -> Floats:
    """(n, len(GLOBAL_NAMES)): how variable, how smooth, how well measured."""
    snr = points.flux / points.error
    constant = chi2_of_constants(points)
    step, near = differences(points)
    inner, interpolated, relative = (points.total(values) for values in interpolation(points, scale))
    scatter, steps, near_steps = 2 * points.total(constant), points.total(step), points.total(step * near)
    columns = [
        np.log1p(points.mean(snr * snr)),
        np.log1p(points.mean(constant)),
        ratio(steps, scatter),
        ratio(near_steps, scatter),
        np.log1p(ratio(near_steps, points.total(near))),
        np.log1p(ratio(interpolated, inner)),
        np.sqrt(ratio(relative, inner)),
        points.mean(snr < -3),
        np.arcsinh(np.minimum.reduceat(snr, points.starts)),
        np.arcsinh(np.maximum.reduceat(snr, points.starts)),
        np.arcsinh(peak_snr),
    ]
    return np.column_stack([np.clip(column, -20, 20) for column in columns])


def chi2_of_constants(points: Points) -> Floats:
    """(n_points,) squared distance from the mean of the object's band, in errors."""
    weight, size = 1 / points.variance, points.counts.size
    total = np.bincount(points.cell, weight, size)
    mean = np.bincount(points.cell, weight * points.flux, size) / np.where(total > 0, total, 1)
    return np.asarray((points.flux - mean[points.cell]) ** 2 * weight)


def differences(points: Points) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """(n_points,) squared difference from the point before in its band, in errors, and whether that is near; else 0."""
    squared, near = np.zeros(len(points.flux)), points.follows.copy()
    squared[1:] = 2 * np.diff(points.flux) ** 2 / (points.variance[1:] + points.variance[:-1])
    near[1:] &= np.diff(points.day) <= LAG
    return squared * points.follows, near


def interpolation(points: Points, scale: Floats) -> tuple[npt.NDArray[np.bool_], Floats, Floats]:
    """Compare each point with the line between its two neighbours in its band.

    Returns:
        (n_points,) whether it has both near enough; squared distance in errors; squared distance in units of scale.
    """
    day, flux, variance, same = points.day, points.flux, points.variance, points.follows
    inner, in_errors, in_scale = np.zeros(len(day), dtype=bool), np.zeros(len(day)), np.zeros(len(day))
    gap = day[2:] - day[:-2]
    inner[1:-1] = same[1:-1] & same[2:] & (gap > 0) & (gap <= 2 * LAG)
    share = (day[1:-1] - day[:-2]) / np.where(inner[1:-1], gap, 1)
    rest = 1 - share
    squared = (flux[1:-1] - rest * flux[:-2] - share * flux[2:]) ** 2 * inner[1:-1]
    in_errors[1:-1] = squared / (variance[1:-1] + rest * rest * variance[:-2] + share * share * variance[2:])
    in_scale[1:-1] = squared / (scale * scale)[points.owner[1:-1]]
    return inner, in_errors, in_scale


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Divide, 0 where there is nothing to divide by."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
