"""What the charts share: tables as inline data, series told apart by colour and dash, and a legend that chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import altair as alt
import numpy as np
import pandas as pd

from pipeline.report.style import series_style

__all__ = [
    "HEIGHT",
    "PERCENT",
    "WIDTH",
    "AnyChart",
    "Drawing",
    "chart_of",
    "data_of",
    "draw_lines",
    "lower_limit",
    "pick_series",
    "series_scales",
]

AnyChart = alt.Chart | alt.LayerChart | alt.VConcatChart | alt.FacetChart
Drawing = tuple[pd.DataFrame, AnyChart]

WIDTH: Final = 400
HEIGHT: Final = 300
PERCENT: Final = alt.Axis(format="%")
PALE: Final = 0.12


def chart_of(table: pd.DataFrame, name: str | None = None) -> alt.Chart:
    """Return an empty chart of a table; a view that reacts to readers needs a name of its own."""
    return alt.Chart(data_of(table), name=name or alt.Undefined)


def data_of(table: pd.DataFrame) -> alt.InlineData:
    """Rows as plain values, NaN as null: nothing is fetched, and no limit on rows applies."""
    rows = table.astype(object).where(table.notna(), None).to_numpy().tolist()
    return alt.InlineData(values=[dict(zip(table.columns, row, strict=True)) for row in rows])


def series_scales(
    names: Sequence[str], column: str = "series", columns: int = 2, symbol: str = "stroke"
) -> tuple[alt.Color, alt.StrokeDash]:
    """Return a colour and a dash for each series, with one legend for both."""
    styles = [series_style(place) for place in range(len(names))]
    colors, dashes = [color for color, _ in styles], [list(dash) for _, dash in styles]
    legend = alt.Legend(columns=columns, symbolType=symbol)
    color = alt.Color(f"{column}:N", scale=alt.Scale(domain=list(names), range=colors), legend=legend)
    dash = alt.StrokeDash(f"{column}:N", scale=alt.Scale(domain=list(names), range=dashes), legend=legend)
    return color, dash


def pick_series(column: str = "series") -> tuple[alt.Parameter, alt.StrokeOpacity]:
    """Return a choice by clicks on the legend, and the opacity that follows it; on paper all series are whole."""
    pick = alt.selection_point(name="pick", fields=[column], bind="legend")
    return pick, alt.StrokeOpacity(condition={"param": "pick", "value": 1}, value=PALE)


def draw_lines(table: pd.DataFrame, x: alt.X, y: alt.Y, name: str = "lines", column: str = "series") -> alt.Chart:
    """Lines, one per series, in the order of `step`."""
    color, dash = series_scales(table[column].unique().tolist(), column)
    pick, opacity = pick_series(column)
    lines = chart_of(table, name).mark_line(clip=True)
    encoded = lines.encode(x=x, y=y, color=color, strokeDash=dash, strokeOpacity=opacity, order=alt.Order("step:Q"))
    return cast("alt.Chart", encoded.add_params(pick))


def lower_limit(values: pd.Series[float], highest: float = 0.9) -> float:
    """Round the lowest value down to a tenth, at most `highest`: where an axis of shares may start.

    >>> lower_limit(pd.Series([0.83, 0.97]))
    0.8
    """
    found = values.dropna()
    return min(float(np.floor(found.min() * 10 + 1e-9) / 10), highest) if len(found) else 0.0
