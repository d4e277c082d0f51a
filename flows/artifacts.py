"""What each run leaves in Prefect to look at: a text and a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from prefect.artifacts import create_markdown_artifact, create_table_artifact

__all__ = ["publish"]


def publish(key: str, title: str, summary: Mapping[str, Any], text: str = "") -> None:
    """Leave a markdown artifact with a title, a text and where to look, and a table artifact of the summary."""
    create_markdown_artifact(key=key, markdown=f"# {title}\n\n{text}", description=title)
    rows = [{"what": name, "value": _show(value)} for name, value in summary.items()]
    create_table_artifact(key=f"{key}-summary", table=rows, description=title)


def _show(value: object) -> str:
    if isinstance(value, Mapping):
        inner = cast("Mapping[str, object]", value)
        return ", ".join(f"{name}: {_show(item)}" for name, item in inner.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
