"""Facts about thresholds, counts above them, and abstention."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluate.evaluation import evaluate
from pipeline.evaluate.metrics import Bootstrap, Scores, measure, selection_metrics
from pipeline.evaluate.operating import choose_thresholds, count_selections, judge_thresholds, trace_abstention
from tests.pipeline.evaluate.examples import binary, make_predictions, make_scores, make_truth

TEN = binary([0.95, 0.9, 0.8, 0.7, 0.6, 0.55, 0.5, 0.4, 0.3, 0.1], [1, 1, 1, 0, 1, 1, 1, 1, 0, 1])


def test_the_highest_threshold_that_reaches_a_completeness_is_chosen():
    chosen = choose_thresholds(TEN)
    # Eight Ia: 90 % needs all eight, down to 0.1.
    assert chosen["completeness 90 %"] == chosen["completeness 98 %"] == pytest.approx(0.05)
    assert measure(TEN, selection_metrics(chosen["completeness 90 %"]))["completeness"] == 1


def test_the_purest_large_sample_is_chosen_for_a_purity():
    chosen = choose_thresholds(TEN)
    # Three Ia stand above the first contaminant; never again is purity above 7/8.
    assert chosen["purity 90 %"] == chosen["purity 98 %"] == pytest.approx(0.75)
    assert chosen["best figure of merit"] == pytest.approx(0.35)  # 7/8 × 7/10


@given(seed=st.integers(0, 10_000), n_objects=st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_chosen_thresholds_do_what_they_are_named_after_and_no_other_does_better(seed, n_objects):
    scores = make_scores(n_objects, 2, seed)
    levels = np.unique(np.append(scores.p_ia, [0.0, 1.0]))
    found = [measure(scores, selection_metrics(value)) for value in levels[:-1]]
    for name, threshold in choose_thresholds(scores).items():
        here = measure(scores, selection_metrics(threshold)) if not math.isnan(threshold) else {}
        what, _, share = name.removesuffix(" %").partition(" ")
        if what == "best":
            best = np.nanmax([row["figure_of_merit"] for row in found] + [0.0])
            assert here.get("figure_of_merit", 0.0) == pytest.approx(best)
            continue
        good = [row for row in found if row[what] >= float(share) / 100]
        other = "purity" if what == "completeness" else "completeness"
        good = [row for row in good if row["completeness"] > 0]
        assert bool(good) == bool(here)
        if here:
            assert here[what] >= float(share) / 100
            assert what == "completeness" or here[other] == max(row[other] for row in good)
            assert what == "purity" or here["completeness"] == min(row["completeness"] for row in good)


def test_a_purity_that_is_never_reached_has_no_threshold_and_selects_nothing():
    scores = binary([0.9, 0.8, 0.2], [0, 1, 0])
    (point,) = judge_thresholds(scores, {"purity 98 %": choose_thresholds(scores)["purity 98 %"]}, Bootstrap())
    assert math.isnan(point.threshold)
    assert point.called_ia == 0
    assert all(math.isnan(found.value) and math.isnan(found.std) for found in point.metrics.values())


@pytest.mark.parametrize("scores", [binary([0.9, 0.1], [0, 0]), Scores(np.empty((0, 2)), np.empty(0, np.int64))])
def test_without_true_ia_no_threshold_is_chosen(scores):
    assert all(math.isnan(threshold) for threshold in choose_thresholds(scores).values())


def test_a_true_ia_of_no_probability_at_all_is_above_no_threshold():
    chosen = choose_thresholds(binary([0.9, 0.0], [1, 1]))
    assert math.isnan(chosen["completeness 90 %"])
    assert chosen["purity 90 %"] == pytest.approx(0.45)


def test_operating_points_come_in_order_and_say_which_are_optimistic():
    points = evaluate(make_predictions([0.9, 0.2]), make_truth(["Ia", "Ic"]), name="x", thresholds={"mine": 0.7})
    named = [(point.name, point.is_optimistic) for point in points.operating_points]
    assert named[:3] == [("default", False), ("mine", False), ("completeness 90 %", True)]
    assert named[-1] == ("best figure of merit", True)
    assert len(named) == 9


def test_the_error_of_an_operating_point_is_that_of_resampled_objects():
    scores = make_scores(3000, 2)
    (point,) = judge_thresholds(scores, {"mine": 0.6}, Bootstrap(n_resamples=1000))
    share = point.metrics["completeness"].value
    expected = np.sqrt(share * (1 - share) / scores.is_ia.sum())
    assert point.metrics["completeness"].std == pytest.approx(expected, rel=0.1)


@given(seed=st.integers(0, 10_000), n_objects=st.integers(0, 50), step=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_the_grid_counts_what_is_strictly_above(seed, n_objects, step):
    scores = make_scores(n_objects, 3, seed, decimals=3)  # probabilities stand on the grid
    counts = count_selections(scores)
    above = scores.p_ia > counts.threshold[step]
    assert counts.threshold[step] == step / 1000
    assert (counts.ia[step], counts.others[step]) == ((above & scores.is_ia).sum(), (above & ~scores.is_ia).sum())
    assert (counts.n_ia, counts.n_others) == (scores.is_ia.sum(), (~scores.is_ia).sum())
    assert len(counts.ia) == len(counts.others) == len(counts.threshold) == 1001


def test_abstaining_leaves_the_uncertain_out_first():
    scores = binary([0.95, 0.9, 0.2, 0.6, 0.45], [1, 0, 0, 1, 1])
    found = trace_abstention(scores)
    assert found.coverage == (1.0, 0.8, 0.6, 0.4, 0.2)
    assert found.confidence == (0.55, 0.6, 0.8, 0.9, 0.95)
    assert found.accuracy == (0.6, 0.75, pytest.approx(2 / 3, abs=1e-6), 0.5, 1.0)
    assert found.purity == (pytest.approx(2 / 3, abs=1e-6),) * 2 + (0.5, 0.5, 1.0)
    assert found.completeness == pytest.approx((2 / 3, 2 / 3, 1 / 3, 1 / 3, 1 / 3), abs=1e-6)


def test_objects_of_one_confidence_go_together():
    assert trace_abstention(binary([0.9, 0.1, 0.9, 0.6], [1, 0, 0, 1])).coverage == (1.0, 0.75)


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_abstention_stays_small_and_starts_with_every_object(n_classes):
    scores = make_scores(5000, n_classes, decimals=9)
    found = trace_abstention(scores)
    assert 100 < len(found.coverage) <= 200
    assert found.coverage[0] == 1
    assert found.accuracy[0] == pytest.approx(measure(scores)["accuracy"], abs=1e-6)
    assert (np.diff(found.coverage) < 0).all()
    assert (np.diff(found.confidence) > 0).all()


def test_without_objects_or_ia_abstention_is_empty_or_undefined():
    assert trace_abstention(Scores(np.empty((0, 2)), np.empty(0, np.int64))).coverage == ()
    found = trace_abstention(binary([0.2, 0.1], [0, 0]))
    assert np.isnan(found.purity + found.completeness).all()
