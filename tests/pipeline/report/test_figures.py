"""Facts about figures: the same ones on the page and in the folder, each with its numbers."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pandas as pd
import pytest

from pipeline.report.charts import flux_range
from pipeline.report.figures import draw_figures, draw_gallery, render_svg, write_figures
from pipeline.report.inputs import ReportInputs
from pipeline.report.style import BAND_STYLES, DARK_PARTNERS, DASHES, SERIES, band_scales

EXPECTED = {
    "redshift_histogram",
    "training_loss",
    "validation_accuracy",
    "learning_rate",
    "roc",
    "purity_completeness",
    "confusion",
    "metrics_against_redshift",
    "contamination_by_subclass",
    "contamination_by_template",
    "reliability",
}


def test_a_complete_run_has_every_figure(inputs):
    assert set(draw_figures(inputs)) == EXPECTED


@pytest.mark.parametrize("key", sorted(EXPECTED))
def test_each_figure_is_valid_svg_with_its_own_ids(inputs, key):
    svg = render_svg(draw_figures(inputs)[key])
    root = ElementTree.fromstring(svg)
    assert all(element.get("id", key).startswith(key) for element in root.iter())
    assert "NaN" not in svg


def test_figures_are_written_as_pdf_svg_and_csv(inputs, tmp_path):
    few = replace(inputs, gallery=inputs.gallery[:1], history=inputs.history.head(0))
    written = write_figures(few, tmp_path / "figures")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(path.name for path in written)
    assert (tmp_path / "figures" / "roc.pdf").read_bytes().startswith(b"%PDF")
    confusion = pd.read_csv(tmp_path / "figures" / "confusion.csv")
    assert confusion["count"].sum() == inputs.headline.counts.n_evaluated
    light_curve = pd.read_csv(tmp_path / "figures" / "light_curve_01.csv")
    assert light_curve["FLUXCAL"].to_numpy() == pytest.approx(inputs.gallery[0].epochs["FLUXCAL"].to_numpy(), abs=1e-3)


def test_without_inputs_there_are_no_figures(tmp_path):
    assert write_figures(ReportInputs(title="Nothing", is_simulated=False), tmp_path) == []


def test_one_band_has_one_colour_in_every_light_curve(inputs):
    only_z = [replace(item, epochs=item.epochs[item.epochs["BAND"] == "z"]) for item in inputs.gallery[:1]]
    svgs = [render_svg(figure) for _, figure in draw_gallery(replace(inputs, gallery=[*only_z, inputs.gallery[1]]))]
    assert all(BAND_STYLES["z"][0] in svg for svg in svgs)


def test_bands_and_series_differ_by_more_than_colour():
    colors, shapes = band_scales(["g", "r", "i", "z", "DES-g", "clear"])
    assert len(set(colors)) == 6
    assert len(set(shapes)) == 6
    assert len(set(DASHES)) == len(SERIES)


def test_every_colour_has_a_partner_for_the_dark():
    assert {*SERIES, *(color for color, _ in BAND_STYLES.values())} <= set(DARK_PARTNERS)


def test_a_faint_noisy_epoch_does_not_hide_the_light_curve_and_a_bright_one_is_never_cut():
    epochs = pd.DataFrame({"FLUXCAL": [0.0, 10.0, -500.0, 300.0], "FLUXCALERR": [1.0, 1.0, 400.0, 20.0]})
    low, high = flux_range(epochs)
    assert -50 < low < 0
    assert high > 300


def test_long_light_curves_are_thinned_from_end_to_end(inputs):
    epochs = pd.concat([inputs.gallery[0].epochs] * 100, ignore_index=True)
    _, figure = draw_gallery(replace(inputs, gallery=[replace(inputs.gallery[0], epochs=epochs)]))[0]
    assert len(figure.table) == 400
    assert figure.table["FLUXCAL"].iloc[[0, -1]].tolist() == epochs["FLUXCAL"].iloc[[0, -1]].round(3).tolist()
