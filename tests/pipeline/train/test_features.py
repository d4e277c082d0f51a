"""Facts about the features of light curves, and about the trees that read them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from pipeline.schema import LightCurves
from pipeline.train.classical import classical_predictions
from pipeline.train.control import control_predictions
from pipeline.train.experiment import Experiment
from pipeline.train.features import light_curve_features
from pipeline.train.fit import choose_sample
from tests.builders import BANDS, Epoch, make_light_curves, make_survey

ALONE: list[Epoch] = [
    (56000.0, "r", 10.0, 2.0),
    (56010.0, "r", 100.0, 4.0),
    (56010.0, "i", 50.0, 5.0),
    (56020.0, "r", 60.0, 5.0),
    (56050.0, "r", 5.0, 5.0),
]


def features_of(curves: dict[str, list[Epoch]], **columns: list[float]) -> pd.DataFrame:
    return light_curve_features(make_light_curves(curves, **columns), BANDS)


def test_the_features_of_a_light_curve_can_be_worked_out_by_hand():
    found = features_of({"a": ALONE}, PHOTOZ=[0.5], PHOTOZ_ERR=[0.02], MWEBV=[0.1]).iloc[0]
    expected = {
        "N_r": 4,
        "N_DETECTED_r": 3,
        "N_DETECTED": 4,
        "MAX_FLUX_r": 100,
        "MAX_SNR_r": 25,
        "MAX_SHARE_i": 0.5,
        "MAX_DELAY_i": 0,
        "SNR_50_r": (5 + 12) / 2,
        "DAYS_ABOVE_0.5_r": 10,
        "DAYS_ABOVE_0.1_r": 20,
        "RISE_FROM_0.1_r": 10,
        "FLUX_-20_-10_r": np.nan,
        "FLUX_-10_-4_r": 0.1,
        "FLUX_10_20_r": 0.6,
        "FLUX_32_50_r": 0.05,
        "COLOUR_r_i_-10_10": -2.5 * np.log10((10 / 4 + 100 / 16) / (1 / 4 + 1 / 16) / 50),
        "DAYS_DETECTED": 20,
        "DAYS_TO_MAX": 10,
        "MAG": -5,
        "MWEBV": 0.1,
        "PHOTOZ": 0.5,
        "ABSOLUTE_MAG": -5 - 5 * np.log10(0.5 * 1.25),
        "REST_DAYS_ABOVE_0.5_r": 10 / 1.5,
    }
    pd.testing.assert_series_equal(found[list(expected)].astype(float), pd.Series(expected), check_names=False)


def test_what_is_undefined_is_nan_and_never_infinite():
    found = features_of({"none": [], "other band": [(1.0, "Y", 5.0, 1.0)], "negative": [(1.0, "g", -5.0, 1.0)]})
    counts = [name for name in found if name.startswith("N_") or name == "N_DETECTED"]
    assert (found.loc[[0, 1], counts] == 0).all().all()
    assert found.loc[[0, 1]].drop(columns=counts).isna().all().all()
    assert np.isnan(
        found.loc[2, ["MAG", "MAX_SHARE_g", "DAYS_ABOVE_0.5_g", "ABSOLUTE_MAG", "PHOTOZ"]].astype(float)
    ).all()
    assert found.loc[2, "MAX_SNR_g"] == -5
    assert not np.isinf(found.to_numpy(float)).any()


def test_no_light_curves_have_the_same_columns_as_many():
    light_curves, _ = make_survey(5)
    none = light_curve_features(light_curves.take(np.zeros(0, np.int64)), BANDS)
    assert len(none) == 0
    assert list(none) == list(light_curve_features(light_curves, BANDS))


def test_neither_the_order_of_objects_nor_who_else_is_there_changes_a_feature():
    light_curves, _ = make_survey(20)
    rows = np.random.default_rng(3).permutation(20)[:12]
    together = light_curve_features(light_curves, BANDS)
    apart = light_curve_features(light_curves.take(rows), BANDS)
    pd.testing.assert_frame_equal(together.iloc[rows].reset_index(drop=True), apart)


def test_the_order_of_measurements_of_one_moment_changes_no_feature():
    epochs = [(56000.0 + day, band, flux, 2.0) for day in (0, 5) for band, flux in (("g", 9.0), ("g", 7.0), ("r", 9.0))]
    one = make_light_curves({"a": epochs})
    swapped = one.epochs.iloc[[2, 1, 0, 5, 3, 4]].reset_index(drop=True)
    other = LightCurves(one.objects, swapped, one.offsets)
    pd.testing.assert_frame_equal(light_curve_features(one, BANDS), light_curve_features(other, BANDS))


def test_names_places_files_and_dates_are_not_read():
    light_curves, _ = make_survey(8)
    objects = light_curves.objects.assign(
        SNID=[f"x{row}" for row in range(8)], RA=1.0, DEC=2.0, SURVEY="other", SOURCE="file", SPECZ=0.3, SPECZ_ERR=0.1
    )
    later = light_curves.epochs.assign(MJD=light_curves.epochs["MJD"] + 1024, PHOTFLAG=7)
    moved = replace(light_curves, objects=objects, epochs=later)
    before, after = (light_curve_features(found, BANDS) for found in (light_curves, moved))
    pd.testing.assert_frame_equal(before, after, rtol=1e-9)


def test_without_redshift_nothing_follows_from_it():
    light_curves, _ = make_survey(6)
    hidden = light_curves.objects.assign(PHOTOZ=np.nan, PHOTOZ_ERR=np.nan)
    shown = light_curve_features(light_curves, BANDS, use_redshift=False)
    pd.testing.assert_frame_equal(
        shown, light_curve_features(replace(light_curves, objects=hidden), BANDS, use_redshift=False)
    )
    assert not [name for name in shown if "PHOTOZ" in name or "REST" in name or "ABSOLUTE" in name]


def test_trees_on_light_curves_tell_the_toy_types_apart_and_trees_on_headers_do_not():
    light_curves, truth = make_survey(160)
    experiment = Experiment.model_validate({"name": "toy", "split": {"train": 100}})
    sample = choose_sample(light_curves, truth, experiment)
    _, labels = sample.part(sample.split.test)
    shares = []
    for predictions in (classical_predictions(sample, experiment), control_predictions(sample, experiment)):
        assert list(predictions.table["SNID"]) == list(sample.split.test)
        shares.append((predictions.probabilities.argmax(axis=1) == labels).mean())
    assert shares[0] > 0.95
    assert shares[1] < 0.8


def test_a_band_that_is_not_asked_for_changes_nothing():
    found = features_of({"a": ALONE})
    with_another = features_of({"a": [*ALONE, (56005.0, "Y", 1000.0, 1.0)]})
    pd.testing.assert_frame_equal(found, with_another)


def test_one_key_of_a_section_can_be_set_without_naming_its_kind():
    experiment = Experiment.model_validate(
        {"name": "x", "normaliser": {"use_redshift": False}, "resampler": {"gap_days": 1}}
    )
    assert (experiment.normaliser.kind, experiment.normaliser.use_redshift) == ("per_object", False)
    assert (experiment.resampler.kind, experiment.resampler.gap_days) == ("nightly", 1)
