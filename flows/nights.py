"""The steps of a night, and its folder: what was judged stays judged when a crash comes between.

<out>/nights/<when>/guard.json           what the night has changed, and the verdict
<out>/nights/<when>/ingest.json, predictions.parquet, classify.json, report.html ...
<out>/nights/<when>/nightly.json         last: a night without it was not finished, and is gone on with
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flows.site import NIGHTS, PUBLISHED, SiteSettings
from pipeline.classify.outputs import read_predictions
from pipeline.classify.publication import hold, publish
from pipeline.files import write_atomically
from pipeline.provenance import read_record, write_record
from pipeline.store import Store

if TYPE_CHECKING:
    from pipeline.evaluate.night import Night

__all__ = [
    "LOCK",
    "RECORD",
    "begun_at",
    "drop_old_nights",
    "finish",
    "judge",
    "newest_nights",
    "open_night",
    "publish_night",
]

LOCK: Final = ".nightly.lock"
"""In the folder of a site: held during a night."""
RECORD: Final = "nightly"
GUARD: Final = "guard.json"
NAME: Final = "%Y-%m-%dT%H%M%S.%f"
"""Folders of nights are named by when they began, in UTC, to milliseconds."""


def open_night(site: SiteSettings) -> Path:
    """Make the folder of a night, or return that of the last one if it was not finished."""
    last = newest_nights(site)[:1]
    if last and not read_record(last[0], RECORD):
        return last[0]
    folder = site.out / NIGHTS / datetime.now(UTC).strftime(NAME)[:-3]
    folder.mkdir(parents=True)
    return folder


def newest_nights(site: SiteSettings) -> list[Path]:
    """Return the folders of the nights, the newest first."""
    return sorted((path for path in (site.out / NIGHTS).glob("*") if path.is_dir()), reverse=True)


def drop_old_nights(site: SiteSettings) -> list[str]:
    """Delete the folders of finished nights beyond the newest that are kept; return their names."""
    if site.retention.nights is None:
        return []
    finished = [folder for folder in newest_nights(site) if read_record(folder, RECORD)]
    for folder in finished[site.retention.nights :]:
        shutil.rmtree(folder)
    return [folder.name for folder in finished[site.retention.nights :]]


def begun_at(night: str) -> datetime:
    """Return when a night began, by the name of its folder."""
    return datetime.strptime(night, NAME).replace(tzinfo=UTC)


def judge(site: SiteSettings, folder: Path) -> Night:
    """Judge what changed; if it is red, hold it before any of it is classified, lest a crash forget to."""
    from pipeline.evaluate.night import judge_night  # torch; looking at nights needs none

    begun = _read_guard(folder).get("photometry", {})
    night = judge_night(Store.open(site.store), site.model_folder, site.classify, site.guard, also=begun)
    if night.verdict.status == "red":
        hold(site.out / PUBLISHED, night.photometry, folder.name, night.verdict.sentence())
    content = night.verdict.to_dict() | {"notes": night.notes, "photometry": night.photometry}
    write_atomically(folder / GUARD, json.dumps(content, indent=1) + "\n")
    return night


def publish_night(site: SiteSettings, folder: Path) -> dict[str, Any]:
    """Publish the newest predictions of all objects, but for those held."""
    return publish(read_predictions(folder / "predictions.parquet"), site.out / PUBLISHED, site.publish)


def finish(
    site: SiteSettings, folder: Path, night: Night, done: Mapping[str, Any], failure: Exception | None, command: str
) -> dict[str, Any]:
    """Write the record of a night, and return its summary."""
    table = read_predictions(folder / "predictions.parquet").table
    changed = table["SNID"].isin(list(night.photometry))
    summary = {
        "night": folder.name,
        "folder": str(folder),
        "sentence": night.verdict.sentence(),
        "n_changed": len(night.photometry),
        "status": table.loc[changed, "STATUS"].value_counts().to_dict(),
        "model": ", ".join(sorted(set(table["MODEL"]))),
        "guard": night.verdict.to_dict(),
        **done,
        "failure": str(failure) if failure else "",
    }
    write_record(folder, RECORD, site.model_dump(mode="json"), summary, command)
    return summary


def _read_guard(folder: Path) -> dict[str, Any]:
    path = folder / GUARD
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found
