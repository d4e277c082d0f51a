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
from pipeline.store import Store, retry_quarantined
from pipeline.store import ingest as ingest_sources

__all__ = ["ingest", "ingest_step", "retry", "retry_step"]


def ingest_step(
    sources: list[Path], store: Path, settings: IngestSettings, out: Path | None = None, command: str = ""
) -> dict[str, Any]:
    """Ingest, and write `ingest.json` into the store, and into `out`."""
    records = [store, *([out] if out else [])]  # the store's own says how to read its quarantine again
    configuration = {"sources": [str(path) for path in sources], "store": str(store), "settings": settings.model_dump()}
    try:
        with progress("Reading") as report:
            catalogue = Store.create(store)
            summary = ingest_sources(sources, catalogue, settings, lambda done, total: report(done, total, "files"))
    except TooManyBadFilesError as error:
        for folder in records:
            write_record(folder, "ingest", configuration, error.summary.to_dict(), command)
        raise
    for folder in records:
        write_record(folder, "ingest", configuration, summary.to_dict(), command)
    return summary.to_dict()


def retry_step(store: Path, settings: IngestSettings, command: str = "") -> dict[str, Any]:
    """Read the quarantined files of a store again, and write `quarantine-retry.json` into it."""
    catalogue = Store.open(store)
    n_before = len(catalogue.quarantine())
    with progress("Reading") as report:
        found, gone = retry_quarantined(catalogue, settings, lambda done, total: report(done, total, "files"))
    entries = {"n_entries_before": n_before, "n_entries_after": len(catalogue.quarantine())}
    summary = found.to_dict() | entries | {"n_gone": len(gone), "gone": gone}
    write_record(store, "quarantine-retry", {"store": str(store), "settings": settings.model_dump()}, summary, command)
    return summary


ingest_task = reading_or_writing(ingest_step, "read and store")
retry_task = reading_or_writing(retry_step, "read the quarantine again")


@flow(name="ingest", persist_result=False)
def ingest(
    sources: list[Path], store: Path, settings: IngestSettings, out: Path | None = None, command: str = ""
) -> dict[str, Any]:
    """Read sources into a store; what cannot be read is in its quarantine.

    Args:
        sources: folders, archives, files and patterns with light curves.
        store: catalogue that they are read into; made if it is not there.
        settings: how to read them: bands to rename, columns, type codes, and how many files may be bad.
        out: another folder for the record `ingest.json`; the store always has one.
        command: what was typed, for the record.
    """
    summary = ingest_task(sources, store, settings, out, command)
    publish("snflow-ingest", f"Ingested {', '.join(map(str, sources))}", summary, f"Store: `{store}`")
    return summary


@flow(name="quarantine-retry", persist_result=False)
def retry(store: Path, settings: IngestSettings, command: str = "") -> dict[str, Any]:
    """Read the files in a store's quarantine again; entries of repaired files disappear.

    Args:
        store: the catalogue.
        settings: how to read them.
        command: what was typed, for the record.
    """
    summary = retry_task(store, settings, command)
    publish("snflow-quarantine-retry", f"Read the quarantine of {store} again", summary, f"Store: `{store}`")
    return summary
