"""Small light curves, truths and batches for tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from models import LightCurveBatch
from pipeline.schema import EPOCH_COLUMNS, LightCurves, Truth, photometry_hashes

BANDS = ("g", "r", "i", "z")
Epoch = tuple[float, str, float, float]


def make_light_curves(curves: dict[str, list[Epoch]], **columns: list[float]) -> LightCurves:
    """Light curves from {snid: [(mjd, band, flux, error), ...]}; further columns of objects by name."""
    n = len(curves)
    nothing = [np.nan] * n
    numbers = ("RA", "DEC", "MWEBV", "PHOTOZ", "PHOTOZ_ERR", "SPECZ", "SPECZ_ERR")
    objects = pd.DataFrame({"SNID": list(curves), **{name: columns.get(name, nothing) for name in numbers}})
    objects["SURVEY"] = "TEST"
    objects["DETECTION_MJD"] = np.nan
    objects["SOURCE"], objects["SOURCE_HASH"] = "test.dat", "0"
    rows = [(*epoch, 0) for epochs in curves.values() for epoch in sorted(epochs)]
    numbers_of_epochs = {"MJD": float, "FLUXCAL": float, "FLUXCALERR": float, "PHOTFLAG": np.int32}
    epochs = pd.DataFrame(rows, columns=list(EPOCH_COLUMNS)).astype({"BAND": "category", **numbers_of_epochs})
    offsets = np.cumsum([0, *(len(epochs) for epochs in curves.values())]).astype(np.int64)
    objects["PHOTOMETRY_HASH"] = photometry_hashes(objects, epochs, offsets)
    return LightCurves(objects, epochs, offsets)


def make_survey(n: int = 60, seed: int = 0) -> tuple[LightCurves, Truth]:
    """A toy survey that a network can learn: Ia are bright in r and fast, II are flat and last long."""
    rng = np.random.default_rng(seed)
    curves: dict[str, list[Epoch]] = {}
    types = ["Ia" if number % 3 == 0 else "IIP" for number in range(n)]
    for number, subclass in enumerate(types):
        width = 12.0 if subclass == "Ia" else 45.0
        times = np.arange(0.0, 80.0, 5.0)[: rng.integers(9, 16)]
        curves[f"{1000 + number}"] = [
            (56000 + time + 0.01 * place, band, 80 * np.exp(-(((time - 25) / width) ** 2)) + rng.normal(0, 4), 4.0)
            for time in times
            for place, band in enumerate(BANDS)
            if rng.random() > 0.1
        ]
    photoz = rng.uniform(0.1, 0.9, n)
    light_curves = make_light_curves(
        curves, PHOTOZ=list(photoz), PHOTOZ_ERR=[0.03] * n, MWEBV=[0.02] * n, RA=[10.0] * n, DEC=[-5.0] * n
    )
    return light_curves, make_truth(light_curves, types, list(photoz))


def make_truth(light_curves: LightCurves, subclasses: list[str], redshifts: list[float] | None = None) -> Truth:
    """A truth for these light curves."""
    table = pd.DataFrame({"SNID": light_curves.objects["SNID"], "SUBCLASS": subclasses})
    table["CLASS"] = table["SUBCLASS"].map({"Ia": "Ia"}).fillna("II")
    table["TEMPLATE"], table["SPECTYPE"] = "toy", None
    table["REDSHIFT"] = redshifts or 0.3
    table["PEAKMJD"] = 56025.0
    return Truth(table)


def make_batch(
    lengths: tuple[int, ...] = (7, 3, 1, 5), n_features: int = 6, n_context: int = 2, seed: int = 0
) -> LightCurveBatch:
    """Random features, padded with zeros."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    sequence = torch.randn((*mask.shape, n_features), generator=generator) * mask[..., None]
    return LightCurveBatch(sequence, mask, torch.randn((len(lengths), n_context), generator=generator))
