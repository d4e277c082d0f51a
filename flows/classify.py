"""Flow `classify`: a prediction for every object of a store, folder or archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from flows.artifacts import publish
from flows.progress import progress
from flows.tasks import reading_or_writing
from pipeline.classify.catalogue import classify_catalogue
from pipeline.classify.incremental import Renewal
from pipeline.classify.predict import ClassifySettings

__all__ = ["classify", "classify_step"]


def classify_step(
    source: Path,
    model: Path,
    outputs: list[Path],
    settings: ClassifySettings,
    command: str = "",
    nights: Path | None = None,
    renewal: Renewal | None = None,
) -> dict[str, Any]:
    """Classify with a progress bar over the objects."""
    with progress("Classifying") as report:

        def show(done: int, total: int) -> None:
            report(done, total, "light curves")

        return classify_catalogue(source, model, outputs, settings, show, command, nights, renewal)


classify_task = reading_or_writing(classify_step, "classify and write")


@flow(name="classify", persist_result=False)
def classify(
    source: Path,
    model: Path,
    outputs: list[Path],
    settings: ClassifySettings,
    command: str = "",
    nights: Path | None = None,
    renewal: Renewal | None = None,
) -> dict[str, Any]:
    """Classify every object; as many rows as objects, each with a status and a reason.

    Args:
        source: a catalogue, of which only what has changed is classified, or files with light curves.
        model: folder of the classifier.
        outputs: files to write: .parquet, .csv, .ecsv, .fits or .vot.
        settings: how to classify, when to abstain, and which bands to rename or leave out.
        command: what was typed, for the record.
        nights: a further file, of the probabilities after each night.
        renewal: classify also what was classified before, or only what was measured since a date.
    """
    summary = classify_task(source, model, outputs, settings, command, nights, renewal)
    text = f"Predictions: {', '.join(f'`{path}`' for path in outputs)}"
    publish("snflow-classify", f"Classified {summary['n_objects']} objects of {source}", summary, text)
    return summary
