"""The page from its two files alone: no store, no model, no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from pipeline.evaluate.findings import Findings
from pipeline.report.content import Report, read_content
from pipeline.report.page import write_page
from pipeline.report.rendering import write_figures

__all__ = ["METRICS_FILE", "PAGE_FILE", "REPORT_FILE", "ReportError", "draw_report", "read_report"]

METRICS_FILE: Final = "metrics.json"
REPORT_FILE: Final = "report.json"
PAGE_FILE: Final = "report.html"


class ReportError(ValueError):
    """A folder that cannot be reported on."""


def draw_report(folder: Path, figures: Path | None = None) -> Path:
    """Draw `report.html` from `report.json` and `metrics.json` of a folder; without the latter it shows no performance.

    Args:
        folder: with the two files.
        figures: folder for the same figures as PDF and SVG, and their data as CSV.

    Returns:
        The page.

    Raises:
        ReportError: if there is no `report.json`.
    """
    report = read_report(folder)
    if figures is not None:
        write_figures(report, figures)
    return write_page(report, folder / PAGE_FILE)


def read_report(folder: Path) -> Report:
    """Read both files of a folder.

    Raises:
        ReportError: if there is no `report.json`.
    """
    if not (folder / REPORT_FILE).exists():
        raise ReportError(f"{folder} has no {REPORT_FILE}: expected a folder that `snflow report` wrote to before")
    return Report(read_content(folder / REPORT_FILE), read_metrics(folder))


def read_metrics(folder: Path) -> Findings:
    """Read `metrics.json` of a folder; nothing where there is none."""
    path = folder / METRICS_FILE
    return Findings.from_dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else Findings()
