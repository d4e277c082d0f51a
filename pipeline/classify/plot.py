"""One object in a picture: its photometry, and what the classifier says of it after each night."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from pipeline.classify.nights import classify_nights
from pipeline.schema import LightCurves, probability_columns

if TYPE_CHECKING:
    from pipeline.classify.predict import Classifier

__all__ = ["plot_object"]

COLOURS: Final = ("#4477aa", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#66ccee")
"""Of bands, from blue to red; told apart by the colour-blind, too (P. Tol's bright scheme)."""
CLASS_COLOURS: Final = ("#222222", "#999999", "#882255", "#44aa99", "#999933", "#88ccee")
"""Of classes: none is that of a band (black, grey, and P. Tol's muted scheme)."""
WIDTH: Final = 520
MAX_NIGHTS: Final = 200
"""Nights drawn, at most."""


def plot_object(classifier: Classifier, light_curves: LightCurves, snid: str) -> Any:
    """Return an Altair chart: fluxes above, probabilities after each night below, over the same days.

    Raises:
        ValueError: if there is no object of this name.
    """
    import altair as alt

    try:
        one = light_curves.select([snid])
    except KeyError as error:
        raise ValueError(str(error.args[0])) from None
    bands, classes = classifier.checkpoint.experiment.bands, classifier.classes
    days = alt.X("MJD:Q", title="MJD [d]", scale=alt.Scale(zero=False), axis=alt.Axis(format="~f"))
    colour = alt.Color("BAND:N", title="band", scale=_scale(alt, bands, COLOURS))
    base = alt.Chart(fluxes(one, bands)).encode(x=days, color=colour)
    points = base.mark_point(filled=True).encode(
        y=alt.Y("FLUXCAL:Q", title="FLUXCAL"), tooltip=["MJD", "BAND", "FLUXCAL", "FLUXCALERR"]
    )
    bars = base.mark_rule().encode(y=alt.Y("low:Q"), y2="high:Q")
    probable = (
        alt.Chart(probabilities(classifier, one))
        .mark_line(point=True)
        .encode(
            x=days,
            y=alt.Y("P:Q", title="P(class)", scale=alt.Scale(domain=[0, 1])),
            color=alt.Color("CLASS:N", title="class", scale=_scale(alt, classes, CLASS_COLOURS)),
            tooltip=["MJD", "CLASS", "P", "STATUS"],
        )
    )
    upper = (bars + points).properties(width=WIDTH, height=220, title=f"{snid}, by {classifier.name}")
    lower = probable.properties(width=WIDTH, height=130)
    return alt.vconcat(upper, lower).resolve_scale(x="shared", color="independent")


def fluxes(one: LightCurves, bands: tuple[str, ...]) -> pd.DataFrame:
    """Return the measurements in the model's bands, with the ends of their error bars."""
    epochs = one.epochs[one.epochs["BAND"].isin(bands)].drop(columns="PHOTFLAG")
    low, high = (epochs["FLUXCAL"] + sign * epochs["FLUXCALERR"] for sign in (-1, 1))
    return epochs.assign(BAND=epochs["BAND"].astype("str"), low=low, high=high)


def probabilities(classifier: Classifier, one: LightCurves) -> pd.DataFrame:
    """Return MJD, STATUS, CLASS and P after each night on which there are probabilities."""
    nights = classify_nights(classifier, one, max_nights=MAX_NIGHTS)
    columns = probability_columns(classifier.classes)
    table: pd.DataFrame = nights.melt(["MJD", "STATUS"], columns, "CLASS", "P")
    table["CLASS"] = table["CLASS"].str.removeprefix("P_")
    return table.dropna(subset="P")


def _scale(alt: Any, names: tuple[str, ...], colours: tuple[str, ...]) -> Any:
    return alt.Scale(domain=list(names), range=[colours[place % len(colours)] for place in range(len(names))])
