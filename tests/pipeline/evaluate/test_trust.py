from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.classify.predict import Classifier, ClassifySettings
from pipeline.evaluate.findings import Findings
from pipeline.evaluate.trust import measure_trust, novelty_auroc
from pipeline.prepare.imitations import IMITATIONS
from pipeline.schema import LightCurves, Truth
from pipeline.train.experiment import Experiment
from pipeline.train.fit import train_classifier
from tests.builders import make_survey

SMALL = {
    "name": "small",
    "model": {"hidden_sizes": [6], "embedding_size": 0, "head_size": 0},
    "fit": {"epochs": 12, "batch_size": 16, "averaging": 0.9, "learning_rate": 0.02},
}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    folder: Path = tmp_path_factory.mktemp("trust")
    train_classifier(*make_survey(200), Experiment.model_validate(SMALL), folder)
    return Classifier.load(folder / "model")


@pytest.fixture(scope="module")
def survey() -> tuple[LightCurves, Truth]:
    return make_survey(80, seed=7)


def test_trust_is_measured_on_made_up_curves_and_small_changes(
    classifier: Classifier, survey: tuple[LightCurves, Truth]
) -> None:
    trust = measure_trust(classifier, *survey, seed=0)
    assert trust.n_objects == 80
    assert trust.novelty_threshold == classifier.checkpoint.novelty_threshold
    assert trust.share_novel < 0.1
    assert [test.name for test in trust.novelty_tests] == list(IMITATIONS)
    assert all(test.auroc > 0.9 for test in trust.novelty_tests if test.name != "reversed")
    names = [found.name for found in trust.sensitivities]
    assert len(names) == len(set(names)) == 14
    assert {"zeropoint of g + 0.02 mag", "photo-z + 0.02 (1 + z)", "photo-z − its error"} <= set(names)
    for found in trust.sensitivities:
        assert 0 < found.mean_change < 0.2
        assert set(found.metrics) == set(found.differences) != set()
    assert Findings.from_dict(Findings(trust=trust).to_dict()).trust is not None


def test_the_same_seed_gives_the_same_trust(classifier: Classifier, survey: tuple[LightCurves, Truth]) -> None:
    first, second = (measure_trust(classifier, *survey, seed=3, n_max=30) for _ in range(2))
    assert first == second
    assert first.n_objects == 30


def test_without_truth_or_redshift_there_are_only_the_changes_that_can_be_seen(
    classifier: Classifier, survey: tuple[LightCurves, Truth]
) -> None:
    blind = Classifier(classifier.checkpoint, ClassifySettings(redshift="none"))
    trust = measure_trust(blind, survey[0], None, n_max=20)
    assert len(trust.sensitivities) == 10
    assert all(found.metrics == found.differences == {} for found in trust.sensitivities)


def test_a_classifier_without_novelty_score_has_undefined_novelty(
    classifier: Classifier, survey: tuple[LightCurves, Truth]
) -> None:
    old = Classifier(replace(classifier.checkpoint, novelty=None))
    trust = measure_trust(old, survey[0], None, n_max=20)
    assert np.isnan([trust.novelty_threshold, trust.share_novel]).all()
    assert all(np.isnan(test.auroc) and np.isnan(test.share_novel) for test in trust.novelty_tests)
    assert all(np.isfinite(test.share_confident) for test in trust.novelty_tests)


def test_nothing_to_classify_gives_no_tests(classifier: Classifier, survey: tuple[LightCurves, Truth]) -> None:
    trust = measure_trust(classifier, survey[0].take(np.zeros(0, dtype=np.int64)), None)
    assert (trust.n_objects, trust.novelty_tests, trust.sensitivities) == (0, (), ())
    assert np.isnan(trust.share_novel)


def test_the_auroc_of_novelty_can_be_checked_by_hand() -> None:
    assert novelty_auroc(np.array([0.9, 0.4]), np.array([0.1, 0.4])) == pytest.approx((2 + 1 + 0.5) / 4)
    assert np.isnan(novelty_auroc(np.array([]), np.array([0.5])))
