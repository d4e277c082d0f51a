"""Flow `train`: a calibrated classifier from the objects of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from flows.artifacts import publish
from flows.progress import progress
from flows.tasks import computing
from pipeline.train.experiment import Experiment
from pipeline.train.training_run import train_from_store

__all__ = ["train", "train_step"]


def train_step(
    store: Path, experiment: Experiment, out: Path, command: str = "", test: Path | None = None
) -> dict[str, Any]:
    """Train with a progress bar over the epochs of all members."""
    total = experiment.fit.epochs * experiment.fit.members
    done: dict[tuple[float, float], float] = {}

    with progress("Training") as report:

        def show(row: dict[str, float]) -> None:
            done[row["MEMBER"], row["EPOCH"]] = row["VALID_LOSS"]
            words = f"epochs, validation loss {row['VALID_LOSS']:.4f}, accuracy {row['VALID_ACCURACY']:.4f}"
            report(len(done), total, words)

        return train_from_store(store, experiment, out, show, command, test)


train_task = computing(train_step, "fit and calibrate")


@flow(name="train", persist_result=False)
def train(
    store: Path, experiment: Experiment, out: Path, command: str = "", test: Path | None = None
) -> dict[str, Any]:
    """Train a classifier, but for a frozen test set; the same command goes on with what an interrupted one began.

    Args:
        store: catalogue with objects of known class.
        experiment: selection, split, preparation, network and fit, as in the files of experiments.
        out: folder of the run; the classifier is in `model` in it.
        command: what was typed, for the record.
        test: file of a frozen test set, from whose objects nothing is learnt.
    """
    summary = train_task(store, experiment, out, command, test)
    publish("snflow-train", f"Trained {summary['model']}", summary, f"Checkpoint: `{out / 'model'}`")
    return summary
