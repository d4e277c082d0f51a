"""Flow `report`: the page of a run folder."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.artifacts import publish
from flows.tasks import reading_or_writing
from pipeline.evaluate.evaluation_run import read_findings, summarise
from pipeline.report.content import read_content
from pipeline.report.draw import REPORT_FILE
from pipeline.report.requirements import Requirements
from pipeline.report.run_report import report_run
from pipeline.report.verdict import verdict_markdown

__all__ = ["report"]

report_task = reading_or_writing(report_run, "draw the page")


@flow(name="report")
def report(
    run: Path,
    beside: list[Path],
    figures: Path | None = None,
    compare: list[Path] | None = None,
    requirements: Requirements | None = None,
    redraw: bool = False,
) -> Path:
    """Write `report.json` and `report.html` into a run folder, and return the page's path."""
    page = report_task(run, beside, figures, compare or [], requirements, redraw)
    evaluations = read_findings(run / "metrics.json").evaluations
    metrics = summarise(evaluations[0])["metrics"] if evaluations else {}
    verdict = verdict_markdown(read_content(run / REPORT_FILE))
    publish("snflow-report", f"Report of {run.name}", metrics, verdict, page)
    return page
