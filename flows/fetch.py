"""Flow `fetch`: public data by name into a folder."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from prefect import flow
from prefect.runtime import task_run

from flows.artifacts import publish
from flows.progress import progress
from flows.tasks import NETWORK_RETRIES, over_the_network
from pipeline.ingest.download import NetworkError
from pipeline.ingest.fetching import FetchedFile, FetchItem, fetch_file, summarise
from pipeline.provenance import write_record

__all__ = ["fetch", "fetch_step"]

MEGABYTE = 1_000_000


def fetch_step(item: FetchItem) -> FetchedFile:
    """Fetch a file, showing how far it is; a failure that will be tried again is said at once."""
    words = f"MB of {item.file.name}"
    with progress("Fetching") as report:
        try:
            return fetch_file(item, lambda done, total: report(done // MEGABYTE, total and total // MEGABYTE, words))
        except NetworkError as error:
            if (task_run.run_count or 0) in range(1, NETWORK_RETRIES + 1):
                print(f"{item.url}: {error.__cause__}; trying again", file=sys.stderr)  # noqa: T201
            raise


fetch_task = over_the_network(fetch_step, "fetch a file")


@flow(name="fetch", persist_result=False)
def fetch(items: list[FetchItem], command: str = "") -> dict[str, Any]:
    """Fetch the files of a plan, and write `fetch-<name>.json` beside their folder."""
    first = items[0]
    summary = summarise(first.dataset, [fetch_task(item) for item in items])
    write_record(
        first.folder.parent, f"fetch-{first.dataset}", {"items": [asdict(item) for item in items]}, summary, command
    )
    publish("snflow-fetch", f"Fetched {first.dataset}", summary, f"Next: `{summary['next']}`")
    return summary
