"""Training from a store into a run folder, with everything that a report needs to know about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.files import write_atomically, write_parquet
from pipeline.prepare.frozen import read_frozen
from pipeline.prepare.split import Split
from pipeline.provenance import write_record
from pipeline.store import Store
from pipeline.train.experiment import Experiment
from pipeline.train.fit import TrainingResult, train_classifier
from pipeline.train.member import Row

__all__ = ["read_history", "read_split", "train_from_store", "write_course"]


def train_from_store(
    store: Path,
    experiment: Experiment,
    out: Path,
    report: Callable[[Row], None] = lambda row: None,
    command: str = "",
    test: Path | None = None,
) -> dict[str, Any]:
    """Train a classifier on the objects of a store.

    Args:
        store: a catalogue folder.
        experiment: settings.
        out: run folder: `model/`, `training/`, `split.parquet`, `history.csv` and `train.json` are written there.
        report: called with the history row of each finished epoch.
        command: what was typed, for the record.
        test: file of a frozen test set, whose objects are in the test part alone.

    Returns:
        The summary in `train.json`.

    Raises:
        FrozenTestError: if there is no such test set, or it has been changed.
    """
    started = time.perf_counter()
    catalogue, frozen = Store.open(store), None if test is None else read_frozen(test)
    kept = () if frozen is None else frozen.snids
    result = train_classifier(catalogue.light_curves(), catalogue.truth(), experiment, out, report, kept)
    write_course(result, out)
    summary = summarise(result, catalogue, time.perf_counter() - started)
    if frozen is not None:
        summary["test_set"] = frozen.to_dict()
    configuration = {
        "store": str(store),
        "experiment": result.checkpoint.experiment.model_dump(),
        **({} if test is None else {"test": str(test)}),
    }
    write_record(out, "train", configuration, summary, command)
    return summary


def write_course(result: TrainingResult, out: Path) -> None:
    """Write who was in which part, and the training history, beside the model."""
    write_parquet(result.sample.split.to_table(), out / "split.parquet")
    write_atomically(out / "history.csv", result.history.to_csv(index=False))


def summarise(result: TrainingResult, store: Store, seconds: float) -> dict[str, Any]:
    """Say in numbers what was trained."""
    checkpoint, sample = result.checkpoint, result.sample
    teacher = checkpoint.experiment.fit.teacher
    return {
        "model": checkpoint.name,
        **({"teacher": teacher} if teacher else {}),
        "n_objects": len(sample.light_curves),
        "cuts": dict(sample.cuts),
        "split": sample.split.counts,
        "split_hash": sample.split.hash,
        "data_hash": checkpoint.card["data_hash"],
        "store_version": store.version(),
        "members": len(checkpoint.weights),
        "epochs": checkpoint.card["best_epochs"],
        "validation_loss": checkpoint.card["validation_loss"],
        "validation_accuracy": checkpoint.card["validation_accuracy"],
        **checkpoint.calibration.description(),
        "thresholds": checkpoint.thresholds,
        "seconds": round(seconds, 1),
    }


def read_split(run: Path) -> Split:
    """Read who was in which part of a run's sample."""
    return Split.from_table(pd.read_parquet(run / "split.parquet"))


def read_history(run: Path) -> pd.DataFrame:
    """Read the training history of a run."""
    return pd.read_csv(run / "history.csv")
