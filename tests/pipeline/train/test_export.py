from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.train.checkpoint import Checkpoint
from pipeline.train.export import ExportError, export_onnx, graph_inputs
from pipeline.train.inference import prepare_photometry
from tests.builders import make_survey
from tests.small_model import small_classifier


def save(folder: Path, resampler: str = "nightly") -> Path:
    small_classifier(resampler).checkpoint.save(folder)
    return folder


def test_the_graph_gives_the_classifiers_probabilities_of_photometry_it_was_not_traced_with(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed: pip install 'snflow[onnx]'")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    folder, file = save(tmp_path / "model"), tmp_path / "model.onnx"
    summary = export_onnx(folder, file)
    assert summary["largest_difference"] <= 1e-5
    light_curves, _ = make_survey(20, seed=3)
    resampled = prepare_photometry(light_curves, Checkpoint.load(folder).experiment)
    inputs = graph_inputs(resampled, np.arange(20))
    session = onnxruntime.InferenceSession(file)
    (found,) = session.run(["probabilities"], {name: values.numpy() for name, values in inputs.items()})
    expected = small_classifier().classify(light_curves).probabilities
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_stands_in_the_padding_changes_nothing(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed: pip install 'snflow[onnx]'")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    file = tmp_path / "model.onnx"
    export_onnx(save(tmp_path / "model"), file)
    resampled = prepare_photometry(make_survey(8)[0], small_classifier().checkpoint.experiment)
    session = onnxruntime.InferenceSession(file)
    together = {name: values.numpy() for name, values in graph_inputs(resampled, np.arange(8)).items()}
    (padded,) = session.run(None, together)
    for row in range(8):
        alone = {name: values.numpy() for name, values in graph_inputs(resampled, np.array([row])).items()}
        np.testing.assert_allclose(session.run(None, alone)[0][0], padded[row], atol=1e-6)


def test_random_fill_says_that_it_cannot_be_exported(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed: pip install 'snflow[onnx]'")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    with pytest.raises(ExportError, match="only nightly and grid resampling"):
        export_onnx(save(tmp_path / "model", "random_fill"), tmp_path / "model.onnx")


def test_a_missing_library_is_named_with_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"onnx is not installed; .*pip install 'snflow\[onnx\]'"):
        export_onnx(tmp_path, tmp_path / "model.onnx")
