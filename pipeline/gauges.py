"""Numbers of a site's last night, as a text file that Prometheus' node exporter collects (textfile collector)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.files import write_atomically

__all__ = ["GUARD_NUMBERS", "LastNight", "counts_of", "read_last_night", "write_last_night"]

GUARD_NUMBERS: Final = {"unknown": 0, "green": 1, "amber": 2, "red": 3}

HELP: Final = {
    "night_start_timestamp_seconds": "When the last night began.",
    "night_running": "1 while a night runs; 1 for long: it crashed, and nobody was left to say so.",
    "night_end_timestamp_seconds": "When the last night ended.",
    "night_duration_seconds": "How long the last night took.",
    "night_success": "1 if the last night was done, 0 if it failed or crashed.",
    "night_last_success_timestamp_seconds": "When a night last ended well.",
    "night_last_failure_timestamp_seconds": "When a night last failed; of one that crashed unseen, when it began.",
    "night_guard_status": "The drift guard's verdict: 0 not judged, 1 green, 2 amber, 3 red (its classes are held).",
    "night_changed_objects": "Objects whose light curves the last night changed.",
    "night_objects": "Of these, those of each status.",
    "night_quarantined_files": "Files that the last night could not read.",
    "night_quarantined_objects": "Objects that the last night could not read.",
    "catalogue_objects": "Objects of the catalogue with each status.",
    "held_objects": "Objects whose present classes are not published.",
    "quarantine_files": "Files in the quarantine.",
    "quarantine_objects": "Single objects of tables in the quarantine.",
}


@dataclass(frozen=True)
class LastNight:
    """What is told of the last night; times are seconds since 1970, None where there is none.

    Attributes:
        started: when it began.
        ended: None while it runs.
        success: whether it was done.
        last_success: when a night last ended well.
        last_failure: when one last failed.
        counts: values by name in HELP, and by status where it has one: `("night_objects", "classified")`.
        model: name and version of the classifier.
    """

    started: float
    ended: float | None = None
    success: bool = False
    last_success: float | None = None
    last_failure: float | None = None
    counts: Mapping[tuple[str, str], float] = field(default_factory=dict)
    model: tuple[str, str] | None = None

    def values(self) -> dict[tuple[str, str], float]:
        """Return every value by name and status; the status is empty where a name has none."""
        ended = self.ended
        told = {
            "night_start_timestamp_seconds": self.started,
            "night_running": float(ended is None),
            "night_end_timestamp_seconds": ended,
            "night_duration_seconds": None if ended is None else ended - self.started,
            "night_success": None if ended is None else float(self.success),
            "night_last_success_timestamp_seconds": self.last_success,
            "night_last_failure_timestamp_seconds": self.last_failure,
        }
        return {(name, ""): value for name, value in told.items() if value is not None} | dict(self.counts)


def counts_of(summary: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """Take from the summary of a night what is counted."""
    ingested, classified = summary["ingest"], summary["classify"]
    found = {
        "night_guard_status": GUARD_NUMBERS[summary["guard"]["status"]],
        "night_changed_objects": summary["n_changed"],
        "night_quarantined_files": ingested["n_quarantined"],
        "night_quarantined_objects": ingested["n_objects_quarantined"],
        "held_objects": summary["publish"]["n_held"],
        "quarantine_files": classified["n_quarantined_files"],
        "quarantine_objects": classified["n_quarantined_objects"],
    }
    counts = {(name, ""): float(value) for name, value in found.items()}
    for name, by_status in (("night_objects", summary["status"]), ("catalogue_objects", classified["status"])):
        every = dict.fromkeys(("classified", "abstained", "rejected", "failed"), 0) | by_status
        counts |= {(name, status): float(value) for status, value in every.items()}
    return counts


def write_last_night(path: Path, night: LastNight) -> None:
    """Write the file anew, whole."""
    registry = CollectorRegistry()
    gauges: dict[str, Gauge] = {}
    for (name, status), value in night.values().items():
        if name not in gauges:
            labels = ["status"] if status else []
            gauges[name] = Gauge(f"snflow_{name}", HELP[name], labels, registry=registry)
        (gauges[name].labels(status) if status else gauges[name]).set(value)
    if night.model:
        info = Gauge("snflow_model_info", "The classifier, always 1.", ["model", "version"], registry=registry)
        info.labels(*night.model).set(1)
    write_atomically(path, generate_latest(registry))


def read_last_night(path: Path) -> LastNight | None:
    """Return what was told of the last night, without its counts; None where nothing can be read."""
    try:
        text = path.read_text(encoding="utf-8")
        families = list(text_string_to_metric_families(text))
    except (OSError, ValueError):
        return None
    values = {sample.name.removeprefix("snflow_"): sample.value for family in families for sample in family.samples}
    if "night_start_timestamp_seconds" not in values:
        return None
    return LastNight(
        values["night_start_timestamp_seconds"],
        values.get("night_end_timestamp_seconds"),
        bool(values.get("night_success", 0)),
        values.get("night_last_success_timestamp_seconds"),
        values.get("night_last_failure_timestamp_seconds"),
    )
