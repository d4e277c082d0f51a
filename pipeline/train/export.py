"""A classifier as one ONNX graph: grouped photometry in physical units in, calibrated probabilities out.

Inputs, for any number of objects and of steps (one step per night, as `train.inference.prepare_photometry` makes them):

    days      (batch, time) float32        days since the object's first step; 0 in the padding
    flux      (batch, time, band) float32  FLUXCAL at ZP 27.5 mag AB; 0 where a band was not measured
    flux_err  (batch, time, band) float32  its error; 0 where a band was not measured
    observed  (batch, time, band) bool     true where a band was measured
    mask      (batch, time) bool           true where a step exists; steps first, padding last, at least one step
    header    (batch, 3) float32           host photo-z, its error, Milky Way E(B−V) [mag]; NaN where unknown

Output: probabilities (batch, class) float32. Completion of missing bands, normalisation, all networks, calibration
and the mean over the ensemble are in the graph; merging epochs into nights is not, nor the choice of those in
`resampler.window_days`, nor are NOVELTY, cuts and statuses.
"""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.onnx.utils import register_custom_op_symbolic

from pipeline.files import write_atomically
from pipeline.prepare.batches import PhotometryBatch
from pipeline.prepare.resample import Resampled, completions
from pipeline.train.answers import made_up_light_curves
from pipeline.train.checkpoint import Checkpoint
from pipeline.train.inference import prepare_photometry

__all__ = ["INPUTS", "OUTPUT", "ExportError", "PhotometryNetwork", "export_onnx", "graph_inputs"]

INPUTS: Final = ("days", "flux", "flux_err", "observed", "mask", "header")
OUTPUT: Final = "probabilities"
OPSET: Final = 17
EXPORTED_RESAMPLERS: Final = ("nightly", "grid")
TOLERANCE: Final = 1e-5
"""Largest difference between the graph and the classifier."""


class ExportError(RuntimeError):
    """A classifier could not be exported, or its graph gives other probabilities."""


class PhotometryNetwork(nn.Module):
    """Everything between grouped photometry and calibrated probabilities."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.networks = nn.ModuleList(checkpoint.networks())
        self.normaliser, self.resampler = checkpoint.normaliser, checkpoint.experiment.resampler
        self.calibrated = checkpoint.calibration.apply_to_tensor

    def forward(
        self, days: Tensor, flux: Tensor, flux_err: Tensor, observed: Tensor, mask: Tensor, header: Tensor
    ) -> Tensor:
        """Return (batch, class) probabilities; the inputs are those of `PhotometryBatch`."""
        batch = PhotometryBatch(days, flux, flux_err, observed, mask, header)
        features = [self.normaliser(filled) for filled in completions(batch, self.resampler)]
        answers = [self.calibrated(network(one)).softmax(dim=-1) for network in self.networks for one in features]
        return torch.stack(answers).mean(dim=0)


def export_onnx(folder: Path, file: Path) -> dict[str, Any]:
    """Write a classifier as an ONNX graph, and compare the two on made-up light curves.

    Args:
        folder: checkpoint.
        file: to write, atomically, if the graph gives the classifier's probabilities.

    Returns:
        Inputs, classes, bands, size, and the largest difference found.

    Raises:
        ExportError: if onnx or onnxruntime is missing, the resampling has no graph, or the graph differs by more than
            1e-5.
    """
    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise ExportError(f"{package} is not installed; it comes with: pip install 'snflow[onnx]'")
    checkpoint = Checkpoint.load(folder)
    if (kind := checkpoint.experiment.resampler.kind) not in EXPORTED_RESAMPLERS:
        known = " and ".join(EXPORTED_RESAMPLERS)
        raise ExportError(f"{checkpoint.name} fills missing bands by {kind}; only {known} resampling can be exported")
    if checkpoint.trees is not None:
        raise ExportError(
            f"{checkpoint.name} answers by boosted trees beside its networks, which have no graph: in the folder of "
            "its run, the same training with --set fit.trees=0 only calibrates again, and can be exported"
        )
    network = PhotometryNetwork(checkpoint).eval()
    resampled = prepare_photometry(made_up_light_curves(checkpoint.experiment.bands), checkpoint.experiment)
    with tempfile.TemporaryDirectory(prefix="snflow-onnx-") as scratch:
        graph = Path(scratch) / "graph.onnx"
        trace(network, graph_inputs(resampled, np.arange(3)), graph)
        difference = largest_difference(network, graph, resampled)
        if not difference <= TOLERANCE:
            raise ExportError(f"the graph of {checkpoint.name} differs by {difference:.3g}, more than {TOLERANCE:g}")
        write_atomically(file, graph.read_bytes())
    return {
        "model": checkpoint.name,
        "inputs": list(INPUTS),
        "output": OUTPUT,
        "classes": list(checkpoint.classes),
        "bands": list(checkpoint.experiment.bands),
        "bytes": file.stat().st_size,
        "largest_difference": difference,
    }


def graph_inputs(resampled: Resampled, rows: npt.NDArray[np.int64]) -> dict[str, Tensor]:
    """Return the inputs of the graph for some objects, by name."""
    batch = resampled.batch(rows)
    return {name: getattr(batch, name) for name in INPUTS}


def trace(network: PhotometryNetwork, inputs: dict[str, Tensor], file: Path) -> None:
    """Write the graph by running the network once; batch and time stay free."""
    axes = {name: {0: "batch", 1: "time"} for name in INPUTS if name != "header"}
    register_custom_op_symbolic("aten::asinh", lambda graph, value: graph.op("Asinh", value), OPSET)
    with warnings.catch_warnings(), torch.inference_mode():
        # torch warns of its older exporter, and of the checks of shapes in LightCurveBatch, which the graph leaves out
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            tuple(inputs.values()),
            str(file),
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_axes={**axes, "header": {0: "batch"}, OUTPUT: {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


def largest_difference(network: PhotometryNetwork, graph: Path, resampled: Resampled) -> float:
    """Largest difference between a network and its graph: all objects padded together, and each alone."""
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    every = np.arange(len(resampled))
    largest = 0.0
    for rows in (every, *every[:, None]):
        inputs = graph_inputs(resampled, rows)
        with torch.inference_mode():
            expected = network(**inputs).numpy()
        (found,) = session.run([OUTPUT], {name: values.numpy() for name, values in inputs.items()})
        largest = max(largest, float(np.abs(found - expected).max()))
    return largest
