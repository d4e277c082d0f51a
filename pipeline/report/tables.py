"""Tables of the page: the data, performance and the literature."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.evaluate.findings import ClassMix, Contamination, Evaluation, MetricBin
from pipeline.evaluate.metrics import METRICS, Estimate
from pipeline.evaluate.published import published_for
from pipeline.report.content import Quarantine, Report
from pipeline.report.names import INGEST_NAMES, METRIC_NAMES, metric_words

__all__ = [
    "MAX_ROWS_LISTED",
    "UNDEFINED",
    "Cell",
    "Table",
    "clip",
    "counted",
    "estimated",
    "format_count",
    "format_number",
    "main_tables",
    "numeric",
    "percent",
    "text",
]

MAX_ROWS_LISTED: Final = 200
"""Rows of the quarantine, and of inputs without a probability, that the page lists; all are counted."""
MAX_TEXT: Final = 300
"""Characters of a stranger's text, such as a reason, that the page shows."""
UNDEFINED: Final = "–"
SELECTION: Final = ("purity", "completeness", "figure_of_merit")
BINNED: Final = ("accuracy", *SELECTION)


@dataclass(frozen=True)
class Cell:
    """One cell of a table; numbers stand to the right."""

    text: str
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """A table as the page shows it: the first cell of each row is its heading."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    emphasised: frozenset[int] = frozenset()


def main_tables(report: Report) -> dict[str, Table]:
    """Return the tables of the data, of performance and of the literature, by name."""
    data = report.content.data
    tables = {
        "ingest": _ingest_table(data.ingest),
        "reasons": _counts_table("Why files and measurements were left out", "reason", data.ingest.get("reasons", {})),
        "cuts": _counts_table("Objects left out by each selection cut", "cut", data.cuts),
        "split": _split_table(report),
        "quarantine_reasons": _counts_table("Entries by reason", "reason", data.quarantine.by_reason),
        "quarantine": _quarantine_table(data.quarantine),
        "provenance": Table(
            "Where this comes from",
            ("item", "value"),
            [[text(key), text(value)] for key, value in report.content.provenance.items()],
        ),
        "literature": _literature_table(report),
    }
    return tables | (_performance_tables(report, report.headline) if report.headline is not None else {})


def text(words: object) -> Cell:
    """Return a cell of words, cut short where they are long."""
    return Cell(clip(words))


def counted(value: float) -> Cell:
    """Return a cell of a whole number."""
    return Cell(format_count(value), True)


def numeric(value: float, digits: int = 4) -> Cell:
    """Return a cell of a number."""
    return Cell(format_number(value, digits), True)


def percent(value: float) -> Cell:
    """Return a cell of a share."""
    return Cell(f"{value:.1%}" if math.isfinite(value) else UNDEFINED, True)


def estimated(estimate: Estimate | float | None, digits: int = 4) -> Cell:
    """Return a cell of a value and its bootstrap error."""
    if not isinstance(estimate, Estimate):
        return Cell(UNDEFINED, True)
    # A bootstrap of objects that all agree has no spread; it does not say that the value is exact.
    error = f" ± {format_number(estimate.std, digits)}" if estimate.std > 0 else ""
    return Cell(format_number(estimate.value, digits) + error, True)


def clip(words: object) -> str:
    """Cut a stranger's text short."""
    found = str(words)
    return found if len(found) <= MAX_TEXT else found[: MAX_TEXT - 1] + "…"


def format_count(value: float) -> str:
    """Write a number with commas between the thousands.

    >>> format_count(21319), format_count(1.25)
    ('21,319', '1.2')
    """
    return f"{value:,.1f}" if isinstance(value, float) and not value.is_integer() else f"{int(value):,}"


def format_number(value: float, digits: int = 4) -> str:
    """Write a number with digits after the point, a dash where it is undefined."""
    return f"{value:.{digits}f}" if math.isfinite(value) else UNDEFINED


def _performance_tables(report: Report, headline: Evaluation) -> dict[str, Table]:
    without = headline.without_probability[:MAX_ROWS_LISTED]
    tables = {
        "status": _counts_table("What became of each input", "status", headline.counts.n_by_status),
        "called": _counts_table("Most probable class", "class", headline.counts.n_by_prediction),
        "without_probability": Table(
            "Inputs without a probability",
            ("SNID", "status", "reason"),
            [[text(row.snid), text(row.status), text(row.reason)] for row in without],
        ),
    }
    if not report.has_performance:
        return tables
    return tables | {
        "metrics": _metrics_table(report.evaluations),
        "thresholds": _thresholds_table(headline),
        "redshift": _bins_table("true redshift", headline.by_redshift, ".1f"),
        "snr": _bins_table("best S/N", headline.by_snr, "g"),
        "epochs": _bins_table("measurements", headline.by_n_epochs, "g"),
        "mixes": _mixes_table(headline.mixes),
        "subclasses": _contamination_table("true subclass", headline.by_subclass),
        "templates": _contamination_table("simulated template", headline.by_template),
    }


def _ingest_table(ingest: Mapping[str, Any]) -> Table:
    rows = [[Cell(words), counted(ingest[key])] for key, words in INGEST_NAMES.items() if key in ingest]
    sources = ", ".join(clip(source) for source in ingest.get("sources", ()))
    return Table(f"Ingest of {sources}" if sources else "Ingest", ("item", "number"), rows)


def _counts_table(caption: str, column: str, counts: Mapping[str, int]) -> Table:
    return Table(caption, (column, "number"), [[text(name), counted(count)] for name, count in counts.items()])


def _split_table(report: Report) -> Table:
    data = report.content.data
    classes = list(dict.fromkeys(name for mix in data.class_mix.values() for name in mix))
    rows = []
    for part in dict.fromkeys([*data.split, *data.class_mix]):
        mix = data.class_mix.get(part, {})
        total = data.split.get(part, sum(mix.values()))
        shares = [percent(mix[name] / total if name in mix and total else math.nan) for name in classes]
        rows.append([text(part), counted(total), *shares])
    return Table("Objects and class mix by part", ("part", "objects", *classes), rows)


def _metrics_table(evaluations: Sequence[Evaluation]) -> Table:
    known = [evaluation for evaluation in evaluations if evaluation.counts.n_evaluated]
    columns = ("metric", *(f"{e.name} ({e.counts.n_evaluated:,} objects)" for e in known))
    names = [*METRICS, "completeness_all_inputs"]
    rows = [[Cell(METRIC_NAMES.get(name, name)), *(estimated(e.metrics.get(name)) for e in known)] for name in names]
    return Table("All metrics, ± bootstrap standard deviation over the test objects", columns, rows)


def _thresholds_table(evaluation: Evaluation) -> Table:
    rows = [
        [
            text(f"{point.name} †" if point.is_optimistic else point.name),
            numeric(point.threshold),
            counted(point.called_ia),
            *(estimated(point.metrics[name]) for name in SELECTION),
        ]
        for point in evaluation.operating_points
    ]
    columns = ("threshold", "P(Ia) above", "called Ia", *(metric_words(name) for name in SELECTION))
    return Table("The sample that each threshold selects", columns, rows)


def _bins_table(quantity: str, bins: Sequence[MetricBin], form: str) -> Table:
    rows = [
        [
            Cell(f"{row.low:{form}} – {row.high:{form}}" if math.isfinite(row.high) else f"{row.low:{form}} and above"),
            counted(row.count),
            counted(row.count_ia),
            *(estimated(row.metrics.get(name)) for name in BINNED),
        ]
        for row in bins
    ]
    columns = (quantity, "objects", "true Ia", *(metric_words(name) for name in BINNED))
    return Table(f"Metrics in bins of {quantity}", columns, rows)


def _mixes_table(mixes: Sequence[ClassMix]) -> Table:
    rows = [
        [
            text(mix.name),
            text(", ".join(f"{name} {share:.1%}" for name, share in mix.shares.items())),
            *(estimated(mix.metrics.get(name)) for name in (*BINNED, "ece")),
        ]
        for mix in mixes
    ]
    columns = ("mix", "shares", *(metric_words(name) for name in (*BINNED, "ece")))
    return Table("The metrics were the classes mixed otherwise", columns, rows)


def _contamination_table(column: str, found: Sequence[Contamination]) -> Table:
    rows = [
        [
            text(row.name),
            text(row.target),
            counted(row.count),
            counted(row.called_ia),
            numeric(row.mean_p_ia, 3),
            percent(row.contaminant_share),
        ]
        for row in found
        if row.name != "unknown"
    ]
    columns = (column, "class", "objects", "called Ia", "mean P(Ia)", "share of contaminants")
    return Table(f"Who is called Ia, by {column}", columns, rows[:MAX_ROWS_LISTED])


def _literature_table(report: Report) -> Table:
    names = ("accuracy", "auc", "figure_of_merit")
    ours = [
        [Cell(e.name), Cell("this report"), Cell(""), *(estimated(e.metrics[name]) for name in names), Cell("")]
        for e in report.evaluations
        if e.counts.n_evaluated
    ]
    theirs = [
        [
            Cell(row.who),
            Cell(f"arXiv:{row.arxiv}"),
            Cell("yes" if row.uses_redshift else "no"),
            estimated(row.accuracy and Estimate(row.accuracy, row.accuracy_std or math.nan), digits=3),
            *(Cell(UNDEFINED if value is None else f"{value:.3f}", True) for value in (row.auc, row.figure_of_merit)),
            Cell(row.note),
        ]
        for row in published_for(report.content.protocol or "")
    ]
    columns = ("classifier", "source", "host redshift", "accuracy", "AUC", "figure of merit", "note")
    protocol = report.content.protocol
    caption = f"Protocol {protocol}, published and here" if protocol else "The evaluations of this report"
    return Table(caption, columns, [*theirs, *ours], frozenset(range(len(theirs), len(theirs) + len(ours))))


def _quarantine_table(quarantine: Quarantine) -> Table:
    shown = quarantine.first[:MAX_ROWS_LISTED]
    rows = [
        [
            text(row.file),
            Cell("" if row.line is None else str(row.line), True),
            text(row.snid or ""),
            text(row.scope),
            text(row.reason),
        ]
        for row in shown
    ]
    is_cut = len(shown) < quarantine.n_entries
    caption = f"The first {len(shown):,} of {quarantine.n_entries:,} entries" if is_cut else "All entries"
    return Table(caption, ("file", "line", "SNID", "left out", "reason"), rows)
