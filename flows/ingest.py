"""Flow `ingest`: light curves from folders and archives into a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from flows.artifacts import publish
from flows.progress import progress
from flows.tasks import reading_or_writing
from pipeline.ingest.settings import IngestSettings, TooManyBadFilesError
from pipeline.provenance import write_record
from pipeline.store import Store
from pipeline.store import ingest as ingest_sources

__all__ = ["ingest", "ingest_step"]


def ingest_step(
    sources: list[Path], store: Path, settings: IngestSettings, out: Path | None = None, command: str = ""
) -> dict[str, Any]:
    """Ingest, and write `ingest.json` into `out`, or into the store."""
    configuration = {"sources": [str(path) for path in sources], "store": str(store), "settings": settings.model_dump()}
    try:
        with progress("Reading") as report:
            catalogue = Store.create(store)
            summary = ingest_sources(sources, catalogue, settings, lambda done, total: report(done, total, "files"))
    except TooManyBadFilesError as error:
        write_record(out or store, "ingest", configuration, error.summary.to_dict(), command)
        raise
    write_record(out or store, "ingest", configuration, summary.to_dict(), command)
    return summary.to_dict()


ingest_task = reading_or_writing(ingest_step, "read and store")


@flow(name="ingest")
def ingest(
    sources: list[Path], store: Path, settings: IngestSettings, out: Path | None = None, command: str = ""
) -> dict[str, Any]:
    """Read sources into a store; what cannot be read is in its quarantine."""
    summary = ingest_task(sources, store, settings, out, command)
    publish("snflow-ingest", f"Ingested {', '.join(map(str, sources))}", summary, f"Store: `{store}`")
    return summary
