"""One function per kind of chart: from an evaluation, a training history or a light curve to a table and its chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

import altair as alt
import numpy as np
import pandas as pd

from pipeline.evaluate.curves import binomial_interval
from pipeline.evaluate.findings import Contamination, Evaluation
from pipeline.report.style import ACCENT, DASHES, INK, MUTED, SERIES, band_scales

__all__ = [
    "AnyChart",
    "draw_confusion",
    "draw_contamination",
    "draw_history",
    "draw_light_curve",
    "draw_purity_completeness",
    "draw_redshift_histogram",
    "draw_redshift_metrics",
    "draw_reliability",
    "draw_roc",
    "flux_range",
]

AnyChart = alt.Chart | alt.LayerChart | alt.VConcatChart | alt.FacetChart
Drawing = tuple[pd.DataFrame, AnyChart]

WIDTH: Final = 400
HEIGHT: Final = 300
REDSHIFT_STEP: Final = 0.05
MAX_EPOCHS_DRAWN: Final = 400
MAX_ERROR_RATIO: Final = 4.0
BRIGHT_SNR: Final = 5.0
PERCENT: Final = alt.Axis(format="%")


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
    diagonal = _chart(chance).mark_line(color=MUTED, strokeDash=[3, 3], strokeWidth=1).encode(x=x, y=y)
    return table, (diagonal + _draw_series(table, x, y)).properties(width=WIDTH, height=HEIGHT)


def draw_purity_completeness(evaluations: Sequence[Evaluation]) -> Drawing:
    """Purity against completeness, with the headline's operating points as dots."""
    table = _join_curves(evaluations, "purity_completeness", ["completeness", "purity", "threshold"])
    points = pd.DataFrame(
        [
            (f"P(Ia) > {point.threshold:.2f}", point.metrics["completeness"].value, point.metrics["purity"].value)
            for point in evaluations[0].operating_points
        ],
        columns=["label", "completeness", "purity"],
    )
    lowest = float(np.floor(min(table.loc[table["completeness"] > 0.05, "purity"].min(), 0.9) * 10) / 10)
    x = alt.X("completeness:Q", title="completeness", scale=alt.Scale(domain=[0, 1]), axis=PERCENT)
    y = alt.Y("purity:Q", title="purity", scale=alt.Scale(domain=[lowest, 1], clamp=True), axis=PERCENT)
    shape = alt.Shape("label:N", sort=None, legend=alt.Legend(symbolFillColor=INK, symbolStrokeColor=INK))
    dots = _chart(points).mark_point(filled=True, size=55, opacity=1, color=INK).encode(x=x, y=y, shape=shape)
    layers = alt.layer(_draw_series(table, x, y), dots)
    return table, layers.properties(width=WIDTH, height=HEIGHT)


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
    base = _chart(table).encode(
        x=alt.X("called:N", title="most probable class", sort=order, axis=alt.Axis(labelAngle=0, orient="top")),
        y=alt.Y("true:N", title="true class", sort=order),
    )
    cells = base.mark_rect(color=ACCENT).encode(
        opacity=alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.03, 0.5]), legend=None)
    )
    shares = base.mark_text(dy=-7, fontSize=13, fontWeight="bold").encode(text="label:N")
    counts_ = base.mark_text(dy=9).encode(text=alt.Text("count:Q", format=","))
    return table, (cells + shares + counts_).properties(width=side, height=side)


def draw_redshift_metrics(evaluation: Evaluation) -> Drawing:
    """Metrics in bins of true redshift, one panel each, with bootstrap errors."""
    names = ["accuracy", "purity", "completeness", "figure_of_merit"]
    labels = {name: name.replace("_", " ") for name in names}
    rows = [
        ((row.low + row.high) / 2, row.count, labels[name], row.metrics[name].value, row.metrics[name].std)
        for row in evaluation.by_redshift
        for name in names
    ]
    table = pd.DataFrame(rows, columns=["redshift", "count", "metric", "value", "std"])
    table["low"] = (table["value"] - table["std"]).clip(0, 1)
    table["high"] = (table["value"] + table["std"]).clip(0, 1)
    lowest = float(np.floor(np.nanmin(table["low"].to_numpy(float)) * 10) / 10) if table["low"].notna().any() else 0.0
    scale = alt.Scale(domain=[min(lowest, 0.9), 1])
    base = alt.Chart().encode(x=alt.X("redshift:Q", title="true redshift", axis=alt.Axis(tickCount=6)))
    line = base.mark_line(color=ACCENT).encode(y=alt.Y("value:Q", title=None, scale=scale, axis=PERCENT))
    dots = line.mark_point(color=ACCENT, filled=True, size=28, opacity=1)
    bars = base.mark_rule(color=ACCENT).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    panel = alt.layer(bars, line, dots).properties(width=200, height=190)
    facet = alt.Facet("metric:N", sort=list(labels.values()), header=alt.Header(title=None))
    return table, panel.facet(facet, columns=4, data=_data(table))


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
    base = _chart(table).encode(y=y)
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
    diagonal = _chart(ends).mark_line(color=MUTED, strokeDash=[3, 3], strokeWidth=1).encode(x=x, y=y)
    color, dash = _series_scales(table["series"].unique().tolist())
    base = _chart(table).encode(x=x, color=color)
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
        _chart(first)
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


def draw_history(history: pd.DataFrame, columns: Mapping[str, str], title: str, is_log: bool = False) -> Drawing:
    """Draw quantities against epoch, one thin line per ensemble member; `columns` maps columns to their names."""
    parts = [
        pd.DataFrame(
            {
                "epoch": history["EPOCH"],
                "member": history["MEMBER"].astype(str),
                "series": name,
                "value": history[column],
            }
        )
        for column, name in columns.items()
    ]
    table = pd.concat(parts, ignore_index=True)
    color, dash = _series_scales(list(columns.values()))
    has_legend = len(columns) > 1
    lines = (
        _chart(table)
        .mark_line(strokeWidth=1.4, point=bool(history["EPOCH"].min() == history["EPOCH"].max()))
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d")),
            y=alt.Y("value:Q", title=title, scale=alt.Scale(type="log" if is_log else "linear", zero=False)),
            detail="member:N",
            color=color if has_legend else alt.value(ACCENT),
            strokeDash=dash if has_legend else alt.value([1, 0]),
        )
    )
    return table, lines.properties(width=WIDTH, height=220)


def draw_redshift_histogram(redshifts: Mapping[str, Sequence[float]]) -> Drawing:
    """Share of each part's objects in bins of true redshift, so that parts of different size can be compared."""
    values = {part: np.asarray(z, dtype=float) for part, z in redshifts.items()}
    values = {part: z[np.isfinite(z)] for part, z in values.items()}
    highest = max(float(z.max()) for z in values.values() if len(z))
    edges = np.arange(0, highest + REDSHIFT_STEP, REDSHIFT_STEP)
    edges = np.append(edges, edges[-1] + REDSHIFT_STEP)
    parts = []
    for part, z in values.items():
        count = np.histogram(z, edges)[0]
        shares = count / max(len(z), 1)
        parts.append(pd.DataFrame({"part": part, "redshift": edges[:-1].round(6), "count": count, "share": shares}))
    table = pd.concat(parts, ignore_index=True)
    color, dash = _series_scales(list(values), "part")
    lines = (
        _chart(table)
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X("redshift:Q", title="true redshift"),
            y=alt.Y("share:Q", title=f"share of the part per {REDSHIFT_STEP} in z", axis=PERCENT),
            color=color,
            strokeDash=dash,
        )
    )
    return table, lines.properties(width=WIDTH, height=220)


def draw_light_curve(epochs: pd.DataFrame, bands: Sequence[str]) -> Drawing:
    """Photometry with error bars against MJD; of more than 400 epochs an evenly spread 400."""
    rows = np.unique(np.linspace(0, len(epochs) - 1, min(len(epochs), MAX_EPOCHS_DRAWN)).astype(int))
    table = epochs.iloc[rows][["MJD", "BAND", "FLUXCAL", "FLUXCALERR"]].astype({"BAND": str}).round(3)
    table["LOW"], table["HIGH"] = table["FLUXCAL"] - table["FLUXCALERR"], table["FLUXCAL"] + table["FLUXCALERR"]
    colors, shapes = band_scales(bands)
    domain = flux_range(epochs)
    color = alt.Color("BAND:N", scale=alt.Scale(domain=list(bands), range=colors))
    base = _chart(table).encode(
        x=alt.X("MJD:Q", scale=alt.Scale(zero=False), axis=alt.Axis(format="d", tickCount=5)), color=color
    )
    y = alt.Y("FLUXCAL:Q", scale=alt.Scale(domain=domain, nice=False), title="FLUXCAL", axis=alt.Axis(tickCount=5))
    spans = base.mark_rule(clip=True, strokeWidth=0.9, opacity=0.6).encode(
        y=alt.Y("LOW:Q", scale=alt.Scale(domain=domain, nice=False)), y2="HIGH:Q"
    )
    shape = alt.Shape("BAND:N", scale=alt.Scale(domain=list(bands), range=shapes))
    dots = base.mark_point(filled=True, size=24, opacity=1, clip=True).encode(y=y, shape=shape)
    fit = alt.AutoSizeParams(type="fit", contains="padding")
    return table, (spans + dots).properties(width=320, height=230, autosize=fit)


def flux_range(epochs: pd.DataFrame) -> list[float]:
    """Lowest and highest FLUXCAL to draw: a faint epoch with an error above four times the median stretches no axis."""
    error = epochs["FLUXCALERR"]
    is_telling = (error <= MAX_ERROR_RATIO * error.median()) | (epochs["FLUXCAL"].abs() > BRIGHT_SNR * error)
    flux = epochs["FLUXCAL"][is_telling]
    margin = max(0.08 * float(flux.max() - flux.min()), float(error.median()))
    return [float(flux.min()) - margin, float(flux.max()) + margin]


def _chart(table: pd.DataFrame) -> alt.Chart:
    return alt.Chart(_data(table))


def _data(table: pd.DataFrame) -> alt.InlineData:
    """Rows as plain values, NaN as null: nothing is fetched, and no limit on rows applies."""
    rows = table.astype(object).where(table.notna(), None).to_numpy().tolist()
    return alt.InlineData(values=[dict(zip(table.columns, row, strict=True)) for row in rows])


def _join_curves(evaluations: Sequence[Evaluation], curve: str, columns: list[str]) -> pd.DataFrame:
    parts = []
    for evaluation in evaluations:
        values = {name: getattr(getattr(evaluation, curve), name) for name in columns}
        part = pd.DataFrame(values)
        part.insert(0, "series", evaluation.name)
        part["step"] = np.arange(len(part))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _draw_series(table: pd.DataFrame, x: alt.X, y: alt.Y) -> alt.Chart:
    color, dash = _series_scales(table["series"].unique().tolist())
    lines = _chart(table).mark_line(clip=True)
    return cast("alt.Chart", lines.encode(x=x, y=y, color=color, strokeDash=dash, order=alt.Order("step:Q")))


def _series_scales(names: list[str], column: str = "series") -> tuple[alt.Color, alt.StrokeDash]:
    colors = [SERIES[i % len(SERIES)] for i in range(len(names))]
    dashes = [list(DASHES[i % len(DASHES)]) for i in range(len(names))]
    color = alt.Color(f"{column}:N", scale=alt.Scale(domain=names, range=colors), legend=alt.Legend(columns=2))
    return color, alt.StrokeDash(
        f"{column}:N", scale=alt.Scale(domain=names, range=dashes), legend=alt.Legend(columns=2)
    )
