"""Evaluations of predictions on disk, and metrics.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa

from pipeline.classify.catalogue import BESIDE, as_store, beside_file, read_predictions
from pipeline.evaluate.evaluation import evaluate
from pipeline.evaluate.findings import Evaluation, Findings
from pipeline.files import write_atomically
from pipeline.provenance import write_record
from pipeline.schema import TRUTH_SCHEMA, Predictions, Truth
from pipeline.store import Store
from pipeline.taxonomy import class_of
from pipeline.train.training_run import read_split

__all__ = ["evaluate_file", "evaluate_run", "read_findings", "read_truth", "write_findings"]

HEADLINE: Final = "test part"


def evaluate_run(store: Path, run: Path, thresholds: Mapping[str, float], command: str = "") -> dict[str, Any]:
    """Evaluate a run on its test part, which no network has seen, and write `metrics.json`.

    Args:
        store: knows the truth.
        run: folder with `predictions.parquet`, `split.parquet` and `beside/`.
        thresholds: of the model, on P(Ia).
        command: what was typed, for the record.

    Returns:
        The headline metrics.
    """
    truth = Store.open(store).truth()
    test = read_split(run).test
    predictions = {HEADLINE: select(read_predictions(run / "predictions.parquet"), test)}
    predictions |= {
        name: read_predictions(beside_file(run, name)) for name in BESIDE if beside_file(run, name).exists()
    }
    evaluations = [
        evaluate(found, truth, name=name, thresholds=thresholds if name == HEADLINE else None)
        for name, found in predictions.items()
    ]
    write_findings(Findings(tuple(evaluations)), run / "metrics.json")
    summary = summarise(evaluations[0])
    write_record(run, "evaluate", {"store": str(store), "thresholds": dict(thresholds)}, summary, command)
    return summary


def evaluate_file(predictions: Path, truth: Path, out: Path, command: str = "") -> dict[str, Any]:
    """Evaluate a file of predictions against a truth, and write `metrics.json`.

    Args:
        predictions: .parquet or .csv.
        truth: a store, a folder, archive or file of light curves that carry their classes, or a .csv or .parquet table.
        out: folder.
        command: what was typed, for the record.

    Returns:
        The headline metrics.
    """
    evaluation = evaluate(read_predictions(predictions), read_truth(truth), name=predictions.stem)
    write_findings(Findings((evaluation,)), out / "metrics.json")
    summary = summarise(evaluation)
    write_record(out, "evaluate", {"predictions": str(predictions), "truth": str(truth)}, summary, command)
    return summary


def read_truth(path: Path) -> Truth:
    """Read true classes from a store, from light curves, or from a table with SNID and SUBCLASS or CLASS.

    Raises:
        ValueError: if a table has not the columns.
    """
    if path.suffix not in (".csv", ".parquet"):
        with as_store(path) as store:
            return store.truth()
    table = pd.read_csv(path, dtype={"SNID": "str"}) if path.suffix == ".csv" else pd.read_parquet(path)
    if "SNID" not in table or not {"CLASS", "SUBCLASS"} & set(table):
        raise ValueError(f"{path}: expected the columns SNID and SUBCLASS or CLASS, came {list(table.columns)}")
    table["SUBCLASS"] = table["SUBCLASS"] if "SUBCLASS" in table else table["CLASS"]
    table["CLASS"] = table["SUBCLASS"].map(lambda name: class_of(str(name)))
    whole = table.reindex(columns=TRUTH_SCHEMA.names)
    return Truth(pa.Table.from_pandas(whole, TRUTH_SCHEMA, preserve_index=False).to_pandas())


def select(predictions: Predictions, snids: Sequence[str]) -> Predictions:
    """Return the predictions of some objects, in their order."""
    table = predictions.table.set_index("SNID").loc[list(snids)].reset_index()
    return Predictions(table, predictions.classes)


def summarise(evaluation: Evaluation) -> dict[str, Any]:
    """Return each metric as value and bootstrap error."""
    metrics = {name: {"value": found.value, "std": found.std} for name, found in evaluation.metrics.items()}
    return {"name": evaluation.name, "n_evaluated": evaluation.counts.n_evaluated, "metrics": metrics}


def write_findings(findings: Findings, path: Path) -> None:
    """Write `metrics.json`: the headline first."""
    write_atomically(path, json.dumps(findings.to_dict(), indent=1) + "\n")


def read_findings(path: Path) -> Findings:
    """Read `metrics.json`; nothing where there is none."""
    if not path.exists():
        return Findings()
    return Findings.from_dict(json.loads(path.read_text(encoding="utf-8")))
