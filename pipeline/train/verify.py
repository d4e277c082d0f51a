"""Whether a classifier still says what it said when it was made, whatever versions of torch and numpy are here now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from pipeline.provenance import versions
from pipeline.train.answers import KnownAnswers, made_up_light_curves
from pipeline.train.calibration import ensemble_probabilities, with_opinion
from pipeline.train.checkpoint import Checkpoint, CheckpointError
from pipeline.train.inference import Preparation, ensemble_logits, prepare_photometry

__all__ = ["TOLERANCE", "Verification", "give_answers", "verify_checkpoint", "with_answers"]

TOLERANCE: Final = 1e-5
"""Largest difference of a probability that rounding may explain."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Verification:
    """What came of asking a classifier again.

    Attributes:
        model: its name.
        differences: largest absolute difference by kind of answer; NaN where one is not a number and the other is.
        then, now: versions that differ.
        n_light_curves: that it was asked of.
    """

    model: str
    differences: dict[str, float]
    then: dict[str, str]
    now: dict[str, str]
    n_light_curves: int

    @property
    def largest(self) -> float:
        """Largest difference of all; NaN where one is NaN."""
        return float(np.max(list(self.differences.values())))

    @property
    def is_same(self) -> bool:
        """Whether no difference exceeds TOLERANCE."""
        return self.largest <= TOLERANCE

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON holds it."""
        return {
            "model": self.model,
            "is_same": self.is_same,
            "largest_difference": self.largest,
            "tolerance": TOLERANCE,
            "differences": self.differences,
            "n_light_curves": self.n_light_curves,
            "versions_then": self.then,
            "versions_now": self.now,
        }


def with_answers(checkpoint: Checkpoint) -> Checkpoint:
    """Give a classifier made-up light curves, and its answers to them."""
    light_curves = made_up_light_curves(checkpoint.experiment.bands)
    empty = KnownAnswers(light_curves, {}, versions())
    return replace(checkpoint, answers=replace(empty, answers=give_answers(checkpoint, empty)))


def verify_checkpoint(folder: Path) -> Verification:
    """Ask a classifier again what it was asked when it was made, on the CPU.

    Raises:
        CheckpointError: if it cannot be read, or has no stored answers.
    """
    checkpoint = Checkpoint.load(folder)
    known = checkpoint.answers
    if known is None:
        raise CheckpointError(
            f"{folder}: {checkpoint.name} has no stored answers to verify: it is older than them; "
            "promote it (snflow models promote), which gives it answers of today"
        )
    found, then, now = give_answers(checkpoint, known), known.versions, versions()
    changed = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    return Verification(
        model=checkpoint.name,
        differences={name: largest_difference(found[name], stored) for name, stored in known.answers.items()},
        then={name: then.get(name, "none") for name in changed},
        now={name: now.get(name, "none") for name in changed},
        n_light_curves=len(known.light_curves),
    )


def give_answers(checkpoint: Checkpoint, known: KnownAnswers) -> dict[str, Floats]:
    """Return probabilities before and after calibration, and NOVELTY where the classifier has a score."""
    experiment = checkpoint.experiment
    resampled = prepare_photometry(known.light_curves, experiment)
    preparation = Preparation(experiment.resampler, checkpoint.normaliser)
    logits = ensemble_logits(checkpoint.networks(), resampled, preparation, torch.device("cpu")).astype(np.float64)
    logits = with_opinion(logits, checkpoint.opinion(known.light_curves))
    answers = {
        "uncalibrated": ensemble_probabilities(logits).mean(axis=0),
        "calibrated": ensemble_probabilities(logits, checkpoint.calibration).mean(axis=0),
    }
    if checkpoint.novelty is not None:
        answers["novelty"] = checkpoint.novelty(resampled)[:, None]
    return answers


def largest_difference(found: Floats, stored: Floats) -> float:
    """Largest absolute difference; NaN if a value is not a number on one side alone, or the shapes differ."""
    if found.shape != stored.shape or (np.isnan(found) != np.isnan(stored)).any():
        return float("nan")
    return float(np.nan_to_num(np.abs(found - stored)).max(initial=0.0))
