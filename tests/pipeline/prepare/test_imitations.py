from __future__ import annotations

import numpy as np
import pytest

from pipeline.prepare.imitations import IMITATIONS, VARIANTS, Imitation, band_statistics, disturb, imitate
from pipeline.prepare.resample import group_epochs
from pipeline.prepare.shape import describe_shapes, shape_names
from pipeline.schema import LightCurves
from tests.builders import make_light_curves, make_survey

BANDS = ("g", "r", "i", "z")


@pytest.fixture(scope="module")
def survey() -> LightCurves:
    return make_survey(30)[0]


def shapes(light_curves: LightCurves) -> np.ndarray:
    return describe_shapes(group_epochs(light_curves, BANDS, 0.5))


@pytest.mark.parametrize("make", [*IMITATIONS.values(), *VARIANTS], ids=lambda make: make.__name__)
def test_an_imitation_keeps_objects_bands_and_number_of_measurements(make: Imitation, survey: LightCurves) -> None:
    made = make(survey, np.random.default_rng(0))
    np.testing.assert_array_equal(made.offsets, survey.offsets)
    assert made.objects.equals(survey.objects)
    assert made.epochs["BAND"].value_counts().to_dict() == survey.epochs["BAND"].value_counts().to_dict()
    assert not np.array_equal(made.epochs["FLUXCAL"], survey.epochs["FLUXCAL"])
    again = make(survey, np.random.default_rng(0))
    assert made.epochs.equals(again.epochs)


def test_reversing_twice_gives_the_curve_back(survey: LightCurves) -> None:
    rng = np.random.default_rng(0)
    twice = imitate(imitate(survey, "reversed", rng), "reversed", rng)
    np.testing.assert_allclose(twice.epochs["MJD"], survey.epochs["MJD"])
    np.testing.assert_array_equal(twice.epochs["FLUXCAL"], survey.epochs["FLUXCAL"])


def test_reversing_mirrors_the_times() -> None:
    curve = make_light_curves({"a": [(10.0, "g", 1.0, 1.0), (12.0, "r", 2.0, 1.0), (19.0, "g", 3.0, 2.0)]})
    epochs = imitate(curve, "reversed", np.random.default_rng(0)).epochs
    assert epochs["MJD"].tolist() == [10.0, 17.0, 19.0]
    assert epochs["FLUXCAL"].tolist() == [3.0, 2.0, 1.0]
    assert epochs["BAND"].tolist() == ["g", "r", "g"]


def test_shuffling_keeps_the_fluxes_of_each_band_with_their_errors(survey: LightCurves) -> None:
    made = imitate(survey, "shuffled", np.random.default_rng(0))
    for object_ in (0, 17):
        rows = slice(*survey.offsets[object_ : object_ + 2])
        columns = ["BAND", "FLUXCAL", "FLUXCALERR"]
        before, after = (found.epochs[columns].iloc[rows].astype({"BAND": "str"}) for found in (survey, made))
        assert sorted(before.itertuples(index=False)) == sorted(after.itertuples(index=False))
    np.testing.assert_array_equal(made.epochs["MJD"], survey.epochs["MJD"])


def test_a_constant_curve_scatters_by_its_errors_only(survey: LightCurves) -> None:
    def scatter(light_curves: LightCurves) -> float:
        mean, _ = band_statistics(light_curves)
        return float(((light_curves.epochs["FLUXCAL"] - mean) / light_curves.epochs["FLUXCALERR"]).std())

    assert scatter(imitate(survey, "constant", np.random.default_rng(0))) == pytest.approx(1, abs=0.1)
    assert scatter(survey) > 3


def test_disturbed_curves_keep_a_measurement_each(survey: LightCurves) -> None:
    worse = disturb(survey, np.random.default_rng(0))
    assert len(worse) == len(survey)
    lengths = np.diff(worse.offsets)
    assert lengths.min() >= 1
    assert lengths.mean() < 0.9 * np.diff(survey.offsets).mean()


def test_brightness_does_not_change_a_shape(survey: LightCurves) -> None:
    scaled = survey.epochs.assign(FLUXCAL=survey.epochs["FLUXCAL"] * 64, FLUXCALERR=survey.epochs["FLUXCALERR"] * 64)
    brighter = LightCurves(survey.objects, scaled, survey.offsets)
    np.testing.assert_allclose(shapes(brighter), shapes(survey), rtol=1e-5, atol=1e-6)


def test_company_does_not_change_a_shape(survey: LightCurves) -> None:
    rows = np.array([20, 3, 11])
    np.testing.assert_allclose(shapes(survey.take(rows)), shapes(survey)[rows], rtol=1e-12, atol=1e-12)


def test_an_object_without_a_step_has_no_shape() -> None:
    night = [(100.0, "g", 9.0, 1.0), (100.01, "r", 9.0, 1.0)]
    found = shapes(make_light_curves({"first": [], "a": night, "none": [(1.0, "u", 1.0, 1.0)], "b": night}))
    assert np.isnan(found[[0, 2]]).all()
    np.testing.assert_array_equal(found[1], found[3])
    assert np.isfinite(found[1]).any()
    assert shapes(make_light_curves({})).shape == (0, len(shape_names(BANDS)))
