"""Small runs to report on, complete and with pieces missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.report.content import Report, write_content
from pipeline.report.draw import draw_report
from pipeline.report.page import render_page
from pipeline.schema import Predictions, Truth

from .report_builder import make_predictions, make_report, make_scores, make_truth, write_metrics


@pytest.fixture(scope="session")
def report() -> Report:
    """A complete report of 300 objects in two classes."""
    return make_report()


@pytest.fixture(scope="session")
def truth() -> Truth:
    return make_truth(120)


@pytest.fixture(scope="session")
def predictions(truth) -> Predictions:
    """Of the objects in `truth`; the first two have no probability."""
    return make_predictions(truth.table["SNID"], make_scores(truth))


@pytest.fixture(scope="session")
def html(report) -> str:
    return render_page(report)


@pytest.fixture(scope="session")
def folder(report, tmp_path_factory) -> Path:
    """A folder with report.json, metrics.json and the page drawn from them."""
    found = tmp_path_factory.mktemp("run")
    write_content(report.content, found / "report.json")
    write_metrics(report, found)
    draw_report(found)
    return found


@pytest.fixture(scope="session")
def browser():
    """Debian's chromium, driven by Playwright; it needs no download."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium: apt-get install chromium")
    flags = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync"
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=chromium, args=flags.split())
        yield started
        started.close()
