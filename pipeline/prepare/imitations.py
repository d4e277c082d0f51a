"""Curves that are no supernovae, made from real ones: their cadence and errors, another course of the flux."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.schema import LightCurves

__all__ = ["IMITATIONS", "VARIANTS", "disturb", "imitate"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Imitation = Callable[[LightCurves, np.random.Generator], LightCurves]

PERIODS: Final = (3.0, 100.0)
"""Shortest and longest period of a wave, and memory of a walk [d]."""

MOST_DROPPED: Final = 0.6
"""Of the measurements of a disturbed curve, at most."""

BAND_LOST: Final = 0.1
"""Probability that a disturbed curve lacks a band."""


def make_random(light_curves: LightCurves, rng: np.random.Generator) -> LightCurves:
    """Nothing but noise: flux ~ N(0, error)."""
    return with_flux(light_curves, rng.normal(0, column(light_curves, "FLUXCALERR")))


def make_reversed(light_curves: LightCurves, rng: np.random.Generator) -> LightCurves:
    """Time runs backwards: MJD becomes first + last − MJD, everything measured stays with its moment."""
    del rng
    first, last = ends_of_objects(light_curves)
    mirrored = first + last - np.arange(len(first))
    epochs = light_curves.epochs.iloc[mirrored].reset_index(drop=True)
    mjd = column(light_curves, "MJD")
    return replace(light_curves, epochs=epochs.assign(MJD=mjd[first] + mjd[last] - mjd[mirrored]))


def make_shuffled(light_curves: LightCurves, rng: np.random.Generator) -> LightCurves:
    """The fluxes of each band, with their errors, at each other's times."""
    cell = band_cell(light_curves)
    return exchange(light_curves, np.argsort(cell, kind="stable"), np.lexsort((rng.random(len(cell)), cell)))


def make_sinusoidal(light_curves: LightCurves, rng: np.random.Generator) -> LightCurves:
    """A wave about the mean of each band, as high as the flux's own deviation × √2, of one period, with noise."""
    mean, deviation = band_statistics(light_curves)
    return with_noise(light_curves, mean + np.sqrt(2) * deviation * waves(light_curves, rng), rng)


def make_constant(light_curves: LightCurves, rng: np.random.Generator) -> LightCurves:
    """The root mean square flux of each band, always, with noise."""
    return with_noise(light_curves, np.hypot(*band_statistics(light_curves)), rng)


IMITATIONS: Final[dict[str, Imitation]] = {
    "random": make_random,
    "reversed": make_reversed,
    "shuffled": make_shuffled,
    "sinusoidal": make_sinusoidal,
    "constant": make_constant,
}
"""Each kind of curve that is no supernova; a new one is a function and a line here."""


def scatter_widely(light_curves: LightCurves, rng: np.random.Generator) -> LightCurves:
    """Noise as high as the flux's deviation, whatever the errors."""
    mean, deviation = band_statistics(light_curves)
    return with_flux(light_curves, mean * rng.integers(0, 2) + deviation * rng.normal(size=len(mean)))


def reverse_bands(light_curves: LightCurves, rng: np.random.Generator) -> LightCurves:
    """The fluxes of each band in reverse order, the times as they are."""
    del rng
    cell = band_cell(light_curves)
    return exchange(light_curves, np.argsort(cell, kind="stable"), np.lexsort((-np.arange(len(cell)), cell)))


def shuffle_across_bands(light_curves: LightCurves, rng: np.random.Generator) -> LightCurves:
    """The fluxes of an object, with their errors, at each other's times and bands."""
    owner = light_curves.object_index
    return exchange(light_curves, np.arange(len(owner)), np.lexsort((rng.random(len(owner)), owner)))


def wave_about_zero(light_curves: LightCurves, rng: np.random.Generator) -> LightCurves:
    """A wave of the same height in all bands, half of it negative."""
    owner = light_curves.object_index
    height = np.zeros(len(light_curves))
    np.maximum.at(height, owner, np.hypot(*band_statistics(light_curves)))
    return with_noise(light_curves, height[owner] * waves(light_curves, rng), rng)


def stay_bright(light_curves: LightCurves, rng: np.random.Generator) -> LightCurves:
    """The same flux in all bands, always, of any S/N of the object's range."""
    owner, flux = light_curves.object_index, column(light_curves, "FLUXCAL")
    highest = np.zeros(len(light_curves))
    np.maximum.at(highest, owner, flux)
    return with_noise(light_curves, (highest * rng.random(len(highest)))[owner], rng)


def walk_at_random(light_curves: LightCurves, rng: np.random.Generator) -> LightCurves:
    """A sum of waves of many periods, the same in all bands: smooth, but going anywhere, as an active galaxy does."""
    mean, deviation = band_statistics(light_curves)
    course = np.sum([waves(light_curves, rng) for _ in range(5)], axis=0) / np.sqrt(2.5)
    return with_noise(light_curves, mean + deviation * course, rng)


VARIANTS: Final[tuple[Imitation, ...]] = (
    scatter_widely,
    reverse_bands,
    shuffle_across_bands,
    wave_about_zero,
    stay_bright,
    walk_at_random,
)
"""Further ways to be no supernova, so that a score does not learn the details of IMITATIONS."""


def imitate(light_curves: LightCurves, kind: str, rng: np.random.Generator) -> LightCurves:
    """Make one curve that is no supernova of each that is one.

    Raises:
        KeyError: if the kind is none of IMITATIONS.
    """
    return IMITATIONS[kind](light_curves, rng)


def disturb(light_curves: LightCurves, rng: np.random.Generator) -> LightCurves:
    """Observe the same objects worse: a shorter season, fewer measurements, more noise, other zeropoints.

    An object left empty keeps all that it had.
    """
    owner, mjd = light_curves.object_index, column(light_curves, "MJD")
    first, last = ends_of_objects(light_curves)
    cut = rng.random((2, len(light_curves))) * (rng.random((2, len(light_curves))) < 0.4)
    share = (mjd - mjd[first]) / np.maximum(mjd[last] - mjd[first], 1e-9)
    kept = (share >= 0.6 * cut[0][owner]) & (share <= 1 - 0.6 * cut[1][owner])
    kept &= rng.random(len(owner)) >= (MOST_DROPPED * rng.random(len(light_curves)))[owner]
    cell = band_cell(light_curves)
    kept &= (rng.random(int(cell.max(initial=0)) + 1) >= BAND_LOST)[cell]
    kept |= (np.bincount(owner[kept], minlength=len(light_curves)) == 0)[owner]
    noise = (rng.exponential(0.5, len(light_curves)))[owner]
    zeropoint = np.exp(rng.normal(0, 0.05, int(cell.max(initial=0)) + 1))[cell]
    error = column(light_curves, "FLUXCALERR")
    flux = column(light_curves, "FLUXCAL") + rng.normal(0, error) * noise
    noisy = with_flux(light_curves, flux * zeropoint, error * np.sqrt(1 + noise**2) * zeropoint)
    offsets = np.append(0, np.cumsum(np.bincount(owner[kept], minlength=len(light_curves)))).astype(np.int64)
    return LightCurves(noisy.objects, noisy.epochs[kept].reset_index(drop=True), offsets)


def column(light_curves: LightCurves, name: str) -> Floats:
    """(n_epochs,) float64."""
    return light_curves.epochs[name].to_numpy(dtype=np.float64)


def ends_of_objects(light_curves: LightCurves) -> tuple[Integers, Integers]:
    """(n_epochs,) first and last epoch of the object of each epoch."""
    lengths, offsets = np.diff(light_curves.offsets), light_curves.offsets
    return np.repeat(offsets[:-1], lengths), np.repeat(offsets[1:] - 1, lengths)


def with_flux(light_curves: LightCurves, flux: Floats, error: Floats | None = None) -> LightCurves:
    """Put other fluxes, and errors if given, at the same times."""
    changes = {"FLUXCAL": flux} if error is None else {"FLUXCAL": flux, "FLUXCALERR": error}
    return replace(light_curves, epochs=light_curves.epochs.assign(**changes))


def with_noise(light_curves: LightCurves, flux: Floats, rng: np.random.Generator) -> LightCurves:
    """Measure these fluxes with the errors there are."""
    return with_flux(light_curves, flux + rng.normal(0, column(light_curves, "FLUXCALERR")))


def exchange(light_curves: LightCurves, places: Integers, sources: Integers) -> LightCurves:
    """Put flux and error of the epochs `sources` at the epochs `places`."""
    taken = np.empty(len(places), dtype=np.int64)
    taken[places] = sources
    return with_flux(light_curves, *(column(light_curves, name)[taken] for name in ("FLUXCAL", "FLUXCALERR")))


def waves(light_curves: LightCurves, rng: np.random.Generator) -> Floats:
    """(n_epochs,) a sine of time for each object, its period drawn from PERIODS, its phase from all."""
    owner, mjd = light_curves.object_index, column(light_curves, "MJD")
    period = np.exp(rng.uniform(math.log(PERIODS[0]), math.log(PERIODS[1]), len(light_curves)))
    phase = rng.uniform(0, 2 * np.pi, len(light_curves))
    return np.asarray(np.sin(2 * np.pi * mjd / period[owner] + phase[owner]))


def band_cell(light_curves: LightCurves) -> Integers:
    """(n_epochs,) a number for each band of each object."""
    codes = light_curves.epochs["BAND"].cat.codes.to_numpy().astype(np.int64)
    return light_curves.object_index * (int(codes.max(initial=0)) + 1) + codes


def band_statistics(light_curves: LightCurves) -> tuple[Floats, Floats]:
    """(n_epochs,) mean and standard deviation of the flux in the band of the object that each epoch belongs to."""
    cell, flux = band_cell(light_curves), column(light_curves, "FLUXCAL")
    count = np.maximum(np.bincount(cell), 1)
    mean = np.bincount(cell, flux) / count
    squared = np.bincount(cell, (flux - mean[cell]) ** 2) / count
    return mean[cell], np.sqrt(squared)[cell]
