"""Predictions: one row for every light curve that comes in, in the order in which they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.classify.abstain import reasons_to_abstain
from pipeline.classify.classes import other_classes
from pipeline.classify.contract import check_bands, check_contract, ignore_bands
from pipeline.classify.failures import Failures, bisect
from pipeline.classify.inputs import Photometry, Taken, take_input
from pipeline.classify.settings import ClassifySettings
from pipeline.prepare.course import nights_after_brightest
from pipeline.prepare.resample import Resampled
from pipeline.prepare.selection import select
from pipeline.schema import LightCurves, Predictions, prediction_columns, probability_columns
from pipeline.settings import SettingsError
from pipeline.train.calibration import Opinion, ensemble_probabilities, with_opinion
from pipeline.train.checkpoint import Checkpoint
from pipeline.train.fit import prepare_photometry
from pipeline.train.inference import Preparation, choose_device, ensemble_logits
from pipeline.train.registry import find_model

__all__ = ["Classifier", "ClassifySettings", "Progress", "with_redshift"]

FloatArray = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Answers:
    """What the networks say of some objects.

    Attributes:
        members: (member, n, class) probabilities; of a single network, one member.
    """

    members: FloatArray

    @property
    def mean(self) -> FloatArray:
        """(n, class) probabilities."""
        return np.asarray(self.members.mean(axis=0))

    @property
    def spread(self) -> FloatArray:
        """(n, class) standard deviation over the members, NaN for a single network."""
        return self.members.std(axis=0) if len(self.members) > 1 else np.full_like(self.members[0], np.nan)


class Classifier:
    """A checkpoint at work."""

    def __init__(self, checkpoint: Checkpoint, settings: ClassifySettings | None = None) -> None:
        self.checkpoint = checkpoint
        self.settings = settings or ClassifySettings()
        self.device = choose_device(self.settings.device)
        self.other = other_classes(checkpoint, self.settings.classes)
        self.classes = checkpoint.classes if self.other is None else self.other.classes
        networks = checkpoint.networks(self.device)
        self.networks = networks if self.other is None else self.other.networks(networks)
        self.name = checkpoint.name
        self.threshold = choose_threshold(checkpoint, self.settings.threshold)
        pair = self.settings.abstain_between
        bounds = [] if pair is None else sorted(stored_threshold(checkpoint, word) for word in pair)
        self.undecided = (bounds[0], bounds[1]) if bounds else None
        self.last: LightCurves | None = None

    @classmethod
    def load(cls, model: str | Path, settings: ClassifySettings | None = None) -> Classifier:
        """Load a checkpoint folder, or a model of the registry by NAME or NAME@VERSION.

        Raises:
            CheckpointError: if it cannot be used.
            UnknownModelError: if there is none of that name.
        """
        return cls(Checkpoint.load(find_model(model)), settings)

    def classify(
        self,
        light_curves: Photometry,
        progress: Progress | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> Predictions:
        """Classify every object.

        Args:
            light_curves: n objects: LightCurves, or a table or tables in any form that `to_light_curves` takes; of the
                settings, `band_map`, `ignore_bands` and `zeropoint` are applied to tables, but not to LightCurves.
            progress: called with how many objects are done, and how many there are.
            columns: our names of the tables' columns to theirs, as in {"MJD": "time"}.

        Returns:
            n rows in the same order. An object that fails a cut of the model is `rejected`; one with too few steps,
            without change, too novel, or undecided has probabilities but is `abstained`; one at which the software
            fails is `failed`. REASON says why.

        Raises:
            InputError: if a table cannot be read as light curves.
            ContractError: if the data have bands that the model does not know.
        """
        taken = self._take(light_curves, columns)
        self.last = taken.light_curves
        return self.predict(taken.light_curves, progress, taken.reasons)

    def predict(
        self, light_curves: LightCurves, progress: Progress | None = None, why_empty: Mapping[str, str] | None = None
    ) -> Predictions:
        """Classify as `classify` does, light curves only, of which none is remembered for `plot`.

        Args:
            light_curves: n objects.
            progress: called with how many objects are done, and how many there are.
            why_empty: by SNID, why an object has no measurement, where that is known.
        """
        check_bands(light_curves.bands, self.checkpoint)
        n_objects, size = len(light_curves), self.settings.chunk_objects
        failures = Failures(self.settings.max_failed)
        tables = []
        for start in range(0, max(n_objects, 1), size):
            rows = np.arange(start, min(start + size, n_objects))

            def report(done: int, start: int = start) -> None:
                if progress is not None:
                    progress(start + done, n_objects)

            work = bisect(partial(self._classify_chunk, progress=report), self._failed_rows, failures)
            tables.append(work(light_curves if len(rows) == n_objects else light_curves.take(rows)))
        table = pd.concat(tables, ignore_index=True)
        if why_empty:
            is_empty = (table["STATUS"] == "rejected") & table["SNID"].isin(list(why_empty))
            table.loc[is_empty, "REASON"] = table.loc[is_empty, "SNID"].map(dict(why_empty))
        return Predictions(table, self.classes)

    def check(self, light_curves: Photometry, columns: Mapping[str, str] | None = None) -> list[str]:
        """Tell how data differ from those that the model was trained on, without classifying them.

        Raises:
            ContractError: if the model does not accept the data; it lists every mismatch, and what to do.
        """
        redshift = self.settings.redshift
        taken = self._take(light_curves, columns).light_curves
        return check_contract(with_redshift(taken, redshift), self.checkpoint, redshift)

    def plot(self, snid: str, light_curves: LightCurves | None = None) -> Any:
        """Draw an object: its photometry, and its probabilities after each night.

        Args:
            snid: of the object.
            light_curves: where it is; None: what `classify` was given last.

        Returns:
            An Altair chart, which a notebook shows, and which can `save` itself as HTML.

        Raises:
            ValueError: if nothing was classified before, or has no object of this name.
        """
        from pipeline.classify.plot import plot_object

        known = light_curves if light_curves is not None else self.last
        if known is None:
            raise ValueError("nothing to plot: classify light curves first, or give them as light_curves=")
        return plot_object(self, known, str(snid))

    def _take(self, given: Photometry, columns: Mapping[str, str] | None) -> Taken:
        taken = take_input(given, columns, self.settings.zeropoint, self.settings.band_map)
        if taken.light_curves is given or not self.settings.ignore_bands:
            return taken
        return replace(taken, light_curves=ignore_bands(taken.light_curves, self.settings.ignore_bands))

    def _classify_chunk(self, light_curves: LightCurves, progress: Callable[[int], None]) -> pd.DataFrame:
        experiment = self.checkpoint.experiment
        reasons = select(light_curves, experiment.bands, experiment.selection).reasons
        status = np.where(reasons == "", "classified", "rejected").astype(object)
        accepted = np.flatnonzero(reasons == "")
        chosen = light_curves if len(accepted) == len(light_curves) else light_curves.take(accepted)
        read = with_redshift(chosen, self.settings.redshift)
        resampled = prepare_photometry(read, experiment)
        answers = self._answers(resampled, self.checkpoint.opinion(read), progress)
        check_finite(answers.members)
        novelty = self._novelty(resampled)
        reasons[accepted] = self._reasons(resampled, answers.mean, novelty)
        status[accepted[reasons[accepted] != ""]] = "abstained"
        table = self._described(light_curves, status, reasons)
        table.loc[accepted, "N_EPOCHS"] = measurements(resampled)
        names = probability_columns(self.classes)
        table.loc[accepted, names] = answers.mean
        table.loc[accepted, [f"{name}_STD" for name in names]] = answers.spread
        table.loc[accepted, "NOVELTY"] = novelty
        return self._with_optional(table, accepted, answers)

    def _described(
        self, light_curves: LightCurves, status: npt.NDArray[np.object_], reasons: npt.NDArray[np.object_]
    ) -> pd.DataFrame:
        """Everything but the answers, which stay NaN."""
        known = {
            "SNID": light_curves.objects["SNID"],
            "STATUS": status.astype(str),
            "REASON": reasons.astype(str),
            "N_EPOCHS": np.zeros(len(light_curves), dtype=np.int64),
            "LAST_MJD": last_mjd(light_curves),
            "MODEL": self.name,
            "PHOTOMETRY_HASH": light_curves.objects["PHOTOMETRY_HASH"].to_numpy(),
            "CREATED": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        columns = {name: known.get(name, np.nan) for name in prediction_columns(self.classes)}
        return pd.DataFrame(columns, index=pd.RangeIndex(len(light_curves))).astype({"STATUS": "str", "REASON": "str"})

    def _failed_rows(self, light_curves: LightCurves, reason: str) -> pd.DataFrame:
        n_objects = len(light_curves)
        status, reasons = np.full(n_objects, "failed", dtype=object), np.full(n_objects, reason, dtype=object)
        nothing = Answers(np.zeros((len(self.networks), 0, len(self.classes))))
        return self._with_optional(self._described(light_curves, status, reasons), np.zeros(0, dtype=np.int64), nothing)

    def _with_optional(self, table: pd.DataFrame, accepted: npt.NDArray[np.int64], answers: Answers) -> pd.DataFrame:
        if self.threshold is not None:
            called = np.where(table["P_Ia"] > self.threshold, "Ia", "nonIa")
            table["CALLED"] = np.where(table["STATUS"] == "classified", called, "").astype(str)
        if self.settings.members:
            for place, name in enumerate(probability_columns(self.classes)):
                for member, values in enumerate(answers.members[..., place]):
                    table[f"{name}_{member}"] = np.nan
                    table.loc[accepted, f"{name}_{member}"] = values
        return table

    def _reasons(self, resampled: Resampled, probabilities: FloatArray, novelty: FloatArray) -> npt.NDArray[np.object_]:
        is_novel = (novelty > self.checkpoint.novelty_threshold) & self.settings.abstain_novel
        if is_novel.any():
            is_novel &= nights_after_brightest(resampled) >= self.settings.nights_after
        return reasons_to_abstain(
            resampled,
            min_steps=self.settings.min_steps,
            constant_above=self.settings.constant_above,
            is_novel=is_novel,
            undecided=self.undecided,
            p_ia=probabilities[:, self.classes.index("Ia")],
        )

    def _answers(self, resampled: Resampled, opinion: Opinion | None, progress: Callable[[int], None]) -> Answers:
        n_classes = len(self.classes)
        if not len(resampled):
            return Answers(np.zeros((len(self.networks), 0, n_classes)))
        preparation = Preparation(self.checkpoint.experiment.resampler, self.checkpoint.normaliser)
        logits = ensemble_logits(self.networks, resampled, preparation, self.device, progress).astype(np.float64)
        if self.other is None:
            probabilities = ensemble_probabilities(with_opinion(logits, opinion), self.checkpoint.calibration)
        else:
            probabilities = self.other.probabilities(logits, self.checkpoint, opinion)
        return Answers(probabilities.reshape(len(self.networks), -1, len(resampled), n_classes).mean(axis=1))

    def _novelty(self, resampled: Resampled) -> FloatArray:
        """(n_objects,) NOVELTY; NaN where the model carries no score."""
        score = self.checkpoint.novelty
        return np.full(len(resampled), np.nan) if score is None else score(resampled)


def choose_threshold(checkpoint: Checkpoint, word: float | str | None) -> float | None:
    """Return a threshold on P(Ia) by name or number, None for none."""
    return None if word is None else stored_threshold(checkpoint, word)


def stored_threshold(checkpoint: Checkpoint, word: float | str) -> float:
    """Return a threshold on P(Ia) by the name under which the model has it, or by its number.

    Raises:
        SettingsError: if it is neither.
    """
    if word in checkpoint.thresholds:
        return checkpoint.thresholds[str(word)]
    try:
        value = float(word)
    except ValueError:
        value = np.nan
    if not 0 <= value <= 1:
        names = ", ".join(f"{name} ({value:.3g})" for name, value in checkpoint.thresholds.items())
        raise SettingsError(f"{checkpoint.name} has no threshold {word!r}; expected {names}, or a number from 0 to 1")
    return value


def check_finite(members: FloatArray) -> None:
    """Raise ArithmeticError if a network's answer is no number, as after an overflow."""
    if not np.isfinite(members).all():
        raise ArithmeticError("the network's answer is not a finite number")


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


def last_mjd(light_curves: LightCurves) -> FloatArray:
    """(n_objects) time of the last measurement [d], NaN without one."""
    mjd = light_curves.epochs["MJD"].to_numpy()
    ends = light_curves.offsets[1:]
    has_epochs = np.diff(light_curves.offsets) > 0
    last = np.full(len(light_curves), np.nan)
    last[has_epochs] = mjd[ends[has_epochs] - 1]
    return last
