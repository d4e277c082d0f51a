"""What a site publishes: the newest predictions of all objects, but for those held back until somebody has looked.

Held is photometry, not an object: `held.json` names SNID and photometry hash. A held object keeps the row that was
published of it before; one that never was has a row without a class that says why. New photometry of it is not held.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from pipeline.classify.outputs import read_predictions, write_several
from pipeline.files import write_atomically
from pipeline.schema import Predictions, prediction_columns, probability_columns

__all__ = ["Held", "hold", "publish", "read_held", "release"]

HELD_FILE: Final = "held.json"


class HeldFileError(ValueError):
    """A damaged `held.json`."""


@dataclass(frozen=True)
class Held:
    """Photometry whose classes are not published.

    Attributes:
        photometry_hash: of the light curve that is held.
        night: of the run that held it.
        why: what the drift guard said.
    """

    photometry_hash: str
    night: str
    why: str


def read_held(folder: Path) -> dict[str, Held]:
    """Return what is held, by SNID.

    Raises:
        HeldFileError: if the file is damaged.
    """
    try:
        found = json.loads((folder / HELD_FILE).read_text(encoding="utf-8"))
        return {snid: Held(**entry) for snid, entry in found.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise HeldFileError(
            f"{folder / HELD_FILE} is damaged: {error}; restore it, or delete it to hold nothing"
        ) from None


def hold(folder: Path, photometry: Mapping[str, str], night: str, why: str) -> None:
    """Hold photometry hashes by SNID, beside what is held already; before it is classified, lest a crash forget it."""
    added = {snid: Held(digest, night, why) for snid, digest in photometry.items()}
    _write(folder, read_held(folder) | added)


def release(folder: Path, night: str) -> int:
    """Hold no longer what a night held; return how many objects that were."""
    held = read_held(folder)
    kept = {snid: entry for snid, entry in held.items() if entry.night != night}
    _write(folder, kept)
    return len(held) - len(kept)


def publish(predictions: Predictions, folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Write the files that a site publishes, all of them or none.

    Args:
        predictions: a row for every object, of its present photometry.
        folder: of the published files and of `held.json`.
        names: of the files, in the formats of `outputs.WRITERS`.

    Returns:
        How many rows there are, how many are held, and how many of these show an older row.
    """
    held = read_held(folder)
    table = predictions.table
    hashes = table["SNID"].map({snid: entry.photometry_hash for snid, entry in held.items()})
    is_held = (hashes == table["PHOTOMETRY_HASH"]).to_numpy()
    before = _before(folder / names[0], predictions.classes)
    has_row = is_held & table["SNID"].isin(before.index).to_numpy()
    shown = table.copy()
    _blank(shown, is_held & ~has_row, held, predictions.classes)
    if has_row.any():
        columns = prediction_columns(predictions.classes)
        older = before.loc[table.loc[has_row, "SNID"]].reset_index()
        shown.loc[has_row, columns] = older[columns].to_numpy()
        shown = shown.astype(table.dtypes.to_dict())
    write_several(dict.fromkeys([folder / name for name in names], Predictions(shown, predictions.classes).table))
    return {"n_published": len(shown), "n_held": int(is_held.sum()), "n_held_with_older_row": int(has_row.sum())}


def _before(path: Path, classes: tuple[str, ...]) -> pd.DataFrame:
    """Return what is published now, by SNID: rows with a class, or that were refused one for other reasons."""
    empty = pd.DataFrame(columns=prediction_columns(classes)).set_index("SNID")
    if not path.exists():
        return empty
    published = read_predictions(path)
    if published.classes != classes:
        return empty
    table = published.table
    return table[~table["REASON"].str.startswith("held:")].set_index("SNID")


def _blank(
    table: pd.DataFrame, rows: np.ndarray[Any, np.dtype[np.bool_]], held: Mapping[str, Held], classes: tuple[str, ...]
) -> None:
    """Take class and numbers from rows that must not be published."""
    probabilities = probability_columns(classes)
    numbers = [name for name in table.columns if name == "NOVELTY" or name.startswith(tuple(probabilities))]
    table.loc[rows, numbers] = np.nan
    table.loc[rows, "STATUS"] = "rejected"
    reasons = [f"held: of {held[snid].night}, {held[snid].why}" for snid in table.loc[rows, "SNID"]]
    table.loc[rows, "REASON"] = reasons
    if "CALLED" in table.columns:
        table.loc[rows, "CALLED"] = ""


def _write(folder: Path, held: Mapping[str, Held]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {snid: asdict(entry) for snid, entry in sorted(held.items())}
    write_atomically(folder / HELD_FILE, json.dumps(content, indent=1) + "\n")
