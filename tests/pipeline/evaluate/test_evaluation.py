"""Facts about evaluations: every input is accounted for, and metrics.json gives back what went in."""

from __future__ import annotations

import json
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluate.curves import MAX_CURVE_POINTS, binomial_interval
from pipeline.evaluate.evaluation import evaluate, find_targets
from pipeline.evaluate.findings import Findings, to_json
from tests.pipeline.evaluate.examples import make_predictions, make_random, make_truth


def test_every_input_is_counted_once():
    predictions = make_predictions([0.9, 0.2, np.nan, 0.7, np.nan])
    counts = evaluate(predictions, make_truth(["Ia", "IIP", "Ia", None, None]), name="x").counts
    assert counts.n_objects == 5
    assert (counts.n_evaluated, counts.n_without_truth, counts.n_without_probability) == (2, 1, 2)
    assert counts.n_by_status == {"classified": 3, "rejected": 2}
    assert counts.n_by_class == {"Ia": 1, "nonIa": 1}
    assert counts.n_by_prediction == {"Ia": 2, "nonIa": 1}


@given(
    st.lists(
        st.tuples(st.sampled_from(["Ia", "IIP", "Ic", "kilonova", None]), st.none() | st.floats(0, 1)), max_size=40
    )
)
@settings(max_examples=60, deadline=None)
def test_no_input_is_lost_whatever_is_known_of_it(objects):
    p_ia = [np.nan if p is None else p for _, p in objects]
    result = evaluate(make_predictions(p_ia), make_truth([name for name, _ in objects]), name="x", n_resamples=3)
    counts = result.counts
    assert counts.n_objects == counts.n_evaluated + counts.n_without_truth + counts.n_without_probability
    assert counts.n_objects == sum(counts.n_by_status.values()) == len(objects)
    assert counts.n_evaluated == sum(map(sum, result.confusion)) == sum(row.count for row in result.reliability)
    assert counts.n_evaluated == sum(row.count for row in result.by_subclass)
    assert counts.n_evaluated == sum(row.count for row in result.by_redshift) + result.n_without_redshift
    assert len(result.without_probability) == counts.n_without_probability


def test_an_object_without_a_probability_counts_as_missed_over_all_inputs_only():
    result = evaluate(make_predictions([0.9, np.nan, 0.1]), make_truth(["Ia", "Ia", "Ic"]), name="x")
    assert result.metrics["completeness"].value == 1.0
    assert result.metrics["completeness_all_inputs"].value == 0.5
    missing = result.without_probability[0]
    assert (missing.snid, missing.status, missing.reason) == ("1", "rejected", "fewer than 3 epochs")


def test_an_abstained_object_keeps_its_probability():
    predictions = make_predictions([0.9, 0.6], statuses=["classified", "abstained"])
    assert evaluate(predictions, make_truth(["Ia", "Ic"]), name="x").counts.n_evaluated == 2


def test_the_confusion_matrix_has_true_classes_in_rows():
    result = evaluate(make_predictions([0.9, 0.8, 0.2, 0.7]), make_truth(["Ia", "Ia", "Ia", "IIP"]), name="x")
    assert result.confusion == ((2, 1), (1, 0))


def test_contamination_names_the_subclass_and_template_that_is_mistaken_for_ia():
    truth = make_truth(["Ia", "IIn", "IIn", "Ic"], template=["SALT2", "II-7", "II-8", None])
    result = evaluate(make_predictions([0.9, 0.8, 0.1, 0.7]), truth, name="x")
    by_name = {row.name: row for row in result.by_subclass}
    assert (by_name["IIn"].count, by_name["IIn"].called_ia, by_name["IIn"].contaminant_share) == (2, 1, 0.5)
    assert np.isnan(by_name["Ia"].contaminant_share)
    assert {row.name: row.called_ia for row in result.by_template} == {"SALT2": 1, "II-7": 1, "II-8": 0, "unknown": 1}


def test_a_redshift_on_an_edge_belongs_to_the_bin_above():
    truth = make_truth(["Ia", "Ic", "Ia", "Ia"], redshift=[0.3, 0.39, 0.7, np.nan])
    result = evaluate(make_predictions([0.9, 0.1, 0.9, 0.9]), truth, name="x")
    assert [(row.low, row.high, row.count, row.count_ia) for row in result.by_redshift] == [
        (0.3, 0.4, 2, 1),
        (0.7, 0.8, 1, 1),
    ]
    assert result.n_without_redshift == 1


def test_thresholds_handed_in_are_judged_beside_one_half():
    result = evaluate(
        make_predictions([0.9, 0.6, 0.55]), make_truth(["Ia", "Ia", "Ic"]), name="x", thresholds={"pure": 0.8}
    )
    half, pure = result.operating_points[:2]
    assert (half.threshold, half.called_ia, half.metrics["purity"].value) == (0.5, 3, pytest.approx(2 / 3))
    assert (pure.name, pure.called_ia, pure.metrics["purity"].value) == ("pure", 1, 1.0)
    assert half.metrics["purity"] == result.metrics["purity"]  # one quantity, one error


def test_curves_end_where_everything_is_called_ia_and_stay_small():
    result = evaluate(*make_random(5000), name="x", n_resamples=5)
    roc, tradeoff = result.roc, result.purity_completeness
    assert len(roc.threshold) <= MAX_CURVE_POINTS
    assert len(tradeoff.threshold) <= MAX_CURVE_POINTS
    assert (roc.false_positive_rate[0], roc.completeness[0]) == (0, 0)
    assert (roc.false_positive_rate[-1], roc.completeness[-1]) == (1, 1)
    assert tradeoff.completeness[-1] == 1
    area = np.trapezoid(roc.completeness, roc.false_positive_rate)
    assert area == pytest.approx(result.metrics["auc"].value, abs=1e-3)


def test_reliability_bins_hold_the_share_of_ia():
    last = evaluate(make_predictions([0.99, 0.97, 0.96, 0.95]), make_truth(["Ia"] * 3 + ["Ic"]), name="x").reliability[
        -1
    ]
    assert (last.count, last.fraction_ia, last.mean_p_ia) == (4, 0.75, pytest.approx(0.9675))
    assert last.fraction_low < 0.75 < last.fraction_high


def test_the_binomial_interval_of_nothing_seen_starts_at_zero():
    low, high = binomial_interval(np.array([0.0, 10.0, 0.0]), np.array([10.0, 10.0, 0.0]))
    # With none in ten the upper end solves (1 − p)^10 = 0.1585.
    assert low[:2].tolist() == [0, pytest.approx(0.1585 ** (1 / 10))]
    assert high[:2].tolist() == [pytest.approx(1 - 0.1585 ** (1 / 10)), 1]
    assert np.isnan([low[2], high[2]]).all()


def test_only_true_ia_leave_the_area_undefined_and_the_rest_defined():
    result = evaluate(make_predictions([0.9, 0.2]), make_truth(["Ia", "Ia"]), name="real sky")
    assert np.isnan(result.metrics["auc"].value)
    assert result.roc.threshold == ()
    assert result.metrics["completeness"].value == 0.5
    assert to_json(result)["metrics"]["auc"] == {"value": None, "std": None}


def test_without_any_truth_there_is_an_evaluation_that_says_so():
    result = evaluate(make_predictions([0.9, 0.2]), make_truth([]), name="x")
    assert result.counts.n_without_truth == 2
    assert all(np.isnan(estimate.value) for estimate in result.metrics.values())


def test_metrics_json_gives_the_evaluation_back():
    result = evaluate(*make_random(300), name="x", thresholds={"pure": 0.8}, n_resamples=20)
    written = json.dumps(Findings((result,)).to_dict(), allow_nan=False)
    (again,) = Findings.from_dict(json.loads(written)).evaluations
    assert to_json(again) == to_json(result)
    assert again.by_redshift == result.by_redshift


def test_a_broken_metrics_json_is_refused():
    values = Findings((evaluate(*make_random(20), name="x", n_resamples=5),)).to_dict()
    values["evaluations"][0]["counts"]["n_objects"] = "many"
    with pytest.raises(ValueError, match="n_objects"):
        Findings.from_dict(values)


def test_the_same_seed_gives_the_same_evaluation():
    inputs = make_random(200)
    first, second, other = (to_json(evaluate(*inputs, name="x", seed=seed)) for seed in (1, 1, 2))
    assert first == second
    assert first["metrics"] != other["metrics"]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("Ia", "nonIa"), [0, 1, 1, -1]),
        (("II", "Ia", "Ibc"), [1, 0, 2, -1]),
        (("Ia", "II", "IIn", "IIP", "IIL", "Ib", "Ic", "Ibc"), [0, 3, 6, -1]),
    ],
)
def test_the_true_class_follows_the_classifiers_classes(classes, expected):
    predictions = make_predictions([0.5] * 4, classes=classes)
    assert find_targets(predictions, make_truth(["Ia", "IIP", "Ic", "kilonova"])).tolist() == expected


def test_a_subclass_that_nobody_knows_falls_back_on_its_class():
    truth = make_truth(["Ia", "Ic"])
    truth.table.loc[0, "SUBCLASS"] = "Ia-91bg"
    truth.table.loc[1, "SUBCLASS"] = None
    assert find_targets(make_predictions([0.5, 0.5]), truth).tolist() == [0, 1]


def test_classes_of_no_class_set_are_refused():
    with pytest.raises(ValueError, match="expected"):
        evaluate(make_predictions([0.5], classes=("Ia", "kilonova")), make_truth(["Ia"]), name="x")


def test_metrics_are_given_by_signal_to_noise_and_by_number_of_measurements():
    predictions = make_predictions([0.9, 0.8, 0.2, 0.1, np.nan], n_epochs=[1, 4, 4, np.nan, 9])
    snr = pd.Series([6.9, 7.0, 0.2, 3.0], index=["1", "0", "2", "99"])  # in any order; none of object 3
    result = evaluate(predictions, make_truth(["Ia", "IIP", "Ia", "Ic", "Ia"]), name="x", best_snr=snr)
    assert [(row.low, row.high, row.count, row.metrics["accuracy"].value) for row in result.by_snr] == [
        (0.2, 0.3, 1, 0.0),
        (5.0, 7.0, 1, 0.0),
        (7.0, 10.0, 1, 1.0),
    ]
    assert [(row.low, row.high, row.count, row.count_ia) for row in result.by_n_epochs] == [
        (1, 1.5, 1, 1),
        (3, 5, 2, 1),
    ]
    assert evaluate(predictions, make_truth(["Ia"]), name="x").by_snr == ()


def test_bins_of_redshift_have_the_errors_of_their_own_objects():
    predictions, truth = make_random(4000)
    rows = evaluate(predictions, truth, name="x", n_resamples=400).by_redshift
    fractions = np.array([row.metrics["accuracy"].value for row in rows])
    expected = np.sqrt(fractions * (1 - fractions) / [row.count for row in rows])
    np.testing.assert_allclose([row.metrics["accuracy"].std for row in rows], expected, rtol=0.15)


def test_a_prior_of_no_class_is_refused_with_what_was_expected():
    with pytest.raises(ValueError, match=r"KN=0\.3: expected classes among Ia, nonIa"):
        evaluate(*make_random(20), name="x", prior={"KN": 0.3})


@pytest.mark.parametrize("classes", [("Ia", "nonIa"), ("Ia", "II", "Ibc")])
def test_a_single_object_is_evaluated_with_nothing_made_up(classes):
    result = evaluate(make_predictions([0.9], classes=classes), make_truth(["Ia"]), name="x", prior={"Ia": 0.4})
    assert result.metrics["accuracy"].value == result.metrics["completeness"].value == 1
    assert all(np.isnan(estimate.std) for name, estimate in result.metrics.items() if "all_inputs" not in name)
    assert np.isnan(result.metrics["auc"].value)
    assert all(
        np.isnan(found.value) for found in result.mixes[-1].metrics.values()
    )  # of no other class is anything known


def test_ten_thousand_objects_take_seconds():
    started = time.process_time()
    evaluate(*make_random(10_000), name="x", n_resamples=300)
    assert time.process_time() - started < 10
