"""Every architecture through training, classifying, verifying and export: whatever is in MODELS must pass."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import MODELS
from pipeline.classify.predict import Classifier, ClassifySettings
from pipeline.settings import SettingsError
from pipeline.train.checkpoint import Checkpoint
from pipeline.train.experiment import Experiment
from pipeline.train.export import export_onnx, graph_inputs
from pipeline.train.fit import TrainingResult, train_classifier
from pipeline.train.inference import prepare_photometry
from pipeline.train.teacher import Teacher
from pipeline.train.verify import verify_checkpoint, with_answers
from tests.builders import make_survey

SMALL = {
    "recurrent": {"hidden_sizes": [5], "embedding_size": 4},
    "phased": {"hidden_sizes": [5, 4], "embedding_size": 4},
    "transformer": {"width": 8, "heads": 2, "feedforward": 8},
    "convolution": {"channels": 6, "dilations": [1, 2]},
    "window": {"hidden_sizes": [6]},
}
CASES = [*((kind, "nightly") for kind in SMALL), ("window", "grid"), ("convolution", "grid"), ("phased", "grid")]
EVERY_CASE = pytest.mark.parametrize(("kind", "resampler"), CASES)


def experiment(
    kind: str, resampler: str, learns: str = "classes", rest_frame: bool = False, **model: str
) -> Experiment:
    return Experiment.model_validate(
        {
            "name": f"{kind}-{resampler}",
            "model": {"kind": kind, **SMALL[kind], **model},
            "resampler": {"kind": resampler},
            "normaliser": {"kind": "per_object", "rest_frame": rest_frame},
            "fit": {"epochs": 3, "batch_size": 16, "averaging": 0.9, "learning_rate": 0.02, "learns": learns},
        }
    )


@lru_cache
def trained(kind: str, resampler: str, **changes: Any) -> TrainingResult:
    with tempfile.TemporaryDirectory(prefix="snflow-test-") as folder:
        return train_classifier(*make_survey(60), experiment(kind, resampler, **changes), Path(folder))


def sampled(kind: str, resampler: str) -> Checkpoint:
    """A trained classifier that answers as three members, thinned out by dropout."""
    checkpoint = trained(kind, resampler).checkpoint
    fit = checkpoint.experiment.fit.model_copy(update={"dropout_samples": 3})
    return with_answers(replace(checkpoint, experiment=checkpoint.experiment.model_copy(update={"fit": fit})))


def test_every_architecture_is_in_this_suite() -> None:
    assert set(SMALL) == set(MODELS)


class InterruptedTestError(Exception):
    """Stands for a crash at the end of an epoch."""


@EVERY_CASE
def test_an_interrupted_training_goes_on_bit_for_bit(kind: str, resampler: str, tmp_path: Path) -> None:
    def crash(row: dict[str, float]) -> None:
        if row["EPOCH"] == 2:
            raise InterruptedTestError

    with pytest.raises(InterruptedTestError):
        train_classifier(*make_survey(60), experiment(kind, resampler), tmp_path, crash)
    resumed = train_classifier(*make_survey(60), experiment(kind, resampler), tmp_path).checkpoint
    assert resumed.weights_sha256 == trained(kind, resampler).checkpoint.weights_sha256
    assert resumed.calibration == trained(kind, resampler).checkpoint.calibration


def test_a_window_that_is_shorter_than_its_teachers_grid_is_refused() -> None:
    teacher = Teacher(trained("window", "grid").checkpoint, None)
    student = Experiment.model_validate({"name": "student", "model": {"kind": "window", "steps": 40}})
    with pytest.raises(SettingsError, match=r"set model\.steps=60"):
        teacher.settings_for(student)


@EVERY_CASE
def test_order_and_chunks_do_not_change_a_probability(kind: str, resampler: str) -> None:
    checkpoint, light_curves = trained(kind, resampler).checkpoint, make_survey(40, seed=5)[0]
    expected = Classifier(checkpoint).classify(light_curves)
    assert np.isfinite(expected.probabilities).all()
    order = np.random.default_rng(0).permutation(40)
    shuffled = Classifier(checkpoint, ClassifySettings(chunk_objects=7)).classify(light_curves.take(order))
    np.testing.assert_allclose(shuffled.probabilities, expected.probabilities[order], atol=1e-5)


@EVERY_CASE
def test_a_saved_classifier_gives_its_stored_answers(kind: str, resampler: str, tmp_path: Path) -> None:
    trained(kind, resampler).checkpoint.save(tmp_path / "model")
    assert Checkpoint.load(tmp_path / "model").experiment == experiment(kind, resampler)
    assert verify_checkpoint(tmp_path / "model").largest <= 1e-6


@EVERY_CASE
def test_members_by_dropout_are_the_same_for_all_and_always_and_weigh_nothing(
    kind: str, resampler: str, tmp_path: Path
) -> None:
    checkpoint, light_curves = sampled(kind, resampler), make_survey(40, seed=5)[0]
    expected = Classifier(checkpoint, ClassifySettings(members=True)).classify(light_curves)
    assert {"P_Ia_0", "P_Ia_1", "P_Ia_2"} < set(expected.table)
    assert expected.table["P_Ia_STD"].max() > 0
    plain = Classifier(trained(kind, resampler).checkpoint).classify(light_curves)
    assert not np.array_equal(plain.probabilities, expected.probabilities)
    order = np.random.default_rng(0).permutation(40)
    shuffled = Classifier(checkpoint, ClassifySettings(chunk_objects=7)).classify(light_curves.take(order))
    np.testing.assert_allclose(shuffled.probabilities, expected.probabilities[order], atol=1e-5)
    for name, one in {"plain": trained(kind, resampler).checkpoint, "sampled": checkpoint}.items():
        one.save(tmp_path / name)
    assert verify_checkpoint(tmp_path / "sampled").largest <= 1e-6
    again = Classifier(Checkpoint.load(tmp_path / "sampled")).classify(light_curves)
    np.testing.assert_array_equal(again.probabilities, expected.probabilities)
    sizes = [sum(file.stat().st_size for file in (tmp_path / name).iterdir()) for name in ("plain", "sampled")]
    assert sizes[1] < sizes[0] + 100


GRAPHS = [
    *((*case, {}) for case in CASES),
    *((*case, {"samples": 3}) for case in CASES),
    *(("recurrent", "nightly", {"pooling": name}) for name in ("last", "mean")),
    ("recurrent", "nightly", {"learns": "templates"}),
    ("recurrent", "nightly", {"rest_frame": True}),
]


@pytest.mark.parametrize(("kind", "resampler", "changes"), GRAPHS)
def test_a_graph_gives_the_classifiers_probabilities_for_any_number_of_objects_and_nights(
    kind: str, resampler: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed: pip install 'snflow[onnx]'")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    is_sampled = "samples" in changes
    checkpoint = sampled(kind, resampler) if is_sampled else trained(kind, resampler, **changes).checkpoint
    checkpoint.save(tmp_path / "model")
    export_onnx(tmp_path / "model", tmp_path / "model.onnx")
    light_curves, _ = make_survey(20, seed=3)
    inputs = graph_inputs(prepare_photometry(light_curves, checkpoint.experiment), np.arange(20))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found,) = session.run(["probabilities"], {name: values.numpy() for name, values in inputs.items()})
    np.testing.assert_allclose(found, Classifier(checkpoint).classify(light_curves).probabilities, atol=1e-5)
