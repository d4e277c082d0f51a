from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.classify.contract import ignore_bands
from pipeline.classify.predict import Classifier
from pipeline.evaluate.drift import compare_feature, domain_auc, estimate_prior, measure_drift, stability_index
from pipeline.evaluate.findings import Findings
from pipeline.schema import LightCurves
from pipeline.train.experiment import Experiment
from pipeline.train.fit import train_classifier
from tests.builders import make_survey

SMALL = {"name": "small", "model": {"hidden_sizes": [6], "embedding_size": 0, "head_size": 0}, "fit": {"epochs": 1}}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    folder: Path = tmp_path_factory.mktemp("drift")
    train_classifier(*make_survey(300), Experiment.model_validate(SMALL), folder)
    return Classifier.load(folder / "model")


@pytest.fixture(scope="module")
def survey() -> LightCurves:
    return make_survey(200, seed=7)[0]


def test_the_same_survey_has_not_drifted(classifier: Classifier, survey: LightCurves) -> None:
    predictions = classifier.classify(survey)
    drift = measure_drift(survey, predictions, make_survey(200, seed=7)[1], classifier.checkpoint)
    assert drift is not None
    assert max(feature.psi for feature in drift.features) < 0.25
    assert drift.domain_auc.value == pytest.approx(0.5, abs=0.1)
    assert sum(drift.estimated_prior.values()) == pytest.approx(1)
    assert drift.true_prior == pytest.approx({"Ia": 67 / 200, "nonIa": 133 / 200})
    assert Findings.from_dict(Findings(drift=drift).to_dict()).drift is not None
    again = measure_drift(survey, predictions, None, classifier.checkpoint)
    assert again is not None
    assert again.domain_auc == drift.domain_auc
    assert again.true_prior == {}


def brighter(light_curves: LightCurves) -> LightCurves:
    epochs = light_curves.epochs
    return replace(
        light_curves, epochs=epochs.assign(FLUXCAL=epochs["FLUXCAL"] * 2, FLUXCALERR=epochs["FLUXCALERR"] * 2)
    )


def stretched(light_curves: LightCurves) -> LightCurves:
    return replace(
        light_curves, epochs=light_curves.epochs.assign(MJD=56000 + (light_curves.epochs["MJD"] - 56000) * 2)
    )


def without_bands(light_curves: LightCurves) -> LightCurves:
    return ignore_bands(light_curves, ("i", "z"))


@pytest.mark.parametrize(
    ("change", "name"),
    [(brighter, "median error in r"), (stretched, "days between nights"), (without_bands, "bands")],
)
def test_a_changed_survey_has_drifted(change: object, name: str, classifier: Classifier, survey: LightCurves) -> None:
    changed = change(survey)  # type: ignore[operator]
    drift = measure_drift(changed, classifier.classify(changed), None, classifier.checkpoint)
    assert drift is not None
    assert {feature.name: feature.psi for feature in drift.features}[name] > 0.25
    assert drift.features[0].psi > 1
    assert drift.domain_auc.value > 0.95


def test_a_classifier_that_remembers_nothing_has_no_drift(classifier: Classifier, survey: LightCurves) -> None:
    forgetful = replace(classifier.checkpoint, reference=None)
    assert measure_drift(survey, classifier.classify(survey), None, forgetful) is None


def test_missing_values_are_a_shift_of_their_own() -> None:
    known = np.random.default_rng(0).normal(size=500)
    half = np.where(np.arange(500) % 2, known, np.nan)
    feature = compare_feature("photo-z", "", known, half)
    assert (feature.missing_training, feature.missing_survey) == (0, 0.5)
    assert feature.ks < 0.1
    assert feature.psi > 0.25
    nothing = compare_feature("photo-z", "", known, np.full(500, np.nan))
    assert np.isnan(nothing.ks)
    assert np.isnan(nothing.median_survey)
    assert nothing.psi > 1


def test_the_stability_index_can_be_checked_by_hand() -> None:
    training = np.arange(1000.0)
    lower_half = np.repeat(np.arange(500.0), 2)
    expected = 5 * (0.2 - 0.1) * np.log(0.2 / 0.1) + 5 * (0.0005 - 0.1) * np.log(0.0005 / 0.1)
    assert stability_index(training, training) == 0
    assert stability_index(training, lower_half) == pytest.approx(expected, rel=0.02)


def test_too_few_objects_have_no_domain_classifier() -> None:
    import pandas as pd

    few, many = pd.DataFrame({"a": [1.0, 2.0]}), pd.DataFrame({"a": np.arange(30.0)})
    assert np.isnan(domain_auc(many, few, seed=0).value)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_the_mix_of_classes_is_found_from_calibrated_probabilities(share: float) -> None:
    rng = np.random.default_rng(4)
    training = np.array([0.25, 0.75])
    is_ia = rng.random(20_000) < share
    evidence = rng.normal(np.where(is_ia, 1.0, -1.0), 1.0)  # N(±1, 1), so that the likelihood ratio is exp(2 x)
    odds = np.exp(2 * evidence) * training[0] / training[1]
    probabilities = np.stack([odds / (1 + odds), 1 / (1 + odds)], axis=1)
    assert estimate_prior(probabilities, training)[0] == pytest.approx(share, abs=0.02)
