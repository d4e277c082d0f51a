from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.classify import predict
from pipeline.classify.predict import Classifier, ClassifySettings
from pipeline.prepare.course import constancy, nights_after_brightest
from pipeline.prepare.resample import Resampled, group_epochs
from pipeline.schema import STATUSES, LightCurves
from pipeline.settings import SettingsError
from tests.builders import BANDS, Epoch, make_light_curves, make_survey
from tests.small_model import small_classifier


def every_night(flux: list[float], error: float = 2.0) -> list[Epoch]:
    return [(100.0 + 3 * day, band, value, error) for day, value in enumerate(flux) for band in BANDS]


def classify(light_curves: LightCurves, **settings: Any) -> pd.DataFrame:
    checkpoint = small_classifier().checkpoint
    return Classifier(checkpoint, ClassifySettings(**settings)).classify(light_curves).table.set_index("SNID")


RISE_AND_FALL = [0.0, 2.0, 30.0, 60.0, 80.0, 60.0, 40.0, 25.0, 12.0, 5.0, 2.0]


def without_light() -> LightCurves:
    rng = np.random.default_rng(1)
    return make_light_curves(
        {
            "constant": every_night([50.0] * 10),
            "constant, scattered": every_night(list(50 + rng.normal(0, 1, 10))),
            "bright, constant to 1 %": every_night([1e5, 1.01e5, 0.995e5, 1e5] * 3, 1.0),
            "noise": every_night(list(rng.normal(0, 2, 12))),
            "one measurement": every_night([50.0])[:1],
            "one night": every_night([50.0]),
            "all negative": every_night([-1.0, -50.0, -80.0, -30.0, -5.0, -2.0]),
            "no measurement": [],
        }
    )


def test_what_shows_no_supernova_has_no_class_and_a_reason() -> None:
    table = classify(without_light())
    assert set(table["STATUS"]) == {"abstained", "rejected"}
    assert (table["REASON"] != "").all()
    reasons = table["REASON"].str.partition(":")[0].to_dict()
    assert [name for name, reason in reasons.items() if reason == "constant"] == list(reasons)[:4]
    assert reasons["all negative"] == "no measurement in griz with S/N above 0"
    assert table["STATUS"].tolist()[4:] == ["rejected", "abstained", "rejected", "rejected"]


def test_no_single_measurement_is_classified_however_few_are_asked_for() -> None:
    table = classify(make_light_curves({"a": every_night([50.0])[:2]}), min_steps=1)
    assert table.loc["a", "STATUS"] == "abstained"


def test_as_many_rows_as_objects_and_a_reason_for_each_without_class() -> None:
    light_curves = without_light()
    table = classify(light_curves)
    assert table.index.tolist() == light_curves.objects["SNID"].tolist()
    assert set(table["STATUS"]) <= set(STATUSES)


def test_constancy_is_the_tail_of_chi_square() -> None:
    flat = group_epochs(make_light_curves({"a": [(float(day), "g", 10.0, 1.0) for day in range(5)]}), BANDS, 0.5)
    assert constancy(flat) == pytest.approx(1.0)
    # two fluxes that differ by 2: each is 1 off the mean; chi² = 2 / (1 + floor), one degree of freedom: p = 0.157
    two = group_epochs(make_light_curves({"a": [(0.0, "g", -1.0, 1.0), (1.0, "g", 1.0, 1.0)]}), BANDS, 0.5)
    assert constancy(two) == pytest.approx(0.1574, abs=1e-3)
    alone = group_epochs(make_light_curves({"a": [(0.0, "g", 9.0, 1.0), (0.0, "r", 50.0, 1.0)]}), BANDS, 0.5)
    assert constancy(alone) == 1.0


def test_nights_after_the_brightest_are_counted() -> None:
    curves = {"a": every_night(RISE_AND_FALL), "b": every_night(RISE_AND_FALL[:5]), "c": every_night([5.0, 1.0])}
    assert nights_after_brightest(group_epochs(make_light_curves(curves), BANDS, 0.5)).tolist() == [6, 0, 1]


class Novel:
    """A novelty score to which everything is novel."""

    threshold = 0.5

    def __call__(self, resampled: Resampled) -> np.ndarray:
        return np.full(len(resampled), 0.9)


def test_the_novel_abstain_once_they_are_seen_after_their_brightest() -> None:
    checkpoint = replace(small_classifier().checkpoint, novelty=Novel())  # type: ignore[arg-type]
    curves = make_light_curves({"whole": every_night(RISE_AND_FALL), "rising": every_night(RISE_AND_FALL[:6])})
    status = Classifier(checkpoint).classify(curves).table["STATUS"].tolist()
    assert status == ["abstained", "classified"]
    kept = Classifier(checkpoint, ClassifySettings(abstain_novel=False)).classify(curves).table["STATUS"]
    assert kept.tolist() == ["classified", "classified"]
    at_once = Classifier(checkpoint, ClassifySettings(nights_after=0)).classify(curves).table["REASON"]
    assert at_once.str.startswith("novel").all()


def test_the_undecided_abstain_only_if_asked() -> None:
    light_curves = make_survey(20, seed=5)[0]
    plain = classify(light_curves, abstain_novel=False)
    low, high = np.quantile(plain["P_Ia"], [0.3, 0.6])
    asked = classify(light_curves, abstain_novel=False, abstain_between=(float(high), float(low)))
    is_between = plain["P_Ia"].between(low, high)
    assert asked["REASON"].str.startswith("undecided").tolist() == is_between.tolist()
    assert (plain["STATUS"] == "classified").all()
    assert asked["P_Ia"].tolist() == plain["P_Ia"].tolist()


def test_a_threshold_by_name_or_number_calls_the_classified() -> None:
    light_curves = make_survey(20, seed=5)[0]
    names = small_classifier().checkpoint.thresholds
    value = names["figure_of_merit"]
    table = classify(light_curves, threshold="figure_of_merit", abstain_between=(0.0, value / 2))
    called = table.loc[table["STATUS"] == "classified"]
    assert (called["CALLED"] == np.where(called["P_Ia"] > value, "Ia", "nonIa")).all()
    assert (table.loc[table["STATUS"] != "classified", "CALLED"] == "").all()
    by_number = classify(light_curves, threshold=str(value), abstain_between=(0.0, value / 2))
    assert by_number["CALLED"].tolist() == table["CALLED"].tolist()
    with pytest.raises(SettingsError, match="no threshold 'purest'; expected figure_of_merit"):
        classify(light_curves, threshold="purest")


def test_members_say_each_what_they_think() -> None:
    checkpoint = small_classifier().checkpoint
    halved = {name: value * 0.5 for name, value in checkpoint.weights[0].items()}
    both = replace(checkpoint, weights=[checkpoint.weights[0], halved])
    table = Classifier(both, ClassifySettings(members=True)).classify(make_survey(9)[0]).table
    np.testing.assert_allclose(table[["P_Ia_0", "P_Ia_1"]].mean(axis=1), table["P_Ia"], atol=1e-12)
    np.testing.assert_allclose(table["P_nonIa_1"] + table["P_Ia_1"], 1, atol=1e-12)


def failing_at(monkeypatch: pytest.MonkeyPatch, *snids: str) -> None:
    """Make the software fail at some objects, as a bug that only they meet would."""
    prepare = predict.prepare_photometry

    def breaks(light_curves: LightCurves, *rest: Any) -> Resampled:
        if light_curves.objects["SNID"].isin(snids).any():
            raise ZeroDivisionError("a bug")
        return prepare(light_curves, *rest)

    monkeypatch.setattr(predict, "prepare_photometry", breaks)


def test_only_the_object_to_blame_fails(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    light_curves = make_survey(20, seed=5)[0]
    expected = classify(light_curves)
    failing_at(monkeypatch, "1003", "1016")
    with caplog.at_level(logging.ERROR):
        table = classify(light_curves)
    failed = table[table["STATUS"] == "failed"]
    assert failed.index.tolist() == ["1003", "1016"]
    assert failed["P_Ia"].isna().all()
    others = table.index.difference(failed.index)
    np.testing.assert_allclose(table.loc[others, "P_Ia"], expected.loc[others, "P_Ia"], atol=1e-5)
    assert table.index.tolist() == expected.index.tolist()
    kind, _, name = failed["REASON"].iloc[0].removesuffix(" in the log").partition(": traceback ")
    assert kind == "ZeroDivisionError"
    assert sum(name in record.getMessage() and "a bug" in record.getMessage() for record in caplog.records) == 1


def test_an_error_of_too_many_objects_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    light_curves = make_survey(9)[0]
    failing_at(monkeypatch, *light_curves.objects["SNID"])
    with pytest.raises(ZeroDivisionError):
        classify(light_curves, max_failed=3)
    assert (classify(light_curves, max_failed=9)["STATUS"] == "failed").all()


def test_an_answer_that_is_no_number_is_a_failure() -> None:
    checkpoint = small_classifier().checkpoint
    broken = {name: value * np.nan for name, value in checkpoint.weights[0].items()}
    table = Classifier(replace(checkpoint, weights=[broken])).classify(make_survey(3)[0]).table
    assert (table["STATUS"] == "failed").all()
    assert table["REASON"].str.startswith("ArithmeticError").all()
