"""Charts of the data: training history, redshifts, and light curves with what the classifier said night by night."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

import altair as alt
import numpy as np
import pandas as pd

from pipeline.report.chart_parts import PERCENT, WIDTH, Drawing, chart_of, pick_series, series_scales
from pipeline.report.content import HistoryRow, RedshiftHistogram
from pipeline.report.gallery import GalleryCurve
from pipeline.report.style import ACCENT, band_scales, series_style

__all__ = ["draw_history", "draw_light_curve", "draw_redshift_histogram", "flux_range"]

MAX_ERROR_RATIO: Final = 4.0
BRIGHT_SNR: Final = 5.0
CARD_WIDTH: Final = 320


def draw_history(history: Sequence[HistoryRow], fields: Mapping[str, str], title: str, is_log: bool = False) -> Drawing:
    """Draw quantities against epoch, one thin line per ensemble member; `fields` maps fields to their names."""
    rows = [
        (row.epoch, str(row.member), name, getattr(row, field)) for field, name in fields.items() for row in history
    ]
    table = pd.DataFrame(rows, columns=["epoch", "member", "series", "value"])
    color, dash = series_scales(list(fields.values()))
    has_legend = len(fields) > 1
    pick, opacity = pick_series()
    lines = (
        chart_of(table, "lines")
        .mark_line(strokeWidth=1.4, point=True if table["epoch"].max() == 1 else alt.Undefined)
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(values=_ticks(table["epoch"].max()), format="d")),
            y=alt.Y(
                "value:Q",
                title=title,
                axis=alt.Axis(format="~g"),
                scale=alt.Scale(type="log") if is_log else alt.Scale(zero=False),
            ),
            detail="member:N",
            color=color if has_legend else alt.value(ACCENT),
            strokeDash=dash if has_legend else alt.value([1, 0]),
        )
    )
    if has_legend:
        lines = lines.encode(strokeOpacity=opacity).add_params(pick)
    return table, lines.properties(width=WIDTH, height=220)


def draw_redshift_histogram(found: RedshiftHistogram) -> Drawing:
    """Share of each part's objects in bins of true redshift, so that parts of different size can be compared."""
    parts = [
        pd.DataFrame(
            {
                "part": part,
                "redshift": found.edges,
                "count": [*counts, 0],
                "share": np.append(counts, 0) / max(sum(counts), 1),
            }
        )
        for part, counts in found.counts.items()
        if sum(counts)
    ]
    table = pd.concat(parts, ignore_index=True)
    color, dash = series_scales(table["part"].unique().tolist(), "part")
    pick, opacity = pick_series("part")
    lines = (
        chart_of(table, "lines")
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X("redshift:Q", title="true redshift"),
            y=alt.Y("share:Q", title="share of the part per bin", axis=PERCENT),
            color=color,
            strokeDash=dash,
            strokeOpacity=opacity,
        )
    )
    return table, lines.add_params(pick).properties(width=WIDTH, height=220)


def draw_light_curve(curve: GalleryCurve, bands: Sequence[str]) -> Drawing:
    """Photometry with error bars against MJD, over the probabilities after each night where they are known."""
    columns = {"MJD": curve.mjd, "BAND": curve.band, "FLUXCAL": curve.flux, "FLUXCALERR": curve.error}
    table = pd.DataFrame(columns).astype({"MJD": float, "FLUXCAL": float, "FLUXCALERR": float}).round(3)
    table["LOW"], table["HIGH"] = table["FLUXCAL"] - table["FLUXCALERR"], table["FLUXCAL"] + table["FLUXCALERR"]
    domain = [float(min(curve.mjd)), float(max(curve.mjd))]
    upper = _photometry(table, curve, bands, domain)
    if not curve.history_mjd:
        return table, upper
    return table, alt.vconcat(upper, _probabilities(curve, domain), spacing=4).resolve_scale(
        color="independent", shape="independent", strokeDash="independent"
    )


def _ticks(last: int) -> list[int]:
    """Return whole epochs to label, some ten of them."""
    return [1, *range(step, last + 1, step)] if (step := max(1, round(last / 10))) > 1 else list(range(1, last + 1))


def flux_range(flux: Sequence[float], error: Sequence[float]) -> list[float]:
    """Lowest and highest FLUXCAL to draw: a faint epoch with an error above four times the median stretches no axis."""
    fluxes, errors = np.asarray(flux, dtype=float), np.asarray(error, dtype=float)
    median = float(np.median(errors))
    is_telling = (errors <= MAX_ERROR_RATIO * median) | (np.abs(fluxes) > BRIGHT_SNR * errors)
    telling = fluxes[is_telling]
    margin = max(0.08 * float(telling.max() - telling.min()), median)
    return [float(telling.min()) - margin, float(telling.max()) + margin]


def _photometry(table: pd.DataFrame, curve: GalleryCurve, bands: Sequence[str], domain: list[float]) -> alt.LayerChart:
    colors, shapes = band_scales(bands)
    scale = alt.Scale(domain=flux_range(curve.flux, curve.error), nice=False)
    color = alt.Color("BAND:N", scale=alt.Scale(domain=list(bands), range=colors))
    x = alt.X("MJD:Q", title=None, scale=alt.Scale(domain=domain, padding=6), axis=alt.Axis(format="d", tickCount=5))
    base = chart_of(table).encode(x=x, color=color)
    spans = base.mark_rule(clip=True, strokeWidth=0.9, opacity=0.6).encode(y=alt.Y("LOW:Q", scale=scale), y2="HIGH:Q")
    dots = base.mark_point(filled=True, size=24, opacity=1, clip=True).encode(
        y=alt.Y("FLUXCAL:Q", scale=scale, title="FLUXCAL", axis=alt.Axis(tickCount=5)),
        shape=alt.Shape("BAND:N", scale=alt.Scale(domain=list(bands), range=shapes)),
    )
    rows = [
        (time, band, flux)
        for band, fluxes in curve.step_flux.items()
        for time, flux in zip(curve.steps, fluxes, strict=True)
        if np.isfinite(flux)
    ]
    steps = pd.DataFrame(rows, columns=["MJD", "BAND", "FLUXCAL"]).astype({"MJD": float, "FLUXCAL": float}).round(3)
    lines = (
        chart_of(steps)
        .mark_line(clip=True, strokeWidth=1, opacity=0.7)
        .encode(x=x, y=alt.Y("FLUXCAL:Q", scale=scale), color=color)
    )
    return cast("alt.LayerChart", alt.layer(lines, spans, dots).properties(width=CARD_WIDTH, height=190))


def _probabilities(curve: GalleryCurve, domain: list[float]) -> alt.Chart:
    names = [name for name in curve.history if name != "nonIa"]
    rows = [
        (time, name, value)
        for name in names
        for time, value in zip(curve.history_mjd, curve.history[name], strict=True)
    ]
    table = pd.DataFrame(rows, columns=["MJD", "class", "P"]).round(4)
    styles = [series_style(place) for place in range(len(names))]
    scale = alt.Scale(domain=names, range=[color for color, _ in styles])
    dashes = alt.Scale(domain=names, range=[list(dash) for _, dash in styles])
    legend = alt.Legend(columns=4, orient="bottom")
    lines = (
        chart_of(table)
        .mark_line(interpolate="step-after", strokeWidth=1.4, clip=True)
        .encode(
            x=alt.X("MJD:Q", scale=alt.Scale(domain=domain, padding=6), axis=alt.Axis(format="d", tickCount=5)),
            y=alt.Y("P:Q", title="P", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(values=[0, 0.5, 1])),
            color=alt.Color("class:N", scale=scale, legend=legend),
            strokeDash=alt.StrokeDash("class:N", scale=dashes, legend=legend),
        )
    )
    return cast("alt.Chart", lines.properties(width=CARD_WIDTH, height=70))
