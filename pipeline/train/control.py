"""The control classifier: header and cadence only. It must not do well; if it does, the data leak the answer."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from pipeline.schema import LightCurves, Predictions, prediction_columns, probability_columns
from pipeline.taxonomy import CLASS_SETS
from pipeline.train.experiment import Experiment
from pipeline.train.fit import Sample

__all__ = ["control_features", "control_predictions"]


def control_features(light_curves: LightCurves) -> pd.DataFrame:
    """Return what a header and dates tell: photo-z, MWEBV, position, first and last MJD, number of epochs."""
    objects = light_curves.objects[["PHOTOZ", "PHOTOZ_ERR", "MWEBV", "RA", "DEC"]].reset_index(drop=True)
    mjd = light_curves.epochs["MJD"].to_numpy()
    starts, ends = light_curves.offsets[:-1], light_curves.offsets[1:]
    return objects.assign(FIRST_MJD=mjd[starts], LAST_MJD=mjd[ends - 1], N_EPOCHS=ends - starts)


def control_predictions(sample: Sample, experiment: Experiment) -> Predictions:
    """Train boosted trees on the training part's header and cadence, and classify the test part with them."""
    train, labels = sample.part(sample.split.train)
    test, _ = sample.part(sample.split.test)
    trees = HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=experiment.fit.seed)
    with threadpool_limits(1):  # its threads spin, which is slow beside anything else that runs
        trees.fit(control_features(train), labels)
    classes = CLASS_SETS[experiment.classes]
    probabilities = np.zeros((len(test), len(classes)))
    probabilities[:, trees.classes_] = trees.predict_proba(control_features(test))
    names = probability_columns(classes)
    table = pd.DataFrame({"SNID": test.objects["SNID"], "STATUS": "classified", "REASON": ""})
    table[names] = probabilities
    table[[f"{name}_STD" for name in names]] = np.nan
    table["NOVELTY"] = np.nan
    table["N_EPOCHS"] = np.diff(test.offsets)
    table["LAST_MJD"] = control_features(test)["LAST_MJD"]
    table["MODEL"] = "control: header and cadence only"
    table["PHOTOMETRY_HASH"] = test.objects["PHOTOMETRY_HASH"]
    table["CREATED"] = datetime.now(UTC).isoformat(timespec="seconds")
    return Predictions(table[prediction_columns(classes)], classes)
