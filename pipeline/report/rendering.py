"""Figures as SVG for the page, as specifications that the page draws anew, and as PDF, SVG and CSV for papers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import altair as alt
import vl_convert

from pipeline.files import write_atomically
from pipeline.report.content import Report
from pipeline.report.figures import Figure, draw_figures, draw_gallery
from pipeline.report.style import CONFIG

__all__ = ["COLUMN_MM", "PAGE_MM", "interactive_config", "render_pdf", "render_svg", "vega_script", "write_figures"]

VEGA_LITE: Final = alt.SCHEMA_VERSION.lstrip("v").rpartition(".")[0]
COLUMN_MM: Final = 88.0
"""Width of one column of a journal [mm]."""
PAGE_MM: Final = 180.0
"""Width of both columns [mm]."""
POINTS_PER_MM: Final = 72 / 25.4
PRINT_TYPE: Final = 1.3
"""Type is larger on paper by this factor, so that a figure shrunk to a column still has letters of 7 points."""


def render_svg(figure: Figure) -> str:
    """Return the figure as SVG whose ids carry the figure's key, so that many can stand on one page."""
    return _render(figure.key, json.dumps(figure.chart.to_dict()))


@lru_cache(maxsize=64)
def _render(key: str, spec: str) -> str:
    svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE, config=CONFIG)
    names = {name: f"{key}-{number}" for number, name in enumerate(re.findall(r'\bid="([^"]+)"', svg))}
    for name, unique in names.items():
        svg = svg.replace(f'id="{name}"', f'id="{unique}"').replace(f"url(#{name})", f"url(#{unique})")
    # The element around it says what it shows; its marks have no names of their own.
    return str(svg).replace("<svg ", '<svg aria-hidden="true" ', 1)


def render_pdf(figure: Figure) -> bytes:
    """Return the figure as a PDF whose page is exactly one column wide, or both where the figure is wide."""
    # The size of a PDF is in points, one to each unit of the drawing; millimetres would be taken at 96 to the inch.
    return bytes(vl_convert.svg_to_pdf(_resized(_print_svg(figure), _width_mm(figure) * POINTS_PER_MM, "")))


def write_figures(report: Report, out_dir: Path) -> list[Path]:
    """Write each figure as PDF and SVG at a journal's width, and the numbers in it as CSV; return the files written."""
    out_dir.mkdir(parents=True, exist_ok=True)
    written = []
    for figure in [*draw_figures(report).values(), *(figure for _, figure in draw_gallery(report))]:
        contents = {
            "pdf": render_pdf(figure),
            "svg": _resized(_print_svg(figure), _width_mm(figure), "mm").encode(),
            "csv": figure.table.to_csv(index=False).encode(),
        }
        for ending, content in contents.items():
            path = out_dir / f"{figure.key}.{ending}"
            write_atomically(path, content)
            written.append(path)
    return written


def interactive_config() -> dict[str, Any]:
    """Return the configuration for a browser: every mark tells its numbers, lines at points that are not seen."""
    return {**CONFIG, "mark": {"tooltip": True}, "line": {**CONFIG["line"], "point": {"opacity": 0, "size": 60}}}


@cache
def vega_script() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script of 0.9 MB, without any reference to a network."""
    snippet = "window.vegaEmbed = vegaEmbed;"
    return str(vl_convert.javascript_bundle(snippet, vl_version=VEGA_LITE))


@cache
def _print_config() -> dict[str, Any]:
    enlarged = _enlarge(CONFIG)
    return {**enlarged, "background": "white", "padding": 2}


def _enlarge(values: Mapping[str, Any]) -> dict[str, Any]:
    """Multiply every size of type in a configuration."""
    return {
        name: _enlarge(value)
        if isinstance(value, Mapping)
        else value * PRINT_TYPE
        if name.lower().endswith("fontsize")
        else value
        for name, value in values.items()
    }


def _print_svg(figure: Figure) -> str:
    return str(vl_convert.vegalite_to_svg(figure.chart.to_dict(), vl_version=VEGA_LITE, config=_print_config()))


def _width_mm(figure: Figure) -> float:
    return PAGE_MM if figure.is_wide else COLUMN_MM


def _resized(svg: str, width: float, unit: str) -> str:
    """Give the root of an SVG its size on paper; its coordinates stay in `viewBox`."""
    found = [re.search(rf'<svg[^>]*\b{side}="([\d.]+)"', svg) for side in ("width", "height")]
    drawn_width, drawn_height = (float(match.group(1)) if match else 1.0 for match in found)
    for side, size in (("width", width), ("height", width * drawn_height / drawn_width)):
        svg = re.sub(rf'(<svg[^>]*\b{side}=)"[\d.]+"', rf'\g<1>"{size:.3f}{unit}"', svg, count=1)
    return svg
