"""Facts about comparisons: the same objects, the same resamples, and chance called chance."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluate.comparison import compare, compare_scores
from pipeline.evaluate.metrics import METRICS, Scores, measure
from pipeline.schema import Predictions
from tests.pipeline.evaluate.examples import binary, make_confident, make_predictions, make_random, make_truth, tabulate

TYPES = ("Ia", "II", "Ibc")


def by_metric(differences):
    return {found.metric: found for found in differences}


def test_identical_predictions_differ_in_nothing():
    predictions, truth = make_random(300)
    found = compare(predictions, predictions, truth, "twin", n_resamples=200)
    assert (found.n_changed, found.n_gained, found.n_lost) == (0, 0, 0)
    assert [difference.metric for difference in found.differences] == list(METRICS)
    assert {(row.difference, row.low, row.high, row.p_value) for row in found.differences} == {(0.0, 0.0, 0.0, 1.0)}


def test_every_object_is_counted_as_common_or_as_of_one_side():
    truth = make_truth(["Ia", "Ic", "Ia", "IIP", None])
    ours = make_predictions([0.9, 0.2, 0.4, np.nan, 0.5])
    theirs = make_predictions([0.8, 0.6, 0.9, 0.1, 0.5])
    found = compare(ours, theirs, truth, "other", n_resamples=50)
    assert (found.n_common, found.n_only_ours, found.n_only_theirs) == (3, 0, 1)
    assert (found.n_changed, found.n_gained, found.n_lost) == (2, 1, 1)
    accuracy = by_metric(found.differences)["accuracy"]
    assert (accuracy.ours, accuracy.theirs) == (pytest.approx(2 / 3), pytest.approx(2 / 3))


def test_neither_the_order_of_objects_nor_of_classes_matters():
    scores, other = make_confident(150, 3, seed=1), make_confident(150, 3, seed=2)
    truth = make_truth([("Ia", "IIP", "Ic")[target] for target in scores.targets])
    ours, theirs = tabulate(scores.probabilities, TYPES), tabulate(other.probabilities, TYPES)
    turned = tabulate(other.probabilities[:, [2, 0, 1]], ("Ibc", "Ia", "II"))
    shuffled = Predictions(turned.table.sample(frac=1, random_state=0).reset_index(drop=True), turned.classes)
    assert compare(ours, theirs, truth, "x", n_resamples=50) == compare(ours, shuffled, truth, "x", n_resamples=50)


def test_different_sets_of_classes_are_compared_by_ia_against_the_rest():
    scores = make_confident(200, 3)
    truth = make_truth([("Ia", "IIP", "Ic")[target] for target in scores.targets])
    types, ia = tabulate(scores.probabilities, TYPES), make_predictions(scores.p_ia)
    found = compare(types, ia, truth, "binary", n_resamples=50)
    assert found.n_common == 200
    assert {row.difference for row in found.differences} == {0.0}
    auc = by_metric(found.differences)["auc"]
    assert auc.ours == pytest.approx(measure(binary(scores.p_ia, scores.is_ia))["auc"])


def test_a_better_classifier_is_told_from_chance():
    rng = np.random.default_rng(0)
    is_ia = rng.random(1500) < 0.3
    good, bad = (1 / (1 + np.exp(-rng.normal(np.where(is_ia, shift, -shift)))) for shift in (1.5, 1.0))
    found = by_metric(compare_scores(binary(good, is_ia), binary(bad, is_ia), seed=0, n_resamples=400))
    assert found["auc"].difference > 0
    assert 0 < found["auc"].low < found["auc"].difference < found["auc"].high
    assert found["auc"].p_value == pytest.approx(2 / 401)  # no resample in 400 went the other way
    assert found["log_loss"].high < 0


def test_paired_intervals_are_those_of_the_differences_object_by_object():
    ours, theirs = make_confident(900, 2, seed=3), make_confident(900, 2, seed=4)
    row = by_metric(compare_scores(ours, theirs, seed=0, n_resamples=2000))["accuracy"]
    std = (ours.is_correct.astype(float) - theirs.is_correct).std() / np.sqrt(900)
    assert (row.high - row.low) / 2 == pytest.approx(1.96 * std, rel=0.08)


def test_chance_is_called_a_difference_as_often_as_it_should():
    """Of 200 pairs of equal worth, 5 % should have p < 0.05; 1 to 20 of them lie within 3 σ, and a little."""
    rng = np.random.default_rng(5)
    alarms = dict.fromkeys(METRICS, 0)
    for _ in range(200):
        is_ia = rng.random(250) < 0.4
        pair = (binary(1 / (1 + np.exp(-rng.normal(np.where(is_ia, 1, -1), 1.0))), is_ia) for _ in range(2))
        for row in compare_scores(*pair, seed=int(rng.integers(1 << 30)), n_resamples=199):
            alarms[row.metric] += row.p_value < 0.05
    for name in ("accuracy", "auc", "log_loss", "brier", "average_precision"):
        assert 1 <= alarms[name] <= 20, name


def test_many_objects_are_compared_by_cells_with_the_same_result(monkeypatch):
    ours = make_confident(6000, 3, seed=1)
    mixed = 0.8 * ours.probabilities + 0.2 * make_confident(6000, 3, seed=2).probabilities
    theirs = Scores(mixed, ours.targets)
    by_object = by_metric(compare_scores(ours, theirs, seed=0, n_resamples=400))
    monkeypatch.setattr("pipeline.evaluate.comparison.MAX_RESAMPLED", 1000)
    monkeypatch.setattr("pipeline.evaluate.scores.MAX_CELLS", 4000)
    by_cell = by_metric(compare_scores(ours, theirs, seed=1, n_resamples=400))
    for name in METRICS:
        assert by_cell[name].difference == by_object[name].difference
        width = by_object[name].high - by_object[name].low
        assert by_cell[name].low == pytest.approx(by_object[name].low, abs=0.2 * width), name
        assert by_cell[name].high == pytest.approx(by_object[name].high, abs=0.2 * width), name


def test_without_common_objects_everything_is_undefined():
    found = compare(make_predictions([0.9]), make_predictions([np.nan]), make_truth(["Ia"]), "x", n_resamples=10)
    assert (found.n_common, found.n_only_ours) == (0, 1)
    assert all(np.isnan(row.difference) and np.isnan(row.p_value) for row in found.differences)


def test_a_metric_that_is_undefined_on_the_sample_has_no_p_value():
    row = by_metric(compare_scores(binary([0.9, 0.8], [1, 1]), binary([0.7, 0.2], [1, 1]), 0, 50))["auc"]
    assert np.isnan([row.ours, row.difference, row.low, row.p_value]).all()


def test_classes_of_no_class_set_are_refused():
    with pytest.raises(ValueError, match="expected"):
        compare(make_predictions([0.5], classes=("Ia", "KN")), make_predictions([0.5]), make_truth(["Ia"]), "x")
