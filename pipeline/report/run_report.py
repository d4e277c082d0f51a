"""The report of a run folder: its content gathered, judged, compared with other runs, written and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.evaluate.examination import predictions_file
from pipeline.provenance import read_record
from pipeline.report.collect import collect
from pipeline.report.compare import compare_runs
from pipeline.report.content import Report, ReportContent, write_content
from pipeline.report.draw import REPORT_FILE, ReportError, draw_report, read_metrics, read_report
from pipeline.report.requirements import Requirements, judge

__all__ = ["ReportError", "judged", "report_run"]


def report_run(
    run: Path,
    beside: Sequence[Path] = (),
    figures: Path | None = None,
    compare: Sequence[Path] = (),
    requirements: Requirements | None = None,
    redraw: bool = False,
) -> Path:
    """Write `report.json` and `report.html` into a run folder.

    Args:
        run: folder with the records of ingest, train, classify and evaluate; what is missing is missing on the page.
        beside: other run folders whose headline stands beside this one's.
        figures: folder for the same figures as PDF and SVG, and their data as CSV.
        compare: other run folders that this one is compared with, object by object.
        requirements: that the run is judged by; without them the defaults, or what report.json holds already.
        redraw: whether to draw anew from `report.json` and `metrics.json` alone, as it is where the light curves are
            gone.

    Returns:
        The page.

    Raises:
        ReportError: if there is nothing to report on, or nothing to compare with.
    """
    if redraw or _inputs_are_gone(run):
        report = read_report(run)
        if requirements is not None:
            write_content(judged(report, requirements), run / REPORT_FILE)
        return draw_report(run, figures)
    content = replace(collect(run, beside), comparisons=compare_runs(run, compare))
    report = Report(content, read_metrics(run))
    write_content(judged(report, requirements or Requirements()), run / REPORT_FILE)
    return draw_report(run, figures)


def judged(report: Report, requirements: Requirements) -> ReportContent:
    """Return the content of a report with its checks made anew."""
    verdict = replace(report.content.verdict, checks=judge(report, requirements))
    return replace(report.content, verdict=verdict)


def _inputs_are_gone(run: Path) -> bool:
    """Whether the light curves or the predictions are no longer there, and a report of them is.

    Raises:
        ReportError: if there never was anything to report on.
    """
    classify = read_record(run, "classify")
    if not classify:
        if (run / REPORT_FILE).exists():
            return True
        raise ReportError(f"{run} has no classify.json: expected a folder that `snflow run` or `classify` wrote")
    is_here = Path(classify["configuration"]["source"]).exists() and predictions_file(run) is not None
    return not is_here and (run / REPORT_FILE).exists()
