"""The metrics as they would be with another mix of classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pipeline.evaluate.findings import ClassMix
from pipeline.evaluate.metrics import METRICS, Bootstrap, Estimate, Reweigh
from pipeline.evaluate.scores import Floats, Scores

__all__ = ["complete_prior", "measure_mixes", "weigh_classes"]


def measure_mixes(
    scores: Scores,
    classes: tuple[str, ...],
    natural: Mapping[str, Estimate],
    bootstrap: Bootstrap,
    prior: Mapping[str, float] | None = None,
) -> tuple[ClassMix, ...]:
    """Measure METRICS at the natural mix, with equal shares of the classes that occur, and under a prior.

    Args:
        scores: of the objects; without any there is no mix.
        classes: in the order of the columns.
        natural: METRICS as they are, by name.
        bootstrap: of the others; each resample is weighted to the shares anew.
        prior: share of some classes or of all; see `complete_prior`.

    Raises:
        ValueError: if the prior is none.
    """
    if not len(scores):
        return ()
    shares = np.bincount(scores.targets, minlength=len(classes)) / len(scores)
    present = shares > 0
    balanced = present / present.sum()
    found = [
        ClassMix("natural", _named(classes, shares), {name: natural[name] for name in METRICS}),
        ClassMix("balanced", _named(classes, balanced), bootstrap.estimate(scores, METRICS, weigh_classes(balanced))),
    ]
    if prior:
        wanted = complete_prior(prior, classes, shares)
        turned = _turn(scores, np.divide(wanted, shares, out=np.ones_like(shares), where=present))
        metrics = bootstrap.estimate(turned, METRICS, weigh_classes(wanted))
        found.append(ClassMix("prior", _named(classes, wanted), metrics))
    return tuple(found)


def complete_prior(prior: Mapping[str, float], classes: tuple[str, ...], natural: Floats) -> Floats:
    """Return the share of each class; those that the prior leaves out share the rest in natural proportion.

    >>> complete_prior({"Ia": 0.3}, ("Ia", "II", "Ibc"), np.array([0.5, 0.4, 0.1])).round(6).tolist()
    [0.3, 0.56, 0.14]

    Raises:
        ValueError: if a class is none of the classifier's, or the shares cannot be those of a mix.
    """
    given = f"the prior {', '.join(f'{name}={share:g}' for name, share in prior.items())}"
    if set(prior) - set(classes):
        raise ValueError(f"{given}: expected classes among {', '.join(classes)}")
    total = sum(prior.values())
    is_given = np.array([name in prior for name in classes])
    is_whole = abs(total - 1) < 1e-6 if is_given.all() else total < 1
    if not is_whole or not all(0 < share < 1 for share in prior.values()):
        wanted = "shares that sum to 1" if is_given.all() else "shares that leave something to the other classes"
        raise ValueError(f"{given}: expected {wanted}, each between 0 and 1; they sum to {total:g}")
    rest = np.where(is_given, 0.0, natural)
    rest = rest if rest.sum() else (~is_given).astype(float)
    shares = np.array([prior.get(name, 0.0) for name in classes])
    return shares + (1 - total) * rest / rest.sum() if not is_given.all() else shares / total


def weigh_classes(shares: Floats) -> Reweigh:
    """Return what weights each class to its share in every resample; NaN where a class that has one is absent."""

    def reweigh(scores: Scores, counts: Floats) -> Floats:
        drawn = np.stack([counts @ (scores.targets == place) for place in range(len(shares))], axis=1)
        factors = np.divide(
            shares * counts.sum(axis=1, keepdims=True), drawn, out=np.zeros_like(drawn), where=drawn > 0
        )
        factors[((drawn == 0) & (shares > 0)).any(axis=1)] = np.nan
        return np.asarray(counts * factors[:, scores.targets])

    return reweigh


def _turn(scores: Scores, ratio: Floats) -> Scores:
    """Multiply the odds by the ratio of the new share to the old (Saerens et al. 2002, equation 2.4)."""
    turned = scores.probabilities * ratio
    return replace(scores, probabilities=turned / turned.sum(axis=1, keepdims=True))


def _named(classes: tuple[str, ...], shares: Floats) -> dict[str, float]:
    return dict(zip(classes, shares.tolist(), strict=True))
