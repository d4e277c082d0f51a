"""Charts of early classification, calibration beyond the diagram, drift and trust."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import altair as alt
import numpy as np
import pandas as pd

from pipeline.evaluate.findings import (
    Abstention,
    Drift,
    EarlyPoint,
    ExpectedSelection,
    FeatureDrift,
    Sensitivity,
    TimeToClass,
)
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
from pipeline.report.names import METRIC_NAMES
from pipeline.report.style import ACCENT, INK

__all__ = [
    "SINCE",
    "draw_abstention",
    "draw_early",
    "draw_expected",
    "draw_features",
    "draw_priors",
    "draw_sensitivities",
    "draw_time_to_class",
]

EARLY_METRICS: Final = ("accuracy", "purity", "completeness", "auc")
SINCE: Final = {"detection": "days since first detection", "peak": "days since true peak"}
MAX_FEATURES: Final = 16
MAX_SENSITIVITIES: Final = 24


def draw_early(points: Sequence[EarlyPoint]) -> Drawing:
    """Metrics of light curves that end early, against the day they end, one panel per moment in SINCE."""
    rows = [
        (SINCE[point.since], METRIC_NAMES[name], point.days, point.metrics[name].value, point.metrics[name].std)
        for point in points
        for name in EARLY_METRICS
        if name in point.metrics
    ]
    table = pd.DataFrame(rows, columns=["since", "series", "days", "value", "std"])
    spread = table["std"].fillna(0)
    table["low"], table["high"] = (table["value"] - spread).clip(0, 1), (table["value"] + spread).clip(0, 1)
    color, dash = series_scales(table["series"].unique().tolist(), columns=4)
    scale = alt.Scale(domain=[lower_limit(table["low"]), 1])
    base = alt.Chart().encode(x=alt.X("days:Q", title="days"), color=color)
    spans = base.mark_rule(strokeWidth=0.9).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    y = alt.Y("value:Q", title=None, scale=scale, axis=PERCENT)
    lines = base.mark_line(strokeWidth=1.4).encode(y=y, strokeDash=dash)
    dots = base.mark_point(filled=True, size=24, opacity=1).encode(y=y)
    panel = alt.layer(spans, lines, dots).properties(width=WIDTH, height=240)
    facet = alt.Facet("since:N", header=alt.Header(title=None), sort=list(SINCE.values()))
    return table, panel.facet(facet, columns=2, data=data_of(table)).resolve_scale(x="independent")


def draw_time_to_class(found: TimeToClass) -> Drawing:
    """Share of each true class that is rightly and lastingly classified by each day."""
    table = _long(found.share, {"days": found.days})
    x = alt.X("days:Q", title="days since first detection")
    y = alt.Y("value:Q", title=f"right class above {found.confidence:g} for good", axis=PERCENT)
    y = y.scale(domain=[0, 1])
    return table.drop(columns="step"), draw_lines(table, x, y).properties(width=WIDTH, height=240)


def draw_expected(found: ExpectedSelection) -> Drawing:
    """Purity and completeness that the probabilities promise, and the true ones, against the threshold."""
    values = {
        "expected purity": found.expected_purity,
        "true purity": found.true_purity,
        "expected completeness": found.expected_completeness,
        "true completeness": found.true_completeness,
    }
    known = {name: numbers for name, numbers in values.items() if np.isfinite(np.asarray(numbers, dtype=float)).any()}
    table = _long(known, {"threshold": found.threshold})
    x = alt.X("threshold:Q", title="called Ia where P(Ia) is above", scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("value:Q", title=None, axis=PERCENT, scale=alt.Scale(domain=[0, 1]))
    return table.drop(columns="step"), draw_lines(table, x, y).properties(width=WIDTH, height=HEIGHT)


def draw_abstention(found: Abstention) -> Drawing:
    """What accuracy, purity and completeness become when only the surest keep a class."""
    values = {"accuracy": found.accuracy, "purity": found.purity, "completeness": found.completeness}
    table = _long(values, {"coverage": found.coverage, "confidence": found.confidence})
    x = alt.X(
        "coverage:Q", title="share that keeps a class, the surest first", axis=PERCENT, scale=alt.Scale(domain=[0, 1])
    )
    y = alt.Y("value:Q", title=None, axis=PERCENT, scale=alt.Scale(domain=[lower_limit(table["value"]), 1]))
    return table.drop(columns="step"), draw_lines(table, x, y).properties(width=WIDTH, height=HEIGHT)


def draw_features(features: Sequence[FeatureDrift]) -> Drawing:
    """Small histograms of each property in the training data and in the survey, the most shifted first."""
    shown = [feature for feature in features if len(feature.edges) > 1][:MAX_FEATURES]
    parts = [_histogram(feature, series) for feature in shown for series in ("training", "survey")]
    table = pd.concat(parts, ignore_index=True)
    color, dash = series_scales(["training", "survey"])
    lines = (
        alt.Chart()
        .mark_line(interpolate="step-after", strokeWidth=1.4)
        .encode(
            x=alt.X("edge:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4, format="~r")),
            y=alt.Y("share:Q", title=None, axis=alt.Axis(format="%", tickCount=3)),
            color=color,
            strokeDash=dash,
        )
        .properties(width=180, height=85)
    )
    header = alt.Header(title=None, labelLimit=190, labelFontSize=11)
    facet = alt.Facet("property:N", sort=[_label(feature) for feature in shown], header=header)
    chart = lines.facet(facet, columns=4, spacing={"row": 14, "column": 14}, data=data_of(table))
    return table, chart.resolve_scale(x="independent", y="independent")


def draw_priors(drift: Drift) -> Drawing:
    """Share of each class in the training data, in the survey as estimated, and in truth where it is known."""
    values = {"training": drift.training_prior, "survey, estimated": drift.estimated_prior}
    values |= {"survey, true": drift.true_prior} if drift.true_prior else {}
    rows = [(series, name, share) for series, shares in values.items() for name, share in shares.items()]
    table = pd.DataFrame(rows, columns=["series", "class", "share"])
    color, _ = series_scales(list(values), columns=3, symbol="square")
    bars = (
        chart_of(table)
        .mark_bar(height={"band": 0.85})
        .encode(
            y=alt.Y("class:N", title=None, sort=list(drift.training_prior), axis=alt.Axis(labelColor=INK)),
            yOffset=alt.YOffset("series:N", sort=list(values)),
            x=alt.X("share:Q", title="share of the objects", axis=PERCENT),
            color=color,
        )
    )
    return table, bars.properties(width=WIDTH, height=alt.Step(14))


def draw_sensitivities(found: Sequence[Sensitivity]) -> Drawing:
    """Share of the objects whose most probable class changes, by what was changed, the largest first."""
    rows = sorted(((s.name, s.changed_share, s.mean_change) for s in found), key=lambda row: (-row[1], row[0]))
    table = pd.DataFrame(rows[:MAX_SENSITIVITIES], columns=["name", "changed_share", "mean_change"])
    axis = alt.Axis(labelLimit=240, labelColor=INK)
    base = chart_of(table).encode(y=alt.Y("name:N", title=None, sort=None, axis=axis))
    furthest = max(float(table["changed_share"].max()) * 1.2, 0.005)
    x = alt.X(
        "changed_share:Q",
        title="objects whose class changes",
        axis=alt.Axis(format="~%", tickCount=5),
        scale=alt.Scale(domain=[0, furthest]),
    )
    bars = base.mark_bar(color=ACCENT, opacity=0.55, height=12).encode(x=x)
    labels = base.mark_text(align="left", dx=5).encode(x=x, text=alt.Text("changed_share:Q", format=".1%"))
    return table, (bars + labels).properties(width=280, height=alt.Step(22))


def _long(series: dict[str, tuple[float, ...]], shared: dict[str, tuple[float, ...]]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"series": name, **shared, "value": values, "step": range(len(values))})
        for name, values in series.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _label(feature: FeatureDrift) -> str:
    unit = f" [{feature.unit}]" if feature.unit else ""
    return f"{feature.name}{unit}"


def _histogram(feature: FeatureDrift, series: str) -> pd.DataFrame:
    """The steps of a histogram: the last value is repeated, so that the last bin has a width."""
    shares = tuple(getattr(feature, series))
    return pd.DataFrame(
        {"property": _label(feature), "series": series, "edge": feature.edges, "share": [*shares, shares[-1]]}
    )
