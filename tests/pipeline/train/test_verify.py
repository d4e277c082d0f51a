from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.train.answers import made_up_light_curves
from pipeline.train.calibration import Calibration
from pipeline.train.checkpoint import Checkpoint, CheckpointError
from pipeline.train.verify import TOLERANCE, verify_checkpoint, with_answers
from tests.small_model import small_classifier


@pytest.mark.parametrize("resampler", ["nightly", "random_fill"])
def test_a_fresh_checkpoint_gives_its_stored_answers(tmp_path: Path, resampler: str) -> None:
    small_classifier(resampler).checkpoint.save(tmp_path / "model")
    found = verify_checkpoint(tmp_path / "model")
    assert found.is_same
    assert found.largest <= 1e-7
    assert set(found.differences) == {"uncalibrated", "calibrated", "novelty"}


def test_answers_are_those_of_the_classifier_on_the_same_light_curves() -> None:
    classifier = small_classifier()
    answers = classifier.checkpoint.answers
    assert answers is not None
    table = classifier.classify(answers.light_curves)
    asked = np.isfinite(table.probabilities).all(axis=1)
    assert asked.sum() > 20
    np.testing.assert_allclose(table.probabilities[asked], answers.answers["calibrated"][asked], atol=1e-7)


def test_a_change_of_temperature_is_found_in_the_calibrated_answers_alone(tmp_path: Path) -> None:
    checkpoint = small_classifier().checkpoint
    replace(checkpoint, calibration=Calibration(checkpoint.calibration.temperature / 2)).save(tmp_path / "model")
    found = verify_checkpoint(tmp_path / "model")
    assert not found.is_same
    assert found.differences["uncalibrated"] <= 1e-7
    assert found.differences["calibrated"] > TOLERANCE


def test_an_answer_that_is_no_number_any_more_fails(tmp_path: Path) -> None:
    checkpoint = small_classifier().checkpoint
    broken = [{name: value * float("nan") for name, value in one.items()} for one in checkpoint.weights]
    replace(checkpoint, weights=broken).save(tmp_path / "model")
    found = verify_checkpoint(tmp_path / "model")
    assert not found.is_same
    assert np.isnan(found.largest)


def test_the_versions_that_differ_are_told(tmp_path: Path) -> None:
    answers = small_classifier().checkpoint.answers
    assert answers is not None
    older = replace(answers, versions={**answers.versions, "torch": "1.0"})
    replace(small_classifier().checkpoint, answers=older).save(tmp_path / "model")
    found = verify_checkpoint(tmp_path / "model")
    assert (found.then, set(found.now)) == ({"torch": "1.0"}, {"torch"})


def test_a_checkpoint_without_answers_says_how_to_get_them(tmp_path: Path) -> None:
    replace(small_classifier().checkpoint, answers=None).save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="no stored answers"):
        verify_checkpoint(tmp_path / "model")


def test_the_answers_travel_unchanged_and_are_small(tmp_path: Path) -> None:
    checkpoint = with_answers(small_classifier().checkpoint)
    checkpoint.save(tmp_path / "model")
    stored, again = checkpoint.answers, Checkpoint.load(tmp_path / "model").answers
    assert stored is not None
    assert again is not None
    assert stored.tensors.keys() == again.tensors.keys()
    for name, values in stored.tensors.items():
        np.testing.assert_array_equal(values, again.tensors[name])  # NaN stands for an unknown redshift
    assert (tmp_path / "model" / "answers.safetensors").stat().st_size < 100_000


def test_made_up_light_curves_are_the_same_each_time_and_of_many_kinds() -> None:
    first, second = made_up_light_curves(("g", "r")), made_up_light_curves(("g", "r"))
    assert first.epochs.equals(second.epochs)
    assert first.objects["PHOTOZ"].isna().any()
    assert first.objects["PHOTOZ"].notna().any()
    assert np.diff(first.offsets).min() <= 2
