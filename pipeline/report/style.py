"""Colours and type of the figures, safe for colour-blind readers, on paper and in the dark.

The SVG carries the light colours; on the page a style sheet exchanges each of them for its partner when the reader's
system is dark. Series differ by dash, bands by symbol as well, so that no figure depends on colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

__all__ = [
    "ACCENT",
    "BAND_STYLES",
    "CONFIG",
    "DARK_PARTNERS",
    "DASHES",
    "INK",
    "MUTED",
    "SERIES",
    "band_scales",
    "dark_rules",
    "order_bands",
    "series_style",
]

INK: Final = "#1b2430"
MUTED: Final = "#5c6874"
RULE: Final = "#dde2e7"
ACCENT: Final = "#0067a6"
SERIES: Final = (ACCENT, "#c8500a", "#00845f", "#a8558a", "#8a6a00", "#4d4d4f")
"""After Okabe & Ito (2008), darkened to a contrast of at least 4 on white."""

DASHES: Final = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3), (4, 4), (1, 3))

BAND_STYLES: Final = {
    "u": ("#6a4fb3", "circle"),
    "g": ("#00845f", "triangle-up"),
    "r": ("#c8500a", "triangle-down"),
    "i": ("#a8558a", "square"),
    "z": ("#4d4d4f", "diamond"),
    "y": ("#8a6a00", "cross"),
}
"""Colour and symbol by band, in order of wavelength."""

DARK_PARTNERS: Final = {
    INK: "#e6eaee",
    MUTED: "#a3adb8",
    RULE: "#343c46",
    ACCENT: "#56b4e9",
    "#c8500a": "#ff8c4c",
    "#00845f": "#2fc99a",
    "#a8558a": "#e79ac9",
    "#8a6a00": "#e3bd3d",
    "#4d4d4f": "#c9ced4",
    "#6a4fb3": "#b09af0",
}

FONT: Final = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"

CONFIG: Final[dict[str, Any]] = {
    "aria": False,  # the page describes each figure as a whole
    "background": None,
    "font": FONT,
    "padding": 4,
    "view": {"stroke": None},
    "axis": {
        "domainColor": MUTED,
        "gridColor": RULE,
        "labelColor": MUTED,
        "labelFontSize": 11,
        "labelFlush": False,
        "labelOverlap": True,
        "labelSeparation": 4,
        "tickColor": MUTED,
        "tickSize": 4,
        "titleColor": INK,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
    },
    "header": {"labelColor": INK, "labelFontSize": 12, "title": None},
    "legend": {
        "labelColor": INK,
        "labelFontSize": 11,
        "labelLimit": 320,
        "orient": "top",
        "symbolOpacity": 1,
        "symbolStrokeWidth": 2,
        "title": None,
    },
    "text": {"color": INK, "fontSize": 11},
    "line": {"strokeWidth": 1.8},
    "rule": {"strokeWidth": 1.2},
}
"""Vega-Lite configuration of every figure."""


def series_style(place: int) -> tuple[str, tuple[int, ...]]:
    """Return colour and dash of a series; after the sixth, colours come again with other dashes.

    >>> len({series_style(place) for place in range(36)})
    36
    """
    turn, color = divmod(place, len(SERIES))
    return SERIES[color], DASHES[(color + turn) % len(DASHES)]


def order_bands(bands: Iterable[str]) -> list[str]:
    """Put known bands in order of wavelength, others after them by name.

    >>> order_bands({"z", "g", "clear", "r"})
    ['g', 'r', 'z', 'clear']
    """
    known = list(BAND_STYLES)
    return sorted(set(bands), key=lambda band: (known.index(band) if band in known else len(known), band))


def band_scales(bands: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return a colour and a symbol for each band; unknown bands take turns with what the known ones leave over."""
    spare = [style for band, style in BAND_STYLES.items() if band not in bands] or list(BAND_STYLES.values())
    unknown = [band for band in bands if band not in BAND_STYLES]
    styles = BAND_STYLES | {band: spare[i % len(spare)] for i, band in enumerate(unknown)}
    return [styles[band][0] for band in bands], [styles[band][1] for band in bands]


def dark_rules() -> str:
    """Return the style rules that exchange the colours of inline SVG for their dark partners."""
    return "\n".join(
        f'svg [{attribute}="{light}"] {{ {attribute}: {dark}; }}'
        for light, dark in DARK_PARTNERS.items()
        for attribute in ("fill", "stroke")
    )
