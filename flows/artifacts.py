"""What each run leaves in Prefect to look at: a text and a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from prefect.artifacts import create_markdown_artifact, create_table_artifact

__all__ = ["publish"]


def publish(key: str, title: str, summary: Mapping[str, Any], text: str = "", page: Path | None = None) -> None:
    """Leave a markdown artifact with a title, a text and a link, and a table artifact of the summary.

    Args:
        key: of the artifact.
        title: of both.
        summary: what stands in the table; metrics with their errors stand in the markdown, too.
        text: markdown.
        page: file to look at. Browsers follow the link from pages of the same machine only, so its path stands there.
    """
    parts = [f"# {title}", text, _metrics_table(summary) if page is not None else "", _link(page)]
    create_markdown_artifact(key=key, markdown="\n\n".join(part for part in parts if part), description=title)
    rows = [{"what": name, "value": _show(value)} for name, value in summary.items()]
    create_table_artifact(key=f"{key}-summary", table=rows, description=title)


def _metrics_table(summary: Mapping[str, Any]) -> str:
    """Metrics with their bootstrap errors as markdown; nothing where there are none."""
    found = [(name, value) for name, value in summary.items() if isinstance(value, Mapping) and "std" in value]
    rows = [f"| {name.replace('_', ' ')} | {value['value']:.4f} | {value['std']:.4f} |" for name, value in found]
    return "\n".join(["| metric | value | ± |", "|---|---:|---:|", *rows]) if rows else ""


def _link(page: Path | None) -> str:
    return "" if page is None else f"[Open the report]({page.resolve().as_uri()}): `{page.resolve()}`"


def _show(value: object) -> str:
    if isinstance(value, Mapping):
        inner = cast("Mapping[str, object]", value)
        return ", ".join(f"{name}: {_show(item)}" for name, item in inner.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
