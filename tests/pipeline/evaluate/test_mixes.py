"""Facts about other mixes of classes: weights do what drawing objects anew would do."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluate.metrics import METRICS, Bootstrap, Scores, measure
from pipeline.evaluate.mixes import complete_prior, measure_mixes, weigh_classes
from tests.pipeline.evaluate.examples import make_confident, make_scores

TYPES = ("Ia", "II", "Ibc")


def mixes_of(scores: Scores, prior=None, n_resamples: int = 50):
    bootstrap = Bootstrap(0, n_resamples)
    classes = ("Ia", "nonIa") if scores.n_classes == 2 else TYPES
    return measure_mixes(scores, classes, bootstrap.estimate(scores), bootstrap, prior)


def test_the_natural_mix_has_the_metrics_as_they_are():
    scores = make_confident(400, 3)
    natural = mixes_of(scores)[0]
    assert natural.name == "natural"
    assert {name: found.value for name, found in natural.metrics.items()} == pytest.approx(measure(scores))
    assert sum(natural.shares.values()) == pytest.approx(1)


def test_accuracy_at_equal_shares_is_balanced_accuracy():
    scores = make_confident(600, 3)
    _, balanced = mixes_of(scores)
    assert balanced.shares == pytest.approx(dict.fromkeys(TYPES, 1 / 3))
    assert balanced.metrics["accuracy"].value == pytest.approx(measure(scores)["balanced_accuracy"])
    assert balanced.metrics["completeness"].value == pytest.approx(measure(scores)["completeness"])


def test_weighting_a_class_threefold_is_having_three_times_its_objects():
    scores = make_scores(90, 2)
    rows = np.repeat(np.arange(90), np.where(scores.is_ia, 3, 1))
    tripled = scores.take(rows)
    shares = np.bincount(tripled.targets) / len(tripled)
    assert measure(scores, METRICS, weigh_classes(shares)) == pytest.approx(measure(tripled))


def test_under_its_own_mix_a_prior_changes_nothing():
    scores = make_confident(500, 3)
    shares = np.bincount(scores.targets) / len(scores)
    *_, prior = mixes_of(scores, dict(zip(TYPES, shares, strict=True)))
    assert {name: found.value for name, found in prior.metrics.items()} == pytest.approx(measure(scores))


def test_probabilities_turned_to_the_true_prior_are_calibrated_again():
    rng = np.random.default_rng(0)
    # Gaussian classes of distance 2: the posterior is known, at a natural share of one half.
    is_ia = rng.random(40_000) < 0.5
    x = rng.normal(np.where(is_ia, 1.0, -1.0))
    p_ia = 1 / (1 + np.exp(-2 * x))
    scores = Scores(np.column_stack([p_ia, 1 - p_ia]), (~is_ia).astype(np.int64))
    *_, prior = mixes_of(scores, {"Ia": 0.1}, n_resamples=2)
    weighted = measure(scores, METRICS, weigh_classes(np.array([0.1, 0.9])))
    assert prior.metrics["ece"].value < 0.01 < weighted["ece"]
    assert prior.metrics["log_loss"].value < weighted["log_loss"]
    assert prior.metrics["auc"].value == pytest.approx(measure(scores)["auc"])  # ranks stay


def test_each_resample_is_weighted_to_the_shares_anew():
    scores = make_scores(400, 2)
    _, balanced = mixes_of(scores, n_resamples=500)
    shares = [scores.is_correct[scores.targets == place].mean() for place in (0, 1)]
    counts = np.bincount(scores.targets)
    expected = np.sqrt(sum(p * (1 - p) / n for p, n in zip(shares, counts, strict=True))) / 2
    assert balanced.metrics["accuracy"].std == pytest.approx(expected, rel=0.15)


def test_a_class_that_does_not_occur_has_no_share_when_balanced_and_leaves_a_prior_undefined():
    scores = Scores(np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.7, 0.2, 0.1]]), np.array([0, 2, 0]))
    _, balanced, prior = mixes_of(scores, {"II": 0.2})
    assert balanced.shares == {"Ia": 0.5, "II": 0.0, "Ibc": 0.5}
    assert balanced.metrics["accuracy"].value == 1
    assert prior.shares == pytest.approx({"Ia": 0.8 * 2 / 3, "II": 0.2, "Ibc": 0.8 / 3})
    assert all(np.isnan(found.value) for found in prior.metrics.values())


def test_without_objects_there_is_no_mix():
    assert mixes_of(Scores(np.empty((0, 2)), np.empty(0, dtype=np.int64)), {"Ia": 0.3}) == ()


def test_a_prior_of_every_class_is_taken_as_it_is():
    shares = complete_prior({"Ibc": 0.5, "Ia": 0.2, "II": 0.3}, TYPES, np.array([1.0, 0.0, 0.0]))
    assert shares.tolist() == pytest.approx([0.2, 0.3, 0.5])


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ({"Ia": 1.0}, "leave something to the other classes"),
        ({"Ia": 0.7, "II": 0.4}, "leave something to the other classes, each between 0 and 1; they sum to 1.1"),
        ({"Ia": 0.5, "II": 0.1, "Ibc": 0.1}, "sum to 1"),
        ({"Ia": -0.1}, "between 0 and 1"),
        ({"KN": 0.1}, "expected classes among Ia, II, Ibc"),
    ],
)
def test_a_prior_that_is_none_is_refused(prior, message):
    with pytest.raises(ValueError, match=message):
        complete_prior(prior, TYPES, np.array([0.2, 0.5, 0.3]))
