"""Facts about calibrated probabilities and thresholds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.classify.predict import Classifier
from pipeline.evaluate.metrics import METRICS, Scores
from pipeline.train.calibration import (
    UNCALIBRATED,
    Calibration,
    choose_thresholds,
    ensemble_probabilities,
    fit_calibration,
    fit_temperature,
    fit_vector,
    log_loss,
    quality,
)
from pipeline.train.checkpoint import Checkpoint
from pipeline.train.export import export_onnx
from pipeline.train.verify import verify_checkpoint, with_answers
from tests.builders import make_survey
from tests.small_model import small_classifier

CLASSES = ("Ia", "Ibc", "II")
VECTOR = Calibration(1.3, (0.8, 1.4), (0.3, -0.3))
SEEDS = st.integers(0, 2**32 - 1)

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def honest_logits(seed: int, n_objects: int = 5000, n_classes: int = 3) -> tuple[Floats, Labels]:
    """Logits (1, n, class) and classes that are drawn with just their probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (1, n_objects, n_classes))
    chances = ensemble_probabilities(logits)[0].cumsum(axis=1)
    return logits, (rng.random((n_objects, 1)) > chances[:, :-1]).sum(axis=1)


def loss(logits: Floats, labels: Labels, calibration: Calibration) -> float:
    return log_loss(ensemble_probabilities(logits, calibration).mean(axis=0), labels)


def test_the_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 1.5, 20_000)
    labels = (rng.random(20_000) > 1 / (1 + np.exp(-honest))).astype(np.int64)
    logits = np.stack([honest, np.zeros_like(honest)], axis=1)[None]
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.05)


def test_ensemble_probabilities_sum_to_one_and_do_not_overflow() -> None:
    probabilities = ensemble_probabilities(np.array([[[1000.0, -1000.0], [0.0, 0.0]]]))
    np.testing.assert_allclose(probabilities, [[[1, 0], [0.5, 0.5]]])


def test_thresholds_reach_what_they_promise() -> None:
    rng = np.random.default_rng(1)
    is_ia = rng.random(2000) < 0.25
    p_ia = np.clip(rng.normal(np.where(is_ia, 0.75, 0.3), 0.2), 0, 1)
    thresholds = choose_thresholds(p_ia, is_ia)
    assert is_ia[p_ia > thresholds["purity95"]].mean() >= 0.95
    is_called = p_ia > thresholds["completeness90"]
    assert is_called[is_ia].mean() >= 0.90
    assert (p_ia > p_ia[is_called].min())[is_ia].mean() < 0.90, "the next higher cut would lose too many"
    assert not np.isin(list(thresholds.values()), p_ia).any(), "no object stands on a threshold"


def merit_at(threshold: float, p_ia: Floats, is_ia: npt.NDArray[np.bool_]) -> float:
    called = p_ia > threshold
    true, false = (called & is_ia).sum(), (called & ~is_ia).sum()
    return float(true / is_ia.sum() * true / (true + 3 * false))


def test_the_threshold_of_the_figure_of_merit_is_good_for_others_however_few_it_was_chosen_on() -> None:
    rng = np.random.default_rng(2)
    p_ia = rng.beta(0.2, 0.6, 100_000)
    is_ia = rng.random(len(p_ia)) < p_ia
    best = max(merit_at(threshold, p_ia, is_ia) for threshold in np.linspace(0.3, 0.9, 61))
    lost = []
    for part in np.split(np.arange(4000), 40):
        chosen = choose_thresholds(p_ia[part], is_ia[part])["figure_of_merit"]
        lost.append(best - merit_at(chosen, p_ia, is_ia))
    assert np.mean(lost) < 0.01, "labels, of 100 objects at a time, lose .02 on average"
    assert max(lost) < 0.05


@given(
    logits=st.lists(st.lists(st.floats(-200, 200), min_size=3, max_size=3), min_size=1, max_size=5),
    scale=st.lists(st.floats(0.1, 10), min_size=3, max_size=3),
    shift=st.lists(st.floats(-10, 10), min_size=3, max_size=3),
)
def test_calibrated_probabilities_sum_to_one_and_tensors_get_the_same(
    logits: list[list[float]], scale: list[float], shift: list[float]
) -> None:
    values = np.array([logits])
    for calibration in (Calibration(scale[0]), Calibration(scale[0], tuple(scale), tuple(shift))):
        probabilities = ensemble_probabilities(values, calibration)
        np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-12)
        same = calibration.apply_to_tensor(torch.from_numpy(values)).softmax(dim=-1).numpy()
        np.testing.assert_allclose(same, probabilities, atol=1e-12)


@given(seed=SEEDS, kind=st.sampled_from(["temperature", "vector"]))
@settings(max_examples=10, deadline=None)
def test_logits_that_are_honest_stay_nearly_what_they_are(seed: int, kind: str) -> None:
    logits, labels = honest_logits(seed)
    calibration, _ = fit_calibration(logits, labels, CLASSES, kind)  # type: ignore[arg-type]
    change = ensemble_probabilities(logits, calibration) - ensemble_probabilities(logits)
    assert np.abs(change).mean() < 0.015


@given(
    seed=SEEDS,
    scale=st.lists(st.floats(0.4, 2.5), min_size=3, max_size=3),
    shift=st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3),
)
@settings(max_examples=10, deadline=None)
def test_a_vector_finds_the_scale_and_shift_that_logits_were_given(
    seed: int, scale: list[float], shift: list[float]
) -> None:
    honest, labels = honest_logits(seed, 20_000)
    found, kind = fit_calibration((honest - shift) / scale, labels, CLASSES, "vector")
    assert kind == "vector"
    np.testing.assert_allclose(found.scale, scale, rtol=0.12)
    np.testing.assert_allclose(found.shift, np.array(shift) - np.mean(shift), atol=0.15)


@given(seed=SEEDS, n_objects=st.integers(3, 40), n_members=st.integers(1, 4), size=st.floats(0, 30))
@settings(max_examples=40, deadline=None)
def test_a_vector_is_never_worse_than_the_temperature_on_validation(
    seed: int, n_objects: int, n_members: int, size: float
) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(0, size, (n_members, n_objects, 3)), rng.integers(0, 3, n_objects)
    vector, _ = fit_calibration(logits, labels, CLASSES, "vector")
    alone, _ = fit_calibration(logits, labels, CLASSES, "temperature")
    assert loss(logits, labels, vector) <= loss(logits, labels, alone)


def test_nothing_near_the_vector_of_an_ensemble_is_better() -> None:
    logits, labels = honest_logits(1)
    members = np.concatenate([2 * logits, 3 * logits[..., [0, 2, 1]], logits * (1.0, 3.0, 2.0)])
    found = fit_vector(members, labels, 1.0)
    best = loss(members, labels, found)
    for place in range(3):
        for step in (-0.05, 0.05):
            change = np.eye(3)[place] * step
            other = Calibration(1.0, tuple(np.array(found.scale) * (1 + change)), found.shift)
            assert loss(members, labels, other) > best
            assert loss(members, labels, replace(found, shift=tuple(np.array(found.shift) + change))) > best


def test_a_class_that_validation_lacks_leaves_the_temperature_alone() -> None:
    logits, labels = honest_logits(1)
    labels[labels == 1] = 2
    found, kind = fit_calibration(logits, labels, CLASSES, "vector")
    assert found == Calibration(fit_temperature(logits, labels))
    assert kind == "temperature, not vector: no validation object is Ibc"


def test_what_is_asked_not_to_be_calibrated_is_not() -> None:
    assert fit_calibration(*honest_logits(1), CLASSES, "none") == (UNCALIBRATED, "none")


def test_the_card_measures_as_the_report_does() -> None:
    logits, labels = honest_logits(1)
    probabilities = ensemble_probabilities(3 * logits).mean(axis=0)
    found, once = quality(probabilities, labels), np.ones((1, len(labels)))
    assert found == pytest.approx({name: METRICS[name](Scores(probabilities, labels), once)[0] for name in found})


def test_a_temperature_is_described_as_it_always_was_and_a_vector_beside_it() -> None:
    assert Calibration(1.3).description() == {"temperature": 1.3}
    for calibration in (UNCALIBRATED, Calibration(1.3), VECTOR):
        assert Calibration.restore(json.loads(json.dumps(calibration.description())), 2) == calibration


def test_a_classifier_with_a_vector_answers_with_it_wherever_it_goes(tmp_path: Path) -> None:
    light_curves, _ = make_survey(20, seed=3)
    plain = replace(small_classifier().checkpoint, calibration=UNCALIBRATED)
    with_answers(replace(plain, calibration=VECTOR)).save(tmp_path / "model")
    loaded = Checkpoint.load(tmp_path / "model")
    assert loaded.calibration == VECTOR
    assert "Ia × 0.8000 +0.3000, nonIa × 1.4000 -0.3000" in (tmp_path / "model" / "card.md").read_text()
    assert verify_checkpoint(tmp_path / "model").largest <= 1e-7
    found, before = (Classifier(one).classify(light_curves).probabilities for one in (loaded, plain))
    assert np.abs(found - before).max() > 0.01
    pytest.importorskip("onnx", reason="onnx is not installed: pip install 'snflow[onnx]'")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    assert export_onnx(tmp_path / "model", tmp_path / "model.onnx")["largest_difference"] <= 1e-5
