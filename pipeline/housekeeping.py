"""Bounding the disk that a store takes: predictions of photometry long gone, and files of old versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from deltalake import DeltaTable

from pipeline.settings import FrozenConfig
from pipeline.store import Store

__all__ = ["GarbageSettings", "collect_garbage"]


class GarbageSettings(FrozenConfig):
    """What of a store may go."""

    keep_days: float = 30
    """Files that no latest version needs stay this long; until then earlier versions can be read."""
    keep_photometry: int = 3
    """Predictions of an object that stay, by model and settings: of its newest so many photometries."""


def collect_garbage(store: Store, settings: GarbageSettings | None = None, dry_run: bool = False) -> dict[str, Any]:
    """Take away what no latest version of a table needs, and predictions of photometry that is gone.

    A prediction of the present photometry always stays, and so do those of the newest `keep_photometry` photometries.
    Rows that go leave the latest version at once; their files stay for `keep_days` like all others.

    Args:
        store: whose tables.
        settings: how much stays.
        dry_run: only count.

    Returns:
        `bytes` and `n_files` freed (or that would be), `tables` with the bytes of each, `n_predictions` that went.

    Raises:
        ValueError: if a setting is negative, or nothing of an object would stay.
    """
    settings = settings or GarbageSettings()
    if settings.keep_days < 0 or settings.keep_photometry < 1:
        raise ValueError(
            f"expected at least 0 days and 1 photometry to keep, came {settings.keep_days:g} and "
            f"{settings.keep_photometry}"
        )
    n_predictions = _forget(store, settings.keep_photometry, dry_run)
    hours = int(np.ceil(settings.keep_days * 24))
    found = {log.parent.name: _vacuum(log.parent, hours, dry_run) for log in sorted(store.path.glob("*/_delta_log"))}
    return {
        "bytes": sum(size for _, size in found.values()),
        "n_files": sum(count for count, _ in found.values()),
        "tables": {name: size for name, (_, size) in found.items()},
        "n_predictions": n_predictions,
        "dry_run": dry_run,
    }


def _forget(store: Store, keep: int, dry_run: bool) -> int:
    """Delete predictions of gone photometry beyond the newest, and return how many."""
    table = store.prediction_table
    names = ["SNID", "MODEL", "SETTINGS_HASH", "PHOTOMETRY_HASH", "CREATED", "LAST_MJD"]
    rows: pd.DataFrame = table.rows(names).to_pandas()
    present = set(store.photometry_hashes()["PHOTOMETRY_HASH"].to_pylist())
    rows["GONE"] = ~rows["PHOTOMETRY_HASH"].isin(present)
    newest = rows.sort_values(["GONE", "CREATED", "LAST_MJD"], ascending=[True, False, False])
    age = newest.groupby(["SNID", "MODEL", "SETTINGS_HASH"]).cumcount()
    old = newest[newest["GONE"] & (age >= keep)]
    if len(old) and not dry_run:
        table.remove(old)
    return len(old)


def _vacuum(folder: Path, hours: int, dry_run: bool) -> tuple[int, int]:
    """Delete the files of a table that no latest version needs; return how many files and bytes."""
    table = DeltaTable(str(folder))
    files: list[str] = table.vacuum(hours, dry_run=True, enforce_retention_duration=False, full=True)
    sizes = [(folder / file).stat().st_size for file in files if (folder / file).is_file()]
    if files and not dry_run:
        table.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True)
    return len(files), sum(sizes)
