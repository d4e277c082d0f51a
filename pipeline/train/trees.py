"""Boosted trees beside the networks: they read numbers that describe a light curve, and know much from few objects.

Their share of an answer is `fit.trees`. They are kept as arrays, and answered here: no pickle, and the same answers
whatever scikit-learn is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from pipeline.prepare.extinction import correct_extinction
from pipeline.prepare.truncate import truncate_at_random
from pipeline.schema import LightCurves
from pipeline.train.experiment import Experiment
from pipeline.train.features import light_curve_features

__all__ = ["BoostedTrees", "build_trees", "features_of", "fit_trees", "known_columns"]

Floats = npt.NDArray[np.float64]

LOWEST_PROBABILITY: Final = 1e-6
"""What the trees say at least of a class, also of one that none of their training objects was of."""

ANSWERED_TOGETHER: Final = 250
"""Objects that walk down all trees at a time: their places stay in the processor's cache."""

NODE_ARRAYS: Final = ("feature", "threshold", "missing_left", "left", "right", "value")


@dataclass(frozen=True)
class BoostedTrees:
    """Trained trees.

    Attributes:
        tensors: of all trees one after the other, (n_nodes,): `feature` (column that a node looks at), `threshold` (up
            to it one goes left), `missing_left` (1 where one goes left without a value), `left`, `right` (nodes after
            it; of a leaf the leaf itself) and `value` (of a leaf); `root` (round, output), the first node of each tree;
            `baseline` (output,), what the values are added to; `classes` (known class,), their indices.
        columns: names of the features, in the order of `feature`.
        n_classes: of the answers.

    Raises:
        ValueError: if a node leads, or a root points, to none that there is, or an output lacks a class.
    """

    tensors: dict[str, npt.NDArray[Any]]
    columns: tuple[str, ...]
    n_classes: int

    def __post_init__(self) -> None:
        """Check that every path ends in the arrays."""
        own, known = np.arange(len(self.tensors["value"])), self.tensors["classes"]
        shapes = {name: self.tensors[name].shape for name in NODE_ARRAYS}
        if set(shapes.values()) != {own.shape}:
            raise ValueError(f"trees have nodes of the shapes {shapes}, expected one length")
        ends = {"feature": len(self.columns), "left": len(own), "right": len(own), "root": len(own)}
        for name, end in {**ends, "classes": self.n_classes}.items():
            numbers = self.tensors[name]
            if numbers.dtype.kind != "i" or not ((numbers >= 0) & (numbers < end)).all():
                raise ValueError(f"trees have a {name} that is no whole number from 0 to {end - 1}")
        if (self.tensors["left"] < own).any() or (self.tensors["right"] < own).any():
            raise ValueError("trees have a node that leads back")
        outputs = 1 if len(known) == 2 else len(known)
        if self.tensors["root"].shape[1:] != (outputs,) or self.tensors["baseline"].shape != (outputs,):
            raise ValueError(f"trees have {self.tensors['root'].shape[1:]} outputs, expected {outputs}")

    def description(self) -> dict[str, Any]:
        """Return what is not in the tensors, as JSON holds it."""
        return {"columns": list(self.columns), "n_classes": self.n_classes}

    @classmethod
    def restore(cls, tensors: dict[str, npt.NDArray[Any]], description: dict[str, Any]) -> BoostedTrees:
        """Read `tensors` and `description` back.

        Raises:
            ValueError: if they are no trees.
        """
        columns = tuple(str(name) for name in description["columns"])
        return cls(tensors, columns, int(description["n_classes"]))

    def log_probabilities(self, features: pd.DataFrame) -> Floats:
        """Answer for n objects.

        Args:
            features: n rows with all `columns`, as `features_of` makes them.

        Returns:
            (n, class) logarithms of probabilities, none below LOWEST_PROBABILITY.
        """
        values = features[list(self.columns)].to_numpy(np.float64)
        pieces = [
            self._outputs(values[start : start + ANSWERED_TOGETHER])
            for start in range(0, len(values), ANSWERED_TOGETHER)
        ]
        outputs = np.concatenate(pieces) if pieces else np.zeros((0, len(self.tensors["baseline"])))
        if outputs.shape[1] == 1:  # of two classes, the logit of the second
            outputs = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
        found = np.full((len(values), self.n_classes), -np.inf)
        found[:, self.tensors["classes"]] = outputs - np.logaddexp.reduce(outputs, axis=1, keepdims=True)
        return np.asarray(np.maximum(found, np.log(LOWEST_PROBABILITY)))

    def _outputs(self, values: Floats) -> Floats:
        """(n, output) sums of what (n, feature) objects find at the end of every tree."""
        tensors, root = self.tensors, self.tensors["root"]
        node = np.broadcast_to(root.ravel(), (len(values), root.size))
        rows = np.arange(len(values))[:, None]
        before = None
        while before is None or (node != before).any():  # ends, as no node leads back
            before = node
            value = values[rows, tensors["feature"][node]]
            goes_left = (value <= tensors["threshold"][node]) | (np.isnan(value) & (tensors["missing_left"][node] == 1))
            node = np.where(goes_left, tensors["left"][node], tensors["right"][node])
        sums = tensors["value"][node].reshape(len(values), *root.shape).sum(axis=1)
        return np.asarray(tensors["baseline"] + sums)


def features_of(light_curves: LightCurves, experiment: Experiment) -> pd.DataFrame:
    """Describe light curves as an experiment prepares them, with the photo-z only where it lets networks have it."""
    corrected = correct_extinction(light_curves) if experiment.deredden else light_curves
    return light_curve_features(corrected, experiment.bands, experiment.normaliser.use_redshift)


def known_columns(features: pd.DataFrame) -> pd.DataFrame:
    """Leave out the columns without a value, which trees cannot bin."""
    return features.dropna(axis="columns", how="all")


def build_trees(seed: int) -> HistGradientBoostingClassifier:
    """Return trees to be trained: their number and size are fixed, and no choice is made by validation."""
    return HistGradientBoostingClassifier(
        max_iter=300,
        learning_rate=0.06,
        max_leaf_nodes=24,
        min_samples_leaf=20,
        l2_regularization=1.0,
        max_features=0.3,
        early_stopping=False,
        random_state=seed,
    )


def fit_trees(
    train: LightCurves, labels: npt.NDArray[np.int64], experiment: Experiment, n_classes: int
) -> BoostedTrees:
    """Train on the training part, and on copies as the networks see them: without a redshift, and cut off.

    Copies count as much as their share in the networks' training, `augment.hide_redshift` and `augment.truncate`.

    Args:
        train: training objects.
        labels: (n_objects,) index of the class.
        experiment: settings.
        n_classes: that are told apart.
    """
    copies = [(train, 1.0)]
    if experiment.normaliser.use_redshift and experiment.augment.hide_redshift:
        nothing = train.objects.assign(PHOTOZ=np.nan, PHOTOZ_ERR=np.nan)
        copies.append((LightCurves(nothing, train.epochs, train.offsets), experiment.augment.hide_redshift))
    if experiment.augment.truncate:
        rng = np.random.default_rng([experiment.fit.seed, 0x747265])
        copies.append((truncate_at_random(train, rng), experiment.augment.truncate))
    features = known_columns(pd.concat([features_of(one, experiment) for one, _ in copies], ignore_index=True))
    weights = np.repeat([weight for _, weight in copies], len(train))
    trees = build_trees(experiment.fit.seed)
    with threadpool_limits(1):  # its threads spin, which is slow beside anything else that runs
        trees.fit(features, np.tile(labels, len(copies)), weights)
    return as_arrays(trees, tuple(features.columns), n_classes)


def as_arrays(trees: HistGradientBoostingClassifier, columns: Sequence[str], n_classes: int) -> BoostedTrees:
    """Take trained trees out of scikit-learn, which has no public way to keep them but a pickle."""
    rounds = trees._predictors
    nodes = [tree.nodes for one in rounds for tree in one]
    first = np.cumsum([0, *(len(tree) for tree in nodes)])
    own = np.arange(first[-1])
    whole = np.concatenate(nodes)
    start = np.repeat(first[:-1], np.diff(first))
    is_leaf = whole["is_leaf"].astype(bool)
    tensors: dict[str, npt.NDArray[Any]] = {
        "feature": np.where(is_leaf, 0, whole["feature_idx"]).astype(np.int32),
        "threshold": np.where(is_leaf, 0.0, whole["num_threshold"]),
        "missing_left": whole["missing_go_to_left"].astype(np.int8),
        "left": np.where(is_leaf, own, start + whole["left"]).astype(np.int32),
        "right": np.where(is_leaf, own, start + whole["right"]).astype(np.int32),
        "value": np.where(is_leaf, whole["value"], 0.0),
        "root": first[:-1].reshape(len(rounds), -1).astype(np.int32),
        "baseline": np.asarray(trees._baseline_prediction, dtype=np.float64).ravel(),
        "classes": trees.classes_.astype(np.int64),
    }
    return BoostedTrees(tensors, tuple(columns), n_classes)
