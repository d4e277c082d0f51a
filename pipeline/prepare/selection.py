"""Cuts on objects, each counted: nothing leaves the sample without a reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from pipeline.prepare.resample import band_columns
from pipeline.schema import LightCurves
from pipeline.settings import FrozenConfig

__all__ = ["Selection", "SelectionSettings", "best_snr", "select"]


class SelectionSettings(FrozenConfig):
    """What a light curve needs to be used at all."""

    min_epochs: int = Field(default=2, ge=1)
    """Measurements in the model's bands."""
    min_snr: float = Field(default=0.0, ge=0)
    """The largest S/N of any measurement in the model's bands must exceed this."""


@dataclass(frozen=True)
class Selection:
    """Which objects pass.

    Attributes:
        reasons: (n_objects) why an object is left out; "" for those that pass.
        counts: each reason that occurs, with its number of objects.
    """

    reasons: npt.NDArray[np.object_]

    @property
    def passes(self) -> npt.NDArray[np.bool_]:
        """(n_objects) bool."""
        return np.asarray(self.reasons == "")

    @property
    def counts(self) -> list[tuple[str, int]]:
        """Each reason that occurs and how many objects it left out, most first."""
        values, counts = np.unique(self.reasons[~self.passes].astype(str), return_counts=True)
        return sorted(zip(values.tolist(), counts.tolist(), strict=True), key=lambda item: -item[1])


def select(light_curves: LightCurves, bands: tuple[str, ...], settings: SelectionSettings) -> Selection:
    """Apply the cuts; the first that an object fails is its reason."""
    used = band_columns(light_curves, bands) >= 0
    owner = light_curves.object_index[used]
    n_epochs = np.bincount(owner, minlength=len(light_curves))
    snr = best_snr(light_curves, used).to_numpy()
    named = "".join(bands) if all(len(band) == 1 for band in bands) else ", ".join(bands)
    reasons = np.full(len(light_curves), "", dtype=object)
    reasons[~(snr > settings.min_snr)] = f"no measurement in {named} with S/N above {settings.min_snr:g}"
    reasons[n_epochs < settings.min_epochs] = f"fewer than {settings.min_epochs} measurements in {named}"
    return Selection(reasons)


def best_snr(light_curves: LightCurves, used: npt.NDArray[np.bool_] | None = None) -> pd.Series[float]:
    """Return the largest S/N of any measurement of each object, by SNID; NaN for an object without one.

    Args:
        light_curves: n objects.
        used: (n_epochs,) which measurements count; None for all.
    """
    epochs = light_curves.epochs
    snr = epochs["FLUXCAL"].to_numpy(np.float64) / epochs["FLUXCALERR"].to_numpy(np.float64)
    owner = light_curves.object_index
    snr, owner = (snr, owner) if used is None or used.all() else (snr[used], owner[used])
    counts = np.bincount(owner, minlength=len(light_curves))
    starts = np.cumsum(counts) - counts
    best = np.full(len(light_curves), np.nan)
    best[counts > 0] = np.maximum.reduceat(snr, starts[counts > 0]) if len(snr) else []
    return pd.Series(best, index=pd.Index(light_curves.objects["SNID"]), name="BEST_SNR")
