"""JSON Schema of our dataclasses, with the descriptions that stand in their docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any, Final

from pydantic import TypeAdapter

__all__ = ["describe"]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def describe(kind: type, title: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a dataclass and of those within it.

    Args:
        kind: dataclass, whose docstring may have a section "Attributes:".
        title: of the schema.
    """
    found = TypeAdapter(kind).json_schema()
    classes = {member.__name__: member for member in _classes_within(kind)}
    for name, definition in found.get("$defs", {}).items():
        _explain(definition, classes[name])
    _explain(found, kind)
    return {"$schema": DIALECT, **found, "title": title}


def _classes_within(kind: Any) -> list[type]:
    """Find every dataclass in the annotations of one, itself included."""
    if not dataclasses.is_dataclass(kind):
        return [found for part in getattr(kind, "__args__", ()) for found in _classes_within(part)]
    hints = inspect.get_annotations(kind, eval_str=True) if isinstance(kind, type) else {}
    return [*([kind] if isinstance(kind, type) else []), *(c for hint in hints.values() for c in _classes_within(hint))]


def _explain(definition: dict[str, Any], kind: type) -> None:
    """Take the summary and what is said of each attribute from the docstring."""
    text = inspect.getdoc(kind) or ""
    summary, _, attributes = text.partition("\n\nAttributes:\n")
    definition["description"] = _one_line(summary)
    for name, said in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE):
        if name in definition.get("properties", {}):
            definition["properties"][name]["description"] = _one_line(said)


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
