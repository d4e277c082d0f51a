"""Light curves that travel with a classifier, and what it said of them: whether it still says so can be checked.

The light curves are made up here, from a seed, and stored beside the answers: no survey's data, and no later version
of numpy's random numbers, can change them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.schema import EPOCH_COLUMNS, OBJECT_COLUMNS, LightCurves

__all__ = ["KnownAnswers", "made_up_light_curves"]

Floats = npt.NDArray[np.float64]

N_CURVES: Final = 32
NIGHTS: Final = (1, 24)
"""Fewest and most nights of a curve, the second left out."""

NUMBERS: Final = ("MWEBV", "PHOTOZ", "PHOTOZ_ERR")
"""Numbers of an object that a classifier may read."""

ANSWERS: Final = ("uncalibrated", "calibrated", "novelty")
SEED: Final = 20


@dataclass(frozen=True)
class KnownAnswers:
    """Made-up light curves and a classifier's answers.

    Attributes:
        light_curves: a few tens.
        answers: float64 by name, ANSWERS: probabilities (n, class) before and after calibration, NOVELTY (n, 1); only
            those that the classifier can give.
        versions: of Python and the dependencies that gave the answers.
    """

    light_curves: LightCurves
    answers: dict[str, Floats]
    versions: dict[str, str]

    @property
    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the numbers, as safetensors holds them."""
        curves = self.light_curves
        return {
            "offsets": curves.offsets,
            "mjd": curves.epochs["MJD"].to_numpy(),
            "band": curves.epochs["BAND"].cat.codes.to_numpy(),
            "flux": curves.epochs["FLUXCAL"].to_numpy(),
            "flux_err": curves.epochs["FLUXCALERR"].to_numpy(),
            "objects": np.ascontiguousarray(curves.objects[list(NUMBERS)].to_numpy(dtype=np.float64)),
            **{f"answer.{name}": np.ascontiguousarray(values) for name, values in self.answers.items()},
        }

    def description(self) -> dict[str, Any]:
        """Return the rest, as JSON holds it."""
        return {"bands": list(self.light_curves.epochs["BAND"].cat.categories), "versions": self.versions}

    @classmethod
    def restore(cls, tensors: dict[str, npt.NDArray[Any]], description: dict[str, Any]) -> KnownAnswers:
        """Read `tensors` and `description` back."""
        light_curves = assemble(tensors, description["bands"])
        answers = {name: tensors[f"answer.{name}"] for name in ANSWERS if f"answer.{name}" in tensors}
        return cls(light_curves, answers, dict(description["versions"]))


def made_up_light_curves(bands: tuple[str, ...], seed: int = SEED) -> LightCurves:
    """Draw N_CURVES bumps of many widths and heights: some short, faint, or without redshift, one of a single night.

    Args:
        bands: of the classifier.
        seed: the same gives the same curves.
    """
    rng = np.random.default_rng([seed, 0x616E73])
    n_nights = rng.integers(*NIGHTS, N_CURVES)
    n_nights[0] = 1
    owner = np.repeat(np.arange(N_CURVES), n_nights)
    days = np.sort(rng.uniform(0, 120, len(owner)) + 1000 * owner) - 1000 * owner
    peak, width, height = rng.uniform(0, 100, N_CURVES), rng.uniform(5, 60, N_CURVES), 10 ** rng.uniform(0, 3, N_CURVES)
    slope = rng.normal(0, 0.3, N_CURVES)
    shape = height[owner] * np.exp(-(((days - peak[owner]) / width[owner]) ** 2))
    place = np.arange(len(bands))
    flux = shape[:, None] * (1 + slope[owner, None] * (place - place.mean()) / len(bands))
    error = np.sqrt(4 + np.abs(flux) / 5)
    seen = rng.random(flux.shape) < 0.8
    seen[np.searchsorted(owner, np.arange(N_CURVES)), 0] = True
    known = rng.random(N_CURVES) < 0.7
    photoz = np.where(known, rng.uniform(0.05, 1.2, N_CURVES), np.nan)
    tensors = {
        "offsets": np.concatenate([[0], np.cumsum(np.bincount(owner, seen.sum(axis=1)))]).astype(np.int64),
        "mjd": (56000 + days[:, None] + 0.01 * place)[seen],
        "band": np.broadcast_to(place, seen.shape)[seen],
        "flux": rng.normal(flux, error)[seen],
        "flux_err": error[seen],
        "objects": np.stack([rng.uniform(0, 0.1, N_CURVES), photoz, 0.05 * (1 + photoz)], axis=1),
    }
    return assemble(tensors, list(bands))


def assemble(tensors: Mapping[str, npt.NDArray[Any]], bands: list[str]) -> LightCurves:
    """Light curves of the objects `0`, `1`, … from the arrays of `KnownAnswers.tensors`."""
    n_objects = len(tensors["offsets"]) - 1
    objects = pd.DataFrame(tensors["objects"], columns=list(NUMBERS)).reindex(columns=list(OBJECT_COLUMNS))
    objects["SNID"] = [str(number) for number in range(n_objects)]
    objects = objects.assign(SURVEY="made up", SOURCE="", SOURCE_HASH="", PHOTOMETRY_HASH="")
    epochs = pd.DataFrame(
        {
            "MJD": tensors["mjd"],
            "BAND": pd.Categorical.from_codes(tensors["band"].astype(np.int64), categories=pd.Index(bands)),
            "FLUXCAL": tensors["flux"],
            "FLUXCALERR": tensors["flux_err"],
            "PHOTFLAG": np.zeros(len(tensors["mjd"]), dtype=np.int32),
        }
    )
    return LightCurves(objects, epochs[list(EPOCH_COLUMNS)], tensors["offsets"])
