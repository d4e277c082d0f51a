"""What verbs print: summaries for people or machines on standard output, sentences on standard error."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["print_json", "print_line", "say", "show", "typed_command"]


def show(title: str, summary: Mapping[str, Any], as_json: bool) -> None:
    """Print a summary as a table of two columns, or as JSON."""
    if as_json:
        print_json(summary)
        return
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in summary.items():
        table.add_row(name, json.dumps(value) if isinstance(value, dict | list | tuple) else str(value))
    Console().print(table)


def print_json(summary: Mapping[str, Any]) -> None:
    """Print a summary for a machine."""
    sys.stdout.write(json.dumps(summary, indent=2, default=str) + "\n")


def print_line(text: str) -> None:
    """Print a line of the result as it is, however long."""
    sys.stdout.write(text + "\n")


def say(text: str) -> None:
    """Print a sentence for people, on standard error, so that standard output stays the result alone."""
    Console(stderr=True, highlight=False).print(text, soft_wrap=True, markup=False)


def typed_command() -> str:
    """Return the command that was typed, for the record."""
    return shlex.join(["snflow", *sys.argv[1:]])
