"""Facts about calibration: the Brier score is the sum of its parts, and promises stand beside what is true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluate.calibration_parts import compare_promises, take_brier_apart
from pipeline.evaluate.metrics import Scores, measure
from tests.pipeline.evaluate.examples import binary, make_scores


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80))
@settings(max_examples=200, deadline=None)
def test_the_parts_of_the_brier_score_sum_to_it(objects):
    scores = binary(*zip(*objects, strict=True))
    parts = take_brier_apart(scores)
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.within_bins
    assert total == pytest.approx(measure(scores)["brier"], abs=1e-12)
    assert min(parts.reliability, parts.resolution, parts.uncertainty) >= 0


def test_probabilities_that_are_one_number_in_each_bin_leave_nothing_within():
    parts = take_brier_apart(binary([0.1] * 10 + [0.8] * 10, [1] + [0] * 9 + [1] * 6 + [0] * 4))
    assert parts.within_bins == pytest.approx(0, abs=1e-15)
    assert parts.reliability == pytest.approx(0.5 * 0 + 0.5 * 0.2**2)
    assert parts.resolution == pytest.approx(0.25**2)  # shares 0.1 and 0.6 about 0.35
    assert parts.uncertainty == pytest.approx(0.35 * 0.65)


def test_calibrated_probabilities_keep_what_they_promise():
    rng = np.random.default_rng(0)
    p_ia = rng.random(200_000)
    found = compare_promises(binary(p_ia, rng.random(200_000) < p_ia))
    np.testing.assert_allclose(found.expected_purity[:90], found.true_purity[:90], atol=0.01)
    np.testing.assert_allclose(found.expected_completeness, found.true_completeness, atol=0.01)


def test_promises_are_means_and_sums_of_probabilities_above_the_threshold():
    found = compare_promises(binary([0.9, 0.6, 0.5, 0.2], [1, 0, 1, 0]))
    at_half = found.threshold.index(0.5)
    assert found.expected_purity[at_half] == pytest.approx(0.75)  # 0.5 itself is not above
    assert found.true_purity[at_half] == 0.5
    assert found.expected_completeness[at_half] == pytest.approx(1.5 / 2.2, abs=1e-6)
    assert found.true_completeness[at_half] == 0.5
    assert np.isnan(found.expected_purity[-1])
    assert np.isnan(found.true_purity[-1])


def test_without_true_ia_true_completeness_is_undefined_and_the_promise_is_not():
    found = compare_promises(binary([0.9, 0.1], [0, 0]))
    assert np.isnan(found.true_completeness).all()
    assert found.expected_completeness[0] == 1


def test_of_nothing_there_are_no_parts_and_no_promises():
    empty = Scores(np.empty((0, 3)), np.empty(0, dtype=np.int64))
    assert take_brier_apart(empty) is None
    assert np.isnan(compare_promises(empty).expected_purity).all()


def test_promises_of_three_classes_are_those_of_ia():
    scores = make_scores(300, 3)
    found = compare_promises(scores)
    assert found.true_purity[50] == pytest.approx(measure(scores)["purity"], abs=1e-6)
    assert found.true_completeness[50] == pytest.approx(measure(scores)["completeness"], abs=1e-6)
