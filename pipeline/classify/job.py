"""What a classification of a catalogue is asked for, and how its outcome is written; nothing here imports torch."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.classify.incremental import Renewal, Renewed, choose_new, classified_before
from pipeline.classify.outputs import check_suffix, write_several
from pipeline.classify.settings import ClassifySettings
from pipeline.files import check_writable
from pipeline.provenance import write_record
from pipeline.schema import Predictions
from pipeline.store import Store

__all__ = ["Job", "repeat", "summarise"]


@dataclass(frozen=True)
class Job:
    """What is asked for.

    Attributes:
        source: a store, or what `ingest` reads.
        model: checkpoint folder.
        outputs: files to write, in the formats of WRITERS; all of them appear, or none.
        settings: how to classify; also which bands to rename or leave out.
        renewal: which objects of a store are classified.
        nights: a further file, of the probabilities after each night.
        command: what was typed, for the record.
    """

    source: Path
    model: Path
    outputs: list[Path]
    settings: ClassifySettings
    renewal: Renewal = field(default_factory=Renewal)
    nights: Path | None = None
    command: str = ""

    @property
    def is_store(self) -> bool:
        """Whether the source is a store."""
        return (self.source / "store.json").exists()

    def check_outputs(self) -> None:
        """Raise ValueError if an output cannot be written."""
        for path in [*self.outputs, *([self.nights] if self.nights else [])]:
            check_suffix(path)
            check_writable(path)

    def write(
        self, store: Store, renewed: Renewed, started: float, ingested: dict[str, Any], nights: pd.DataFrame | None
    ) -> dict[str, Any]:
        """Write predictions and record.

        Args:
            store: that was classified.
            renewed: its predictions.
            started: `time.perf_counter` of the beginning.
            ingested: what came of the files, where these had to be read.
            nights: probabilities after each night, where asked for.

        Returns:
            The summary.
        """
        tables = dict.fromkeys(self.outputs, renewed.predictions.table)
        write_several({**tables, **({self.nights: nights} if self.nights and nights is not None else {})})
        scopes = store.quarantine()["SCOPE"].value_counts()
        seconds = time.perf_counter() - started
        summary = summarise(renewed.predictions, renewed.notes, int(scopes.get("file", 0)), seconds)
        summary |= {"n_new": renewed.n_new, "n_left_out": renewed.n_left_out}
        summary["n_quarantined_objects"] = int(scopes.get("object", 0))
        summary |= {"ingest": ingested} if ingested else {}
        write_record(self.outputs[0].parent, "classify", self.configuration(), summary, self.command)
        return summary

    def configuration(self) -> dict[str, Any]:
        """Return what was asked for, as JSON holds it."""
        return {
            "source": str(self.source.absolute()),
            "model": str(self.model.absolute()),
            "outputs": [str(path.absolute()) for path in self.outputs],
            "nights": None if self.nights is None else str(self.nights.absolute()),
            "settings": self.settings.model_dump(),
            "renewal": self.renewal.model_dump(),
        }


def repeat(job: Job) -> dict[str, Any] | None:
    """Write what was classified before, where nothing of a store is to be classified.

    Returns:
        What `classify_catalogue` returns; None, with nothing written, where there is something to classify or read.

    Raises:
        ValueError: if an output cannot be written.
        CheckpointError: if there is no model.
    """
    job.check_outputs()
    if not job.is_store or job.nights is not None:
        return None
    started, store = time.perf_counter(), Store.open(job.source)
    asked = choose_new(store, job.model, job.settings, job.renewal)
    return None if asked.snids else job.write(store, classified_before(asked), started, {}, None)


def summarise(predictions: Predictions, notes: list[str], n_quarantined: int, seconds: float) -> dict[str, Any]:
    """Say in numbers what was classified."""
    table = predictions.table
    called = predictions.probabilities[(table["STATUS"] == "classified").to_numpy()].argmax(axis=1)
    return {
        "n_objects": len(table),
        "status": table["STATUS"].value_counts().to_dict(),
        "reasons": table.loc[table["REASON"] != "", "REASON"].value_counts().to_dict(),
        "called": {name: int((called == place).sum()) for place, name in enumerate(predictions.classes)},
        "n_quarantined_files": n_quarantined,
        "notes": notes,
        "seconds": round(seconds, 2),
    }
