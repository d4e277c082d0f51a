"""Classification before the light curve is complete: how good it is by when, and how long certainty takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.classify.nights import NIGHT_GAP, classify_prefixes, count_until, first_detection, sixth_observation
from pipeline.classify.predict import Classifier, Progress
from pipeline.evaluate.evaluation import find_targets
from pipeline.evaluate.findings import EarlyClassification, EarlyPoint, TimeToClass
from pipeline.evaluate.metrics import METRICS, RESAMPLES, THRESHOLD, Estimate, Scores, bootstrap
from pipeline.schema import LightCurves, Predictions, Truth, prediction_columns, probability_columns

__all__ = ["CONFIDENCE", "CONFIDENT_DAYS", "DETECTION_DAYS", "N_MAX", "PEAK_DAYS", "evaluate_early"]

DETECTION_DAYS: Final = (0.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 50.0)
"""Moments since the first detection [d]."""

PEAK_DAYS: Final = (-7.0, -2.0, 0.0, 2.0, 10.0, 30.0)
"""Moments since the true peak [d]."""

CONFIDENT_DAYS: Final = (0.0, 2.0, *(float(day) for day in range(5, 65, 5)), 70.0, 80.0, 100.0)
"""Moments since the first detection at which confidence is looked for [d]."""

CONFIDENCE: Final = 0.9
"""The right class must have more than this."""

N_MAX: Final = 3000
"""Objects; a share of 0.9 is then known to 0.005."""

EARLY_METRICS: Final = ("accuracy", "purity", "completeness", "auc")

Since = Literal["detection", "peak", "sixth", "whole"]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Moment:
    """When light curves are cut.

    Attributes:
        since: as in EarlyPoint.
        days: as in EarlyPoint.
        mjd: (n_objects,) the moment of each object [d]; infinite for "whole", NaN where it has none.
    """

    since: Since
    days: float
    mjd: Floats


@dataclass(frozen=True)
class Answers:
    """What was said of the objects at each moment.

    Attributes:
        probabilities: (n_moments, n_objects, n_classes), NaN without a probability.
        is_defined: (n_moments, n_objects) whether the object has the moment.
        targets: (n_objects,) column of the true class.
        classes: names of the columns.
    """

    probabilities: Floats
    is_defined: npt.NDArray[np.bool_]
    targets: Integers
    classes: tuple[str, ...]


def evaluate_early(
    classifier: Classifier,
    light_curves: LightCurves,
    truth: Truth,
    seed: int,
    n_max: int = N_MAX,
    n_resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> EarlyClassification:
    """Classify light curves cut off at several moments, and compare with the truth.

    At every moment the rest of the night is kept, too. Days since detection are counted in nights: half a day more
    belongs to them, so that it does not matter at what hour a night begins. Cuts that leave the same measurements are
    classified once.

    Args:
        classifier: a checkpoint at work.
        light_curves: objects that no network has seen, in bands that the classifier knows.
        truth: of any objects; those of unknown class are left out.
        seed: of the sample and of the bootstrap.
        n_max: objects of known class drawn, if there are more.
        n_resamples: of the bootstrap.
        progress: called with how many cut light curves are done, and how many there are.

    Raises:
        ContractError: if the data have bands that the model does not know.
        ValueError: if the classifier's classes are none of the class sets.
    """
    classes = classifier.classes
    known = light_curves.take(np.flatnonzero(_targets(light_curves, truth, classes) >= 0))
    sample = _draw(known, n_max, seed)
    detected, peak = first_detection(sample), truth.select(sample.objects["SNID"]).table["PEAKMJD"].to_numpy(float)
    whole = Moment("whole", math.nan, np.full(len(sample), np.inf))
    points = [
        *(Moment("detection", day, detected + day + NIGHT_GAP) for day in DETECTION_DAYS),
        *(Moment("peak", day, peak + day) for day in PEAK_DAYS),
        Moment("sixth", math.nan, sixth_observation(sample)),
        whole,
    ]
    grid = [Moment("detection", day, detected + day + NIGHT_GAP) for day in CONFIDENT_DAYS] + [whole]
    targets = _targets(sample, truth, classes)
    answers = _classify_moments(classifier, sample, [*points, *grid], targets, progress)
    return EarlyClassification(
        points=tuple(_measure(moment, answers, place, seed, n_resamples) for place, moment in enumerate(points)),
        time_to_class=_time_to_class(answers, slice(len(points), None)),
        n_objects=len(sample),
        n_available=len(known),
    )


def _targets(light_curves: LightCurves, truth: Truth, classes: tuple[str, ...]) -> Integers:
    """(n_objects,) column of each true class, −1 without one."""
    unasked = pd.DataFrame({"SNID": light_curves.objects["SNID"], "STATUS": "rejected"})
    return find_targets(Predictions(unasked.reindex(columns=prediction_columns(classes)), classes), truth)


def _draw(light_curves: LightCurves, n_max: int, seed: int) -> LightCurves:
    """Draw objects; which ones does not depend on their order."""
    if len(light_curves) <= n_max:
        return light_curves
    by_name = np.argsort(light_curves.objects["SNID"].to_numpy(dtype=str), kind="stable")
    drawn = np.random.default_rng(seed).choice(len(by_name), n_max, replace=False)
    return light_curves.take(np.sort(by_name[drawn]))


def _classify_moments(
    classifier: Classifier,
    light_curves: LightCurves,
    moments: Sequence[Moment],
    targets: Integers,
    progress: Progress | None,
) -> Answers:
    """Classify every object at every moment that it has; each of its prefixes once."""
    classes = classifier.classes
    is_defined = np.array([~np.isnan(moment.mjd) for moment in moments])
    lengths = np.array([count_until(light_curves, moment.mjd, whole_night=True) for moment in moments])
    n_lengths = int(np.diff(light_curves.offsets).max(initial=0)) + 1
    keys = (np.arange(len(light_curves)) * n_lengths + lengths)[is_defined]
    wanted, place = np.unique(keys, return_inverse=True)
    table = classify_prefixes(classifier, light_curves, wanted // n_lengths, wanted % n_lengths, progress)
    probabilities = np.full((*is_defined.shape, len(classes)), np.nan)
    probabilities[is_defined] = table[probability_columns(classes)].to_numpy(float)[place]
    return Answers(probabilities, is_defined, targets, classes)


def _measure(moment: Moment, answers: Answers, place: int, seed: int, n_resamples: int) -> EarlyPoint:
    asked = answers.is_defined[place]
    probabilities, targets = answers.probabilities[place][asked], answers.targets[asked]
    has_probability = np.isfinite(probabilities).all(axis=1)
    positive = answers.classes.index("Ia")
    scores = Scores(probabilities[has_probability], targets[has_probability], positive)
    metrics = {name: METRICS[name] for name in EARLY_METRICS}
    found = bootstrap(scores, np.random.default_rng(seed), metrics, n_resamples)
    found["completeness_all_inputs"] = _share_called(probabilities[targets == positive, positive])
    return EarlyPoint(moment.since, moment.days, int(asked.sum()), int((~has_probability).sum()), found)


def _share_called(p_ia: Floats) -> Estimate:
    """Share of the true Ia that are called Ia, with its binomial deviation; one without a probability is not."""
    if not len(p_ia):
        return Estimate(math.nan, math.nan)
    share = float((p_ia > THRESHOLD).mean())
    return Estimate(share, math.sqrt(share * (1 - share) / len(p_ia)))


def _time_to_class(answers: Answers, grid: slice) -> TimeToClass:
    """Find for each object the first of the grid's days from which on its right class is confident to the end.

    Args:
        answers: at all moments.
        grid: those of CONFIDENT_DAYS, and the whole light curve last.
    """
    has_detection = answers.is_defined[grid.start]
    p_right = answers.probabilities[grid, np.arange(len(answers.targets)), answers.targets]
    stays = np.logical_and.accumulate((p_right > CONFIDENCE)[::-1])[::-1][:-1]
    share, median = {}, {}
    for column, name in enumerate(answers.classes):
        members = stays[:, has_detection & (answers.targets == column)]
        is_there = members.mean(axis=1) if members.size else np.full(len(CONFIDENT_DAYS), np.nan)
        share[name] = tuple(is_there.tolist())
        median[name] = CONFIDENT_DAYS[int((is_there >= 0.5).argmax())] if (is_there >= 0.5).any() else math.nan
    return TimeToClass(CONFIDENCE, CONFIDENT_DAYS, share, median)
