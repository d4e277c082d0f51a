"""Numbers that say what a light curve looks like, for classifiers that read tables; no Python loop over objects.

What a name, a place in the sky or in a file could tell is left out: SNID, RA, Dec and dates are never read but as
differences of dates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.prepare.resample import band_columns
from pipeline.schema import LightCurves

__all__ = ["light_curve_features"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

DETECTED: Final = 4.0
"""S/N above which a measurement is a detection, as in the SPCC's early epoch."""
FRACTIONS: Final = (0.5, 0.25, 0.1)
"""Of the flux at maximum, above which a band's time is counted."""
PERCENTILES: Final = (10, 50, 75, 90)
"""Of the S/N of a band's measurements."""
WINDOWS: Final = (
    (-60, -20),
    (-20, -10),
    (-10, -4),
    (-4, 4),
    (4, 10),
    (10, 20),
    (20, 32),
    (32, 50),
    (50, 75),
    (75, 120),
)
"""Days from the object's maximum between which the mean flux of each band is taken."""
COLOUR_WINDOWS: Final = ((-10, 10), (10, 30), (30, 60))
"""Days from the object's maximum between which the colours of neighbouring bands are taken."""


@dataclass(frozen=True)
class Epochs:
    """Measurements in order of object, band and time; a cell is an object's band.

    Attributes:
        shape: objects and bands.
        cell: (n_epochs,) object × bands + band.
        mjd, flux, flux_err: (n_epochs,) [d], FLUXCAL.
    """

    shape: tuple[int, int]
    cell: Integers
    mjd: Floats
    flux: Floats
    flux_err: Floats

    @classmethod
    def of(cls, light_curves: LightCurves, bands: tuple[str, ...]) -> Epochs:
        """Sort the measurements in these bands; their order in time decides nothing where two are of one moment."""
        column = band_columns(light_curves, bands)
        columns = [light_curves.epochs[name].to_numpy(np.float64) for name in ("MJD", "FLUXCAL", "FLUXCALERR")]
        mjd, flux, flux_err = columns
        cell = light_curves.object_index * len(bands) + column
        used = np.flatnonzero(column >= 0)
        order = used[np.lexsort((flux_err[used], flux[used], mjd[used], cell[used]))]
        return cls((len(light_curves), len(bands)), cell[order], mjd[order], flux[order], flux_err[order])

    @cached_property
    def snr(self) -> Floats:
        """(n_epochs,) signal to noise."""
        return self.flux / self.flux_err

    @cached_property
    def counts(self) -> Integers:
        """(n_cells,) measurements of each cell."""
        return np.bincount(self.cell, minlength=self.shape[0] * self.shape[1])

    @cached_property
    def starts(self) -> Integers:
        """(n_cells,) first measurement of each cell."""
        return np.cumsum(self.counts) - self.counts

    def reduce(self, ufunc: np.ufunc, values: Floats) -> Floats:
        """(n_objects, n_bands) reduction of values (n_epochs,) over each cell; NaN of an empty one."""
        found = np.full(len(self.counts), np.nan)
        is_filled = self.counts > 0
        if is_filled.any():
            found[is_filled] = ufunc.reduceat(values, self.starts[is_filled])
        return found.reshape(self.shape)

    def at_highest(self, values: Floats) -> Integers:
        """(n_objects, n_bands) place of the highest value of each cell, the first of equals; −1 in an empty one."""
        highest = self.reduce(np.maximum, values).ravel()[self.cell]
        places = np.where(values == highest, np.arange(len(values)), len(values)).astype(np.float64)
        return np.nan_to_num(self.reduce(np.minimum, places), nan=-1).astype(np.int64)

    def percentile(self, values: Floats, percent: float) -> Floats:
        """(n_objects, n_bands) percentile of values (n_epochs,), interpolated; NaN of an empty cell."""
        ordered = np.append(values[np.lexsort((values, self.cell))], np.nan)
        place = np.maximum(self.counts - 1, 0) * percent / 100
        low = np.where(self.counts > 0, self.starts + np.floor(place).astype(np.int64), len(values))
        high = np.where(self.counts > 0, self.starts + np.ceil(place).astype(np.int64), len(values))
        return np.asarray(ordered[low] + (place % 1) * (ordered[high] - ordered[low])).reshape(self.shape)

    def among(self, is_used: npt.NDArray[np.bool_]) -> Epochs:
        """Return some of the measurements."""
        return Epochs(self.shape, self.cell[is_used], self.mjd[is_used], self.flux[is_used], self.flux_err[is_used])

    def mean_flux(self) -> tuple[Floats, Floats]:
        """(n_objects, n_bands) means of the flux by inverse variance, and their errors; NaN of empty cells."""
        weight = 1 / np.square(self.flux_err)
        total = self.reduce(np.add, weight)
        return self.reduce(np.add, weight * self.flux) / total, 1 / np.sqrt(total)


@dataclass(frozen=True)
class Maximum:
    """Where light curves are at their brightest: the measurement with the highest S/N.

    Attributes:
        flux, mjd, snr: (n_objects, n_bands) there [FLUXCAL, d]; NaN of a band that was not observed.
    """

    flux: Floats
    mjd: Floats
    snr: Floats

    @classmethod
    def of(cls, epochs: Epochs) -> Maximum:
        """Find it in every band."""
        place = epochs.at_highest(epochs.snr)
        return cls(*(np.append(values, np.nan)[place] for values in (epochs.flux, epochs.mjd, epochs.snr)))

    @cached_property
    def of_all_bands(self) -> Floats:
        """(n_objects,) time of the highest S/N in any band [d]; NaN of an object without a measurement."""
        best = np.where(np.isnan(self.snr), -np.inf, self.snr).argmax(axis=1)
        return np.asarray(self.mjd[np.arange(len(best)), best])

    @cached_property
    def scale(self) -> Floats:
        """(n_objects,) flux of the brightest band; NaN unless positive."""
        brightest = np.where(np.isnan(self.flux), -np.inf, self.flux).max(axis=1, initial=-np.inf)
        return np.where(brightest > 0, brightest, np.nan)


def light_curve_features(light_curves: LightCurves, bands: tuple[str, ...], use_redshift: bool = True) -> pd.DataFrame:
    """Describe light curves by numbers.

    Args:
        light_curves: n objects; epochs of bands that are not in `bands` are left out.
        bands: whose light curves are described, from blue to red.
        use_redshift: describe the host photo-z, too, and what follows from it.

    Returns:
        n rows in the same order, the same whoever stands beside them. Per band: measurements, detections, flux and S/N
        at maximum and when it was [d], mean and percentiles of the S/N, how far from constant it is, days above
        fractions of the maximum and how many of them before it, mean flux in windows of time. Of all bands: colours,
        days between detections, brightness. Of the header: MWEBV, photo-z and its error. NaN where undefined.
    """
    epochs = Epochs.of(light_curves, bands)
    top = Maximum.of(epochs)
    days = epochs.mjd - np.repeat(top.of_all_bands, epochs.counts.reshape(epochs.shape).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        per_band = {
            **_brightness(epochs, top),
            **_durations(epochs, top),
            **_course(epochs, top, days),
        }
        columns = {
            f"{name}_{band}": values[:, place] for name, values in per_band.items() for place, band in enumerate(bands)
        }
        columns |= _colours(epochs, days, bands) | _of_all_bands(epochs, top)
        columns["MWEBV"] = light_curves.objects["MWEBV"].to_numpy(np.float64)
        if use_redshift:
            columns |= _with_redshift(light_curves, columns)
    return pd.DataFrame(columns).replace([np.inf, -np.inf], np.nan)


def _brightness(epochs: Epochs, top: Maximum) -> dict[str, Floats]:
    """(n_objects, n_bands) how bright, how well measured, and how far from constant each band is."""
    counts = epochs.counts.reshape(epochs.shape).astype(np.float64)
    mean, mean_err = epochs.mean_flux()
    deviation = np.square((epochs.flux - mean.ravel()[epochs.cell]) / epochs.flux_err)
    return {
        "N": counts,
        "N_DETECTED": np.nan_to_num(epochs.reduce(np.add, (epochs.snr > DETECTED).astype(np.float64))),
        "MAX_FLUX": top.flux,
        "MAX_SNR": top.snr,
        "MAX_SHARE": top.flux / top.scale[:, None],
        "MAX_DELAY": top.mjd - top.of_all_bands[:, None],
        "MEAN_SNR": mean / mean_err,
        "CHI2": epochs.reduce(np.add, deviation) / np.where(counts > 1, counts - 1, np.nan),
        **{f"SNR_{percent}": epochs.percentile(epochs.snr, percent) for percent in PERCENTILES},
    }


def _durations(epochs: Epochs, top: Maximum) -> dict[str, Floats]:
    """(n_objects, n_bands) days above fractions of the maximum, and days of them before it; NaN without a maximum."""
    found = {}
    for fraction in FRACTIONS:
        above = epochs.among(epochs.flux >= fraction * np.where(top.flux > 0, top.flux, np.nan).ravel()[epochs.cell])
        first, last = above.reduce(np.minimum, above.mjd), above.reduce(np.maximum, above.mjd)
        found[f"DAYS_ABOVE_{fraction:g}"] = last - first
        found[f"RISE_FROM_{fraction:g}"] = top.mjd - first
    return found


def _course(epochs: Epochs, top: Maximum, days: Floats) -> dict[str, Floats]:
    """(n_objects, n_bands) mean flux in each window of time, in units of the brightest band's maximum."""
    found = {}
    for low, high in WINDOWS:
        mean, _ = epochs.among((days >= low) & (days < high)).mean_flux()
        found[f"FLUX_{low}_{high}"] = mean / top.scale[:, None]
    return found


def _colours(epochs: Epochs, days: Floats, bands: tuple[str, ...]) -> dict[str, Floats]:
    """(n_objects,) colours of neighbouring bands at maximum and after [mag]; NaN where a flux is not positive."""
    found = {}
    for low, high in COLOUR_WINDOWS:
        mean, _ = epochs.among((days >= low) & (days < high)).mean_flux()
        mag = -2.5 * np.log10(np.where(mean > 0, mean, np.nan))
        for place, (blue, red) in enumerate(pairwise(bands)):
            found[f"COLOUR_{blue}_{red}_{low}_{high}"] = mag[:, place] - mag[:, place + 1]
    return found


def _of_all_bands(epochs: Epochs, top: Maximum) -> dict[str, Floats]:
    """(n_objects,) detections of all bands and the days between them, and the brightness."""
    detected = epochs.among(epochs.snr > DETECTED)
    first, last = detected.reduce(np.minimum, detected.mjd), detected.reduce(np.maximum, detected.mjd)
    first, last = np.fmin.reduce(first, axis=1), np.fmax.reduce(last, axis=1)
    return {
        "N_DETECTED": detected.counts.reshape(epochs.shape).sum(axis=1).astype(np.float64),
        "DAYS_DETECTED": last - first,
        "DAYS_TO_MAX": top.of_all_bands - first,
        "MAG": -2.5 * np.log10(top.scale),
        "MAX_SNR": np.fmax.reduce(top.snr, axis=1),
    }


def _with_redshift(light_curves: LightCurves, columns: dict[str, Floats]) -> dict[str, Floats]:
    """(n_objects,) photo-z, its error, and brightness and durations as they would be here.

    The distance is c z (1 + z/2) / H0, which is within 0.1 mag of the concordance model up to a redshift of 1; only
    differences between objects matter.
    """
    photoz = light_curves.objects["PHOTOZ"].to_numpy(np.float64)
    distance = np.where(photoz > 0, photoz * (1 + photoz / 2), np.nan)
    stretched = [name for name in columns if name.startswith(f"DAYS_ABOVE_{FRACTIONS[0]:g}")]
    return {
        "PHOTOZ": photoz,
        "PHOTOZ_ERR": light_curves.objects["PHOTOZ_ERR"].to_numpy(np.float64),
        "ABSOLUTE_MAG": columns["MAG"] - 5 * np.log10(distance),
        **{f"REST_{name}": columns[name] / (1 + photoz) for name in stretched},
    }
