"""Light curves per second: preparing, the network alone, training, and classifying from a store."""

from __future__ import annotations

from pathlib import Path

import torch

from models import LightCurveBatch, build_model
from models.recurrent import RecurrentConfig
from pipeline.classify.predict import Classifier
from pipeline.prepare.resample import group_epochs
from pipeline.schema import LightCurves
from pipeline.store import Store, ingest
from pipeline.train.experiment import Experiment
from pipeline.train.fit import train_classifier
from tests.benchmarks.rows import Row, rate

BANDS = ("g", "r", "i", "z")
SPCC = {"hidden_sizes": [96, 96]}
"""The network of the spcc experiment."""


def run(data: Path | None, scratch: Path) -> list[Row]:
    """Measure on the SPCC where it is present, else on the simulated survey; one thread."""
    torch.set_num_threads(1)
    store = Store.create(scratch / "store")
    ingest([survey(data, scratch)], store)
    light_curves = store.light_curves()
    n = len(light_curves)
    rows = [
        Row("matrix multiply, 1024 × 1024 float32", matrix_multiply_rate(), "GFLOP/s", "one thread"),
        Row("store to LightCurves", rate(n, store.light_curves), "light curves/s", "one process"),
        Row("grouping, nightly", rate(n, lambda: group_epochs(light_curves, BANDS, 0.5)), "light curves/s"),
        Row("network alone, lstm 2 × 32, both ways", network_rate(), "light curves/s", "batches of 256, 35 steps"),
    ]
    for name, model in (("default 2 × 64", {}), ("spcc 2 × 96", SPCC)):
        rows += [*train_and_classify(light_curves, store, name, model, scratch / name.replace(" ", ""))]
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


def network_rate(n: int = 8192, steps: int = 35) -> float:
    """Light curves/s of a small network in batches of equal length."""
    config = RecurrentConfig(hidden_sizes=(32, 32), embedding_size=0, head_size=0, pooling="mean")
    network = build_model(config, 18, 5, 2).eval()
    batch = LightCurveBatch(torch.rand(256, steps, 18), torch.ones(256, steps, dtype=torch.bool), torch.rand(256, 5))

    def forward() -> None:
        with torch.inference_mode():
            for _ in range(n // 256):
                network(batch)

    return rate(n, forward)
