"""All speed measurements in one table: `python -m tests.benchmarks`, or `make bench`."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from pipeline.provenance import versions
from tests.benchmarks import classifying, evaluating, reading, tables
from tests.real_data import find_real_data


def main() -> None:
    """Measure and print."""
    data = find_real_data()
    console = Console(width=160)
    if data is None:
        console.print("The SPCC is not here (set SNFLOW_DATA): measured on the survey that snflow simulates.")
    table = Table(title=f"{platform.machine()}, {os.cpu_count()} cores, snflow {versions()['snflow']}")
    for name in ("what", "rate", "unit", "note"):
        table.add_column(name, justify="right" if name == "rate" else "left")
    with TemporaryDirectory(prefix="snflow-bench-") as scratch:
        for module in (reading, tables, classifying, evaluating):
            for row in module.run(data, Path(scratch)):
                table.add_row(row.name, f"{row.value:,.0f}", row.unit, row.note)
    console.print(table)


if __name__ == "__main__":
    main()
