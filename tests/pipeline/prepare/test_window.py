"""The part of a light curve about its brightest day."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.classify.predict import Classifier
from pipeline.prepare.resample import Nightly, Resampled, group_epochs
from pipeline.prepare.window import brightest_day, within
from pipeline.train.experiment import Experiment
from pipeline.train.inference import prepare_photometry
from tests.builders import BANDS, make_light_curves, make_survey
from tests.small_model import small_classifier

Curve = list[tuple[float, str, float, float]]

SUPERNOVA: Curve = [(100.0 + 4 * night, "r", flux, 5.0) for night, flux in enumerate((5, 40, 60, 50, 40, 30, 20))]
EMPTY: Curve = [(float(day), "r", 1.0, 5.0) for day in (0, 20, 300, 400)]
OUTLIER: Curve = [(350.0, "r", 900.0, 5.0)]


def grouped(*curves: Curve) -> Resampled:
    ordered = {str(number): sorted(curve) for number, curve in enumerate(curves)}
    return group_epochs(make_light_curves(ordered), BANDS, 0.5)


def test_the_brightest_day_is_that_of_the_highest_snr() -> None:
    assert brightest_day(grouped(SUPERNOVA, EMPTY + SUPERNOVA)).tolist() == [8.0, 108.0]


def test_one_outlier_far_from_the_supernova_is_not_its_brightest_day() -> None:
    assert brightest_day(grouped(EMPTY + SUPERNOVA + OUTLIER)).tolist() == [108.0]


def test_an_object_without_a_step_stays_without_one() -> None:
    curves = grouped([], SUPERNOVA, [], EMPTY + SUPERNOVA, [])
    assert brightest_day(curves).tolist() == [0.0, 8.0, 0.0, 108.0, 0.0]
    assert within(curves, 20, 20).lengths.tolist() == [0, 7, 0, 7, 0]
    nothing = grouped([], [])
    assert brightest_day(nothing).tolist() == [0.0, 0.0]
    assert len(within(nothing, 20, 20)) == 2


def test_what_is_left_is_the_same_with_and_without_a_long_baseline() -> None:
    alone, long = grouped(SUPERNOVA), within(grouped(EMPTY + SUPERNOVA), 30, 60)
    assert long.lengths.tolist() == [7]
    for name in ("days", "flux", "flux_err", "observed", "header"):
        np.testing.assert_array_equal(getattr(long, name), getattr(alone, name))


def test_both_ends_of_the_window_belong_to_it() -> None:
    kept = within(grouped(SUPERNOVA), 8, 12)
    assert kept.days.tolist() == [0.0, 4.0, 8.0, 12.0, 16.0, 20.0]
    assert within(grouped(SUPERNOVA), 7.9, 11.9).days.tolist() == [0.0, 4.0, 8.0, 12.0]


def test_company_does_not_change_the_window() -> None:
    survey = group_epochs(make_survey(40)[0], BANDS, 0.5)
    once, together = within(survey, 20, 40), brightest_day(survey)
    assert once.lengths.sum() < survey.lengths.sum()
    assert (once.lengths > 0).all()
    for place, alone in enumerate(survey.pieces(1)):
        assert brightest_day(alone)[0] == together[place]
        steps = slice(once.offsets[place], once.offsets[place + 1])
        np.testing.assert_array_equal(within(alone, 20, 40).flux, once.flux[steps])


def test_preparation_cuts_to_the_window_that_the_experiment_asks_for() -> None:
    light_curves = make_light_curves({"a": sorted(EMPTY + SUPERNOVA)})
    whole = Experiment(name="whole")
    cut = Experiment(name="cut", resampler=Nightly(window_days=(30, 60)))
    assert prepare_photometry(light_curves, whole).lengths.tolist() == [11]
    assert prepare_photometry(light_curves, cut).lengths.tolist() == [7]


def test_months_of_nothing_change_no_answer_of_a_classifier_with_a_window() -> None:
    checkpoint = small_classifier().checkpoint
    windowed = checkpoint.experiment.model_copy(update={"resampler": Nightly(window_days=(30, 60))})
    light_curves = make_light_curves({"alone": SUPERNOVA, "long": sorted(EMPTY + SUPERNOVA)})
    before = Classifier(checkpoint).classify(light_curves).table
    after = Classifier(replace(checkpoint, experiment=windowed)).classify(light_curves).table
    assert abs(before["P_Ia"][0] - before["P_Ia"][1]) > 1e-4
    assert after["P_Ia"].to_numpy() == pytest.approx(before["P_Ia"][0], abs=1e-6)
    assert after["NOVELTY"][0] == pytest.approx(after["NOVELTY"][1], abs=1e-6)
    assert after["N_EPOCHS"].tolist() == [7, 7]


def test_a_window_has_two_positive_ends() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        Nightly(window_days=(-60, 130))
