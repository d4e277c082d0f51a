"""Facts about early classification: who counts at which moment, and when certainty is there to stay."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from pipeline.classify.nights import first_detection
from pipeline.evaluate import early
from pipeline.evaluate.early import CONFIDENT_DAYS, evaluate_early
from pipeline.evaluate.evaluation import evaluate
from pipeline.evaluate.findings import EarlyClassification, EarlyPoint, Findings
from pipeline.prepare.truncate import truncate
from pipeline.schema import Truth
from tests.builders import make_light_curves, make_survey
from tests.small_model import small_classifier


@pytest.fixture(scope="module")
def found() -> EarlyClassification:
    return evaluate_early(small_classifier(), *make_survey(90, seed=7), seed=1, n_resamples=10)


def point(result: EarlyClassification, since: str, days: float = math.nan) -> EarlyPoint:
    (only,) = (p for p in result.points if p.since == since and (p.days == days or math.isnan(days)))
    return only


def answers(p_right: list[list[float]], targets: list[int], is_defined: list[bool] | None = None) -> early.Answers:
    """Probabilities of the right one of two classes, by object and moment."""
    right = np.array(p_right).T
    probabilities = np.where(np.array(targets)[None, :, None] == np.arange(2), right[..., None], 1 - right[..., None])
    defined = np.broadcast_to(True if is_defined is None else np.array(is_defined), right.shape)
    return early.Answers(probabilities, defined, np.array(targets), ("Ia", "nonIa"))


def test_the_whole_light_curve_gets_the_metrics_of_the_evaluation(found: EarlyClassification):
    curves, truth = make_survey(90, seed=7)
    expected = evaluate(small_classifier().classify(curves), truth, name="x", n_resamples=3).metrics
    whole = point(found, "whole")
    assert (whole.n_objects, whole.n_without) == (90, 0)
    for name, estimate in whole.metrics.items():
        assert estimate.value == pytest.approx(expected[name].value, abs=1e-12)


@pytest.mark.parametrize("days", [5.0, 20.0])
def test_a_point_since_detection_is_the_evaluation_of_truncated_light_curves(found: EarlyClassification, days: float):
    curves, truth = make_survey(90, seed=7)
    cut = truncate(curves, first_detection(curves) + days + 0.5)
    expected = evaluate(small_classifier().classify(cut), truth, name="x", n_resamples=3)
    since = point(found, "detection", days)
    assert since.n_without == expected.counts.n_without_probability
    for name, estimate in since.metrics.items():
        assert estimate.value == pytest.approx(expected.metrics[name].value, abs=1e-12, nan_ok=True)


def test_objects_without_an_answer_yet_are_counted_and_miss_from_completeness_of_all(found: EarlyClassification):
    first = point(found, "detection", 0.0)
    assert first.n_without < first.n_objects == 90
    before = evaluate_early(small_classifier(), make_light_curves({"a": [], "b": []}), early_truth(["a", "b"]), 1)
    whole = point(before, "whole")
    assert (whole.n_objects, whole.n_without) == (2, 2)
    assert whole.metrics["completeness_all_inputs"].value == 0.0
    assert math.isnan(whole.metrics["completeness"].value)


def early_truth(snids: list[str], subclass: str | None = "Ia", peak: float = 56025.0) -> Truth:
    _, truth = make_survey(len(snids))
    table = truth.table.assign(SNID=snids, SUBCLASS=subclass, CLASS=subclass, PEAKMJD=peak)
    return Truth(table)


def test_objects_count_only_where_the_moment_exists():
    curves, truth = make_survey(12)
    truth = Truth(truth.table.assign(PEAKMJD=np.where(np.arange(12) < 5, 56025.0, np.nan)))
    faint = replace(curves, epochs=curves.epochs.assign(FLUXCALERR=1000.0))
    marked = replace(faint, objects=faint.objects.assign(DETECTION_MJD=[56030.0] * 3 + [np.nan] * 9))
    result = evaluate_early(small_classifier(), marked, truth, seed=1, n_resamples=3)
    assert {p.n_objects for p in result.points if p.since == "peak"} == {5}
    assert {p.n_objects for p in result.points if p.since == "detection"} == {0}
    assert point(result, "sixth").n_objects == 3
    assert point(result, "whole").n_objects == 12
    assert result.time_to_class is not None
    assert all(math.isnan(share) for shares in result.time_to_class.share.values() for share in shares)


def test_objects_of_unknown_class_are_left_out():
    curves, truth = make_survey(12)
    unknown = truth.table.assign(SUBCLASS=["kilonova"] * 6 + ["Ia"] * 6, CLASS=[None] * 6 + ["Ia"] * 6)
    result = evaluate_early(small_classifier(), curves, Truth(unknown), seed=1, n_resamples=3)
    assert (result.n_objects, result.n_available) == (6, 6)
    nobody = evaluate_early(small_classifier(), curves, early_truth(["elsewhere"]), seed=1)
    assert (nobody.n_objects, point(nobody, "whole").n_objects) == (0, 0)


def test_a_sample_is_drawn_by_seed_whatever_the_order():
    curves, truth = make_survey(40)
    mixed = curves.take(np.random.default_rng(0).permutation(40))
    one, other, reseeded = (
        evaluate_early(small_classifier(), which, truth, seed=seed, n_max=15, n_resamples=0)
        for which, seed in ((curves, 3), (mixed, 3), (curves, 4))
    )
    assert (one.n_objects, one.n_available) == (15, 40)
    assert {p.n_objects for p in one.points} == {15}
    values = [[p.metrics["auc"].value for p in result.points] for result in (one, other, reseeded)]
    np.testing.assert_allclose(values[0], values[1], atol=1e-12)
    assert values[0] != values[2]


def test_three_classes_have_their_own_times():
    result = evaluate_early(small_classifier(classes="types"), *make_survey(30), seed=1, n_resamples=3)
    assert result.time_to_class is not None
    assert set(result.time_to_class.share) == {"Ia", "II", "Ibc"}
    assert all(math.isnan(share) for share in result.time_to_class.share["Ibc"])


def test_certainty_counts_from_when_it_stays_to_the_end():
    n = len(CONFIDENT_DAYS)
    early_and_lost = [0.95] * 3 + [0.5] + [0.95] * (n - 3)
    lost_at_last = [0.95] * n + [0.1]
    at_once, unsure_first = [0.95] * (n + 1), [math.nan] * 2 + [0.95] * (n - 1)
    given = answers([early_and_lost, lost_at_last, at_once, unsure_first, [0.9] * (n + 1)], [0, 0, 0, 0, 1])
    times = early._time_to_class(given, slice(0, None))
    assert times.share["Ia"][:5] == (0.25, 0.25, 0.5, 0.5, 0.75)
    assert times.share["Ia"][-1] == 0.75
    assert times.share["nonIa"] == (0.0,) * n
    assert times.median_days["Ia"] == CONFIDENT_DAYS[2]
    assert math.isnan(times.median_days["nonIa"])


def test_time_counts_only_for_objects_with_a_detection():
    n = len(CONFIDENT_DAYS) + 1
    times = early._time_to_class(answers([[0.95] * n, [0.1] * n], [0, 0], [True, False]), slice(0, None))
    assert times.share["Ia"] == (1.0,) * (n - 1)
    assert times.median_days["Ia"] == 0.0


def test_early_findings_survive_json(found: EarlyClassification):
    before = Findings(early=found)
    after = Findings.from_dict(json.loads(json.dumps(before.to_dict(), allow_nan=False)))
    assert after.to_dict() == before.to_dict()
    assert len(found.points) == 16
