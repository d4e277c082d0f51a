"""Flow `protocols`: the published protocols, with the records beside our numbers."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.artifacts import publish
from flows.progress import progress
from flows.tasks import computing
from pipeline.protocols.run import ProtocolSettings, run_protocols
from pipeline.protocols.summary import TABLE_FILE

__all__ = ["protocols"]


def protocols_step(settings: ProtocolSettings, command: str) -> dict[str, Any]:
    """Run what is not finished, with a progress bar over the draws."""
    with progress("Protocols") as report:
        return run_protocols(settings, report, command)


protocols_task = computing(protocols_step, "draw, train and compare")


@flow(name="protocols", persist_result=False)
def protocols(settings: ProtocolSettings, command: str = "") -> dict[str, Any]:
    """Run the published protocols; after a crash the same command goes on with the draw that was interrupted.

    Args:
        settings: which rows, on which catalogue, with which experiment, and where to.
        command: what was typed, for the record.
    """
    summary = protocols_task(settings, command)
    drawn = {row["row"]: f"{len(row['draws'])} draws of {row['members']} networks" for row in summary["rows"]}
    publish("snflow-protocols", "Protocols", drawn, (settings.out / TABLE_FILE).read_text(encoding="utf-8"))
    return summary
