"""Classifying a store: its table of predictions grows by what has changed, chunk by chunk.

Nothing here reads photometry or imports torch until an object is to be classified.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock
from pydantic import Field, field_validator

from pipeline.files import write_atomically
from pipeline.predictions import PredictionKey, PredictionTable
from pipeline.processes import return_freed_memory
from pipeline.schema import LightCurves, Predictions, is_optional, prediction_columns
from pipeline.settings import FrozenConfig
from pipeline.store import Store, StoreError
from pipeline.taxonomy import CLASS_SETS

if TYPE_CHECKING:
    from pipeline.classify.predict import Classifier
    from pipeline.classify.settings import ClassifySettings

__all__ = ["Renewal", "Renewed", "classify_store", "prediction_key"]

SAME_ANSWERS: Final = frozenset({"device", "chunk_objects", "max_failed"})
"""Settings that change no answer."""
NOTES: Final = "notes.json"
"""Beside the tables of a store: the notes of each model with its settings, of when it last classified something."""
MJD_0: Final = datetime(1858, 11, 17, tzinfo=UTC)


class Renewal(FrozenConfig):
    """Which objects of a store are classified."""

    everything: bool = False
    """Also those whose present photometry was classified before with this model and these settings."""
    since: float | None = None
    """Only objects with a measurement later than this MJD; a date, such as 2026-11-23, is its midnight in UTC."""
    objects_per_commit: int = Field(default=10_000, gt=0)
    """Objects whose predictions are written at a time: what a crash can lose."""

    @field_validator("since", mode="before")
    @classmethod
    def _date(cls, value: Any) -> Any:
        return as_mjd(value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Renewed:
    """Predictions of a whole store.

    Attributes:
        predictions: a row for every object, in the store's order.
        n_left_out: objects that `--since` left out and that have no prediction of their present photometry; rejected.
        n_new: how many were classified now; the others had been before, or were left out.
        notes: on differences of the new ones from the training data; where none is new, of those that last were.
    """

    predictions: Predictions
    n_left_out: int
    n_new: int
    notes: list[str]


@dataclass(frozen=True)
class Asked:
    """What of a store is to be classified.

    Attributes:
        store, model: whose light curves, by which checkpoint folder.
        table, key: where the predictions are kept.
        version: of the light curves.
        present: SNID and PHOTOMETRY_HASH of all objects, in the store's order.
        snids: of the objects to classify.
        renewal: as asked for.
        classes: to answer in; none: the model's own.
    """

    store: Store
    model: Path
    table: PredictionTable
    key: PredictionKey
    version: int
    present: pa.Table
    snids: list[str]
    renewal: Renewal
    classes: tuple[str, ...]


def as_mjd(text: str) -> float:
    """Return a number, or a date or time (ISO 8601; UTC unless it says otherwise), as MJD [d].

    >>> as_mjd("2000-01-01"), as_mjd("56000.5")
    (51544.0, 56000.5)
    """
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"expected an MJD or a date such as 2026-11-23, came {text!r}") from None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - MJD_0).total_seconds() / 86_400


def prediction_key(model: Path, settings: ClassifySettings) -> PredictionKey:
    """Tell under which key the predictions of a model folder are kept.

    The digest is of model.json, which has the checksums of all weights beside calibration and thresholds, and of the
    settings that are not the default: a model with a new calibration is another one, a new device is not.

    Raises:
        CheckpointError: if there is no model.
    """
    try:
        content = (model / "model.json").read_bytes()
        name = json.loads(content)["name"]
    except (OSError, ValueError, KeyError, TypeError):
        from pipeline.train.checkpoint import Checkpoint

        checkpoint = Checkpoint.load(model)  # says what is wrong with it
        content, name = (model / "model.json").read_bytes(), checkpoint.name
    chosen = settings.model_dump(mode="json", exclude_defaults=True, exclude=set(SAME_ANSWERS))
    words = json.dumps(chosen, sort_keys=True)
    return PredictionKey(name, words, hashlib.sha256(words.encode() + content).hexdigest()[:16])


def classify_store(
    store: Store,
    model: Path,
    settings: ClassifySettings,
    renewal: Renewal | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Renewed:
    """Classify what has no prediction yet, keep it in the store, and return the predictions of all objects.

    Each chunk is one atomic commit: after `kill -9` the same call goes on where it stopped. Two calls at once both
    finish, and no row is written twice. With `renewal.everything`, new rows take the place of the present ones.

    Raises:
        ContractError: if the model does not accept the data; nothing is written then.
        PredictionsError: if the store cannot be written.
    """
    asked = choose_new(store, model, settings, renewal or Renewal())
    if not asked.snids:
        return classified_before(asked)
    from pipeline.classify.predict import Classifier

    classifier, n_new = Classifier.load(model, settings), len(asked.snids)
    chosen = asked.snids if n_new < len(asked.present) else None
    chunks = _Chunks(store, chosen, settings, asked.renewal.objects_per_commit, asked.version)
    chunks.check(classifier)
    notes: Counter[str] = Counter()
    for done, light_curves in chunks:
        notes.update(dict.fromkeys(chunks.notes(light_curves, classifier), len(light_curves)))
        predictions = classifier.predict(light_curves, _shifted(progress, done, n_new))
        asked.table.add(predictions, asked.key, asked.renewal.everything)
    told = _told(notes, n_new)
    _keep_notes(store, asked.key, told)
    return_freed_memory()  # the rows of all objects are to be held next
    return Renewed(*_whole(asked), n_new=n_new, notes=told)


def choose_new(store: Store, model: Path, settings: ClassifySettings, renewal: Renewal) -> Asked:
    """Choose what of a store has no prediction yet; reads no photometry, unless `renewal.since` asks for it.

    Raises:
        CheckpointError: if there is no model.
    """
    key, version, table = prediction_key(model, settings), store.version(), store.prediction_table
    present = store.photometry_hashes(version)
    known, rows = table.known(key), present
    if not renewal.everything:
        rows = rows.filter(pc.invert(pc.is_in(rows["PHOTOMETRY_HASH"], known.combine_chunks())))
    snids: list[str] = rows["SNID"].to_pylist()
    if snids and renewal.since is not None:
        snids = _measured_since(store, snids, renewal, version)
    classes = CLASS_SETS[settings.classes] if settings.classes else ()
    return Asked(store, model, table, key, version, present, snids, renewal, classes)


def classified_before(asked: Asked) -> Renewed:
    """Return the predictions of a store of which nothing is to be classified, and the notes of when it last was."""
    return Renewed(*_whole(asked), n_new=0, notes=_kept_notes(asked.store).get(asked.key.digest, []))


@dataclass(frozen=True)
class _Chunks:
    """The light curves that are to be classified, a bounded number at a time, each time read anew."""

    store: Store
    snids: list[str] | None  # None: all of them
    settings: ClassifySettings
    size: int
    version: int

    def __iter__(self) -> Iterator[tuple[int, LightCurves]]:
        """Yield how many came before, and light curves in the model's bands and zeropoint."""
        from pipeline.classify.catalogue import choose_bands
        from pipeline.classify.contract import at_zeropoint

        done = 0
        for light_curves in self.store.stream(self.snids, self.size, self.version):
            here = {old: new for old, new in self.settings.band_map.items() if old in light_curves.bands}
            renamed = choose_bands(light_curves, self.settings.model_copy(update={"band_map": here}))
            yield done, at_zeropoint(renamed, self.settings.zeropoint)
            done += len(light_curves)

    def check(self, classifier: Classifier) -> None:
        """Hold the bands of all of them against the classifier's contract before any is classified.

        Raises:
            ContractError: with all mismatches.
            ValueError: if these are all objects of the store, and a band to rename is nowhere.
        """
        from pipeline.classify.contract import check_bands

        bands, names = self.store.bands(self.snids, self.size, self.version), self.settings.band_map
        absent = set(names) - bands
        if absent and self.snids is None:
            raise ValueError(f"--band-map names {sorted(absent)}, but the data have only {sorted(bands)}")
        renamed = {names.get(band, band) for band in bands}
        check_bands(renamed - set(self.settings.ignore_bands), classifier.checkpoint)

    def notes(self, light_curves: LightCurves, classifier: Classifier) -> list[str]:
        """Tell how some of them differ from the training data."""
        from pipeline.classify.contract import check_contract
        from pipeline.classify.predict import with_redshift

        read = with_redshift(light_curves, self.settings.redshift)
        return check_contract(read, classifier.checkpoint, self.settings.redshift)


def _told(notes: Counter[str], n_objects: int) -> list[str]:
    """Say of each note how many objects are in the chunks that it is of, where it is not of all."""
    return [note if n == n_objects else f"of {n:,} of {n_objects:,} objects: {note}" for note, n in notes.items()]


def _shifted(
    progress: Callable[[int, int], None] | None, before: int, n_objects: int
) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, _: progress(before + done, n_objects)


def _measured_since(store: Store, snids: list[str], renewal: Renewal, version: int) -> list[str]:
    """Choose the objects whose last measurement is later than `renewal.since`."""
    chosen = []
    for light_curves in store.stream(snids, renewal.objects_per_commit, version):
        later = np.flatnonzero(light_curves.epochs["MJD"].to_numpy() > renewal.since)
        rows = np.unique(np.searchsorted(light_curves.offsets, later, side="right") - 1)
        chosen += light_curves.objects["SNID"].iloc[rows].tolist()
    return chosen


def _keep_notes(store: Store, key: PredictionKey, notes: list[str]) -> None:
    """Remember what was told, for when nothing is new."""
    with FileLock(store.path / ".notes.lock"):  # another classifier may keep its own at the same moment
        content = _kept_notes(store) | {key.digest: notes}
        write_atomically(store.path / NOTES, json.dumps(content, indent=1) + "\n")


def _kept_notes(store: Store) -> dict[str, list[str]]:
    """Return the notes of each model with its settings, by their digest."""
    path = store.path / NOTES
    try:
        notes: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}): delete it; it holds the notes of earlier runs alone") from None
    return notes


def _whole(asked: Asked) -> tuple[Predictions, int]:
    """Return a row for every object of the store, in its order, and how many of them have no prediction."""
    hashes, key = asked.present["PHOTOMETRY_HASH"], asked.key
    table, classes = asked.table.of_photometry(key, hashes)
    classes = classes or asked.classes or tuple(json.loads((asked.model / "model.json").read_bytes())["classes"])
    absent = asked.present.filter(pc.invert(pc.is_in(hashes, pa.array(table["PHOTOMETRY_HASH"], pa.string()))))
    if len(absent) or not len(table):
        reason = f"left out by --since {asked.renewal.since}, and not classified before"
        others = _left_out(absent, key, classes, reason)
        others = others.assign(CALLED="") if "CALLED" in table.columns else others
        table = pd.concat([table, others], ignore_index=True) if len(table) else others
    places = pd.Index(table["PHOTOMETRY_HASH"]).get_indexer(pd.Index(hashes.to_pandas()))
    ordered = table.iloc[places].reset_index(drop=True)
    first = prediction_columns(classes)
    further = [name for name in ordered.columns if is_optional(name, classes)]
    return Predictions(ordered[[*first, *further]], classes), len(absent)


def _left_out(absent: pa.Table, key: PredictionKey, classes: tuple[str, ...], reason: str) -> pd.DataFrame:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    table: pd.DataFrame = absent.to_pandas()
    table = table.assign(STATUS="rejected", REASON=reason, MODEL=key.model, CREATED=now, N_EPOCHS=0)
    numbers = [name for name in prediction_columns(classes) if name not in table.columns]
    table[numbers] = np.nan
    return table
