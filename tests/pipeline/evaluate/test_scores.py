"""Facts about cells: nothing that is counted is lost, and few objects stand for many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluate.metrics import METRICS, measure, selection_metrics
from pipeline.evaluate.scores import MAX_CELLS, Cells, Scores, collapse, condense
from tests.pipeline.evaluate.examples import binary, make_confident, make_scores


def measure_cells(cells: Cells, metrics) -> dict[str, float]:
    counts = cells.counts[None].astype(float)
    return {name: float(metric(cells.scores[0], counts)[0]) for name, metric in metrics.items()}


@given(seed=st.integers(0, 10_000), n_classes=st.sampled_from([2, 3, 7]), threshold=st.sampled_from([0.1, 0.5, 0.77]))
@settings(max_examples=40, deadline=None)
def test_collapsing_loses_nothing_that_calls_and_a_threshold_ask_for(seed, n_classes, threshold):
    scores = make_scores(200, n_classes, seed)  # two decimals: many probabilities are a threshold exactly
    cells = collapse(scores, (threshold, 0.5))
    metrics = selection_metrics(threshold) | {
        name: METRICS[name] for name in ("accuracy", "balanced_accuracy", "purity")
    }
    assert measure_cells(cells, metrics) == pytest.approx(measure(scores, metrics), nan_ok=True)
    assert cells.counts.sum() == 200


@pytest.mark.parametrize("n_classes", [2, 3, 8])
def test_cells_are_few_and_give_nearly_the_metrics_of_their_objects(n_classes):
    scores = make_confident(60_000, n_classes)
    cells = condense(scores)
    assert len(cells.counts) <= 1.05 * MAX_CELLS
    assert cells.counts.sum() == len(scores)
    found, expected = measure_cells(cells, METRICS), measure(scores)
    counted = ("accuracy", "balanced_accuracy", "purity", "completeness", "figure_of_merit")
    assert [found[name] for name in counted] == pytest.approx([expected[name] for name in counted], rel=1e-12)
    assert found == pytest.approx(expected, rel=0.01)


def test_cells_of_one_object_each_are_the_objects():
    scores = make_confident(50, 2)
    assert measure_cells(condense(scores), METRICS) == pytest.approx(measure(scores))


def test_a_probability_just_above_a_half_stays_there():
    above = np.nextafter(0.5, 1)
    p_ia = np.array([0.5, above, 0.5, above])
    scores = Scores(np.column_stack([p_ia, 1 - p_ia]), np.array([0, 0, 1, 1]))
    assert sorted(condense(scores).scores[0].p_ia.tolist()) == [0.5, 0.5, above, above]


def test_cells_of_two_samples_hold_the_same_objects_in_both():
    first = make_confident(5000, 3, seed=1)
    second = Scores(first.probabilities[:, [1, 0, 2]], first.targets)
    ours, theirs = condense(first, second).scores
    assert ours.targets.tolist() == theirs.targets.tolist()
    assert ours.probabilities.tolist() == theirs.probabilities[:, [1, 0, 2]].tolist()


def test_rare_mistakes_stay_finely_sampled(monkeypatch):
    monkeypatch.setattr("pipeline.evaluate.scores.MAX_CELLS", 1000)
    rng = np.random.default_rng(0)
    is_ia = np.arange(100_000) < 400
    cells = condense(binary(rng.uniform(0.01, 0.06, 100_000), is_ia))
    assert cells.counts[cells.scores[0].is_ia].sum() == 400
    assert cells.scores[0].is_ia.sum() == pytest.approx(1000 * 20 / (20 + np.sqrt(99_600)), abs=2)
