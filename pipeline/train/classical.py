"""The classical baseline: boosted trees on light-curve features, the bar that a network must clear."""

from __future__ import annotations

from functools import partial
from typing import Final

from pipeline.schema import Predictions
from pipeline.train.control import tree_predictions
from pipeline.train.experiment import Experiment
from pipeline.train.fit import Sample
from pipeline.train.trees import build_trees, features_of

__all__ = ["classical_predictions"]

CLASSICAL: Final = "classical: boosted trees on light-curve features"


def classical_predictions(sample: Sample, experiment: Experiment) -> Predictions:
    """Train boosted trees on the features of the training and validation parts, and classify the test part.

    The trees have no choice to make by validation: how many there are, and how large, is fixed.
    """
    learnt_from = (*sample.split.train, *sample.split.validation)
    return tree_predictions(
        sample,
        experiment,
        build_trees(experiment.fit.seed),
        partial(features_of, experiment=experiment),
        CLASSICAL,
        learnt_from,
    )
