"""Flow `report`: the page of a run folder."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.artifacts import publish
from flows.tasks import reading_or_writing
from pipeline.evaluate.evaluation_run import read_findings, summarise
from pipeline.report.run_report import report_run

__all__ = ["report"]

report_task = reading_or_writing(report_run, "draw the page")


@flow(name="report")
def report(run: Path, beside: list[Path], figures: Path | None = None) -> Path:
    """Write `report.html` into a run folder, and return its path."""
    page = report_task(run, beside, figures)
    evaluations = read_findings(run / "metrics.json").evaluations
    metrics = summarise(evaluations[0])["metrics"] if evaluations else {}
    publish("snflow-report", f"Report of {run.name}", metrics, f"Page: `{page.resolve()}`")
    return page
