"""Facts about light curves as they grow: what is cut, when things happen, and what is said after each night."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.classify import nights
from pipeline.classify.contract import ContractError
from pipeline.classify.nights import (
    classify_nights,
    classify_prefixes,
    count_until,
    end_of_night,
    first_detection,
    sixth_observation,
)
from pipeline.prepare.truncate import truncate
from pipeline.schema import LightCurves
from pipeline.store import Store, ingest
from tests.builders import make_light_curves, make_survey
from tests.small_model import small_classifier


def rising(snrs: list[float], step: float = 1.0) -> list[tuple[float, str, float, float]]:
    return [(100.0 + step * place, "griz"[place % 4], 2.0 * snr, 2.0) for place, snr in enumerate(snrs)]


def grow(light_curves: LightCurves) -> list[LightCurves]:
    """Every object after each of its nights, one by one: slow, and obviously right."""
    grown = []
    for row in range(len(light_curves)):
        one = light_curves.take(np.array([row]))
        mjd = one.epochs["MJD"].to_numpy()
        ends = mjd[np.append(np.diff(mjd) > 0.5, True)] if len(mjd) else []
        grown += [truncate(one, np.array([end])) for end in ends]
    return grown


def test_a_truncated_light_curve_keeps_what_was_measured_until_then():
    curves = make_light_curves({"a": rising([1, 2, 3]), "b": [], "c": rising([1, 2]), "d": rising([4])})
    cut = truncate(curves, np.array([101.0, np.inf, np.nan, 99.0]))
    assert cut.objects["SNID"].tolist() == ["a", "b", "c", "d"]
    assert cut.offsets.tolist() == [0, 2, 2, 2, 2]
    assert cut.epochs["MJD"].tolist() == [100.0, 101.0]
    whole = truncate(curves, np.full(4, np.inf))
    pd.testing.assert_frame_equal(whole.epochs, curves.epochs)


def test_objects_without_a_measurement_left_are_rejected_with_a_reason():
    curves = make_survey(6)[0]
    until = np.array([np.nan, 0.0, np.inf, np.inf, np.nan, np.inf])
    table = small_classifier().classify(truncate(curves, until)).table
    assert table["STATUS"].tolist() == ["rejected", "rejected", "classified", "classified", "rejected", "classified"]
    assert (table.loc[table["STATUS"] == "rejected", "REASON"] == "fewer than 2 measurements in griz").all()


def test_the_first_detection_is_the_first_measurement_above_the_limit():
    curves = make_light_curves(
        {"late": rising([1, 5, 5.1, 9]), "never": rising([5, -9]), "empty": [], "first": rising([6, 1])}
    )
    np.testing.assert_array_equal(first_detection(curves), [102.0, np.nan, np.nan, 100.0])
    np.testing.assert_array_equal(first_detection(curves, min_snr=4.0), [101.0, 100.0, np.nan, 100.0])


def test_the_early_epoch_ends_with_the_night_of_the_sixth_observation():
    night = [
        (107.0 + 0.02 * place, band, 2.0 * snr, 2.0)
        for place, (band, snr) in enumerate(zip("griz", (1, 5, 1, 2), strict=True))
    ]
    curves = make_light_curves(
        {"six": [*rising([9, 4, 9, 9, 9, 9]), *night, (108.0, "r", 90.0, 1.0)], "five": rising([9] * 5), "empty": []}
    )
    np.testing.assert_allclose(sixth_observation(curves), [107.06, np.nan, np.nan])


def test_the_mark_of_the_survey_goes_before_the_computed_early_epoch():
    curves = make_light_curves({"marked": rising([9] * 9), "unmarked": rising([9] * 9)})
    curves.objects["DETECTION_MJD"] = [107.0, np.nan]
    np.testing.assert_array_equal(sixth_observation(curves), [107.0, 105.0])


def test_a_night_ends_before_the_next_begins():
    curves = make_light_curves({"a": rising([1] * 8, step=0.25), "b": rising([1, 1]), "c": []})
    np.testing.assert_array_equal(end_of_night(curves, np.array([100.1, 100.9, 200.0])), [100.25, 100.0, np.nan])
    np.testing.assert_array_equal(end_of_night(curves, np.array([99.0, np.nan, np.nan])), [np.nan] * 3)
    np.testing.assert_array_equal(count_until(curves, np.array([100.6, 500.0, 0.0])), [3, 2, 0])
    np.testing.assert_array_equal(count_until(curves, np.array([100.6, 500.0, 0.0]), whole_night=True), [4, 2, 0])


@pytest.mark.parametrize("resampler", ["nightly", "random_fill"])
def test_the_answer_after_a_night_is_that_of_the_light_curve_cut_there(resampler: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nights, "MEASUREMENTS_AT_ONCE", 500)
    classifier, curves = small_classifier(resampler), make_survey(7, seed=3)[0]
    found = classify_nights(classifier, curves)
    expected = pd.concat([classifier.classify(one).table for one in grow(curves)], ignore_index=True)
    assert found["SNID"].tolist() == expected["SNID"].tolist()
    assert found["STATUS"].tolist() == expected["STATUS"].tolist()
    for name in ("N_EPOCHS", "P_Ia", "P_nonIa"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6)
    np.testing.assert_array_equal(found["MJD"], expected["LAST_MJD"])
    assert {"rejected", "abstained", "classified"} >= set(found["STATUS"])


def test_the_last_night_says_what_the_whole_light_curve_says():
    classifier, curves = small_classifier(), make_survey(20, seed=4)[0]
    last = classify_nights(classifier, curves).groupby("SNID", sort=False).tail(1)
    np.testing.assert_allclose(last["P_Ia"], classifier.classify(curves).table["P_Ia"], atol=1e-6)


@pytest.mark.parametrize("max_nights", [1, 2, 3, 7, 100])
def test_of_many_nights_some_are_taken_evenly(max_nights: int):
    curves = make_survey(5, seed=2)[0]
    every, some = (classify_nights(small_classifier(), curves, max_nights=n) for n in (None, max_nights))
    for snid, nights_of_object in every.groupby("SNID"):
        taken = some.loc[some["SNID"] == snid, "MJD"].to_numpy()
        mjd = nights_of_object["MJD"].to_numpy()
        assert len(taken) == min(max_nights, len(mjd))
        assert taken[-1] == mjd[-1]
        assert max_nights == 1 or taken[0] == mjd[0]
        gaps = np.diff(np.searchsorted(mjd, taken))
        assert not len(gaps) or gaps.max() - gaps.min() <= 1


def test_progress_counts_the_cut_light_curves_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch):
    curves, calls = make_survey(9)[0], []
    whole = classify_nights(small_classifier(), curves)
    monkeypatch.setattr(nights, "MEASUREMENTS_AT_ONCE", 40)
    parts = classify_nights(small_classifier(), curves, lambda *call: calls.append(call))
    pd.testing.assert_frame_equal(parts, whole)
    assert calls[-1] == (len(whole), len(whole))
    assert len(calls) > 9
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_no_measurements_give_no_nights():
    none = classify_nights(small_classifier(), make_light_curves({"empty": []}))
    assert (len(none), list(none.columns)) == (0, ["SNID", "MJD", "N_EPOCHS", "STATUS", "P_Ia", "P_nonIa"])
    empty = classify_prefixes(small_classifier(), make_survey(3)[0], np.array([1, 1]), np.array([0, 0]))
    assert empty["STATUS"].tolist() == ["rejected", "rejected"]


def test_names_that_look_like_copies_do_not_clash():
    curve = rising([9] * 12)
    found = classify_nights(small_classifier(), make_light_curves({"a": curve, "a@1": curve, "a@1@2": curve}))
    assert found["SNID"].value_counts().to_dict() == {"a": 12, "a@1": 12, "a@1@2": 12}


def test_bands_that_the_model_does_not_know_are_refused():
    with pytest.raises(ContractError, match="band 'y'"):
        classify_nights(small_classifier(), make_light_curves({"a": [(100.0, "y", 9.0, 1.0), (101.0, "r", 9.0, 1.0)]}))


@pytest.mark.slow
def test_the_marks_of_the_spcc_are_those_of_six_observations_but_for_noise(shared_data: Path, tmp_path: Path):
    """The survey's S/N is not quite FLUXCAL over its error, so near 4 the two rules count differently."""
    store = Store.create(tmp_path / "store")
    ingest([shared_data / "spcc" / "SIMGEN_PUBLIC_DES.tar.gz"], store)
    curves = store.light_curves()
    marked = curves.objects["DETECTION_MJD"].to_numpy().copy()
    curves.objects["DETECTION_MJD"] = np.nan
    computed = sixth_observation(curves)
    both = np.isfinite(marked) & np.isfinite(computed)
    assert (np.isfinite(marked).sum(), np.isfinite(computed).sum(), both.sum()) == (14_509, 14_653, 14_353)
    assert np.mean(marked[both] == computed[both]) == pytest.approx(0.862, abs=0.001)
