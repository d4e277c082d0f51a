"""Which light curves show by their course that they are no supernovae: the share of these tells of a new class."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.prepare.course import NIGHTS_AFTER, highest_snr, nights_after_brightest
from pipeline.prepare.selection import select
from pipeline.schema import LightCurves
from pipeline.train.experiment import Experiment
from pipeline.train.inference import prepare_photometry
from pipeline.train.novelty import NoveltyScore

__all__ = ["unlike_supernovae"]

DETECTION_SNR: Final = 5.0
"""Of one night in one band, by which a source counts as detected: of a field before its supernova nothing is told."""


def unlike_supernovae(
    light_curves: LightCurves, experiment: Experiment, score: NoveltyScore
) -> npt.NDArray[np.float64]:
    """Tell novel light curves from others, once they have been seen for long enough.

    Args:
        light_curves: n objects, growing or whole.
        experiment: of the classifier.
        score: its novelty.

    Returns:
        (n,) 1 for those that are no supernovae, 0 for others; NaN where nothing can be told: those that the cuts
        reject, that were not detected, or not seen for NIGHTS_AFTER nights after their brightest.
    """
    unlike = np.full(len(light_curves), np.nan)
    rows = np.flatnonzero(select(light_curves, experiment.bands, experiment.selection).passes)
    if not len(rows):
        return unlike
    resampled = prepare_photometry(light_curves.take(rows), experiment)
    is_told = (nights_after_brightest(resampled) >= NIGHTS_AFTER) & (highest_snr(resampled) > DETECTION_SNR)
    unlike[rows[is_told]] = (score(resampled) > score.threshold)[is_told]
    return unlike
