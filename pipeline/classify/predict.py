"""Predictions: one row for every light curve that comes in, in the order in which they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from pipeline.classify.contract import check_contract
from pipeline.prepare.resample import Resampled
from pipeline.prepare.selection import select
from pipeline.schema import LightCurves, Predictions, prediction_columns, probability_columns
from pipeline.settings import FrozenConfig
from pipeline.train.calibration import ensemble_probabilities
from pipeline.train.checkpoint import Checkpoint
from pipeline.train.fit import prepare_photometry
from pipeline.train.inference import Preparation, choose_device, ensemble_logits
from pipeline.train.registry import find_model

__all__ = ["Classifier", "ClassifySettings", "Progress", "with_redshift"]

FloatArray = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]


class ClassifySettings(FrozenConfig):
    """How objects are classified."""

    redshift: Literal["photoz", "specz", "none"] = "photoz"
    """Which redshift the model is given in the place of the photo-z that it was trained with."""
    min_steps: int = Field(default=3, ge=1)
    """Objects with fewer resampled steps keep their probabilities, but abstain."""
    band_map: dict[str, str] = Field(default_factory=dict)
    """Bands to rename, as in {"DES-g": "g"}."""
    ignore_bands: tuple[str, ...] = ()
    """Bands whose measurements are left out."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    chunk_objects: int = Field(default=20_000, ge=1)
    """Objects prepared at a time; bounds the memory."""


@dataclass(frozen=True)
class Answers:
    """What the networks say of some objects; NaN where they were not asked."""

    mean: FloatArray
    spread: FloatArray


class Classifier:
    """A checkpoint at work."""

    def __init__(self, checkpoint: Checkpoint, settings: ClassifySettings | None = None) -> None:
        self.checkpoint = checkpoint
        self.settings = settings or ClassifySettings()
        self.device = choose_device(self.settings.device)
        self.networks = checkpoint.networks(self.device)
        self.name = checkpoint.name

    @classmethod
    def load(cls, model: str | Path, settings: ClassifySettings | None = None) -> Classifier:
        """Load a checkpoint folder, or a model of the registry by NAME or NAME@VERSION.

        Raises:
            CheckpointError: if it cannot be used.
            UnknownModelError: if there is none of that name.
        """
        return cls(Checkpoint.load(find_model(model)), settings)

    def classify(self, light_curves: LightCurves, progress: Progress | None = None) -> Predictions:
        """Classify every object.

        Args:
            light_curves: n objects.
            progress: called with how many objects are done, and how many there are.

        Returns:
            n rows in the same order. An object that fails a cut of the model is `rejected`; one with fewer steps than
            `min_steps` has probabilities but is `abstained`; REASON says why.

        Raises:
            ContractError: if the data have bands that the model does not know.
        """
        check_contract(light_curves, self.checkpoint)
        n_objects, size = len(light_curves), self.settings.chunk_objects
        tables = []
        for start in range(0, max(n_objects, 1), size):
            rows = np.arange(start, min(start + size, n_objects))

            def report(done: int, start: int = start) -> None:
                if progress is not None:
                    progress(start + done, n_objects)

            tables.append(self._classify_chunk(light_curves.take(rows), report))
        return Predictions(pd.concat(tables, ignore_index=True), self.checkpoint.classes)

    def _classify_chunk(self, light_curves: LightCurves, progress: Callable[[int], None]) -> pd.DataFrame:
        experiment = self.checkpoint.experiment
        reasons = select(light_curves, experiment.bands, experiment.selection).reasons
        status = np.where(reasons == "", "classified", "rejected").astype(object)
        accepted = np.flatnonzero(reasons == "")
        resampled = prepare_photometry(with_redshift(light_curves, self.settings.redshift).take(accepted), experiment)
        answers = self._answers(resampled, progress)
        few = accepted[resampled.lengths < self.settings.min_steps]
        status[few], reasons[few] = "abstained", f"fewer than {self.settings.min_steps} epochs after grouping"
        n_epochs = np.zeros(len(light_curves), dtype=np.int64)
        n_epochs[accepted] = measurements(resampled)
        table = pd.DataFrame({"SNID": light_curves.objects["SNID"], "STATUS": status, "REASON": reasons})
        names = probability_columns(self.checkpoint.classes)
        table[names] = spread_rows(answers.mean, accepted, len(light_curves))
        table[[f"{name}_STD" for name in names]] = spread_rows(answers.spread, accepted, len(light_curves))
        table["NOVELTY"] = spread_rows(self._novelty(resampled)[:, None], accepted, len(light_curves))
        table["N_EPOCHS"] = n_epochs
        table["LAST_MJD"] = last_mjd(light_curves)
        table["MODEL"] = self.name
        table["PHOTOMETRY_HASH"] = light_curves.objects["PHOTOMETRY_HASH"].to_numpy()
        table["CREATED"] = datetime.now(UTC).isoformat(timespec="seconds")
        return table.astype({"STATUS": "str", "REASON": "str"})[prediction_columns(self.checkpoint.classes)]

    def _answers(self, resampled: Resampled, progress: Callable[[int], None]) -> Answers:
        n_classes = len(self.checkpoint.classes)
        if not len(resampled):
            return Answers(np.zeros((0, n_classes)), np.zeros((0, n_classes)))
        preparation = Preparation(self.checkpoint.experiment.resampler, self.checkpoint.normaliser)
        logits = ensemble_logits(self.networks, resampled, preparation, self.device, progress).astype(np.float64)
        probabilities = ensemble_probabilities(logits, self.checkpoint.temperature)
        mean = probabilities.mean(axis=0)
        members = probabilities.reshape(len(self.networks), -1, *mean.shape).mean(axis=1)
        spread = members.std(axis=0) if len(members) > 1 else np.full_like(mean, np.nan)
        return Answers(mean, spread)

    def _novelty(self, resampled: Resampled) -> FloatArray:
        """(n_objects,) NOVELTY; NaN where the model carries no score."""
        score = self.checkpoint.novelty
        return np.full(len(resampled), np.nan) if score is None else score(resampled)


def with_redshift(light_curves: LightCurves, kind: str) -> LightCurves:
    """Put another redshift, or none, where the model reads the photo-z."""
    if kind == "photoz":
        return light_curves
    objects = light_curves.objects
    nothing = pd.Series(np.nan, index=objects.index)
    source = (objects["SPECZ"], objects["SPECZ_ERR"]) if kind == "specz" else (nothing, nothing)
    return replace(light_curves, objects=objects.assign(PHOTOZ=source[0], PHOTOZ_ERR=source[1]))


def measurements(resampled: Resampled) -> npt.NDArray[np.int64]:
    """(n_objects) merged measurements that the model used."""
    counts = np.concatenate([[0], np.cumsum(resampled.observed.sum(axis=1))])
    return np.asarray(counts[resampled.offsets[1:]] - counts[resampled.offsets[:-1]], dtype=np.int64)


def spread_rows(values: FloatArray, rows: npt.NDArray[np.int64], n_rows: int) -> FloatArray:
    """Put rows at their places among n_rows, NaN elsewhere."""
    spread = np.full((n_rows, values.shape[1]), np.nan)
    spread[rows] = values
    return spread


def last_mjd(light_curves: LightCurves) -> FloatArray:
    """(n_objects) time of the last measurement [d], NaN without one."""
    mjd = light_curves.epochs["MJD"].to_numpy()
    ends = light_curves.offsets[1:]
    has_epochs = np.diff(light_curves.offsets) > 0
    last = np.full(len(light_curves), np.nan)
    last[has_epochs] = mjd[ends[has_epochs] - 1]
    return last
