"""Every figure of the report, once: drawn for the page as inline SVG, and for papers as PDF, SVG and CSV."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import altair as alt
import pandas as pd
import vl_convert

from pipeline.evaluate.findings import Evaluation
from pipeline.files import write_atomically
from pipeline.report.charts import (
    AnyChart,
    Drawing,
    draw_confusion,
    draw_contamination,
    draw_history,
    draw_light_curve,
    draw_purity_completeness,
    draw_redshift_histogram,
    draw_redshift_metrics,
    draw_reliability,
    draw_roc,
    flux_range,
)
from pipeline.report.inputs import GalleryItem, ReportInputs
from pipeline.report.style import CONFIG, order_bands

__all__ = ["Figure", "draw_figures", "draw_gallery", "render_svg", "write_figures"]

VEGA_LITE: Final = alt.SCHEMA_VERSION.lstrip("v").rpartition(".")[0]
MAX_TEMPLATES: Final = 20


@dataclass(frozen=True)
class Figure:
    """A chart with its words and its numbers.

    Attributes:
        key: file name without ending, and anchor on the page.
        caption: what is shown and how to read it.
        description: what a reader who cannot see it must know.
        chart: Altair chart.
        table: the numbers drawn.
        is_wide: whether it needs the whole width of a page.
    """

    key: str
    caption: str
    description: str
    chart: AnyChart
    table: pd.DataFrame
    is_wide: bool = False


def draw_figures(inputs: ReportInputs) -> dict[str, Figure]:
    """Draw what the inputs allow, by key; pieces that are missing leave their figures out."""
    figures = [*_draw_data(inputs), *_draw_training(inputs)]
    if inputs.headline is not None and inputs.has_performance:
        known = [evaluation for evaluation in inputs.evaluations if evaluation.counts.n_evaluated]
        figures += [*_draw_curves(known), *_draw_headline(inputs.headline), _draw_calibration(inputs, inputs.headline)]
    return {figure.key: figure for figure in figures}


def draw_gallery(inputs: ReportInputs) -> list[tuple[GalleryItem, Figure]]:
    """Draw the light curves handed in, all with the same colour and symbol for the same band."""
    bands = order_bands(str(band) for item in inputs.gallery for band in item.epochs["BAND"].unique())
    return [
        (item, _draw_item(item, bands, f"light_curve_{number:02d}"))
        for number, item in enumerate(inputs.gallery, 1)
        if len(item.epochs)
    ]


def render_svg(figure: Figure) -> str:
    """Return the figure as SVG whose ids carry the figure's key, so that many can stand on one page."""
    svg = vl_convert.vegalite_to_svg(figure.chart.to_dict(), vl_version=VEGA_LITE, config=CONFIG)
    names = {name: f"{figure.key}-{number}" for number, name in enumerate(re.findall(r'\bid="([^"]+)"', svg))}
    for name, unique in names.items():
        svg = svg.replace(f'id="{name}"', f'id="{unique}"').replace(f"url(#{name})", f"url(#{unique})")
    return str(svg)


def write_figures(inputs: ReportInputs, out_dir: Path) -> list[Path]:
    """Write each figure as PDF and SVG, and the numbers in it as CSV; return the files written."""
    out_dir.mkdir(parents=True, exist_ok=True)
    written = []
    for figure in [*draw_figures(inputs).values(), *(figure for _, figure in draw_gallery(inputs))]:
        spec, config = figure.chart.to_dict(), {**CONFIG, "background": "white"}
        contents = {
            "pdf": vl_convert.vegalite_to_pdf(spec, vl_version=VEGA_LITE, config=config),
            "svg": vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE, config=config).encode(),
            "csv": figure.table.to_csv(index=False).encode(),
        }
        for ending, content in contents.items():
            path = out_dir / f"{figure.key}.{ending}"
            write_atomically(path, content)
            written.append(path)
    return written


def _figure(key: str, drawing: Drawing, caption: str, description: str, is_wide: bool = False) -> Figure:
    table, chart = drawing
    return Figure(key, caption, description, chart, table, is_wide)


def _draw_data(inputs: ReportInputs) -> Iterator[Figure]:
    parts = {part: values for part, values in inputs.redshifts.items() if pd.Series(values, dtype=float).notna().any()}
    if parts:
        medians = ", ".join(f"{part} {pd.Series(z, dtype=float).median():.2f}" for part, z in parts.items())
        yield _figure(
            "redshift_histogram",
            draw_redshift_histogram(parts),
            "True redshifts, each part normalised to one. Parts drawn from one population have the same shape.",
            f"Step lines of the share of objects per redshift bin for {', '.join(parts)}; medians: {medians}.",
        )


def _draw_training(inputs: ReportInputs) -> Iterator[Figure]:
    history = inputs.history
    if history.empty:
        return
    best = history.dropna(subset="VALID_LOSS").sort_values("VALID_LOSS", kind="stable").head(1)
    lowest = "".join(
        f" Lowest validation loss {loss:.4f}, in epoch {epoch}."
        for loss, epoch in zip(best["VALID_LOSS"], best["EPOCH"], strict=True)
    )
    yield _figure(
        "training_loss",
        draw_history(history, {"TRAIN_LOSS": "training", "VALID_LOSS": "validation"}, "loss"),
        "Loss per epoch, one line per ensemble member. Validation objects come from inside the training part." + lowest,
        f"Training and validation loss over {history['EPOCH'].max()} epochs.{lowest}",
    )
    yield _figure(
        "validation_accuracy",
        draw_history(history, {"VALID_ACCURACY": "validation"}, "validation accuracy"),
        "Share of the validation objects whose most probable class is the true one, before any calibration.",
        f"Validation accuracy by epoch, ending at {history['VALID_ACCURACY'].iloc[-1]:.4f}.",
    )
    yield _figure(
        "learning_rate",
        draw_history(history, {"LEARNING_RATE": "learning rate"}, "learning rate"),
        "Learning rate at the end of each epoch.",
        f"Learning rate by epoch, at most {history['LEARNING_RATE'].max():.2g}.",
    )


def _draw_curves(evaluations: list[Evaluation]) -> Iterator[Figure]:
    with_roc = [evaluation for evaluation in evaluations if evaluation.roc.threshold]
    if with_roc:
        areas = ", ".join(f"{e.name} {e.metrics['auc'].value:.4f}" for e in with_roc)
        yield _figure(
            "roc",
            draw_roc(with_roc),
            "ROC curve of P(Ia). The dotted line is chance; the square-root scale makes room for few contaminants.",
            f"ROC curves; areas under them (of several classes the mean): {areas}.",
        )
    with_tradeoff = [evaluation for evaluation in evaluations if evaluation.purity_completeness.threshold]
    if with_tradeoff:
        metrics = with_tradeoff[0].metrics
        yield _figure(
            "purity_completeness",
            draw_purity_completeness(with_tradeoff),
            "Purity to be had at each completeness as the threshold on P(Ia) falls; dots: the thresholds in use.",
            f"Purity against completeness; at P(Ia) above 0.5 the headline has purity {metrics['purity'].value:.3f} "
            f"and completeness {metrics['completeness'].value:.3f}.",
        )


def _draw_headline(evaluation: Evaluation) -> Iterator[Figure]:
    yield _figure(
        "confusion",
        draw_confusion(evaluation),
        "Confusion matrix by most probable class: share of the true class, and count.",
        f"Confusion matrix of {evaluation.counts.n_evaluated:,} objects in {len(evaluation.classes)} classes; "
        f"accuracy {evaluation.metrics['accuracy'].value:.4f}.",
    )
    if evaluation.by_redshift:
        edges = f"{evaluation.by_redshift[0].low:.1f} and {evaluation.by_redshift[-1].high:.1f}"
        yield _figure(
            "metrics_against_redshift",
            draw_redshift_metrics(evaluation),
            "Metrics in bins of 0.1 in true redshift, with bootstrap errors. Gaps: undefined there, as purity without "
            "any object called Ia. The vertical axis need not start at zero.",
            f"Accuracy, purity, completeness and figure of merit between redshift {edges}.",
            is_wide=True,
        )
    for key, rows, limit in (
        ("contamination_by_subclass", evaluation.by_subclass, len(evaluation.by_subclass)),
        ("contamination_by_template", evaluation.by_template, MAX_TEMPLATES),
    ):
        others = [row for row in rows if row.target != "Ia"]
        if not others or {row.name for row in others} == {"unknown"}:
            continue
        worst = max(others, key=lambda row: row.called_ia)
        kind = key.rpartition("_")[2]
        shown = f"the {limit} of {len(others)} with most contaminants" if len(others) > limit else f"all {len(others)}"
        yield _figure(
            key,
            draw_contamination(rows, limit),
            f"Share of each non-Ia {kind} called Ia at P(Ia) > 0.5, with 68 % binomial intervals ({shown}).",
            f"Bars of the share called Ia by {kind}; most from {worst.name}: {worst.called_ia} of {worst.count}.",
        )


def _draw_calibration(inputs: ReportInputs, headline: Evaluation) -> Figure:
    series = {"calibrated": headline} if inputs.uncalibrated else {headline.name: headline}
    if inputs.uncalibrated and inputs.uncalibrated.counts.n_evaluated:
        series["before calibration"] = inputs.uncalibrated
    errors = ", ".join(f"{name} {e.metrics['ece'].value:.4f}" for name, e in series.items())
    return _figure(
        "reliability",
        draw_reliability(series),
        "Share of Ia among objects of like P(Ia), with 68 % binomial intervals; on the dotted line the probabilities "
        "mean what they say. Below: how many objects (logarithmic scale).",
        f"Reliability diagram in 15 bins; expected calibration error: {errors}.",
    )


def _draw_item(item: GalleryItem, bands: list[str], key: str) -> Figure:
    probability = ", ".join(f"P({name}) = {value:.3f}" for name, value in item.probabilities.items())
    words = f"SNID {item.snid}: {probability}; true class {item.true_class or 'unknown'}; {item.kind}"
    low, high = flux_range(item.epochs)
    n_outside = int((~item.epochs["FLUXCAL"].between(low, high)).sum())
    if n_outside:
        words += f"; {n_outside} epochs with large errors lie outside the axis"
    n_epochs, span = len(item.epochs), item.epochs["MJD"].max() - item.epochs["MJD"].min()
    return _figure(
        key,
        draw_light_curve(item.epochs, bands),
        words,
        f"Light curve of {n_epochs} epochs over {span:.0f} d. {words}.",
    )
