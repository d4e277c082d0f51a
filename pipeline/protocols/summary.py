"""The table of protocols: our numbers over draws, beside the records, the goals and the baselines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from filelock import FileLock

from pipeline.evaluate.metrics import LOWER_IS_BETTER
from pipeline.files import write_atomically
from pipeline.protocols.definitions import FOM_AT_THRESHOLD, PROTOCOLS, Protocol
from pipeline.protocols.draw import read_results

__all__ = [
    "HEADINGS",
    "SUMMARY_FILE",
    "TABLE_FILE",
    "markdown",
    "summarise",
    "table_lines",
    "table_notes",
    "write_summary",
]

SUMMARY_FILE: Final = "protocols.json"
TABLE_FILE: Final = "protocols.md"
BASELINES: Final = ("classical", "control", "majority")
SHOWN_CONFUSED: Final = ("P13",)
"""Protocols whose confusion matrix the table for people has, too; `protocols.json` has all."""

SPEED: Final = "light_curves_per_cpu_second"

HEADINGS: Final = ("row", "asked", "metric", "ours", "draws", "record", "by", "goal", "verdict", *BASELINES)
"""Columns of the table."""

METRIC_NAMES: Final = {
    "auc": "AUC",
    "figure_of_merit": "FoM",
    FOM_AT_THRESHOLD: "FoM at the chosen threshold",
    "balanced_accuracy": "balanced accuracy",
    "ece": "ECE",
    "log_loss": "log-loss",
    SPEED: "light curves/CPU s",
    "share_with_redshift": "called Ia, redshift",
    "share_without_redshift": "called Ia, no redshift",
}

Summary = dict[str, Any]


def write_summary(out: Path) -> Summary:
    """Write `protocols.json` and `protocols.md` from all finished draws in a folder; return the first."""
    with FileLock(out / ".table.lock"):  # of another run in the same folder
        summary = summarise(read_results(out))
        write_atomically(out / SUMMARY_FILE, json.dumps(summary, indent=1) + "\n")
        write_atomically(out / TABLE_FILE, markdown(summary))
    return summary


def summarise(results: Iterable[dict[str, Any]]) -> Summary:
    """Put the results of draws together, row by row in the order of PROTOCOLS.

    Returns:
        `rows`: each with its draws, notes and, per metric, the mean and standard deviation over the draws (null with
        one draw, or where undefined), the record, the goal, whether they are beaten or met, and the baselines' means;
        and the confusion matrix of all draws together.
    """
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for result in sorted(results, key=lambda one: one["draw"]):
        found.setdefault((result["row"], result["members"]), []).append(result)
    rows = []
    for protocol in PROTOCOLS.values():
        answered_by = protocol.id if protocol.asks == "real sky" else protocol.trained_as
        rows += [summarise_row(protocol, draws) for (row, _), draws in sorted(found.items()) if row == answered_by]
    return {"rows": rows}


def summarise_row(protocol: Protocol, draws: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Put the draws of a row together."""
    notes = list(dict.fromkeys(note for draw in draws for note in (*draw["deviations"], *draw["notes"])))
    is_comparable = not any(draw["deviations"] for draw in draws)
    return {
        "row": protocol.id,
        "protocol": protocol.protocol,
        "task": protocol.task,
        "members": draws[0]["members"],
        "draws": [draw["draw"] for draw in draws],
        "devices": sorted({draw["device"] for draw in draws}),
        "snflow": sorted({draw["versions"]["snflow"] for draw in draws}),
        "data_hash": sorted({draw["data_hash"] for draw in draws}),
        "is_comparable": is_comparable,
        "notes": notes,
        "cpu_seconds": {
            name: round(float(np.mean([draw["cpu_seconds"][name] for draw in draws])), 1)
            for name in draws[0]["cpu_seconds"]
        },
        "metrics": {name: summarise_metric(protocol, name, draws, is_comparable) for name in protocol.metrics},
        "confusion": summarise_confusion(draws),
    }


def summarise_confusion(draws: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Add up the test objects of a true class (row) by most probable class (column); None where a draw has none."""
    if not all("confusion" in draw for draw in draws):
        return None
    counts = np.sum([draw["confusion"] for draw in draws], axis=0)
    return {"classes": draws[0]["classes"], "counts": counts.tolist()}


def summarise_metric(
    protocol: Protocol, name: str, draws: Sequence[dict[str, Any]], is_comparable: bool
) -> dict[str, Any]:
    """Put one metric of a row's draws together; what is not run as the protocol says beats and meets nothing."""
    values = [value_of(draw, "network", name) for draw in draws]
    mean = float(np.mean(values))
    record, goal = protocol.records.get(name), protocol.goal.get(name)
    return {
        "mean": or_null(mean),
        "std": or_null(float(np.std(values, ddof=1)) if len(values) > 1 else math.nan),
        "values": [or_null(value) for value in values],
        "record": None if record is None else asdict(record),
        "goal": goal,
        "beats_record": None if record is None or not is_comparable else is_better(name, mean, record.value),
        "meets_goal": None if goal is None or not is_comparable else is_better(name, mean, goal) or mean == goal,
        **{who: or_null(float(np.mean([value_of(draw, who, name) for draw in draws]))) for who in BASELINES},
    }


def value_of(draw: dict[str, Any], who: str, metric: str) -> float:
    """Return a metric of a draw's networks or of a baseline; NaN where undefined or not asked of it."""
    if metric == SPEED:
        seconds = draw["cpu_seconds"].get(who)
        return draw["split"]["test"] / seconds if seconds else math.nan
    value = draw["metrics"].get(who, {}).get(metric)
    return math.nan if value is None else float(value)


def is_better(metric: str, value: float, than: float) -> bool:
    """Whether a value is better than another; one that is undefined is not."""
    return value < than if metric in LOWER_IS_BETTER else value > than


def or_null(value: float) -> float | None:
    """Return a number as JSON holds it."""
    return None if math.isnan(value) else value


def table_lines(summary: Summary) -> list[tuple[str, ...]]:
    """Return the table's cells as text, one line a metric, in the columns of HEADINGS; – where there is no number."""
    return [
        (
            row_name(row),
            row["task"],
            METRIC_NAMES.get(name, name),
            _measured(name, found),
            str(len(row["draws"])),
            _number(name, None if found["record"] is None else found["record"]["value"]),
            "–" if found["record"] is None else _source(found["record"]),
            _number(name, found["goal"]),
            verdict(row, found),
            *(_number(name, found[who]) for who in BASELINES),
        )
        for row in summary["rows"]
        for name, found in row["metrics"].items()
    ]


def table_notes(summary: Summary) -> list[str]:
    """Return what a reader of the table must know, one sentence a note, with the rows that it is about."""
    rows_of: dict[str, list[str]] = {}
    for row in summary["rows"]:
        for note in row["notes"]:
            rows_of.setdefault(note, []).append(row["row"])
    return [f"{', '.join(dict.fromkeys(rows))}: {note}." for note, rows in rows_of.items()]


def verdict(row: dict[str, Any], found: dict[str, Any]) -> str:
    """Say in a word how a number compares with the goal and the record."""
    if not row["is_comparable"]:
        return "not comparable"
    if found["meets_goal"]:
        return "goal met"
    if found["beats_record"]:
        return "record beaten" if found["goal"] is None else "record beaten, short of the goal"
    if found["goal"] is None and found["record"] is None:
        return "–"
    return "short"


def markdown(summary: Summary) -> str:
    """Write the table for people."""
    lines = [
        "# Published protocols",
        "",
        "Means over draws ± their standard deviation. The training parts, in which the validation parts lie, are drawn "
        "by seed; all others of known class are tested on, in their natural mix. The networks read the host photo-z "
        "where the row does not say otherwise. Classical: boosted trees on "
        "light-curve features. Control: boosted trees on header and cadence only. Majority: the most frequent class.",
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "|" + " --- |" * len(HEADINGS),
        *("| " + " | ".join(cells) + " |" for cells in table_lines(summary)),
        "",
        *(f"- {note}" for note in table_notes(summary)),
        *(line for row in summary["rows"] if row["protocol"] in SHOWN_CONFUSED for line in confusion_lines(row)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def confusion_lines(row: dict[str, Any]) -> list[str]:
    """Write what the objects of each true class are taken for, as shares; nothing where it was not kept."""
    if row["confusion"] is None:
        return []
    classes, counts = row["confusion"]["classes"], np.array(row["confusion"]["counts"])
    n_true = counts.sum(axis=1)
    return [
        "",
        f"## {row_name(row)}: what each class is taken for",
        "",
        f"Test objects of {len(row['draws'])} draw{'s' if len(row['draws']) > 1 else ''} together.",
        "",
        "| true | objects | " + " | ".join(classes) + " |",
        "| --- |" + " ---: |" * (1 + len(classes)),
        *(
            f"| {name} | {n} | " + " | ".join(f"{count / n:.1%}" if n else "–" for count in called) + " |"
            for name, n, called in zip(classes, n_true, counts, strict=True)
        ),
    ]


def row_name(row: dict[str, Any]) -> str:
    """Return the name of a row, with the number of networks of an ensemble."""
    return row["row"] if row["members"] == 1 else f"{row['row']} × {row['members']}"


def _measured(name: str, found: dict[str, Any]) -> str:
    value, spread = _number(name, found["mean"]), found["std"]
    return value if spread is None else f"{value} ± {_number(name, spread)}"


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if name == SPEED else f"{value:.4f}"


def _source(record: dict[str, Any]) -> str:
    note = f"; {record['note']}" if record["note"] else ""
    return f"{record['who']} (arXiv:{record['arxiv']}{note})"
