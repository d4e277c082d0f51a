"""The classical baseline: boosted trees on light-curve features, the bar that a network must clear."""

from __future__ import annotations

from functools import partial
from typing import Final

import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

from pipeline.prepare.extinction import correct_extinction
from pipeline.schema import LightCurves, Predictions
from pipeline.train.control import tree_predictions
from pipeline.train.experiment import Experiment
from pipeline.train.features import light_curve_features
from pipeline.train.fit import Sample

__all__ = ["classical_predictions", "features_of"]

CLASSICAL: Final = "classical: boosted trees on light-curve features"


def features_of(light_curves: LightCurves, experiment: Experiment) -> pd.DataFrame:
    """Describe light curves as an experiment prepares them, with the photo-z only where it lets networks have it."""
    corrected = correct_extinction(light_curves) if experiment.deredden else light_curves
    return light_curve_features(corrected, experiment.bands, experiment.normaliser.use_redshift)


def classical_predictions(sample: Sample, experiment: Experiment) -> Predictions:
    """Train boosted trees on the features of the training and validation parts, and classify the test part.

    The trees have no choice to make by validation: how many there are, and how large, is fixed.
    """
    trees = HistGradientBoostingClassifier(
        max_iter=300,
        learning_rate=0.06,
        max_leaf_nodes=24,
        min_samples_leaf=20,
        l2_regularization=1.0,
        max_features=0.3,
        early_stopping=False,
        random_state=experiment.fit.seed,
    )
    learnt_from = (*sample.split.train, *sample.split.validation)
    return tree_predictions(
        sample, experiment, trees, partial(features_of, experiment=experiment), CLASSICAL, learnt_from
    )
