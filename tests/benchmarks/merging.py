"""One table of protocols from draws of several machines: `python -m tests.benchmarks.merging FIRST.json NEXT.json …`.

Each file is a `protocols.json` of `snflow protocols`. Draws of a row that are in two files are taken from the later one
if it has all draws of the earlier one, and refused otherwise. Values of networks stand by draw; the means of the
baselines and of CPU seconds are put together by their number of draws.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.files import write_atomically
from pipeline.protocols.definitions import PROTOCOLS
from pipeline.protocols.summary import SUMMARY_FILE, TABLE_FILE, is_better, markdown

Row = dict[str, Any]

BASELINES: Final = ("classical", "control", "majority")
LISTS: Final = ("devices", "snflow", "data_hash")


def main() -> None:
    """Merge and write."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.merging", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", help="summaries of snflow protocols, the latest last")
    parser.add_argument("--out", type=Path, required=True, help="folder for protocols.json and protocols.md")
    arguments = parser.parse_args()
    rows: dict[tuple[str, int], Row] = {}
    for file in arguments.files:
        for row in json.loads(file.read_text(encoding="utf-8"))["rows"]:
            name = row["row"], row["members"]
            rows[name] = merged(rows[name], row) if name in rows else row
    order = list(PROTOCOLS)
    summary = {"rows": sorted(rows.values(), key=lambda row: (order.index(row["row"]), row["members"]))}
    write_atomically(arguments.out / SUMMARY_FILE, json.dumps(summary, indent=1) + "\n")
    write_atomically(arguments.out / TABLE_FILE, markdown(summary))
    for row in summary["rows"]:
        print(row["row"], row["members"], row["draws"])


def merged(first: Row, later: Row) -> Row:
    """Put the draws of a row of two summaries together, in the order of the draws."""
    if set(first["draws"]) <= set(later["draws"]):
        return later
    if twice := set(first["draws"]) & set(later["draws"]):
        raise SystemExit(
            f"draws {sorted(twice)} of {first['row']} are in both files; the later has not all of the earlier"
        )
    draws = first["draws"] + later["draws"]
    order = [int(place) for place in np.argsort(draws)]
    comparable = first["is_comparable"] and later["is_comparable"]
    return {
        **later,
        "draws": [draws[place] for place in order],
        **{name: sorted({*first[name], *later[name]}) for name in LISTS},
        "is_comparable": comparable,
        "notes": list(dict.fromkeys(first["notes"] + later["notes"])),
        "cpu_seconds": {
            name: round(mean_of(first, later, first["cpu_seconds"][name], seconds), 1)
            for name, seconds in later["cpu_seconds"].items()
        },
        "metrics": {name: merged_metric(first, later, name, order) for name in later["metrics"]},
        "confusion": merged_confusion(first["confusion"], later["confusion"]),
    }


def mean_of(first: Row, later: Row, one: float, other: float) -> float:
    """Return the mean over all draws, from those of either summary."""
    return float(np.average([one, other], weights=[len(first["draws"]), len(later["draws"])]))


def merged_metric(first: Row, later: Row, name: str, order: list[int]) -> dict[str, Any]:
    """Put a metric's values and baselines together; an undefined value leaves its mean undefined."""
    one, other = first["metrics"][name], later["metrics"][name]
    values = [(one["values"] + other["values"])[place] for place in order]
    is_defined = None not in values
    mean = float(np.mean(values)) if is_defined else math.nan
    record, goal = other["record"], other["goal"]
    return {
        **other,
        "mean": mean if is_defined else None,
        "std": float(np.std(values, ddof=1)) if is_defined else None,
        "values": values,
        "beats_record": None if other["beats_record"] is None else is_better(name, mean, record["value"]),
        "meets_goal": None if other["meets_goal"] is None else is_better(name, mean, goal) or mean == goal,
        **{
            who: None if None in (one[who], other[who]) else mean_of(first, later, one[who], other[who])
            for who in BASELINES
        },
    }


def merged_confusion(one: dict[str, Any] | None, other: dict[str, Any] | None) -> dict[str, Any] | None:
    """Add up what each class is taken for; None where either summary does not know."""
    if one is None or other is None or one["classes"] != other["classes"]:
        return None
    return {**other, "counts": np.add(one["counts"], other["counts"]).tolist()}


if __name__ == "__main__":
    main()
