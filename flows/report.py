"""Flow `report`: the page of a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from flows.artifacts import publish
from flows.progress import progress
from flows.tasks import computing, reading_or_writing
from pipeline.evaluate.evaluation_run import read_findings, summarise
from pipeline.evaluate.examination import examine_run
from pipeline.report.content import read_content
from pipeline.report.draw import REPORT_FILE
from pipeline.report.requirements import Requirements
from pipeline.report.run_report import report_run
from pipeline.report.verdict import verdict_markdown

__all__ = ["report"]


def examine_step(run: Path, prior: dict[str, float] | None = None) -> dict[str, Any]:
    """Examine a classification with a progress bar over the steps; nothing is done twice."""
    with progress("Examining") as say:
        return examine_run(run, say, prior)


examine_task = computing(examine_step, "examine")
report_task = reading_or_writing(report_run, "draw the page")


@flow(name="report", persist_result=False)
def report(
    run: Path,
    beside: list[Path],
    figures: Path | None = None,
    compare: list[Path] | None = None,
    requirements: Requirements | None = None,
    redraw: bool = False,
    prior: dict[str, float] | None = None,
) -> Path:
    """Examine what was classified, write `report.json` and `report.html` beside it, and return the page's path.

    Args:
        run: folder that a run, a night or a classification wrote.
        beside: other runs, whose numbers stand beside its own.
        figures: folder for the figures as PDF and SVG, and their data.
        compare: other runs of the same objects, compared one by one.
        requirements: what is asked of the run, for its verdict.
        redraw: draw from `report.json` and `metrics.json` alone.
        prior: shares of classes at which metrics are given, too, such as Ia: 0.3.
    """
    if not redraw:
        examine_task(run, prior)
    page = report_task(run, beside, figures, compare or [], requirements, redraw)
    evaluations = read_findings(run / "metrics.json").evaluations
    metrics = summarise(evaluations[0])["metrics"] if evaluations else {}
    verdict = verdict_markdown(read_content(run / REPORT_FILE))
    publish("snflow-report", f"Report of {run.name}", metrics, verdict, page)
    return page
