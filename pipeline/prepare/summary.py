"""Properties of light curves that any survey knows, never truth: what drift is measured in.

Vectorised over objects. A property that an object does not have is NaN.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.prepare.resample import Resampled, band_columns, group_epochs
from pipeline.schema import ZP_INTERNAL, LightCurves

__all__ = ["summarise_light_curves", "summary_units"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

NIGHT: Final = 0.5
"""Measurements closer than this are of one night [d]."""

COLOUR_SNR: Final = 3.0
"""Both bands of a colour must be measured with at least this S/N."""

UNITS: Final = {
    "best S/N": "",
    "brightest magnitude": "mag",
    "measurements": "",
    "nights": "",
    "days between nights": "d",
    "time span": "d",
    "bands": "",
    "share with S/N > 5": "",
    "share of negative fluxes": "",
    "photo-z": "",
    "photo-z error": "",
    "Milky Way E(B−V)": "mag",
}
"""Unit of each property that needs no band; "" for a pure number."""


def summary_units(bands: tuple[str, ...]) -> dict[str, str]:
    """Return each column of `summarise_light_curves` with its unit, in order."""
    colours = {_colour_name(*pair): "mag" for pair in pairwise(bands)}
    return {**UNITS, **colours, **{_depth_name(band): "FLUXCAL" for band in bands}}


def summarise_light_curves(light_curves: LightCurves, bands: tuple[str, ...]) -> pd.DataFrame:
    """Summarise each light curve in numbers that a survey knows.

    Args:
        light_curves: n objects; measurements in other bands are left out.
        bands: from blue to red, as the model has them.

    Returns:
        n rows of the columns of `summary_units`: best S/N of any measurement; magnitude of the brightest measurement
        with S/N > 3; number of measurements, and of nights with one; median days between neighbouring nights; days from
        first to last; number of bands with a measurement; shares of measurements; host photo-z and error; colours of
        neighbouring bands on the night with the best S/N, NaN where one of the two has S/N < 3; median FLUXCALERR by
        band.
    """
    nights = group_epochs(light_curves, bands, NIGHT)
    place = band_columns(light_curves, bands)
    used = place >= 0
    epochs = light_curves.epochs
    flux, error, mjd = (epochs[name].to_numpy(dtype=np.float64)[used] for name in ("FLUXCAL", "FLUXCALERR", "MJD"))
    owner, place, n_objects = light_curves.object_index[used], place[used], len(light_curves)
    snr, count = flux / error, np.bincount(owner, minlength=n_objects).astype(np.float64)
    cell = owner * len(bands) + place
    objects = light_curves.objects
    measured = np.where(snr > COLOUR_SNR, flux, np.nan)
    columns = {
        "best S/N": _highest(owner, snr, n_objects),
        "brightest magnitude": ZP_INTERNAL - 2.5 * np.log10(_highest(owner, measured, n_objects)),
        "measurements": count,
        "nights": nights.lengths.astype(np.float64),
        "days between nights": _median_gap(nights),
        "time span": _highest(owner, mjd, n_objects) + _highest(owner, -mjd, n_objects),
        "bands": np.bincount(cell, minlength=n_objects * len(bands))
        .reshape(n_objects, len(bands))
        .astype(bool)
        .sum(axis=1),
        "share with S/N > 5": _share(owner, snr > 5, count),
        "share of negative fluxes": _share(owner, flux < 0, count),
        "photo-z": objects["PHOTOZ"].to_numpy(dtype=np.float64),
        "photo-z error": objects["PHOTOZ_ERR"].to_numpy(dtype=np.float64),
        "Milky Way E(B−V)": objects["MWEBV"].to_numpy(dtype=np.float64),
    }
    colours = dict(zip(map(_colour_name, bands, bands[1:]), _colours(nights).T, strict=False))
    depths = _median(cell, error, n_objects * len(bands)).reshape(n_objects, len(bands))
    columns |= colours | dict(zip(map(_depth_name, bands), depths.T, strict=True))
    return pd.DataFrame(columns)[list(summary_units(bands))].astype(np.float64)


def _colour_name(blue: str, red: str) -> str:
    return f"{blue} − {red} at maximum"


def _depth_name(band: str) -> str:
    return f"median error in {band}"


def _highest(owner: Integers, values: Floats, n_objects: int) -> Floats:
    """(n_objects,) highest known value of each, NaN without one."""
    highest = np.full(n_objects, -np.inf)
    known = np.isfinite(values)
    np.maximum.at(highest, owner[known], values[known])
    return np.asarray(np.where(np.isfinite(highest), highest, np.nan))


def _share(owner: Integers, claim: npt.NDArray[np.bool_], count: Floats) -> Floats:
    """(n_objects,) share of the measurements of each for which a claim holds."""
    held = np.bincount(owner, claim, len(count)).astype(np.float64)
    return np.asarray(np.divide(held, count, out=np.full(len(count), np.nan), where=count > 0))


def _median(owner: Integers, values: Floats, n_owners: int) -> Floats:
    """(n_owners,) median of the values of each, NaN without one."""
    ordered = np.append(values[np.lexsort((values, owner))], np.nan)
    count = np.bincount(owner, minlength=n_owners)
    start = np.cumsum(count) - count
    low, high = (np.minimum(start + np.maximum(count + shift, 0) // 2, len(values)) for shift in (-1, 0))
    return np.where(count > 0, (ordered[low] + ordered[high]) / 2, np.nan)


def _median_gap(nights: Resampled) -> Floats:
    """(n_objects,) median days between neighbouring nights."""
    owner = np.repeat(np.arange(len(nights)), nights.lengths)
    within = np.diff(owner) == 0
    gaps = np.diff(nights.days.astype(np.float64))
    return _median(owner[1:][within], gaps[within], len(nights))


def _colours(nights: Resampled) -> Floats:
    """(n_objects, n_bands − 1) magnitude differences of neighbouring bands on the night of the best S/N."""
    n_bands = nights.flux.shape[1]
    colours = np.full((len(nights), n_bands - 1), np.nan)
    seen = np.flatnonzero(nights.lengths > 0)
    if not len(seen):
        return colours
    snr = np.where(nights.observed, nights.flux / np.where(nights.observed, nights.flux_err, 1), -np.inf)
    night_snr, starts = snr.max(axis=1), nights.offsets[:-1][seen]
    best = np.repeat(np.maximum.reduceat(night_snr, starts), nights.lengths[seen])
    candidates = np.where(night_snr >= best, np.arange(len(best)), len(best))
    chosen = np.minimum.reduceat(candidates, starts)
    flux = np.where(snr[chosen] >= COLOUR_SNR, nights.flux[chosen], np.nan).astype(np.float64)
    colours[seen] = -2.5 * np.log10(flux[:, :-1] / flux[:, 1:])
    return colours
