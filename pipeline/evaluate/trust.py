"""Whether a classifier knows what it does not know, and how much it leans on calibration and redshift."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.classify.predict import Classifier
from pipeline.evaluate.evaluation import find_targets
from pipeline.evaluate.findings import NoveltyTest, Sensitivity, Trust
from pipeline.evaluate.metrics import METRICS, THRESHOLD, Scores, measure
from pipeline.prepare.imitations import IMITATIONS, imitate
from pipeline.schema import LightCurves, Predictions, Truth

__all__ = ["measure_trust", "novelty_auroc"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MAX_OBJECTS: Final = 2000
CONFIDENT: Final = 0.9
ZEROPOINT_CHANGE: Final = 0.02
"""Of a band, or of all [mag]."""

REDSHIFT_CHANGE: Final = 0.02
"""Times 1 + z."""

SENSITIVITY_METRICS: Final = ("accuracy", "auc", "purity", "completeness", "figure_of_merit")


def measure_trust(
    classifier: Classifier, light_curves: LightCurves, truth: Truth | None, seed: int = 0, n_max: int = MAX_OBJECTS
) -> Trust:
    """Show a classifier curves that are no supernovae, and its own light curves slightly changed.

    Args:
        classifier: at work, with the redshift it is to be given.
        light_curves: of a survey, bands named as the model's.
        truth: classes, where they are known; without them sensitivities have no metrics.
        seed: of the sample and of what is made up.
        n_max: objects at most.

    Returns:
        Its answers; over the objects of the sample that have a probability.
    """
    rng = np.random.default_rng(seed)
    sample = light_curves.take(np.sort(rng.permutation(len(light_curves))[:n_max]))
    usual = classifier.classify(sample)
    rows = np.flatnonzero(_has_probability(usual))
    sample, usual = sample.take(rows), Predictions(usual.table.iloc[rows].reset_index(drop=True), usual.classes)
    threshold = classifier.checkpoint.novelty_threshold
    targets = None if truth is None else find_targets(usual, truth)
    tests = [
        _test_novelty(kind, classifier.classify(imitate(sample, kind, rng)), usual, threshold)
        for kind in (IMITATIONS if len(sample) else ())
    ]
    changes = _changes(classifier, sample) if len(sample) else ()
    return Trust(
        novelty_threshold=threshold,
        share_novel=_share_novel(_novelty(usual), threshold),
        novelty_tests=tuple(tests),
        sensitivities=tuple(
            _compare(name, classifier.classify(change(sample)), usual, targets) for name, change in changes
        ),
        n_objects=len(sample),
    )


def novelty_auroc(made_up: Floats, real: Floats) -> float:
    """Probability that a made-up curve has a higher NOVELTY than a real one, ties counting half; NaN without both."""
    values = np.concatenate([made_up, real])
    if not len(made_up) or not len(real) or np.isnan(values).any():
        return math.nan
    targets = np.repeat([0, 1], [len(made_up), len(real)]).astype(np.int64)
    scores = Scores(np.column_stack([values, 1 - values]), targets)
    return measure(scores, {"auc": METRICS["auc"]})["auc"]


def _test_novelty(kind: str, answers: Predictions, usual: Predictions, threshold: float) -> NoveltyTest:
    answered = _has_probability(answers)
    novelty, probabilities = _novelty(answers)[answered], answers.probabilities[answered]
    p_ia = probabilities[:, answers.classes.index("Ia")]
    return NoveltyTest(
        name=kind,
        n_objects=len(novelty),
        auroc=novelty_auroc(novelty, _novelty(usual)),
        share_confident=_share(probabilities.max(axis=1) > CONFIDENT),
        share_called_ia=_share(p_ia > THRESHOLD),
        share_novel=_share_novel(novelty, threshold),
    )


def _changes(classifier: Classifier, sample: LightCurves) -> Iterator[tuple[str, Callable[[LightCurves], LightCurves]]]:
    """Name small changes of the data, and say how to make them."""
    for column in _redshift_columns(classifier, sample):
        label = {"PHOTOZ": "photo-z", "SPECZ": "spectroscopic redshift"}[column]
        has_error = np.isfinite(sample.objects[f"{column}_ERR"]).any()
        for sign, word in ((1, "+"), (-1, "−")):
            yield f"{label} {word} {REDSHIFT_CHANGE:g} (1 + z)", _shift_redshift(column, sign, by_error=False)
            if has_error:
                yield f"{label} {word} its error", _shift_redshift(column, sign, by_error=True)
    bands = [band for band in classifier.checkpoint.experiment.bands if band in sample.bands]
    for chosen, label in [*(((band,), band) for band in bands), (tuple(bands), "all bands")]:
        for sign, word in ((1, "+"), (-1, "−")):
            change = _shift_zeropoint(chosen, sign * ZEROPOINT_CHANGE)
            yield f"zeropoint of {label} {word} {ZEROPOINT_CHANGE:g} mag", change


def _redshift_columns(classifier: Classifier, sample: LightCurves) -> list[str]:
    """Return the redshift that the classifier is given, if it reads one and any object has one."""
    column = classifier.settings.redshift.upper()
    reads = classifier.checkpoint.experiment.normaliser.use_redshift and column != "NONE"
    return [column] if reads and sample.objects[column].notna().any() else []


def _shift_redshift(column: str, sign: int, by_error: bool) -> Callable[[LightCurves], LightCurves]:
    """Change redshifts, but not below 0; an object without an error keeps its own."""

    def change(light_curves: LightCurves) -> LightCurves:
        objects = light_curves.objects
        size = objects[f"{column}_ERR"].fillna(0.0) if by_error else REDSHIFT_CHANGE * (1 + objects[column])
        shifted = (objects[column] + sign * size).clip(lower=0.0)
        return replace(light_curves, objects=objects.assign(**{column: shifted}))

    return change


def _shift_zeropoint(bands: tuple[str, ...], change_mag: float) -> Callable[[LightCurves], LightCurves]:
    """Make everything measured in some bands fainter by so many magnitudes: flux and error alike."""

    def change(light_curves: LightCurves) -> LightCurves:
        epochs = light_curves.epochs
        factor = np.where(epochs["BAND"].isin(bands), 10 ** (-0.4 * change_mag), 1.0)
        scaled = {name: epochs[name] * factor for name in ("FLUXCAL", "FLUXCALERR")}
        return replace(light_curves, epochs=epochs.assign(**scaled))

    return change


def _compare(name: str, changed: Predictions, usual: Predictions, targets: Integers | None) -> Sensitivity:
    both = _has_probability(changed) & _has_probability(usual)
    after, before = changed.probabilities[both], usual.probabilities[both]
    positive = usual.classes.index("Ia")
    metrics: dict[str, float] = {}
    differences: dict[str, float] = {}
    if targets is not None and (targets[both] >= 0).any():
        known = targets[both] >= 0
        metrics, reference = (
            measure(Scores(values[known], targets[both][known], positive), _chosen_metrics())
            for values in (after, before)
        )
        differences = {metric: metrics[metric] - reference[metric] for metric in metrics}
    return Sensitivity(
        name=name,
        changed_share=_share(after.argmax(axis=1) != before.argmax(axis=1)),
        mean_change=float(np.abs(after - before)[:, positive].mean()) if len(after) else math.nan,
        metrics=metrics,
        differences=differences,
    )


def _chosen_metrics() -> dict[str, Any]:
    return {name: METRICS[name] for name in SENSITIVITY_METRICS}


def _has_probability(predictions: Predictions) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isfinite(predictions.probabilities).all(axis=1))


def _novelty(predictions: Predictions) -> Floats:
    return predictions.table["NOVELTY"].to_numpy(dtype=np.float64)


def _share(claim: npt.NDArray[np.bool_]) -> float:
    return float(claim.mean()) if len(claim) else math.nan


def _share_novel(novelty: Floats, threshold: float) -> float:
    """Share above the threshold; NaN without a score."""
    return math.nan if math.isnan(threshold) else _share(novelty > threshold)
