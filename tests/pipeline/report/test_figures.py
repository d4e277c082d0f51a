"""Facts about figures: the same ones on the page and in the folder, each with its numbers, at a journal's width."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from pipeline.report.charts_data import flux_range
from pipeline.report.content import Report, ReportContent
from pipeline.report.figures import draw_figures, draw_gallery
from pipeline.report.rendering import COLUMN_MM, PAGE_MM, render_pdf, render_svg, write_figures
from pipeline.report.style import BAND_STYLES, DARK_PARTNERS, DASHES, SERIES, band_scales

from .report_builder import make_curve

EXPECTED = {
    "redshift_histogram",
    "training_loss",
    "validation_accuracy",
    "learning_rate",
    "roc",
    "purity_completeness",
    "threshold_metrics",
    "confusion",
    "metrics_against_redshift",
    "metrics_against_snr",
    "metrics_against_epochs",
    "contamination_by_subclass",
    "contamination_by_template",
    "reliability",
    "expected_selection",
    "abstention",
    "comparison_1",
    "early_metrics",
    "time_to_class",
    "drift_features",
    "class_prior",
    "sensitivities",
}


@pytest.fixture(scope="module")
def figures(report):
    return draw_figures(report)


def test_a_complete_run_has_every_figure(figures):
    assert set(figures) == EXPECTED


@pytest.mark.parametrize("key", sorted(EXPECTED))
def test_each_figure_is_valid_svg_with_its_own_ids(figures, key):
    svg = render_svg(figures[key])
    root = ElementTree.fromstring(svg)
    assert all(element.get("id", key).startswith(key) for element in root.iter())
    assert "NaN" not in svg


@pytest.mark.parametrize(("key", "width"), [("roc", COLUMN_MM), ("drift_features", PAGE_MM)])
def test_a_pdf_is_as_wide_as_a_column_or_a_page_with_letters_of_six_points(figures, key, width):
    box = re.search(rb"/MediaBox\s*\[\s*([\d.\s]+)\]", render_pdf(figures[key]))
    left, _, right, _ = map(float, box.group(1).split())
    assert (right - left) * 25.4 / 72 == pytest.approx(width, abs=0.5)


def test_figures_are_written_as_pdf_svg_and_csv(report, tmp_path):
    few = replace(report, content=replace(report.content, gallery=report.content.gallery[:1], history=()))
    few = replace(few, findings=replace(few.findings, early=None, drift=None, trust=None))
    written = write_figures(few, tmp_path / "figures")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(path.name for path in written)
    assert (tmp_path / "figures" / "roc.pdf").read_bytes().startswith(b"%PDF")
    assert 'width="88.000mm"' in (tmp_path / "figures" / "roc.svg").read_text()
    confusion = pd.read_csv(tmp_path / "figures" / "confusion.csv")
    assert confusion["count"].sum() == report.headline.counts.n_evaluated
    light_curve = pd.read_csv(tmp_path / "figures" / "light_curve_01.csv")
    assert light_curve["FLUXCAL"].to_numpy() == pytest.approx(report.content.gallery[0].flux, abs=1e-3)


def test_without_content_there_are_no_figures(tmp_path):
    assert write_figures(Report(ReportContent("Nothing", False)), tmp_path) == []


def test_the_numbers_of_each_threshold_are_those_of_the_operating_points(figures, report):
    table = figures["threshold_metrics"].table
    row = table[(table["series"] == "purity") & (table["threshold"] == 0.5)]
    assert row["value"].item() == pytest.approx(report.headline.metrics["purity"].value)


def test_one_band_has_one_colour_in_every_light_curve(report):
    gallery = (make_curve(1, bands=("z",)), make_curve(2))
    drawn = draw_gallery(replace(report, content=replace(report.content, gallery=gallery)))
    assert all(BAND_STYLES["z"][0] in render_svg(figure) for _, figure in drawn)


def test_bands_and_series_differ_by_more_than_colour():
    colors, shapes = band_scales(["g", "r", "i", "z", "DES-g", "clear"])
    assert len(set(colors)) == 6
    assert len(set(shapes)) == 6
    assert len(set(DASHES)) == len(SERIES)


def test_every_colour_has_a_partner_for_the_dark():
    assert {*SERIES, *(color for color, _ in BAND_STYLES.values())} <= set(DARK_PARTNERS)


def test_a_faint_noisy_epoch_does_not_hide_the_light_curve_and_a_bright_one_is_never_cut():
    low, high = flux_range([0.0, 10.0, -500.0, 300.0], [1.0, 1.0, 400.0, 20.0])
    assert -50 < low < 0
    assert high > 300


def test_probabilities_that_begin_late_leave_a_gap(report):
    curve = make_curve(3)
    late = replace(curve, history={name: (np.nan, *values[1:]) for name, values in curve.history.items()})
    ((_, figure),) = draw_gallery(replace(report, content=replace(report.content, gallery=(late,))))
    assert "NaN" not in render_svg(figure)


def test_a_moment_that_no_object_has_is_no_panel(report):
    early = report.findings.early
    points = tuple(replace(point, n_objects=0) if point.since == "peak" else point for point in early.points)
    findings = replace(report.findings, early=replace(early, points=points))
    table = draw_figures(replace(report, findings=findings))["early_metrics"].table
    assert set(table["since"]) == {"days since first detection"}
