"""Facts about the gallery: who is shown and why, and that the figures get what the classifier got."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pipeline.classify.nights import classify_nights
from pipeline.classify.predict import Classifier, ClassifySettings
from pipeline.prepare.resample import Nightly
from pipeline.report import gather
from pipeline.report.gallery import GalleryCurve, gallery_from_json, gallery_to_json
from pipeline.report.gather import KINDS, choose_curves, gather_gallery
from pipeline.schema import Predictions, Truth
from tests.builders import make_light_curves, make_survey, make_truth
from tests.small_model import small_classifier


def count_kinds(chosen: dict[str, tuple[str, ...]]) -> Counter[str]:
    return Counter(kind for kinds in chosen.values() for kind in kinds)


def with_novelty(predictions: Predictions) -> Predictions:
    novelty = np.linspace(0, 1, len(predictions))
    return Predictions(predictions.table.assign(NOVELTY=novelty), predictions.classes)


@pytest.fixture(scope="module")
def curves() -> tuple[GalleryCurve, ...]:
    light_curves, truth = make_survey(40, seed=6)
    return gather_gallery(
        small_classifier(), light_curves, small_classifier().classify(light_curves), truth, n_total=24
    )


def test_each_kind_takes_its_share_and_a_random_sample_the_rest(predictions: Predictions, truth: Truth):
    chosen = choose_curves(with_novelty(predictions), truth, n_total=24)
    assert len(chosen) == 24
    kinds = count_kinds(chosen)
    assert (kinds["confident and wrong"], kinds["uncertain"], kinds["novel"], kinds["confident and right"]) == (
        8,
        6,
        4,
        2,
    )
    assert "confident" not in kinds
    assert kinds["sample"] == sum(found == ("sample",) for found in chosen.values()) >= 4
    assert all(sorted(found, key=KINDS.index) == list(found) for found in chosen.values())


def test_the_most_extreme_objects_come_first(predictions: Predictions, truth: Truth):
    chosen = choose_curves(predictions, truth, n_total=24)
    table = predictions.table.set_index("SNID")
    is_ia = (truth.table.set_index("SNID")["CLASS"] == "Ia").reindex(table.index)
    confidence = table[["P_Ia", "P_nonIa"]].max(axis=1)
    is_wrong = (table["P_Ia"] > 0.5) != is_ia
    wrong = confidence[is_wrong & confidence.notna()].sort_values(ascending=False)
    assert [snid for snid, kinds in chosen.items() if "confident and wrong" in kinds] == wrong.index[:8].tolist()
    uncertain = {snid for snid, kinds in chosen.items() if "uncertain" in kinds}
    assert uncertain == set(confidence.dropna().sort_values().index[:6])


def test_an_object_is_shown_once_with_all_its_kinds(predictions: Predictions, truth: Truth):
    everything = choose_curves(with_novelty(predictions), truth, n_total=10_000)
    assert len(everything) == np.isfinite(predictions.probabilities).all(axis=1).sum()
    assert max(len(kinds) for kinds in everything.values()) == 3


def test_without_truth_the_confident_stand_for_right_and_wrong(predictions: Predictions):
    chosen = choose_curves(predictions, None, n_total=24)
    assert count_kinds(chosen) == {"confident": 6, "uncertain": 6, "sample": 12}
    called = predictions.table.set_index("SNID").loc[[s for s, kinds in chosen.items() if "confident" in kinds], "P_Ia"]
    assert (called > 0.5).sum() == 3


def test_the_choice_does_not_depend_on_the_order(predictions: Predictions, truth: Truth):
    mixed = Predictions(predictions.table.sample(frac=1, random_state=1).reset_index(drop=True), predictions.classes)
    assert choose_curves(mixed, truth, 24, seed=2) == choose_curves(predictions, truth, 24, seed=2)
    assert choose_curves(mixed, truth, 24, seed=3) != choose_curves(predictions, truth, 24, seed=2)


def test_a_curve_says_what_was_predicted_and_what_is_true(curves: tuple[GalleryCurve, ...]):
    light_curves, truth = make_survey(40, seed=6)
    table = small_classifier().classify(light_curves).table.set_index("SNID")
    assert len({curve.snid for curve in curves}) == len(curves) == 24
    for curve in curves:
        p_ia = table.loc[curve.snid, "P_Ia"]
        assert curve.probabilities["Ia"] == pytest.approx(p_ia, abs=1e-4)
        assert curve.called == ("Ia" if p_ia > 0.5 else "nonIa")
        assert curve.true_class == truth.table.set_index("SNID").loc[curve.snid, "SUBCLASS"]
        assert curve.is_right == ((curve.true_class == "Ia") == (curve.called == "Ia"))
        assert np.isfinite(curve.novelty)


def test_a_curve_shows_the_photometry_and_the_steps_made_of_it(curves: tuple[GalleryCurve, ...]):
    light_curves, _ = make_survey(40, seed=6)
    for curve in curves[:5]:
        epochs = light_curves.select([curve.snid]).epochs
        np.testing.assert_allclose(curve.mjd, epochs["MJD"], atol=6e-4)
        assert list(curve.band) == epochs["BAND"].tolist()
        np.testing.assert_allclose(curve.flux, epochs["FLUXCAL"], rtol=6e-4)
        np.testing.assert_allclose(curve.error, epochs["FLUXCALERR"], rtol=6e-4)
        # One measurement per band and night in the toy survey, so the steps hold the very same numbers.
        measured = np.concatenate([[f for f in curve.step_flux[band] if np.isfinite(f)] for band in "griz"])
        np.testing.assert_allclose(np.sort(measured), np.sort(curve.flux), rtol=2e-3)
        assert len(curve.steps) == len(curve.history_mjd) == len(curve.step_flux["g"])
        assert np.all(np.abs(np.subtract(curve.steps, curve.history_mjd)) < 0.05)


def test_only_the_steps_in_the_window_of_the_classifier_are_shown_each_at_its_time():
    light_curves, truth = make_survey(6)
    checkpoint = small_classifier().checkpoint
    windowed = checkpoint.experiment.model_copy(update={"resampler": Nightly(window_days=(10, 20))})
    classifier = Classifier(replace(checkpoint, experiment=windowed))
    for curve in gather_gallery(classifier, light_curves, classifier.classify(light_curves), truth):
        assert 0 < np.ptp(curve.steps) <= 30 < np.ptp(curve.mjd)
        for place, step in enumerate(curve.steps):
            measured = {band: flux for mjd, band, flux in zip(curve.mjd, curve.band, curve.flux, strict=True)
                        if abs(mjd - step) < 0.4}  # fmt: skip
            shown = {band: curve.step_flux[band][place] for band in measured}
            assert shown == pytest.approx(measured, rel=2e-3)


def test_the_history_is_what_was_said_after_each_night(curves: tuple[GalleryCurve, ...]):
    light_curves, _ = make_survey(40, seed=6)
    for curve in curves[:3]:
        nights = classify_nights(small_classifier(), light_curves.select([curve.snid]))
        np.testing.assert_allclose(curve.history_mjd, nights["MJD"], atol=6e-4)
        np.testing.assert_allclose(curve.history["Ia"], nights["P_Ia"], atol=6e-5)
        assert curve.history["Ia"][-1] == pytest.approx(curve.probabilities["Ia"], abs=1e-4)


def test_long_curves_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gather, "MAX_MEASUREMENTS", 10)
    monkeypatch.setattr(gather, "MAX_NIGHTS", 4)
    light_curves, truth = make_survey(6)
    found = gather_gallery(small_classifier(), light_curves, small_classifier().classify(light_curves), truth)
    for curve in found:
        mjd = light_curves.select([curve.snid]).epochs["MJD"]
        assert len(curve.mjd) == len(curve.band) == len(curve.flux) == len(curve.error) == 10
        assert curve.n_epochs == len(mjd)
        assert (curve.mjd[0], curve.mjd[-1]) == (round(mjd.iloc[0], 3), round(mjd.iloc[-1], 3))
        assert len(curve.steps) <= 10
        assert len(curve.history_mjd) == len(curve.history["Ia"]) == 4


def test_the_redshift_is_the_one_that_the_classifier_was_given():
    light_curves, truth = make_survey(6)
    light_curves = replace(light_curves, objects=light_curves.objects.assign(SPECZ=0.25))
    checkpoint = small_classifier().checkpoint
    blind = checkpoint.experiment.model_copy(
        update={"normaliser": checkpoint.experiment.normaliser.model_copy(update={"use_redshift": False})}
    )
    photoz, specz, none = (
        Classifier(checkpoint, ClassifySettings(redshift=kind)) for kind in ("photoz", "specz", "none")
    )
    found = {
        name: [curve.redshift for curve in gather_gallery(which, light_curves, which.classify(light_curves), truth)]
        for name, which in (("photoz", photoz), ("specz", specz), ("none", none))
    }
    assert set(found["specz"]) == {0.25}
    assert np.isnan(found["none"]).all()
    np.testing.assert_allclose(sorted(found["photoz"]), np.sort(light_curves.objects["PHOTOZ"]), atol=1e-4)
    assert np.isnan(gather._redshift(Classifier(replace(checkpoint, experiment=blind)), light_curves)).all()


def test_objects_without_photometry_or_probability_are_passed_over():
    light_curves, truth = make_survey(8)
    predictions = small_classifier().classify(light_curves)
    some = light_curves.take(np.array([4, 2]))
    found = gather_gallery(small_classifier(), some, predictions, truth)
    assert {curve.snid for curve in found} == set(some.objects["SNID"])
    nothing = make_light_curves({"empty": []})
    assert gather_gallery(small_classifier(), nothing, small_classifier().classify(nothing), None) == ()


def test_an_object_of_unknown_class_is_neither_right_nor_wrong():
    light_curves, _ = make_survey(6)
    truth = make_truth(light_curves, ["Ia", "IIP", "kilonova", "Ia", "IIP", "IIP"])
    unknown = Truth(truth.table.assign(CLASS=truth.table["CLASS"].where(truth.table["SUBCLASS"] != "kilonova")))
    found = gather_gallery(small_classifier(), light_curves, small_classifier().classify(light_curves), unknown)
    (odd,) = (curve for curve in found if curve.true_class == "kilonova")
    assert odd.is_right is None
    assert not {"confident and right", "confident and wrong"} & set(odd.kinds)


def test_a_gallery_survives_json(curves: tuple[GalleryCurve, ...]):
    values = gallery_to_json(curves)
    text = json.dumps(values, allow_nan=False)
    assert gallery_to_json(gallery_from_json(json.loads(text))) == values
    assert isinstance(values[0]["novelty"], float)
    assert len(text) < 8000 * len(curves)


def test_without_the_classifier_there_is_photometry_and_nothing_that_it_alone_could_tell() -> None:
    light_curves, truth = make_survey(12)
    predictions = Classifier(small_classifier().checkpoint).classify(light_curves)
    curves = gather_gallery(None, light_curves, predictions, truth, 5)
    assert len(curves) == 5
    assert all(curve.mjd and not curve.steps and not curve.history for curve in curves)
    assert np.isnan([curve.redshift for curve in curves]).all()
