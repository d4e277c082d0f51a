"""Charts of performance: from evaluations to a table and its chart, one function per kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import altair as alt
import numpy as np
import pandas as pd

from pipeline.evaluate.curves import binomial_interval
from pipeline.evaluate.findings import Comparison, Contamination, Evaluation, MetricBin, SelectionCounts
from pipeline.evaluate.metrics import PSEUDO_PURITY_WEIGHT
from pipeline.report.chart_parts import (
    HEIGHT,
    PERCENT,
    WIDTH,
    Drawing,
    chart_of,
    data_of,
    draw_lines,
    lower_limit,
    series_scales,
)
from pipeline.report.names import METRIC_NAMES, metric_words
from pipeline.report.style import ACCENT, INK, MUTED

__all__ = [
    "draw_binned_metrics",
    "draw_comparison",
    "draw_confusion",
    "draw_contamination",
    "draw_purity_completeness",
    "draw_reliability",
    "draw_roc",
    "draw_selection",
]

LOG_TICKS: Final = [float(f"{m}e{decade}") for decade in range(-1, 6) for m in (1, 3)]
BINNED: Final = ("accuracy", "purity", "completeness", "figure_of_merit")


def draw_roc(evaluations: Sequence[Evaluation]) -> Drawing:
    """ROC curves, the horizontal axis stretched by a square root so that few contaminants can be told apart."""
    table = _join_curves(evaluations, "roc", ["false_positive_rate", "completeness", "threshold"])
    rates = np.linspace(0, 1, 60) ** 2
    chance = pd.DataFrame({"false_positive_rate": rates, "completeness": rates})
    x = alt.X(
        "false_positive_rate:Q",
        title="share of non-Ia called Ia (square-root scale)",
        scale=alt.Scale(type="sqrt", domain=[0, 1]),
        axis=alt.Axis(values=[0, 0.01, 0.05, 0.1, 0.25, 0.5, 1], format="%"),
    )
    y = alt.Y("completeness:Q", title="completeness", scale=alt.Scale(domain=[0, 1]), axis=PERCENT)
    diagonal = chart_of(chance).mark_line(color=MUTED, strokeDash=[3, 3], strokeWidth=1).encode(x=x, y=y)
    return table, (diagonal + draw_lines(table, x, y)).properties(width=WIDTH, height=HEIGHT)


def draw_purity_completeness(evaluations: Sequence[Evaluation]) -> Drawing:
    """Purity against completeness, with the headline's operating points as dots."""
    table = _join_curves(evaluations, "purity_completeness", ["completeness", "purity", "threshold"])
    rows = [
        (
            f"{point.name}: P(Ia) > {point.threshold:.2f}",
            point.metrics["completeness"].value,
            point.metrics["purity"].value,
        )
        for point in evaluations[0].operating_points
        if np.isfinite(point.threshold) and not point.is_optimistic
    ]
    points = pd.DataFrame(rows, columns=["label", "completeness", "purity"]).drop_duplicates("label")
    lowest = lower_limit(table.loc[table["completeness"] > 0.05, "purity"])
    x = alt.X("completeness:Q", title="completeness", scale=alt.Scale(domain=[0, 1]), axis=PERCENT)
    y = alt.Y("purity:Q", title="purity", scale=alt.Scale(domain=[lowest, 1], clamp=True), axis=PERCENT)
    legend = alt.Legend(symbolFillColor=INK, symbolStrokeColor=INK, columns=2, orient="bottom")
    dots = (
        chart_of(points)
        .mark_point(filled=True, size=55, opacity=1, color=INK)
        .encode(x=x, y=y, shape=alt.Shape("label:N", sort=None, legend=legend))
    )
    layers = alt.layer(draw_lines(table, x, y), dots)
    return table, layers.properties(width=WIDTH, height=HEIGHT)


def draw_selection(counts: SelectionCounts) -> Drawing:
    """Purity, completeness and figure of merit of the objects above each threshold."""
    ia, others = np.asarray(counts.ia, dtype=float), np.asarray(counts.others, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        purity, completeness = ia / (ia + others), ia / counts.n_ia
        merit = np.where(ia > 0, completeness * ia / (ia + PSEUDO_PURITY_WEIGHT * others), 0.0)
    values = {"purity": purity, "completeness": completeness, "figure of merit": merit}
    parts = [
        pd.DataFrame({"series": name, "threshold": counts.threshold, "value": found, "step": range(len(ia))})
        for name, found in values.items()
    ]
    table = pd.concat(parts, ignore_index=True)
    x = alt.X("threshold:Q", title="called Ia where P(Ia) is above", scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("value:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=PERCENT)
    drawn = table[table["step"] % 5 == 0].round({"value": 5})
    return table.drop(columns="step"), draw_lines(drawn, x, y).properties(width=WIDTH, height=HEIGHT)


def draw_confusion(evaluation: Evaluation) -> Drawing:
    """Confusion matrix: true classes in rows, each cell with its count and its share of the row."""
    rows = []
    for true, counts in zip(evaluation.classes, evaluation.confusion, strict=True):
        total = sum(counts)
        rows += [
            (true, called, count, count / total if total else np.nan)
            for called, count in zip(evaluation.classes, counts, strict=True)
        ]
    table = pd.DataFrame(rows, columns=["true", "called", "count", "share"])
    table["label"] = ["–" if np.isnan(share) else f"{share:.1%}" for share in table["share"]]
    side = max(300, 62 * len(evaluation.classes))
    order = list(evaluation.classes)
    base = chart_of(table).encode(
        x=alt.X("called:N", title="most probable class", sort=order, axis=alt.Axis(labelAngle=0, orient="top")),
        y=alt.Y("true:N", title="true class", sort=order),
    )
    cells = base.mark_rect(color=ACCENT).encode(
        opacity=alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.03, 0.5]), legend=None)
    )
    shares = base.mark_text(dy=-7, fontSize=13, fontWeight="bold").encode(text="label:N")
    counts_ = base.mark_text(dy=9).encode(text=alt.Text("count:Q", format=","))
    return table, (cells + shares + counts_).properties(width=side, height=side)


def draw_binned_metrics(bins: Sequence[MetricBin], quantity: str, is_log: bool = False) -> Drawing:
    """Metrics in bins of a quantity, one panel each, with bootstrap errors."""
    labels = {name: metric_words(name) for name in BINNED}
    rows = [
        (row.low, row.high, row.count, labels[name], row.metrics[name].value, row.metrics[name].std)
        for row in bins
        for name in BINNED
        if name in row.metrics
    ]
    table = pd.DataFrame(rows, columns=["from", "to", "count", "metric", "value", "std"])
    table["middle"] = _middles(table, is_log)
    spread = table["std"].fillna(0)
    table["low"], table["high"] = (table["value"] - spread).clip(0, 1), (table["value"] + spread).clip(0, 1)
    scale = alt.Scale(domain=[lower_limit(table["low"]), 1])
    axis = alt.Axis(values=LOG_TICKS, format="~s") if is_log else alt.Axis(tickCount=6, format="~g")
    scale_x = alt.Scale(type="log", nice=False, padding=8) if is_log else alt.Scale(zero=False)
    x = alt.X("middle:Q", title=quantity, axis=axis, scale=scale_x)
    base = alt.Chart().encode(x=x)
    line = base.mark_line(color=ACCENT).encode(y=alt.Y("value:Q", title=None, scale=scale, axis=PERCENT))
    dots = line.mark_point(color=ACCENT, filled=True, size=28, opacity=1)
    bars = base.mark_rule(color=ACCENT).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    panel = alt.layer(bars, line, dots).properties(width=200, height=170)
    facet = alt.Facet("metric:N", sort=list(labels.values()), header=alt.Header(title=None))
    return table, panel.facet(facet, columns=4, data=data_of(table))


def _middles(table: pd.DataFrame, is_log: bool) -> pd.Series[float]:
    """Where each bin is drawn; an open one is drawn half as far from its edge as the widest is wide."""
    low, high = table["from"].astype(float), table["to"].astype(float)
    ends = high.replace(np.inf, np.nan)
    high = ends.fillna(low * 2 if is_log else low + float((ends - low).max()))
    if not is_log:
        return (low + high) / 2
    low = low.where(low > 0, high / 2)
    return pd.Series(np.sqrt(low * high), index=table.index)


def draw_contamination(rows: Sequence[Contamination], limit: int = 20) -> Drawing:
    """Who is taken for Ia: share of each kind of non-Ia called Ia, the most frequent contaminants first."""
    others = sorted((row for row in rows if row.target != "Ia"), key=lambda row: (-row.called_ia, row.name))[:limit]
    table = pd.DataFrame(
        [(row.name, row.count, row.called_ia) for row in others], columns=["name", "count", "called_ia"]
    )
    table["share"] = table["called_ia"] / table["count"]
    table["low"], table["high"] = binomial_interval(table["called_ia"].to_numpy(float), table["count"].to_numpy(float))
    table["label"] = [
        f"{called:,} of {count:,}" for called, count in zip(table["called_ia"], table["count"], strict=True)
    ]
    furthest = max(float(table["high"].max()), 0.01)
    y = alt.Y("name:N", title=None, sort=None, axis=alt.Axis(labelLimit=180, labelColor=INK))
    x = alt.X(
        "share:Q",
        title="share called Ia",
        axis=alt.Axis(format="~%", tickCount=5),
        scale=alt.Scale(domain=[0, furthest * 1.35]),
    )
    base = chart_of(table).encode(y=y)
    bars = base.mark_bar(color=ACCENT, opacity=0.55, height=12).encode(x=x)
    spans = base.mark_rule(color=INK).encode(x="low:Q", x2="high:Q")
    labels = base.mark_text(align="left", dx=6, color=MUTED).encode(x="high:Q", text="label:N")
    return table, (bars + spans + labels).properties(width=330, height=alt.Step(22))


def draw_reliability(evaluations: Mapping[str, Evaluation]) -> Drawing:
    """Share of Ia against P(Ia) in 15 bins, with binomial intervals, over a histogram of P(Ia)."""
    rows = [
        (name, row.low, row.high, row.count, row.mean_p_ia, row.fraction_ia, row.fraction_low, row.fraction_high)
        for name, evaluation in evaluations.items()
        for row in evaluation.reliability
        if row.count
    ]
    columns = ["series", "low", "high", "count", "mean_p_ia", "fraction_ia", "fraction_low", "fraction_high"]
    table = pd.DataFrame(rows, columns=columns)
    x = alt.X("mean_p_ia:Q", title="mean P(Ia) in the bin", scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("fraction_ia:Q", title="share that is Ia", scale=alt.Scale(domain=[0, 1]), axis=PERCENT)
    ends = pd.DataFrame({"mean_p_ia": [0, 1], "fraction_ia": [0, 1]})
    diagonal = chart_of(ends).mark_line(color=MUTED, strokeDash=[3, 3], strokeWidth=1).encode(x=x, y=y)
    color, dash = series_scales(table["series"].unique().tolist())
    base = chart_of(table).encode(x=x, color=color)
    spans = base.mark_rule().encode(y="fraction_low:Q", y2="fraction_high:Q")
    lines = base.mark_line(strokeWidth=1.2).encode(y=y, strokeDash=dash)
    dots = base.mark_point(filled=True, size=34, opacity=1).encode(y=y)
    upper = alt.layer(diagonal, spans, lines, dots).properties(width=WIDTH, height=260)
    first = table[table["series"] == next(iter(evaluations), None)]
    counts = alt.Axis(
        values=[1, 10, 100, 1_000, 10_000, 100_000, 1_000_000],
        labelExpr="datum.value < 1000 ? datum.value : datum.value / 1000 + 'k'",
    )
    histogram = (
        chart_of(first)
        .mark_rect(color=ACCENT, opacity=0.55, stroke=None)
        .encode(
            x=alt.X("low:Q", title="P(Ia)", scale=alt.Scale(domain=[0, 1])),
            x2="high:Q",
            y=alt.Y("count:Q", title="objects", scale=alt.Scale(type="symlog"), axis=counts),
            y2=alt.Y2Datum(0),
        )
        .properties(width=WIDTH, height=80)
    )
    return table, alt.vconcat(upper, histogram, spacing=6)


def draw_comparison(comparison: Comparison) -> Drawing:
    """Difference of each metric, with its 95 % interval of the paired bootstrap; zero is no difference."""
    rows = [
        (METRIC_NAMES.get(d.metric, d.metric), d.ours, d.theirs, d.difference, d.low, d.high, d.p_value)
        for d in comparison.differences
    ]
    table = pd.DataFrame(rows, columns=["metric", "ours", "theirs", "difference", "low", "high", "p_value"])
    base = chart_of(table).encode(y=alt.Y("metric:N", title=None, sort=None, axis=alt.Axis(labelColor=INK)))
    x = alt.X("difference:Q", title=f"this run minus {comparison.other[:60]}")
    zero = chart_of(pd.DataFrame({"difference": [0.0]})).mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x=x)
    spans = base.mark_rule(color=ACCENT).encode(x=alt.X("low:Q"), x2="high:Q")
    dots = base.mark_point(color=ACCENT, filled=True, size=40, opacity=1).encode(x=x)
    return table, (zero + spans + dots).properties(width=WIDTH, height=alt.Step(22))


def _join_curves(evaluations: Sequence[Evaluation], curve: str, columns: list[str]) -> pd.DataFrame:
    parts = []
    for evaluation in evaluations:
        values = {name: getattr(getattr(evaluation, curve), name) for name in columns}
        part = pd.DataFrame(values)
        part.insert(0, "series", evaluation.name)
        part["step"] = np.arange(len(part))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
