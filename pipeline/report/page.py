"""The page: one HTML file that holds everything it shows, reads without a network, without scripts, and on paper.

Scripts, where they are allowed to run, add to it: figures that tell their numbers, a threshold to move, a gallery to
look through. A content security policy in the page lets these scripts run, and nothing else, and nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.evaluate.findings import Evaluation, to_json
from pipeline.evaluate.metrics import CALIBRATION_BINS, PSEUDO_PURITY_WEIGHT, Estimate
from pipeline.evaluate.published import PROTOCOLS, published_for
from pipeline.files import write_atomically
from pipeline.report.content import Report
from pipeline.report.figures import Figure, draw_figures, draw_gallery
from pipeline.report.names import METRIC_NAMES
from pipeline.report.rendering import interactive_config, render_svg, vega_script
from pipeline.report.style import band_scales, dark_rules, order_bands, series_style
from pipeline.report.tables import Table, format_count, format_number, main_tables
from pipeline.report.tables_trust import comparison_table, trust_tables
from pipeline.report.verdict import STATUS_NAMES, overall

__all__ = ["render_page", "write_page"]

TEMPLATES: Final = Path(__file__).parent / "templates"
SCRIPTS: Final = ("report.js", "threshold.js", "curve.js", "gallery.js")
HEADLINE_METRICS: Final = ("accuracy", "auc", "figure_of_merit", "purity", "completeness", "ece")
CARDS: Final = 12
"""Light curves that the gallery shows at a time."""


def write_page(report: Report, out: Path) -> Path:
    """Write the page to a file, whole or not at all, and return its path."""
    write_atomically(out, render_page(report))
    return out


def render_page(report: Report) -> str:
    """Return the page as HTML; everything that comes from outside is escaped, in HTML and in embedded JSON."""
    figures, gallery = draw_figures(report), draw_gallery(report)
    tables = {name: table for name, table in (main_tables(report) | trust_tables(report)).items() if table.rows}
    scripts = [Markup(script) for script in _scripts()]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            content=report.content,
            findings=report.findings,
            report=report,
            headline=report.headline,
            figures=figures,
            tables=tables,
            checks=report.content.verdict.checks,
            overall=overall(report.content.verdict.checks),
            comparisons=_comparisons(report),
            tiles=_tiles(report),
            majority=_majority(report.headline),
            best_published=_best_published(report),
            protocol=PROTOCOLS.get(report.content.protocol or ""),
            configuration=json.dumps(report.content.configuration, indent=2, ensure_ascii=False, default=str),
            calibration_bins=CALIBRATION_BINS,
            status_names=STATUS_NAMES,
            dark_rules=Markup(dark_rules()),
            static_curves=gallery,
            gallery=_gallery(report),
            selection=_selection(report.headline) if report.has_performance else None,
            specifications={key: figure.chart.to_dict() for key, figure in figures.items()},
            vega_config=interactive_config(),
            scripts=scripts,
            policy=_policy(scripts),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # `tojson` writes <, > and & as escapes, so that no text can end the script element that it stands in.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False, "allow_nan": False}
    environment.filters |= {"count": format_count, "number": format_number, "svg": _svg}
    environment.tests |= {"finite": math.isfinite}
    return environment


@cache
def _scripts() -> tuple[str, ...]:
    """Vega and our own scripts, as they stand on the page; none can end its element early."""
    own = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return tuple(script.replace("</script", "<\\/script") for script in (vega_script(), own))


def _policy(scripts: list[Markup]) -> str:
    """Content security policy: exactly these scripts, styles of the page itself, and no request to anywhere."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{found}'" for found in hashes)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"


def _tiles(report: Report) -> list[tuple[str, str, str, str]]:
    """Headline metrics: name, value, error, and 95 % interval."""
    if report.headline is None or not report.has_performance:
        return []
    estimates = [(METRIC_NAMES[name], report.headline.metrics[name]) for name in HEADLINE_METRICS]
    return [(name, format_number(e.value), *_spread(e)) for name, e in estimates]


def _spread(estimate: Estimate) -> tuple[str, str]:
    """Return bootstrap error and 95 % interval in words; nothing where the bootstrap had no spread."""
    if not estimate.std > 0:
        return "", ""
    low, high = max(0.0, estimate.value - 1.96 * estimate.std), min(1.0, estimate.value + 1.96 * estimate.std)
    return format_number(estimate.std), f"{low:.3f} – {high:.3f}"


def _majority(evaluation: Evaluation | None) -> tuple[str, str] | None:
    """The most frequent true class, and the accuracy of always answering it."""
    if evaluation is None or not evaluation.counts.n_evaluated:
        return None
    name, count = max(evaluation.counts.n_by_class.items(), key=lambda item: item[1])
    return name, format_number(count / evaluation.counts.n_evaluated)


def _best_published(report: Report) -> str:
    """The first published row of the protocol, in words; nothing where it would not compare like with like."""
    rows = () if report.content.is_simulated else published_for(report.content.protocol or "")
    if not rows:
        return ""
    numbers = {"accuracy": rows[0].accuracy, "AUC": rows[0].auc, "figure of merit": rows[0].figure_of_merit}
    words = ", ".join(f"{name} {value:.3f}" for name, value in numbers.items() if value is not None)
    return f"{rows[0].who} (arXiv:{rows[0].arxiv}): {words}"


def _comparisons(report: Report) -> list[tuple[Any, Table, str]]:
    """Comparisons, each with its table and the key of its figure."""
    return [
        (comparison, comparison_table(comparison), f"comparison_{number}")
        for number, comparison in enumerate(report.content.comparisons, 1)
    ]


def _selection(headline: Evaluation | None) -> dict[str, Any] | None:
    """Counts by threshold for the slider, and the stored operating points with their exact counts."""
    if headline is None or not headline.selection.threshold:
        return None
    counts = headline.selection
    points = [
        {
            "name": point.name,
            "threshold": point.threshold,
            "ia": _true_among(point.called_ia, point.metrics["purity"].value),
            "called": point.called_ia,
            "optimistic": point.is_optimistic,
        }
        for point in headline.operating_points
        if math.isfinite(point.threshold)
    ]
    return {
        "threshold": counts.threshold,
        "ia": counts.ia,
        "others": counts.others,
        "nIa": counts.n_ia,
        "nOthers": counts.n_others,
        "weight": PSEUDO_PURITY_WEIGHT,
        "points": points,
    }


def _true_among(called: int, purity: float) -> int:
    """Count the true Ia among the objects called Ia; where there are none of those, purity is undefined."""
    return round(called * purity) if math.isfinite(purity) else 0


def _gallery(report: Report) -> dict[str, Any] | None:
    """The gallery for its script, numbers shortened to what a screen can show."""
    curves = [curve for curve in report.content.gallery if curve.mjd]
    if not curves:
        return None
    bands = order_bands(band for curve in curves for band in curve.band)
    colors, shapes = band_scales(bands)
    classes = list(dict.fromkeys(name for curve in curves for name in curve.probabilities))
    return {
        "bands": [{"name": n, "color": c, "shape": s} for n, c, s in zip(bands, colors, shapes, strict=True)],
        "classes": [
            {"name": name, "color": color, "dash": dash}
            for name, (color, dash) in zip(classes, map(series_style, range(len(classes))), strict=True)
        ],
        "perPage": CARDS,
        "curves": [_short(to_json(curve)) for curve in curves],
    }


def _short(value: Any) -> Any:
    """Numbers with five digits, days with three after the point."""
    if isinstance(value, dict):
        return {
            name: _days(item) if name in ("mjd", "steps", "history_mjd") else _short(item)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_short(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _days(values: list[float]) -> list[float]:
    return [round(value, 3) for value in values]


def _svg(figure: Figure) -> Markup:
    return Markup(render_svg(figure))
