"""Tables of the page: checks, early classification, calibration, drift, trust and other runs."""

from __future__ import annotations

import math
from typing import Final

from pipeline.evaluate.findings import Comparison, Drift, EarlyClassification, EarlyPoint, Evaluation, Trust
from pipeline.report.content import Report
from pipeline.report.names import METRIC_NAMES, metric_words
from pipeline.report.tables import Cell, Table, counted, estimated, numeric, percent, text

__all__ = ["comparison_table", "trust_tables"]

EARLY: Final = ("accuracy", "purity", "completeness", "auc", "completeness_all_inputs")
SENSITIVE: Final = ("accuracy", "auc", "purity", "completeness", "figure_of_merit")
SIGNIFICANT: Final = 0.05


def trust_tables(report: Report) -> dict[str, Table]:
    """Return the tables of early classification, calibration, drift and trust that there are, by name."""
    findings, headline = report.findings, report.headline
    tables = {}
    if headline is not None and report.has_performance:
        tables["brier"] = _brier_table(headline)
        if report.uncalibrated is not None and report.uncalibrated.counts.n_evaluated:
            tables["calibration"] = _calibration_table(headline, report.uncalibrated)
    if findings.early is not None:
        tables["early"] = _early_table(findings.early)
        tables["time_to_class"] = _time_table(findings.early)
    if findings.drift is not None:
        tables["drift"] = _drift_table(findings.drift)
        tables["priors"] = _priors_table(findings.drift)
    if findings.trust is not None:
        tables["novelty"] = _novelty_table(findings.trust)
        tables["sensitivities"] = _sensitivities_table(findings.trust)
    return tables


def comparison_table(comparison: Comparison) -> Table:
    """Return the differences from another run, metric by metric; significant ones stand out."""
    rows = [
        [
            text(METRIC_NAMES.get(d.metric, d.metric)),
            numeric(d.ours),
            numeric(d.theirs),
            Cell(f"{d.difference:+.4f}" if math.isfinite(d.difference) else "–", True),
            Cell(f"{d.low:+.4f} to {d.high:+.4f}" if math.isfinite(d.low) else "–", True),
            numeric(d.p_value, 3),
            text("yes" if d.p_value < SIGNIFICANT else "no"),
        ]
        for d in comparison.differences
    ]
    columns = ("metric", "here", "there", "difference", "95 % interval", "p", "significant")
    strong = frozenset(i for i, d in enumerate(comparison.differences) if d.p_value < SIGNIFICANT)
    return Table(f"This run and {comparison.other}, {comparison.n_common:,} objects in common", columns, rows, strong)


def _calibration_table(headline: Evaluation, before: Evaluation) -> Table:
    rows = [
        [Cell(METRIC_NAMES[name]), estimated(before.metrics.get(name)), estimated(headline.metrics.get(name))]
        for name in ("ece", "log_loss", "brier")
    ]
    return Table("Before and after calibration", ("metric", "before", "after"), rows)


def _brier_table(headline: Evaluation) -> Table:
    parts = headline.brier_parts
    rows = []
    if parts is not None:
        rows = [
            [Cell("reliability (lower is better)"), numeric(parts.reliability, 5)],
            [Cell("− resolution (higher is better)"), numeric(parts.resolution, 5)],
            [Cell("+ uncertainty of the sample"), numeric(parts.uncertainty, 5)],
            [Cell("+ within bins"), numeric(parts.within_bins, 5)],
            [Cell("= Brier score"), numeric(headline.metrics["brier"].value, 5)],
        ]
    return Table("Where the Brier score comes from", ("part", "value"), rows, frozenset({4}))


def _moment(point: EarlyPoint) -> str:
    """Say when a light curve ends.

    >>> _moment(EarlyPoint("detection", 10.0, 5, 0, {}))
    '10 d after first detection'
    """
    if point.since == "sixth":
        return "first six with S/N > 4 (SPCC)"
    if point.since == "whole":
        return "whole light curve"
    moment = "first detection" if point.since == "detection" else "true peak"
    return f"{abs(point.days):g} d {'before' if point.days < 0 else 'after'} {moment}"


def _early_table(early: EarlyClassification) -> Table:
    rows = [
        [
            text(_moment(point)),
            counted(point.n_objects),
            counted(point.n_without),
            *(estimated(point.metrics.get(name), 3) for name in EARLY),
        ]
        for point in early.points
    ]
    columns = (
        "light curves until",
        "objects",
        "without a probability yet",
        *(metric_words(name) for name in EARLY),
    )
    strong = frozenset(i for i, point in enumerate(early.points) if point.since in ("sixth", "whole"))
    return Table(f"{early.n_objects:,} of {early.n_available:,} objects, cut short", columns, rows, strong)


def _time_table(early: EarlyClassification) -> Table:
    found = early.time_to_class
    if found is None:
        return Table("", (), [])
    rows = [
        [
            text(name),
            numeric(found.median_days.get(name, math.nan), 1),
            percent(shares[-1] if shares else math.nan),
        ]
        for name, shares in found.share.items()
    ]
    columns = ("true class", "median days since first detection", "ever")
    return Table(f"Until the right class has P > {found.confidence:g} for good", columns, rows)


def _drift_table(drift: Drift) -> Table:
    rows = [
        [
            text(f"{feature.name} [{feature.unit}]" if feature.unit else feature.name),
            numeric(feature.psi, 3),
            numeric(feature.ks, 3),
            Cell("< 0.001" if feature.p_value < 0.001 else numeric(feature.p_value, 3).text, True),
            Cell(f"{feature.median_training:.4g}" if math.isfinite(feature.median_training) else "–", True),
            Cell(f"{feature.median_survey:.4g}" if math.isfinite(feature.median_survey) else "–", True),
            percent(feature.missing_training),
            percent(feature.missing_survey),
        ]
        for feature in drift.features
    ]
    columns = (
        "property",
        "PSI",
        "KS",
        "p",
        "median, training",
        "median, survey",
        "missing, training",
        "missing, survey",
    )
    strong = frozenset(i for i, feature in enumerate(drift.features) if feature.psi > 0.25)
    caption = f"{drift.n_survey:,} objects of the survey against {drift.n_training:,} of the training data"
    return Table(caption, columns, rows, strong)


def _priors_table(drift: Drift) -> Table:
    rows = [
        [
            text(name),
            percent(share),
            percent(drift.estimated_prior.get(name, math.nan)),
            percent(drift.true_prior.get(name, math.nan)),
        ]
        for name, share in drift.training_prior.items()
    ]
    return Table("Share of each class", ("class", "training", "survey, estimated", "survey, true"), rows)


def _novelty_table(trust: Trust) -> Table:
    rows = [
        [
            text(test.name),
            counted(test.n_objects),
            numeric(test.auroc, 3),
            percent(test.share_confident),
            percent(test.share_called_ia),
            percent(test.share_novel),
        ]
        for test in trust.novelty_tests
    ]
    columns = ("curves", "made", "AUROC of novelty", "any P > 0.9", "P(Ia) > 0.5", "called novel")
    return Table("Curves that are no supernovae", columns, rows)


def _sensitivities_table(trust: Trust) -> Table:
    rows = [
        [
            text(found.name),
            percent(found.changed_share),
            numeric(found.mean_change),
            *(_signed(found.differences.get(name, math.nan)) for name in SENSITIVE),
        ]
        for found in trust.sensitivities
    ]
    columns = ("change", "class changes", "mean |ΔP(Ia)|", *(f"Δ {metric_words(n)}" for n in SENSITIVE))
    return Table(f"Small changes of {trust.n_objects:,} objects", columns, rows)


def _signed(value: float) -> Cell:
    return Cell(f"{value:+.4f}" if math.isfinite(value) else "–", True)
