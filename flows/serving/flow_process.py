"""One flow run, in a process of its own that ends with its parent: `python -m ... RUN PARENT`."""

from __future__ import annotations

import runpy
import sys

from pipeline.processes import end_with_parent

__all__: list[str] = []

if __name__ == "__main__":
    run, parent = sys.argv[1:]
    end_with_parent(int(parent))
    sys.argv[1:] = [run]
    runpy.run_module("prefect.engine", run_name="__main__")
