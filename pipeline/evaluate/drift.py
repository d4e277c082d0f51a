"""How much a survey differs from what a classifier learnt from: property by property, all together, and in its mix."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import ks_2samp
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from pipeline.evaluate.evaluation import find_targets
from pipeline.evaluate.findings import Drift, FeatureDrift
from pipeline.evaluate.metrics import METRICS, Estimate, Scores, bootstrap
from pipeline.prepare.summary import summarise_light_curves, summary_units
from pipeline.schema import LightCurves, Predictions, Truth
from pipeline.train.checkpoint import Checkpoint

__all__ = ["compare_feature", "domain_auc", "estimate_prior", "measure_drift"]

Floats = npt.NDArray[np.float64]

MAX_OBJECTS: Final = 2000
"""Of the survey, compared with as many of the training data."""

HISTOGRAM_BINS: Final = 20
HISTOGRAM_RANGE: Final = (0.005, 0.995)
"""Quantiles of both samples together where a histogram begins and ends; what is beyond is in its outer bins."""

FOLDS: Final = 5
EM_STEPS: Final = 1000
EM_TOLERANCE: Final = 1e-7


def measure_drift(
    light_curves: LightCurves, predictions: Predictions, truth: Truth | None, checkpoint: Checkpoint, seed: int = 0
) -> Drift | None:
    """Compare a survey with the training data that a classifier remembers.

    Args:
        light_curves: of every object in `predictions`, in any order, bands named as the model's.
        predictions: of this classifier; objects without a probability are left out, as they were in training.
        truth: classes, where they are known.
        checkpoint: the classifier.
        seed: of the sample, the trees and the bootstrap.

    Returns:
        None if the classifier remembers nothing of its training data (format version 1), or no object has a
        probability.
    """
    reference, bands = checkpoint.reference, checkpoint.experiment.bands
    classified = np.flatnonzero(np.isfinite(predictions.probabilities).all(axis=1))
    if reference is None or not len(classified):
        return None
    drawn = np.sort(np.random.default_rng(seed).permutation(classified)[:MAX_OBJECTS])
    chosen = light_curves.select(predictions.table["SNID"].iloc[drawn])
    survey = summarise_light_curves(chosen, bands).astype(np.float32).astype(np.float64)
    units = summary_units(bands)
    columns = [name for name in reference.summary.columns if name in units]
    training = reference.summary[columns]
    features = [
        compare_feature(name, units[name], training[name].to_numpy(), survey[name].to_numpy()) for name in columns
    ]
    shares = np.array([reference.class_shares[name] for name in predictions.classes])
    balanced = checkpoint.experiment.fit.class_weight == "balanced"
    implied = np.full(len(shares), 1 / len(shares)) if balanced else shares
    return Drift(
        n_training=len(training),
        n_survey=len(survey),
        features=tuple(sorted(features, key=lambda found: -np.nan_to_num(found.psi, nan=-1))),
        domain_auc=domain_auc(training, survey[columns], seed),
        training_prior=_by_class(predictions, shares),
        estimated_prior=_by_class(predictions, estimate_prior(predictions.probabilities[classified], implied)),
        true_prior=_true_prior(predictions, truth, classified),
    )


def compare_feature(name: str, unit: str, training: Floats, survey: Floats) -> FeatureDrift:
    """Compare one property of (n_training,) and (n_survey,) objects; NaN where an object lacks it."""
    known = [values[np.isfinite(values)] for values in (training, survey)]
    before, after = known
    ks = ks_2samp(before, after, method="asymp") if len(before) and len(after) else None
    edges = _histogram_edges(np.concatenate(known))
    shares = [_histogram(values, edges) for values in known]
    medians = [float(np.median(values)) if len(values) else math.nan for values in known]
    return FeatureDrift(
        name=name,
        psi=stability_index(training, survey),
        ks=float(ks.statistic) if ks else math.nan,
        p_value=float(ks.pvalue) if ks else math.nan,
        edges=tuple(edges.tolist()),
        training=tuple(shares[0].tolist()),
        survey=tuple(shares[1].tolist()),
        median_training=medians[0],
        median_survey=medians[1],
        missing_training=1 - len(known[0]) / len(training),
        missing_survey=1 - len(known[1]) / len(survey),
        unit=unit,
    )


def stability_index(training: Floats, survey: Floats) -> float:
    """Population stability index over the deciles of the training data: Σ (survey − training) ln(survey / training).

    Objects without the property are a bin of their own, and so is a value that half of the training objects share, as
    the number of bands is. Shares below that of half an object count as that.
    """
    known = training[np.isfinite(training)]
    deciles = np.quantile(known, np.arange(0.1, 0.95, 0.1)) if len(known) else np.zeros(0)
    cuts, repeats = np.unique(deciles, return_counts=True)
    cuts = np.sort(np.append(cuts, np.nextafter(cuts[repeats >= 5], np.inf)))
    shares = [_decile_shares(values, cuts) for values in (training, survey)]
    least = 0.5 / min(len(training), len(survey))
    before, after = (np.maximum(share, least) for share in shares)
    return float(((after - before) * np.log(after / before)).sum())


def domain_auc(training: pd.DataFrame, survey: pd.DataFrame, seed: int) -> Estimate:
    """Area under the ROC curve of boosted trees that tell survey from training, each object judged by others' trees.

    The error is that of the bootstrap over objects. NaN where one side has fewer objects than there are folds.
    """
    if min(len(training), len(survey)) < FOLDS:
        return Estimate(math.nan, math.nan)
    features = np.concatenate([training.to_numpy(), survey.to_numpy()])
    is_survey = np.repeat([0, 1], [len(training), len(survey)])
    trees = HistGradientBoostingClassifier(max_iter=60, early_stopping=False, random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    with threadpool_limits(1):  # its threads spin, which is slow beside anything else that runs
        probabilities = cross_val_predict(trees, features, is_survey, cv=folds, method="predict_proba")
    scores = Scores(probabilities, is_survey.astype(np.int64), positive=1)
    return bootstrap(scores, np.random.default_rng(seed), {"auc": METRICS["auc"]})["auc"]


def estimate_prior(probabilities: Floats, training_prior: Floats) -> Floats:
    """Estimate the share of each class from probabilities alone, by expectation and maximisation.

    The probabilities must be calibrated on objects mixed as in `training_prior`, and the classes must look as they did
    in training (Saerens et al. 2002, Neural Computation 14, 21).

    Args:
        probabilities: (n_objects, n_classes).
        training_prior: (n_classes,) shares that the classifier takes for granted.

    Returns:
        (n_classes,) shares, summing to 1.
    """
    known = np.where(training_prior > 0, training_prior, 1.0)
    prior = training_prior
    for _ in range(EM_STEPS):
        weighted = probabilities * (prior / known)
        better = (weighted / np.maximum(weighted.sum(axis=1, keepdims=True), 1e-300)).mean(axis=0)
        converged = np.abs(better - prior).max() < EM_TOLERANCE
        prior = better
        if converged:
            break
    return np.asarray(prior / prior.sum())


def _decile_shares(values: Floats, cuts: Floats) -> Floats:
    known = values[np.isfinite(values)]
    counts = np.bincount(np.searchsorted(cuts, known, "right"), minlength=len(cuts) + 1)
    return np.asarray(np.append(counts, len(values) - len(known)) / len(values))


def _histogram_edges(values: Floats) -> Floats:
    if not len(values):
        return np.zeros(0)
    low, high = np.quantile(values, HISTOGRAM_RANGE)
    return np.linspace(low, high, HISTOGRAM_BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])


def _histogram(values: Floats, edges: Floats) -> Floats:
    if not len(edges):
        return np.zeros(0)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return np.asarray(counts / len(values)) if len(values) else np.full(len(counts), np.nan)


def _by_class(predictions: Predictions, shares: Floats) -> dict[str, float]:
    return dict(zip(predictions.classes, shares.tolist(), strict=True))


def _true_prior(predictions: Predictions, truth: Truth | None, classified: npt.NDArray[np.int64]) -> dict[str, float]:
    if truth is None:
        return {}
    targets = find_targets(predictions, truth)[classified]
    known = targets[targets >= 0]
    if not len(known):
        return {}
    return _by_class(predictions, np.bincount(known, minlength=len(predictions.classes)) / len(known))
