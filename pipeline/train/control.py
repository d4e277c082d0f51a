"""The control classifier: header and cadence only. It must not do well; if it does, the data leak the answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from pipeline.schema import LightCurves, Predictions, prediction_columns, probability_columns
from pipeline.taxonomy import CLASS_SETS
from pipeline.train.experiment import Experiment
from pipeline.train.fit import Sample
from pipeline.train.trees import known_columns

__all__ = ["control_features", "control_predictions", "tree_predictions"]

CONTROL: Final = "control: header and cadence only"


def control_features(light_curves: LightCurves) -> pd.DataFrame:
    """Return what a header and dates tell: photo-z, MWEBV, position, first and last MJD, number of epochs."""
    objects = light_curves.objects[["PHOTOZ", "PHOTOZ_ERR", "MWEBV", "RA", "DEC"]].reset_index(drop=True)
    mjd = light_curves.epochs["MJD"].to_numpy()
    starts, ends = light_curves.offsets[:-1], light_curves.offsets[1:]
    return objects.assign(FIRST_MJD=mjd[starts], LAST_MJD=mjd[ends - 1], N_EPOCHS=ends - starts)


def control_predictions(sample: Sample, experiment: Experiment) -> Predictions:
    """Train boosted trees on the training part's header and cadence, and classify the test part with them."""
    trees = HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=experiment.fit.seed)
    return tree_predictions(sample, experiment, trees, control_features, CONTROL, sample.split.train)


def tree_predictions(
    sample: Sample,
    experiment: Experiment,
    trees: HistGradientBoostingClassifier,
    describe: Callable[[LightCurves], pd.DataFrame],
    name: str,
    learnt_from: tuple[str, ...],
) -> Predictions:
    """Train trees on a table of features, and classify the test part with them.

    Args:
        sample: objects, labels and split.
        experiment: says what is told apart.
        trees: to be trained.
        describe: makes the features, one row an object.
        name: MODEL of the predictions.
        learnt_from: SNIDs to train on, none of them of the test part.
    """
    train, labels = sample.part(learnt_from)
    test, _ = sample.part(sample.split.test)
    with threadpool_limits(1):  # its threads spin, which is slow beside anything else that runs
        features = known_columns(describe(train))
        trees.fit(features, labels)
        answers = trees.predict_proba(describe(test)[features.columns])
    classes = CLASS_SETS[experiment.classes]
    probabilities = np.zeros((len(test), len(classes)))
    probabilities[:, trees.classes_] = answers
    names = probability_columns(classes)
    table = pd.DataFrame({"SNID": test.objects["SNID"], "STATUS": "classified", "REASON": ""})
    table[names] = probabilities
    table[[f"{name}_STD" for name in names]] = np.nan
    table["NOVELTY"] = np.nan
    table["N_EPOCHS"] = np.diff(test.offsets)
    table["LAST_MJD"] = control_features(test)["LAST_MJD"]
    table["MODEL"] = name
    table["PHOTOMETRY_HASH"] = test.objects["PHOTOMETRY_HASH"]
    table["CREATED"] = datetime.now(UTC).isoformat(timespec="seconds")
    return Predictions(table[prediction_columns(classes)], classes)
