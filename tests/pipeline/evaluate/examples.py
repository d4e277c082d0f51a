"""Predictions, truths and scores that the tests of this folder share."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.evaluate.scores import Scores
from pipeline.schema import Predictions, Truth, prediction_columns

BINARY = ("Ia", "nonIa")
KNOWN = {"Ia": "Ia", "IIP": "II", "IIn": "II", "Ib": "Ibc", "Ic": "Ibc"}


def make_predictions(p_ia, statuses=None, classes=BINARY, n_epochs=None) -> Predictions:
    """Predictions of objects named 0, 1, …, the rest shared equally; NaN where there is no probability."""
    p_ia = np.asarray(p_ia, dtype=float)
    others = np.repeat((1 - p_ia)[:, None] / (len(classes) - 1), len(classes) - 1, axis=1)
    return tabulate(np.column_stack([p_ia, others]), classes, statuses, n_epochs)


def tabulate(probabilities, classes, statuses=None, n_epochs=None) -> Predictions:
    """Predictions of objects named 0, 1, …"""
    table = pd.DataFrame(probabilities, columns=[f"P_{name}" for name in classes])
    has_class = np.isfinite(probabilities).all(axis=1)
    table["SNID"] = [str(i) for i in range(len(table))]
    table["STATUS"] = statuses or np.where(has_class, "classified", "rejected")
    table["REASON"] = np.where(has_class, "", "fewer than 3 epochs")
    table["N_EPOCHS"] = np.nan if n_epochs is None else n_epochs
    return Predictions(table.reindex(columns=prediction_columns(classes)), classes)


def make_truth(subclasses, redshift=0.5, template=None) -> Truth:
    """Truth of objects named 0, 1, …; None where nothing is known."""
    return Truth(
        pd.DataFrame(
            {
                "SNID": [str(i) for i in range(len(subclasses))],
                "CLASS": [KNOWN.get(name) for name in subclasses],
                "SUBCLASS": subclasses,
                "TEMPLATE": template,
                "SPECTYPE": None,
                "REDSHIFT": redshift,
                "PEAKMJD": 56000.0,
            }
        )
    )


def make_random(n_objects: int, seed: int = 0) -> tuple[Predictions, Truth]:
    """Binary predictions that are better than chance, a few objects without a probability."""
    rng = np.random.default_rng(seed)
    subclasses = rng.choice(["Ia", "IIP", "IIn", "Ib", "Ic"], n_objects)
    p_ia = 1 / (1 + np.exp(-rng.normal(np.where(subclasses == "Ia", 2.0, -2.0), 1.5)))
    p_ia[rng.random(n_objects) < 0.02] = np.nan
    return make_predictions(p_ia), make_truth(subclasses, rng.uniform(0.1, 1.2, n_objects))


def make_scores(n_objects: int, n_classes: int, seed: int = 0, decimals: int = 2) -> Scores:
    """Random scores with many ties, and better than chance."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, n_classes, n_objects)
    weights = rng.random((n_objects, n_classes)) + 0.7 * np.eye(n_classes)[targets]
    probabilities = np.round(weights / weights.sum(axis=1, keepdims=True), decimals)
    probabilities[:, -1] = 1 - probabilities[:, :-1].sum(axis=1)
    return Scores(np.clip(probabilities, 0, 1), targets)


def make_confident(n_objects: int, n_classes: int, seed: int = 0) -> Scores:
    """Scores of a network: a softmax of noisy logits, from one in a million to almost one; rare Ia."""
    rng = np.random.default_rng(seed)
    targets = np.minimum(rng.integers(0, 4 * n_classes, n_objects) // 3, n_classes - 1)
    logits = rng.normal(0, 2, (n_objects, n_classes)) + 4 * np.eye(n_classes)[targets]
    powers = np.exp(logits)
    return Scores(powers / powers.sum(axis=1, keepdims=True), targets)


def binary(p_ia, is_ia) -> Scores:
    """Scores of Ia against the rest."""
    p_ia = np.asarray(p_ia, dtype=float)
    return Scores(np.column_stack([p_ia, 1 - p_ia]), (~np.asarray(is_ia, dtype=bool)).astype(np.int64))
