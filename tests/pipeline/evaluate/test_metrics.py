"""Facts about the metrics: numbers by hand, limiting cases, and scikit-learn as an independent implementation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from pipeline.evaluate.metrics import (
    CALIBRATION_BINS,
    METRICS,
    Scores,
    bootstrap,
    measure,
    selection_metrics,
)
from tests.pipeline.evaluate.examples import make_confident, make_scores

HAND = Scores(
    # Four Ia with P(Ia) .9 .8 .6 .4, four others with .7 .3 .2 .1: TP 3, FN 1, FP 1, TN 3.
    np.array([[p, 1 - p] for p in (0.9, 0.8, 0.6, 0.4, 0.7, 0.3, 0.2, 0.1)]),
    np.array([0, 0, 0, 0, 1, 1, 1, 1]),
)


def test_metrics_of_eight_objects_are_those_counted_by_hand():
    values = measure(HAND)
    assert values["accuracy"] == pytest.approx(6 / 8)
    assert values["balanced_accuracy"] == pytest.approx((3 / 4 + 3 / 4) / 2)
    assert values["purity"] == pytest.approx(3 / 4)
    assert values["completeness"] == pytest.approx(3 / 4)
    assert values["figure_of_merit"] == pytest.approx(3 / 4 * 3 / (3 + 3 * 1))
    assert values["auc"] == pytest.approx(14 / 16)  # two of sixteen pairs are in the wrong order: .6 and .4 below .7
    assert values["average_precision"] == pytest.approx((1 + 1 + 3 / 4 + 4 / 5) / 4)
    assert values["brier"] == pytest.approx((0.01 + 0.04 + 0.16 + 0.36 + 0.49 + 0.09 + 0.04 + 0.01) / 8)
    assert values["log_loss"] == pytest.approx(-np.log([0.9, 0.8, 0.6, 0.4, 0.3, 0.7, 0.8, 0.9]).mean())


def test_expected_calibration_error_weighs_each_bin_by_its_objects():
    p_ia = np.array([0.01, 0.01, 0.01, 0.99])  # three in the first bin, one of them Ia; one in the last, not Ia
    scores = Scores(np.column_stack([p_ia, 1 - p_ia]), np.array([0, 1, 1, 1]))
    assert measure(scores)["ece"] == pytest.approx(3 / 4 * (1 / 3 - 0.01) + 1 / 4 * 0.99)


def test_the_figure_of_merit_is_not_the_harmonic_f1():
    values = measure(HAND)
    assert sklearn_metrics.f1_score(HAND.is_ia, HAND.p_ia > 0.5) == pytest.approx(0.75)
    assert values["figure_of_merit"] == pytest.approx(0.375)


@pytest.mark.parametrize("seed", range(3))
def test_binary_metrics_agree_with_scikit_learn_on_tied_probabilities(seed):
    scores = make_scores(700, 2, seed)
    values = measure(scores)
    called, is_ia, p_ia = scores.p_ia > 0.5, scores.is_ia, scores.p_ia
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(scores.targets, scores.probabilities.argmax(axis=1)),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(
            scores.targets, scores.probabilities.argmax(axis=1)
        ),
        "auc": sklearn_metrics.roc_auc_score(is_ia, p_ia),
        "average_precision": sklearn_metrics.average_precision_score(is_ia, p_ia),
        "purity": sklearn_metrics.precision_score(is_ia, called),
        "completeness": sklearn_metrics.recall_score(is_ia, called),
        "log_loss": sklearn_metrics.log_loss(~is_ia, scores.probabilities),
        "brier": sklearn_metrics.brier_score_loss(is_ia, p_ia),
    }
    assert {name: values[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("n_classes", [3, 8])
def test_metrics_of_many_classes_agree_with_scikit_learn(n_classes):
    scores = make_scores(900, n_classes, decimals=3)
    values, called = measure(scores), scores.probabilities.argmax(axis=1)
    assert values["auc"] == pytest.approx(
        sklearn_metrics.roc_auc_score(scores.targets, scores.probabilities, multi_class="ovr", average="macro")
    )
    assert values["balanced_accuracy"] == pytest.approx(sklearn_metrics.balanced_accuracy_score(scores.targets, called))
    assert values["log_loss"] == pytest.approx(sklearn_metrics.log_loss(scores.targets, scores.probabilities))


def test_perfect_probabilities_reach_every_limit():
    targets = np.array([0, 1, 2, 0, 1, 2])
    values = measure(Scores(np.eye(3)[targets], targets))
    one = ["accuracy", "balanced_accuracy", "auc", "average_precision", "figure_of_merit", "purity", "completeness"]
    assert [values[name] for name in one] == [1.0] * len(one)
    assert [values[name] for name in ("log_loss", "brier", "ece")] == pytest.approx([0, 0, 0])


def test_a_constant_probability_ranks_nothing():
    scores = Scores(np.full((10, 2), 0.5), np.array([0] * 3 + [1] * 7))
    assert measure(scores)["auc"] == pytest.approx(0.5)
    assert measure(scores)["average_precision"] == pytest.approx(0.3)


def test_without_other_classes_the_area_is_undefined_and_completeness_is_not():
    values = measure(Scores(np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([0, 0])))
    assert np.isnan(values["auc"])
    assert values["completeness"] == 0.5
    assert values["purity"] == 1.0


def test_without_true_ia_what_needs_them_is_undefined():
    values = measure(Scores(np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([1, 1])))
    assert all(np.isnan(values[name]) for name in ("auc", "average_precision", "completeness", "figure_of_merit"))
    assert values["purity"] == 0.0


def test_a_classifier_that_calls_nothing_ia_has_no_purity_and_no_merit():
    values = measure(Scores(np.array([[0.1, 0.9], [0.3, 0.7]]), np.array([0, 1])))
    assert np.isnan(values["purity"])
    assert values["figure_of_merit"] == 0.0


def test_no_objects_leave_every_metric_undefined_without_a_warning():
    scores = Scores(np.empty((0, 3)), np.empty(0, dtype=np.int64))
    assert all(np.isnan(value) for value in measure(scores).values())
    assert all(np.isnan(estimate.std) for estimate in bootstrap(scores, np.random.default_rng(0)).values())


def test_the_bootstrap_of_an_accuracy_is_its_binomial_error():
    scores = make_scores(2000, 2)
    estimate = bootstrap(scores, np.random.default_rng(1), n_resamples=2000)["accuracy"]
    expected = np.sqrt(estimate.value * (1 - estimate.value) / len(scores))
    assert estimate.std == pytest.approx(expected, rel=0.06)


def test_the_bootstrap_repeats_objects_as_a_resampled_table_would():
    scores = make_scores(60, 3)
    rows = np.random.default_rng(5).integers(0, 60, 60)
    counts = np.bincount(rows, minlength=60).astype(float)[None]
    resampled = Scores(scores.probabilities[rows], scores.targets[rows])
    assert {name: metric(scores, counts)[0] for name, metric in METRICS.items()} == pytest.approx(measure(resampled))


def test_the_bootstrap_is_the_same_for_the_same_seed_whatever_the_block(monkeypatch):
    scores = make_scores(50, 2)
    whole = bootstrap(scores, np.random.default_rng(3), n_resamples=40)
    monkeypatch.setattr("pipeline.evaluate.metrics.MAX_COUNTS_IN_MEMORY", 350)
    blocks = bootstrap(scores, np.random.default_rng(3), n_resamples=40)
    assert {name: estimate.std for name, estimate in whole.items()} == pytest.approx(
        {name: estimate.std for name, estimate in blocks.items()}
    )


def test_a_metric_defined_in_few_resamples_has_no_error():
    scores = Scores(np.eye(3), np.arange(3))
    assert np.isnan(bootstrap(scores, np.random.default_rng(0))["auc"].std)  # 6 of 27 resamples hold all classes


@given(seed=st.integers(0, 10_000), n_objects=st.integers(2, 60), threshold=st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_the_figure_of_merit_never_exceeds_completeness_times_purity(seed, n_objects, threshold):
    values = measure(make_scores(n_objects, 2, seed), selection_metrics(threshold))
    if np.isfinite(list(values.values())).all():
        assert values["figure_of_merit"] <= values["completeness"] * values["purity"] + 1e-12


@given(seed=st.integers(0, 10_000), n_objects=st.integers(2, 60))
@settings(max_examples=60, deadline=None)
def test_the_area_depends_on_ranks_only(seed, n_objects):
    scores = make_scores(n_objects, 2, seed)
    squared = scores.p_ia**2
    warped = Scores(np.column_stack([squared, 1 - squared]), scores.targets)
    assert measure(warped)["auc"] == pytest.approx(measure(scores)["auc"], nan_ok=True)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_the_order_of_objects_changes_no_metric(seed):
    scores = make_scores(40, 3, seed)
    order = np.random.default_rng(seed).permutation(40)
    shuffled = Scores(scores.probabilities[order], scores.targets[order])
    assert measure(shuffled) == pytest.approx(measure(scores), nan_ok=True)


def test_every_metric_answers_once_per_resample():
    scores, counts = make_scores(30, 3), np.ones((4, 30))
    assert {name: metric(scores, counts).shape for name, metric in METRICS.items()} == dict.fromkeys(METRICS, (4,))


@pytest.mark.parametrize(
    ("probabilities", "targets", "message"),
    [
        (np.ones((2, 2)), np.zeros(3, dtype=np.int64), "expected probabilities"),
        (np.full((1, 2), np.nan), np.zeros(1, dtype=np.int64), "finite"),
        (np.ones((1, 2)), np.full(1, 2), "columns 0 to 1"),
    ],
)
def test_scores_that_do_not_belong_together_are_refused(probabilities, targets, message):
    with pytest.raises(ValueError, match=message):
        Scores(probabilities, targets)


def test_a_certain_probability_falls_into_the_last_bin():
    scores = Scores(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]))
    assert measure(scores)["ece"] == 0.0
    assert CALIBRATION_BINS == 15


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_objects_twice_and_objects_of_weight_two_are_the_same(n_classes):
    scores = make_scores(50, n_classes, decimals=3)
    twice = Scores(np.repeat(scores.probabilities, 2, axis=0), np.repeat(scores.targets, 2))
    doubled = {name: metric(scores, np.full((1, 50), 2.0))[0] for name, metric in METRICS.items()}
    assert doubled == pytest.approx(measure(twice), nan_ok=True)
    assert doubled == pytest.approx(measure(scores), nan_ok=True)  # and no metric counts objects


@given(seed=st.integers(0, 10_000), weight=st.integers(0, 4))
@settings(max_examples=30, deadline=None)
def test_an_object_of_some_weight_is_that_many_objects(seed, weight):
    scores = make_scores(20, 3, seed)
    rows = np.repeat(np.arange(20), [weight, *[1] * 19])
    counts = np.array([[weight, *[1] * 19]], dtype=float)
    weighted = {name: metric(scores, counts)[0] for name, metric in METRICS.items()}
    assert weighted == pytest.approx(measure(scores.take(rows)), nan_ok=True)


@given(seed=st.integers(0, 10_000), low=st.floats(0, 1), high=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_completeness_never_rises_with_the_threshold(seed, low, high):
    scores = make_scores(30, 2, seed)
    low, high = sorted((low, high))
    first, second = (measure(scores, selection_metrics(value))["completeness"] for value in (low, high))
    assert np.isnan(first) or second <= first


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.83])
def test_purity_and_completeness_agree_with_scikit_learn_at_any_threshold(threshold):
    scores = make_scores(500, 3, decimals=3)
    values, called = measure(scores, selection_metrics(threshold)), scores.p_ia > threshold
    assert values["purity"] == pytest.approx(sklearn_metrics.precision_score(scores.is_ia, called))
    assert values["completeness"] == pytest.approx(sklearn_metrics.recall_score(scores.is_ia, called))


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_errors_from_cells_are_those_from_objects(n_classes, monkeypatch):
    """An independent route to one number: both have the noise of 400 resamples, 3.5 % each."""
    scores = make_confident(12_000, n_classes)
    by_object = bootstrap(scores, np.random.default_rng(1), n_resamples=400)
    monkeypatch.setattr("pipeline.evaluate.metrics.MAX_RESAMPLED", 1000)
    monkeypatch.setattr("pipeline.evaluate.scores.MAX_CELLS", 3000)
    by_cell = bootstrap(scores, np.random.default_rng(2), n_resamples=400)
    for name in METRICS:
        assert by_cell[name].value == by_object[name].value  # values are exact
        assert by_cell[name].std == pytest.approx(by_object[name].std, rel=0.15), name
