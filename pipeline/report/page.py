"""The report: one HTML page that holds everything it shows, reads without a network, without scripts, and on paper."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.evaluate.findings import Evaluation
from pipeline.evaluate.metrics import CALIBRATION_BINS, METRICS, Estimate
from pipeline.evaluate.published import PROTOCOLS, published_for
from pipeline.files import write_atomically
from pipeline.ingest.inspection import count_kinds
from pipeline.report.figures import Figure, draw_figures, draw_gallery, render_svg
from pipeline.report.inputs import GALLERY_KINDS, ReportInputs
from pipeline.report.style import dark_rules

__all__ = ["MAX_ROWS_LISTED", "Cell", "Table", "render_page", "write_report"]

MAX_ROWS_LISTED: Final = 200
"""Rows of the quarantine, and of inputs without a probability, that the page lists; all are counted."""
MAX_TEXT: Final = 300
"""Characters of a stranger's text, such as a reason, that the page shows."""

TEMPLATES: Final = Path(__file__).parent / "templates"
UNDEFINED: Final = "–"
HEADLINE_METRICS: Final = ("accuracy", "auc", "figure_of_merit", "purity", "completeness", "ece")
METRIC_NAMES: Final = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "auc": "AUC",
    "average_precision": "Average precision",
    "figure_of_merit": "Figure of merit",
    "purity": "Purity",
    "completeness": "Completeness",
    "completeness_all_inputs": "Completeness over all inputs",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "ece": "Calibration error",
}
INGEST_NAMES: Final = {
    "n_files": "light-curve files met",
    "n_ingested": "files ingested",
    "n_unchanged": "files unchanged since the last time",
    "n_quarantined": "files quarantined",
    "n_objects_ingested": "objects ingested",
    "n_objects_unchanged": "objects unchanged since the last time",
    "n_objects_quarantined": "objects quarantined",
    "n_ignored": "companion files, ignored",
    "n_epochs": "measurements kept",
    "n_epochs_dropped": "measurements left out",
    "n_conflicts": "conflicts between files of one object",
    "seconds": "seconds",
}


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


def write_report(inputs: ReportInputs, out: Path) -> Path:
    """Write the page to a file, whole or not at all, and return its path."""
    write_atomically(out, render_page(inputs))
    return out


def render_page(inputs: ReportInputs) -> str:
    """Return the page as HTML; everything that comes from outside is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": _count, "svg": _svg}
    gallery = draw_gallery(inputs)
    return environment.get_template("report.html.j2").render(
        inputs=inputs,
        headline=inputs.headline,
        figures=draw_figures(inputs),
        gallery=[(kind, [pair for pair in gallery if pair[0].kind == kind]) for kind in GALLERY_KINDS],
        tables=_tables(inputs),
        tiles=_tiles(inputs),
        best_published=_best_published(inputs),
        majority=_majority(inputs.headline),
        protocol=PROTOCOLS.get(inputs.protocol or ""),
        configuration=json.dumps(inputs.configuration, indent=2, ensure_ascii=False, default=str),
        n_quarantine_shown=min(len(inputs.quarantine), MAX_ROWS_LISTED),
        calibration_bins=CALIBRATION_BINS,
        dark_rules=Markup(dark_rules()),
    )


def _tables(inputs: ReportInputs) -> dict[str, Table]:
    tables = {
        "ingest": _ingest_table(inputs.ingest),
        "reasons": _counts_table(
            "Why files and measurements were left out", "reason", inputs.ingest.get("reasons", {})
        ),
        "cuts": _counts_table("Objects left out by each selection cut", "cut", dict(inputs.cuts)),
        "split": _split_table(inputs),
        "quarantine_reasons": _quarantine_reasons_table(inputs.quarantine),
        "quarantine": _quarantine_table(inputs.quarantine),
        "provenance": Table(
            "Where this comes from", ("item", "value"), [[Cell(k), Cell(str(v))] for k, v in inputs.provenance.items()]
        ),
    }
    if inputs.headline is not None:
        tables |= _performance_tables(inputs, inputs.headline)
    return {name: table for name, table in tables.items() if table.rows}


def _performance_tables(inputs: ReportInputs, headline: Evaluation) -> dict[str, Table]:
    return {
        "status": _counts_table("What became of each input", "status", headline.counts.n_by_status),
        "called": _counts_table("Most probable class", "class", headline.counts.n_by_prediction),
        "without_probability": Table(
            "Inputs without a probability",
            ("SNID", "status", "reason"),
            [
                [Cell(_clip(row.snid)), Cell(row.status), Cell(_clip(row.reason))]
                for row in headline.without_probability[:MAX_ROWS_LISTED]
            ],
        ),
        "metrics": _metrics_table(inputs.evaluations),
        "thresholds": _thresholds_table(headline),
        "redshift": _redshift_table(headline),
        "literature": _literature_table(inputs),
    }


def _tiles(inputs: ReportInputs) -> list[tuple[str, str, str]]:
    """Headline metrics: name, value, error."""
    if inputs.headline is None or not inputs.has_performance:
        return []
    estimates = [(METRIC_NAMES[name], inputs.headline.metrics[name]) for name in HEADLINE_METRICS]
    return [(name, _number(e.value), _number(e.std) if math.isfinite(e.std) else "") for name, e in estimates]


def _majority(evaluation: Evaluation | None) -> tuple[str, str] | None:
    """The most frequent true class, and the accuracy of always answering it."""
    if evaluation is None or not evaluation.counts.n_evaluated:
        return None
    name, count = max(evaluation.counts.n_by_class.items(), key=lambda item: item[1])
    return name, _number(count / evaluation.counts.n_evaluated)


def _best_published(inputs: ReportInputs) -> str:
    """The first published row of the protocol, in words; nothing where it would not compare like with like."""
    rows = () if inputs.is_simulated else published_for(inputs.protocol or "")
    if not rows:
        return ""
    numbers = {"accuracy": rows[0].accuracy, "AUC": rows[0].auc, "figure of merit": rows[0].figure_of_merit}
    words = ", ".join(f"{name} {value:.3f}" for name, value in numbers.items() if value is not None)
    return f"{rows[0].who} (arXiv:{rows[0].arxiv}): {words}"


def _ingest_table(ingest: Mapping[str, Any]) -> Table:
    rows = [[Cell(words), _counted(ingest[key])] for key, words in INGEST_NAMES.items() if key in ingest]
    sources = ", ".join(_clip(str(source)) for source in ingest.get("sources", ()))
    return Table(f"Ingest of {sources}" if sources else "Ingest", ("item", "number"), rows)


def _counts_table(caption: str, column: str, counts: Mapping[str, int]) -> Table:
    rows = [[Cell(_clip(str(name))), _counted(count)] for name, count in counts.items()]
    return Table(caption, (column, "number"), rows)


def _split_table(inputs: ReportInputs) -> Table:
    classes = list(dict.fromkeys(name for mix in inputs.class_mix.values() for name in mix))
    parts = list(dict.fromkeys([*inputs.split, *inputs.class_mix]))
    rows = []
    for part in parts:
        mix = inputs.class_mix.get(part, {})
        total = inputs.split.get(part, sum(mix.values()))
        shares = [Cell(f"{mix[name] / total:.1%}" if name in mix and total else UNDEFINED, True) for name in classes]
        rows.append([Cell(part), _counted(total), *shares])
    return Table("Objects and class mix by part", ("part", "objects", *classes), rows)


def _metrics_table(evaluations: Sequence[Evaluation]) -> Table:
    known = [evaluation for evaluation in evaluations if evaluation.counts.n_evaluated]
    columns = ("metric", *(f"{e.name} ({e.counts.n_evaluated:,} objects)" for e in known))
    names = [*METRICS, "completeness_all_inputs"] if known else []
    rows = [[Cell(METRIC_NAMES.get(name, name)), *(_estimated(e.metrics.get(name)) for e in known)] for name in names]
    return Table("All metrics, ± bootstrap standard deviation over the test objects", columns, rows)


def _thresholds_table(evaluation: Evaluation) -> Table:
    names = ("purity", "completeness", "figure_of_merit")
    rows = [
        [
            Cell(point.name),
            Cell(f"{point.threshold:.3f}", True),
            _counted(point.called_ia),
            *(_estimated(point.metrics[name]) for name in names),
        ]
        for point in evaluation.operating_points
    ]
    columns = ("threshold", "P(Ia) above", "called Ia", *(METRIC_NAMES[name].lower() for name in names))
    return Table("The sample that each threshold selects", columns, rows if evaluation.counts.n_evaluated else [])


def _redshift_table(evaluation: Evaluation) -> Table:
    names = ("accuracy", "purity", "completeness", "figure_of_merit")
    rows = [
        [
            Cell(f"{row.low:.1f} – {row.high:.1f}"),
            _counted(row.count),
            _counted(row.count_ia),
            *(_estimated(row.metrics[name]) for name in names),
        ]
        for row in evaluation.by_redshift
    ]
    columns = ("redshift", "objects", "true Ia", *(METRIC_NAMES[name].lower() for name in names))
    return Table("Metrics in bins of true redshift", columns, rows)


def _literature_table(inputs: ReportInputs) -> Table:
    names = ("accuracy", "auc", "figure_of_merit")
    ours = [
        [Cell(e.name), Cell("this report"), Cell(""), *(_estimated(e.metrics[name]) for name in names), Cell("")]
        for e in inputs.evaluations
        if e.counts.n_evaluated
    ]
    theirs = [
        [
            Cell(row.who),
            Cell(f"arXiv:{row.arxiv}"),
            Cell("yes" if row.uses_redshift else "no"),
            _estimated(row.accuracy and Estimate(row.accuracy, row.accuracy_std or math.nan), digits=3),
            *(Cell(UNDEFINED if value is None else f"{value:.3f}", True) for value in (row.auc, row.figure_of_merit)),
            Cell(row.note),
        ]
        for row in published_for(inputs.protocol or "")
    ]
    columns = ("classifier", "source", "host redshift", "accuracy", "AUC", "figure of merit", "note")
    caption = f"Protocol {inputs.protocol}, published and here" if inputs.protocol else "The evaluations of this report"
    return Table(caption, columns, [*theirs, *ours], frozenset(range(len(theirs), len(theirs) + len(ours))))


def _quarantine_reasons_table(quarantine: pd.DataFrame) -> Table:
    counts = count_kinds(quarantine) if len(quarantine) else {}
    return _counts_table("Entries by reason", "reason", counts)


def _quarantine_table(quarantine: pd.DataFrame) -> Table:
    columns = ("FILE", "LINE", "SNID", "SCOPE", "REASON")
    if quarantine.empty:
        return Table("", columns, [])
    shown = quarantine.head(MAX_ROWS_LISTED)[list(columns)]
    rows = [
        [
            Cell(_clip(file)),
            Cell("" if pd.isna(line) else str(int(line)), True),
            Cell("" if pd.isna(snid) else _clip(snid)),
            Cell(scope),
            Cell(_clip(reason)),
        ]
        for file, line, snid, scope, reason in shown.astype(object).itertuples(index=False)
    ]
    caption = (
        f"The first {len(rows):,} of {len(quarantine):,} entries" if len(rows) < len(quarantine) else "All entries"
    )
    return Table(caption, ("file", "line", "SNID", "left out", "reason"), rows)


def _svg(figure: Figure) -> Markup:
    return Markup(render_svg(figure))


def _clip(text: object) -> str:
    words = str(text)
    return words if len(words) <= MAX_TEXT else words[: MAX_TEXT - 1] + "…"


def _count(value: float) -> str:
    return f"{value:,.1f}" if isinstance(value, float) and not value.is_integer() else f"{int(value):,}"


def _counted(value: float) -> Cell:
    return Cell(_count(value), True)


def _number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else UNDEFINED


def _estimated(estimate: Estimate | float | None, digits: int = 4) -> Cell:
    if not isinstance(estimate, Estimate):
        return Cell(UNDEFINED, True)
    # A bootstrap of objects that all agree has no spread; it does not say that the value is exact.
    error = f" ± {_number(estimate.std, digits)}" if estimate.std > 0 else ""
    return Cell(_number(estimate.value, digits) + error, True)
