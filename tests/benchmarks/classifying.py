"""Light curves per second: preparing, the network alone, training, and classifying from a store."""

from __future__ import annotations

import importlib.util
import io
import time
import warnings
from pathlib import Path

import torch

from models import Inputs, LightCurveBatch, LightCurveClassifier, ModelConfig, build_model
from models.convolution import ConvolutionConfig
from models.phased import PhasedConfig
from models.recurrent import RecurrentConfig
from models.transformer import TransformerConfig
from models.window import WindowConfig
from pipeline.classify.catalogue import classify_catalogue
from pipeline.classify.predict import Classifier, ClassifySettings
from pipeline.prepare.resample import group_epochs
from pipeline.schema import LightCurves
from pipeline.store import Store, ingest
from pipeline.train.experiment import Experiment
from pipeline.train.fit import train_classifier
from tests.benchmarks.rows import Row, rate

BANDS = ("g", "r", "i", "z")
SPCC = {"hidden_sizes": [96, 96]}
"""The network of the spcc experiment."""
SMALL = {"hidden_sizes": [32, 32]}
"""One as small as a distilled one."""

N_FEATURES, N_CONTEXT, BATCH, STEPS, REPEATS = 18, 5, 256, 35, 8
INPUTS = Inputs(N_FEATURES, N_CONTEXT, time_feature=16, days_per_unit=30.0)
"""As `per_object` gives them of four bands."""
NETWORKS: dict[str, ModelConfig] = {
    "lstm 2 × 32, both ways": RecurrentConfig(hidden_sizes=(32, 32), embedding_size=0, head_size=0, pooling="mean"),
    "spcc 2 × 96, one member": RecurrentConfig(hidden_sizes=(96, 96)),
}
ARCHITECTURES: dict[str, ModelConfig] = {
    "rnn 2 × 120, both ways": RecurrentConfig(cell="rnn", hidden_sizes=(120, 120)),
    "gru 2 × 72, both ways": RecurrentConfig(cell="gru", hidden_sizes=(72, 72)),
    "lstm 2 × 64, both ways": RecurrentConfig(),
    "lstm 2 × 108, one way": RecurrentConfig(hidden_sizes=(108, 108), bidirectional=False),
    "phased 2 × 116": PhasedConfig(hidden_sizes=(116, 116)),
    "transformer 2 × 100": TransformerConfig(width=100, feedforward=200),
    "convolution 4 × 84": ConvolutionConfig(channels=84),
    "window 60 × 160": WindowConfig(hidden_sizes=(160, 96)),
}
"""One of each kind, with about 200,000 parameters."""


def run(data: Path | None, scratch: Path) -> list[Row]:
    """Measure on the SPCC where it is present, else on the simulated survey; one thread."""
    torch.set_num_threads(1)
    store = Store.create(scratch / "store")
    source = survey(data, scratch)
    ingest([source], store)
    light_curves = store.light_curves()
    n = len(light_curves)
    rows = [
        Row("matrix multiply, 1024 × 1024 float32", matrix_multiply_rate(), "GFLOP/s", "one thread"),
        Row("store to LightCurves", rate(n, store.light_curves), "light curves/s", "one process"),
        Row("grouping, nightly", rate(n, lambda: group_epochs(light_curves, BANDS, 0.5)), "light curves/s"),
    ]
    peak = rows[0].value
    for name, config in NETWORKS.items():
        rows += network_rows(name, config, peak)
    rows += [architecture_row(name, config) for name, config in ARCHITECTURES.items()]
    for name, model in (("small 2 × 32", SMALL), ("default 2 × 64", {}), ("spcc 2 × 96", SPCC)):
        rows += train_and_classify(light_curves, store, name, model, scratch / name.replace(" ", ""))
    rows.append(from_files(source, scratch / "spcc2×96" / "model", n, scratch))
    return rows


def survey(data: Path | None, scratch: Path) -> Path:
    """Return the SPCC archive, or a survey of our own."""
    archive = data / "spcc" / "SIMGEN_PUBLIC_DES.tar.gz" if data is not None else None
    if archive is not None and archive.exists():
        return archive
    from pipeline.ingest.simulate import SimulationSettings, simulate_survey

    simulate_survey(scratch / "survey", SimulationSettings())
    return scratch / "survey"


def train_and_classify(
    light_curves: LightCurves, store: Store, name: str, model: dict[str, object], folder: Path
) -> list[Row]:
    """Train one epoch and classify everything."""
    experiment = Experiment.model_validate(
        {"name": "bench", "model": model, "split": {"train": 0.6}, "fit": {"epochs": 1, "batch_size": 128}}
    )
    result = train_classifier(light_curves, store.truth(), experiment, folder)
    trained = result.sample.split.counts["train"] / result.history["SECONDS"].iloc[0]
    classifier = Classifier(result.checkpoint)
    classified = rate(len(light_curves), lambda: classifier.classify(light_curves))
    whole = rate(len(light_curves), lambda: classifier.classify(store.light_curves()))
    return [
        Row(f"training, {name}", trained, "light curves/s", "validation included"),
        Row(f"classifying LightCurves, {name}", classified, "light curves/s", "grouping and features included"),
        Row(f"classifying from the store, {name}", whole, "light curves/s", "reading included"),
    ]


def matrix_multiply_rate() -> float:
    """GFLOP/s of one thread, to judge the other rows by."""
    first, second = torch.rand(1024, 1024), torch.rand(1024, 1024)
    return rate(2 * 1024**3 / 1e9, lambda: first @ second, repeats=10)


def from_files(source: Path, model: Path, n: int, scratch: Path) -> Row:
    """Classify straight from files: reading, grouping, networks, and writing."""
    started = time.perf_counter()
    classify_catalogue(source, model, [scratch / "predictions.parquet"], ClassifySettings())
    return Row(
        "classifying from files, spcc 2 × 96",
        n / (time.perf_counter() - started),
        "light curves/s",
        "reading by all cores, the networks by one; once",
    )


def architecture_row(name: str, config: ModelConfig) -> Row:
    """Light curves/s of an untrained network alone, without padding; a window has as many steps as it reads."""
    network = build_model(config, INPUTS, 2).eval()
    steps = config.steps if isinstance(config, WindowConfig) else STEPS
    batch = random_batch(steps)
    with torch.inference_mode():
        network(batch)
        eager = rate(BATCH * REPEATS, lambda: [network(batch) for _ in range(REPEATS)])
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    shape = f"batches of {BATCH}, {steps} steps; {n_parameters:,} parameters"
    return Row(f"architecture alone, {name}", eager, "light curves/s", shape)


def random_batch(steps: int) -> LightCurveBatch:
    """Features without padding."""
    mask = torch.ones(BATCH, steps, dtype=torch.bool)
    return LightCurveBatch(torch.rand(BATCH, steps, N_FEATURES), mask, torch.rand(BATCH, N_CONTEXT))


def network_rows(name: str, config: ModelConfig, peak: float) -> list[Row]:
    """Light curves/s of an untrained network alone, in batches of equal length: eager, bfloat16 and ONNX Runtime."""
    network = build_model(config, INPUTS, 2).eval()
    batch = random_batch(STEPS)
    with torch.inference_mode():
        eager = rate(BATCH * REPEATS, lambda: [network(batch) for _ in range(REPEATS)])
        with torch.autocast("cpu", torch.bfloat16):
            half = rate(BATCH * REPEATS, lambda: [network(batch) for _ in range(REPEATS)])
            difference = float((network(batch).float().softmax(1) - exact(network, batch)).abs().max())
    work = floating_point_operations(network) / 1e9
    shape, share = f"batches of {BATCH}, {STEPS} steps", eager * work / peak
    rows = [
        Row(f"network alone, {name}", eager, "light curves/s", f"{shape}; {share:.0%} of matrix multiply"),
        Row(f"network alone, {name}, bfloat16", half, "light curves/s", f"{shape}; P differs by {difference:.0e}"),
    ]
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
        rows.append(Row(f"network alone, {name}, ONNX Runtime", onnx_rate(network, batch), "light curves/s", shape))
    return rows


def exact(network: LightCurveClassifier, batch: LightCurveBatch) -> torch.Tensor:
    """Probabilities in float32."""
    with torch.autocast("cpu", enabled=False):
        return network(batch).softmax(1)


def floating_point_operations(network: LightCurveClassifier) -> float:
    """Of one light curve: two for each weight it meets, those of embedding and recurrent layers at every step."""
    each_step = sum(
        parameter.numel() for name, parameter in network.named_parameters() if name.startswith(("embedding", "layers"))
    )
    once = sum(parameter.numel() for parameter in network.parameters()) - each_step
    return 2.0 * (each_step * STEPS + once)


class Tensors(torch.nn.Module):
    """A network that reads plain tensors, as an exported graph does."""

    def __init__(self, network: LightCurveClassifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, sequence: torch.Tensor, mask: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Return probabilities."""
        return self.network(LightCurveBatch(sequence, mask, context)).softmax(1)


def onnx_rate(network: LightCurveClassifier, batch: LightCurveBatch) -> float:
    """Light curves/s of the same network in ONNX Runtime, one thread."""
    import onnxruntime

    inputs = {"sequence": batch.sequence, "mask": batch.mask, "context": batch.context}
    graph = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Tensors(network), tuple(inputs.values()), graph, input_names=list(inputs), opset_version=17, dynamo=False
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.getvalue(), options)
    arrays = {name: values.numpy() for name, values in inputs.items()}
    return rate(BATCH * REPEATS, lambda: [session.run(None, arrays) for _ in range(REPEATS)])
