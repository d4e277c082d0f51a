"""What the card of a promoted classifier says of its run: whom it has learnt from, and what its like scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.evaluate.evaluation_run import METRICS_FILE, read_findings, summarise
from pipeline.provenance import read_record

__all__ = ["describe_run"]


def describe_run(run: Path, judged: Path | None = None) -> dict[str, Any]:
    """Describe a run for the card of its classifier.

    Args:
        run: folder of `snflow run` or `snflow train`; of anything else there is nothing to say.
        judged: run of the same experiment with a test part; its numbers stand for a classifier that has none.

    Raises:
        ValueError: if `judged` has no metrics, or no test part.
    """
    train = read_record(run, "train")
    if not train:
        return {} if judged is None else {"judged_by": _numbers(judged)}
    split, configuration = train["summary"]["split"], read_record(run, "run").get("configuration", {})
    card: dict[str, Any] = {
        "training_data": {
            "sources": [Path(path).name for path in configuration.get("sources", [])],
            "objects": train["summary"]["n_objects"],
            "left_out": train["summary"]["cuts"],
        },
        "leakage": f"it has learnt from {split['train']} objects and was calibrated on {split['validation']}, all of "
        "them named in objects.parquet: numbers measured on any of these SNIDs are not honest; "
        + (
            f"{split['test']} objects of the same data were kept for its test"
            if split["test"]
            else "none was kept for a test"
        ),
    }
    if "test_set" in train["summary"]:
        card["test_set"] = train["summary"]["test_set"]
    source = judged or (run if split["test"] else None)
    return card | ({"judged_by": _numbers(source)} if source else {})


def _numbers(run: Path) -> dict[str, Any]:
    evaluations = read_findings(run / METRICS_FILE).evaluations
    record = read_record(run, "train")
    if not evaluations or not record or not record["summary"]["split"]["test"]:
        raise ValueError(f"{run}: expected a run with a test part and metrics.json; run it with `snflow run`")
    experiment, split = record["configuration"]["experiment"], record["summary"]["split"]
    return {
        "model": record["summary"]["model"],
        "protocol": experiment.get("protocol"),
        "split": split,
        "metrics": {found.name: _rounded(summarise(found)["metrics"]) for found in evaluations},
    }


def _rounded(metrics: dict[str, Any]) -> dict[str, str]:
    return {name: f"{found['value']:.4f} ± {found['std']:.4f}" for name, found in metrics.items()}
