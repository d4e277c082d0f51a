"""Evaluations of predictions on disk, and metrics.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import pandas as pd
import pyarrow as pa
from pydantic import Field

from pipeline.classify.catalogue import BESIDE, as_store, beside_file, read_predictions
from pipeline.evaluate.evaluation import evaluate
from pipeline.evaluate.findings import Evaluation, Findings
from pipeline.evaluate.metrics import RESAMPLES, Estimate
from pipeline.files import write_atomically
from pipeline.prepare.selection import best_snr
from pipeline.provenance import write_record
from pipeline.schema import TRUTH_SCHEMA, Predictions, Truth
from pipeline.settings import FrozenConfig
from pipeline.store import Store
from pipeline.taxonomy import class_of
from pipeline.train.training_run import read_split

__all__ = ["EvaluateSettings", "evaluate_file", "evaluate_run", "read_findings", "read_truth", "write_findings"]

HEADLINE: Final = "test part"
TABLES: Final = (".csv", ".parquet")
OBJECTS_IN_MEMORY: Final = 50_000
"""Light curves that are read at once to find their best S/N."""


class EvaluateSettings(FrozenConfig):
    """What is asked of an evaluation beyond the defaults."""

    prior: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=dict)
    """Share of some classes or of all; the others share the rest in natural proportion."""
    thresholds: dict[str, Annotated[float, Field(ge=0, lt=1)]] = Field(default_factory=dict)
    """On P(Ia), by name."""
    seed: int = Field(default=0, ge=0)
    """Of the bootstrap."""
    n_resamples: int = Field(default=RESAMPLES, ge=0)
    """Of the bootstrap; fewer than two give no errors."""


def evaluate_run(
    store: Path, run: Path, thresholds: Mapping[str, float], command: str = "", prior: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Evaluate a run on its test part, which no network has seen, and write `metrics.json`.

    Args:
        store: knows the truth and the photometry.
        run: folder with `predictions.parquet`, `split.parquet` and `beside/`.
        thresholds: of the model, on P(Ia).
        command: what was typed, for the record.
        prior: share of some classes under which the headline's metrics are also given.

    Returns:
        The headline metrics.
    """
    catalogue = Store.open(store)
    evaluations = _evaluate_run(catalogue, run, thresholds, prior)
    write_findings(Findings(evaluations), run / "metrics.json")
    summary = summarise(evaluations[0])
    configuration = {"store": str(store), "thresholds": dict(thresholds), "prior": dict(prior or {})}
    write_record(run, "evaluate", configuration, summary, command)
    return summary


def evaluate_file(
    predictions: Path, truth: Path, out: Path, command: str = "", settings: EvaluateSettings | None = None
) -> dict[str, Any]:
    """Evaluate a file of predictions against a truth, and write `metrics.json`.

    Args:
        predictions: .parquet or .csv.
        truth: a store, a folder, archive or file of light curves that carry their classes, or a .csv or .parquet table;
            with light curves there are metrics by S/N.
        out: folder.
        command: what was typed, for the record.
        settings: what is asked of the evaluation.

    Returns:
        The headline metrics, at the thresholds and under the prior that were asked for, too.
    """
    settings = settings or EvaluateSettings()
    found = read_predictions(predictions)
    known, snr = _read_truth_and_snr(truth, found)
    options = settings.model_dump()
    evaluation = evaluate(found, known, name=predictions.stem, best_snr=snr, **options)
    write_findings(Findings((evaluation,)), out / "metrics.json")
    summary = summarise(evaluation) | _summarise_wishes(evaluation, settings)
    write_record(out, "evaluate", {"predictions": str(predictions), "truth": str(truth), **options}, summary, command)
    return summary


def read_best_snr(catalogue: Store, snids: Sequence[str]) -> pd.Series[float]:
    """Read the best S/N of objects, by SNID, a part of them in memory at a time.

    Raises:
        KeyError: if an SNID is not in the store.
    """
    parts = [
        best_snr(catalogue.light_curves(snids[start : start + OBJECTS_IN_MEMORY]))
        for start in range(0, len(snids), OBJECTS_IN_MEMORY)
    ]
    return pd.concat(parts) if parts else pd.Series(dtype=float)


def read_truth(path: Path) -> Truth:
    """Read true classes from a store, from light curves, or from a table with SNID and SUBCLASS or CLASS.

    Raises:
        ValueError: if a table has not the columns.
    """
    if path.suffix not in TABLES:
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
    counts = evaluation.counts
    return {"name": evaluation.name, "n_evaluated": counts.n_evaluated, "metrics": _values(evaluation.metrics)}


def _evaluate_run(
    catalogue: Store, run: Path, thresholds: Mapping[str, float], prior: Mapping[str, float] | None
) -> tuple[Evaluation, ...]:
    """Evaluate the headline, and what stands beside it, on the test part."""
    truth, test = catalogue.truth(), read_split(run).test
    snr = read_best_snr(catalogue, test)
    headline = select(read_predictions(run / "predictions.parquet"), test)
    beside = {name: read_predictions(beside_file(run, name)) for name in BESIDE if beside_file(run, name).exists()}
    return (
        evaluate(headline, truth, name=HEADLINE, thresholds=thresholds, best_snr=snr, prior=prior),
        *(evaluate(found, truth, name=name, best_snr=snr) for name, found in beside.items()),
    )


def _read_truth_and_snr(path: Path, predictions: Predictions) -> tuple[Truth, pd.Series[float] | None]:
    """Read the classes, and the best S/N of the predicted objects where there is photometry."""
    if path.suffix in TABLES:
        return read_truth(path), None
    with as_store(path) as store:
        here = pd.Index(predictions.table["SNID"]).intersection(store.snids())
        return store.truth(), read_best_snr(store, here.tolist())


def _summarise_wishes(evaluation: Evaluation, settings: EvaluateSettings) -> dict[str, Any]:
    points = [point for point in evaluation.operating_points if point.name in settings.thresholds]
    mixes = [mix for mix in evaluation.mixes if mix.name == "prior"]
    found: dict[str, Any] = {}
    if points:
        found["operating_points"] = {
            point.name: {"threshold": point.threshold, "called_ia": point.called_ia, "metrics": _values(point.metrics)}
            for point in points
        }
    return found | {mix.name: {"shares": mix.shares, "metrics": _values(mix.metrics)} for mix in mixes}


def _values(metrics: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: {"value": found.value, "std": found.std} for name, found in metrics.items()}


def write_findings(findings: Findings, path: Path) -> None:
    """Write `metrics.json`: the headline first."""
    write_atomically(path, json.dumps(findings.to_dict(), indent=1) + "\n")


def read_findings(path: Path) -> Findings:
    """Read `metrics.json`; nothing where there is none."""
    if not path.exists():
        return Findings()
    return Findings.from_dict(json.loads(path.read_text(encoding="utf-8")))
