"""Milky Way dust: how much brighter a supernova would be without it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from pipeline.schema import LightCurves

__all__ = ["EXTINCTION_COEFFICIENTS", "correct_extinction"]

EXTINCTION_COEFFICIENTS: Final = {"g": 3.237, "r": 2.176, "i": 1.595, "z": 1.217, "Y": 1.058}
"""A_b / E(B−V) of the DES bands for R_V = 3.1 (Schlafly & Finkbeiner 2011, Table 6)."""


def correct_extinction(light_curves: LightCurves) -> LightCurves:
    """Undo Milky Way extinction: flux and error × 10^(0.4 A_b). Objects of unknown MWEBV stay as they are.

    Raises:
        ValueError: if a band has no coefficient.
    """
    unknown = set(light_curves.bands) - set(EXTINCTION_COEFFICIENTS)
    if unknown:
        raise ValueError(
            f"no extinction coefficient for the bands {sorted(unknown)}; known: {list(EXTINCTION_COEFFICIENTS)}"
        )
    epochs = light_curves.epochs
    coefficient = epochs["BAND"].astype("str").map(EXTINCTION_COEFFICIENTS).to_numpy(dtype=np.float64)
    mwebv = light_curves.objects["MWEBV"].fillna(0.0).to_numpy()[light_curves.object_index]
    factor = 10 ** (0.4 * coefficient * mwebv)
    corrected = {name: epochs[name] * factor for name in ("FLUXCAL", "FLUXCALERR")}
    return replace(light_curves, epochs=epochs.assign(**corrected))
