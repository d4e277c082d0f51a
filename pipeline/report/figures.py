"""Every figure of the report, once, with its words and its numbers; the page and the folder of figures take them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from pipeline.evaluate.findings import Evaluation
from pipeline.report.chart_parts import AnyChart, Drawing
from pipeline.report.charts import (
    draw_binned_metrics,
    draw_comparison,
    draw_confusion,
    draw_contamination,
    draw_purity_completeness,
    draw_reliability,
    draw_roc,
    draw_selection,
)
from pipeline.report.charts_data import draw_history, draw_light_curve, draw_redshift_histogram, flux_range
from pipeline.report.charts_trust import (
    SINCE,
    draw_abstention,
    draw_early,
    draw_expected,
    draw_features,
    draw_priors,
    draw_sensitivities,
    draw_time_to_class,
)
from pipeline.report.content import Report
from pipeline.report.gallery import GalleryCurve
from pipeline.report.style import order_bands

__all__ = ["STATIC_CURVES", "Figure", "draw_figures", "draw_gallery"]

MAX_TEMPLATES: Final = 20
STATIC_CURVES: Final = 6
"""Light curves that stand on the page as figures, for paper and for readers without scripts."""


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


def draw_figures(report: Report) -> dict[str, Figure]:
    """Draw what the report holds, by key; pieces that are missing leave their figures out."""
    figures = [*_draw_data(report), *_draw_training(report)]
    if report.headline is not None and report.has_performance:
        known = [evaluation for evaluation in report.evaluations if evaluation.counts.n_evaluated]
        figures += [*_draw_curves(known), *_draw_headline(report.headline), *_draw_bins(report.headline)]
        figures += [*_draw_calibration(report, report.headline)]
    figures += [*_draw_comparisons(report), *_draw_early(report), *_draw_drift(report), *_draw_trust(report)]
    return {figure.key: figure for figure in figures}


def draw_gallery(report: Report, limit: int = STATIC_CURVES) -> list[tuple[GalleryCurve, Figure]]:
    """Draw the first light curves of the gallery, all with the same colour and symbol for the same band."""
    curves = report.content.gallery
    bands = order_bands(band for curve in curves for band in curve.band)
    shown = [curve for curve in curves if curve.mjd][:limit]
    return [(curve, _draw_curve(curve, bands, f"light_curve_{number:02d}")) for number, curve in enumerate(shown, 1)]


def _figure(key: str, drawing: Drawing, caption: str, description: str, is_wide: bool = False) -> Figure:
    table, chart = drawing
    return Figure(key, caption, description, chart, table, is_wide)


def _draw_data(report: Report) -> Iterator[Figure]:
    found = report.content.data.redshifts
    if any(sum(counts) for counts in found.counts.values()):
        medians = ", ".join(f"{part} {z:.2f}" for part, z in found.medians.items())
        yield _figure(
            "redshift_histogram",
            draw_redshift_histogram(found),
            "True redshifts, each part normalised to one. Parts drawn from one population have the same shape.",
            f"Step lines of the share of objects per redshift bin for {', '.join(found.counts)}; medians: {medians}.",
        )


def _draw_training(report: Report) -> Iterator[Figure]:
    history = report.content.history
    if not history:
        return
    best = min((row for row in history if np.isfinite(row.valid_loss)), key=lambda row: row.valid_loss, default=None)
    lowest = f" Lowest validation loss {best.valid_loss:.4f}, in epoch {best.epoch}." if best else ""
    yield _figure(
        "training_loss",
        draw_history(history, {"train_loss": "training", "valid_loss": "validation"}, "loss"),
        "Loss per epoch, one line per ensemble member. Validation objects come from inside the training part." + lowest,
        f"Training and validation loss over {max(row.epoch for row in history)} epochs.{lowest}",
    )
    yield _figure(
        "validation_accuracy",
        draw_history(history, {"valid_accuracy": "validation"}, "validation accuracy"),
        "Share of the validation objects whose most probable class is the true one, before any calibration.",
        f"Validation accuracy by epoch, ending at {history[-1].valid_accuracy:.4f}.",
    )
    yield _figure(
        "learning_rate",
        draw_history(history, {"learning_rate": "learning rate"}, "learning rate"),
        "Learning rate at the end of each epoch.",
        f"Learning rate by epoch, at most {max(row.learning_rate for row in history):.2g}.",
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
    if evaluation.selection.threshold:
        yield _figure(
            "threshold_metrics",
            draw_selection(evaluation.selection),
            "What each threshold on P(Ia) selects, on these very objects.",
            f"Purity, completeness and figure of merit against the threshold, of {evaluation.selection.n_ia:,} true Ia "
            f"and {evaluation.selection.n_others:,} others.",
        )
    yield _figure(
        "confusion",
        draw_confusion(evaluation),
        "Confusion matrix by most probable class: share of the true class, and count.",
        f"Confusion matrix of {evaluation.counts.n_evaluated:,} objects in {len(evaluation.classes)} classes; "
        f"accuracy {evaluation.metrics['accuracy'].value:.4f}.",
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


def _draw_bins(evaluation: Evaluation) -> Iterator[Figure]:
    for key, bins, quantity, words, is_log in (
        ("metrics_against_redshift", evaluation.by_redshift, "true redshift", "0.1 in true redshift", False),
        ("metrics_against_snr", evaluation.by_snr, "best S/N", "the best S/N of any measurement", True),
        ("metrics_against_epochs", evaluation.by_n_epochs, "measurements", "the number of measurements", True),
    ):
        if bins:
            yield _figure(
                key,
                draw_binned_metrics(bins, quantity, is_log),
                f"Metrics in bins of {words}, with bootstrap errors. Gaps: undefined there, as purity without any "
                "object called Ia. The vertical axis need not start at zero.",
                f"Accuracy, purity, completeness and figure of merit in {len(bins)} bins of {quantity}.",
                is_wide=True,
            )


def _draw_calibration(report: Report, headline: Evaluation) -> Iterator[Figure]:
    series = {"calibrated": headline} if report.uncalibrated else {headline.name: headline}
    if report.uncalibrated and report.uncalibrated.counts.n_evaluated:
        series["before calibration"] = report.uncalibrated
    errors = ", ".join(f"{name} {e.metrics['ece'].value:.4f}" for name, e in series.items())
    yield _figure(
        "reliability",
        draw_reliability(series),
        "Share of Ia among objects of like P(Ia), with 68 % binomial intervals; on the dotted line the probabilities "
        "mean what they say. Below: how many objects (logarithmic scale).",
        f"Reliability diagram in 15 bins; expected calibration error: {errors}.",
    )
    if headline.expected.threshold:
        yield _figure(
            "expected_selection",
            draw_expected(headline.expected),
            "What the probabilities alone promise of each threshold, and what is true (Karpenka et al. 2013). Where "
            "the lines part, a sample without truth would be misjudged.",
            "Expected and true purity and completeness against the threshold on P(Ia).",
        )
    if headline.abstention.coverage:
        yield _figure(
            "abstention",
            draw_abstention(headline.abstention),
            "What is gained by leaving the least certain objects without a class. Purity and completeness by most "
            "probable class; completeness over all true Ia.",
            "Accuracy, purity and completeness against the share of objects that keep a class; accuracy goes from "
            f"{headline.abstention.accuracy[0]:.3f} with all to "
            f"{headline.abstention.accuracy[-1]:.3f} with the fewest.",
        )


def _draw_comparisons(report: Report) -> Iterator[Figure]:
    for number, comparison in enumerate(report.content.comparisons, 1):
        if comparison.differences:
            yield _figure(
                f"comparison_{number}",
                draw_comparison(comparison),
                "Differences over the objects in common, with 95 % intervals of the paired bootstrap.",
                f"Differences of {len(comparison.differences)} metrics from {comparison.other}.",
            )


def _draw_early(report: Report) -> Iterator[Figure]:
    early = report.findings.early
    if early is None:
        return
    dated = [point for point in early.points if point.since in SINCE and point.n_objects]
    if dated:
        yield _figure(
            "early_metrics",
            draw_early(dated),
            "Metrics of light curves that end on a given day, over those that have a probability by then, with "
            "bootstrap errors.",
            f"Metrics at {len(dated)} moments, of a sample of {early.n_objects:,} objects.",
            is_wide=True,
        )
    if early.time_to_class is not None:
        found = early.time_to_class
        medians = ", ".join(
            f"{name} {days:.0f} d" if np.isfinite(days) else f"{name} never" for name, days in found.median_days.items()
        )
        yield _figure(
            "time_to_class",
            draw_time_to_class(found),
            f"Share of each true class whose right class has P > {found.confidence:g} by that day, and keeps it.",
            f"Rising lines of the share rightly classified; half of them are by: {medians}.",
        )


def _draw_drift(report: Report) -> Iterator[Figure]:
    drift = report.findings.drift
    if drift is None:
        return
    if any(len(feature.edges) > 1 for feature in drift.features):
        worst = max(drift.features, key=lambda feature: np.nan_to_num(feature.psi, nan=-1.0))
        yield _figure(
            "drift_features",
            draw_features(drift.features),
            "Each property in the training data and in the survey, share of the objects per bin, the most shifted "
            "first.",
            f"Small histograms of {len(drift.features)} properties; the most shifted is {worst.name}, with a "
            f"population stability index of {worst.psi:.3f}.",
            is_wide=True,
        )
    if drift.training_prior:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in drift.estimated_prior.items())
        yield _figure(
            "class_prior",
            draw_priors(drift),
            "Share of each class: in the training data, in the survey as the probabilities alone tell (Saerens et al. "
            "2002), and in truth where it is known.",
            f"Bars of the class shares; estimated in the survey: {shares}.",
        )


def _draw_trust(report: Report) -> Iterator[Figure]:
    trust = report.findings.trust
    if trust is not None and trust.sensitivities:
        worst = max(trust.sensitivities, key=lambda s: s.changed_share)
        yield _figure(
            "sensitivities",
            draw_sensitivities(trust.sensitivities),
            "Objects whose most probable class changes when the data are changed a little.",
            f"Bars for {len(trust.sensitivities)} changes; the largest is {worst.name}: {worst.changed_share:.1%}.",
        )


def _draw_curve(curve: GalleryCurve, bands: list[str], key: str) -> Figure:
    probability = ", ".join(f"P({name}) = {value:.3f}" for name, value in curve.probabilities.items())
    words = f"SNID {curve.snid}: {probability}; true class {curve.true_class or 'unknown'}; {', '.join(curve.kinds)}"
    low, high = flux_range(curve.flux, curve.error)
    n_outside = sum(not low <= flux <= high for flux in curve.flux)
    if n_outside:
        words += f"; {n_outside} epochs with large errors lie outside the axis"
    span = max(curve.mjd) - min(curve.mjd)
    return _figure(
        key,
        draw_light_curve(curve, bands),
        words,
        f"Light curve of {curve.n_epochs} epochs over {span:.0f} d. {words}.",
    )
