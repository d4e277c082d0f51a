"""The store's table of predictions: what each model said of each photometry of each object, and when.

One row for each PHOTOMETRY_HASH × SETTINGS_HASH. A photometry hash is of one SNID and its photometry; a settings hash
is of one model (all that its folder says of it, calibration and thresholds included) and of the settings that change
its answers. Probabilities are lists beside the names of their classes, so models of any classes share the table; it is
partitioned by MODEL, so one model's rows are found without reading the others'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from pipeline.schema import Predictions, is_optional, probability_columns

__all__ = ["PREDICTION_SCHEMA", "PredictionKey", "PredictionTable", "PredictionsError"]

PREDICTION_SCHEMA: Final = pa.schema(
    [
        pa.field("SNID", pa.string(), nullable=False),
        pa.field("MODEL", pa.string(), nullable=False),  # name@digest of the weights
        pa.field("SETTINGS", pa.string(), nullable=False),  # JSON: the settings that are not the default
        pa.field("SETTINGS_HASH", pa.string(), nullable=False),  # of the model's description and the settings
        pa.field("PHOTOMETRY_HASH", pa.string(), nullable=False),
        pa.field("STATUS", pa.string(), nullable=False),  # one of STATUSES
        pa.field("REASON", pa.string(), nullable=False),  # "" when classified
        pa.field("CLASSES", pa.list_(pa.string()), nullable=False),
        pa.field("P", pa.list_(pa.float64()), nullable=False),  # of each class, NaN where there are none
        pa.field("P_STD", pa.list_(pa.float64()), nullable=False),  # over the ensemble
        pa.field("P_MEMBERS", pa.list_(pa.float64())),  # of each class of each member, null where not asked for
        pa.field("CALLED", pa.string()),  # by a threshold, null where not asked for
        pa.field("NOVELTY", pa.float64()),
        pa.field("N_EPOCHS", pa.int64()),
        pa.field("LAST_MJD", pa.float64()),  # d
        pa.field("CREATED", pa.string(), nullable=False),  # UTC, ISO 8601
    ]
)
ATTEMPTS: Final = 50
"""Commits tried before giving up, each beaten by another run's."""


class PredictionsError(RuntimeError):
    """Predictions that could not be written; those committed before are whole."""


@dataclass(frozen=True)
class PredictionKey:
    """A model and the settings that change its answers.

    Attributes:
        model: the model's name, as in MODEL.
        settings: JSON of the settings that are not the default, as in SETTINGS.
        digest: of the settings and all that the model's folder says of it, as in SETTINGS_HASH.
    """

    model: str
    settings: str
    digest: str


class PredictionTable:
    """Predictions in a folder, as a Delta Lake table; made when the first are added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._alone_at = -1  # the version as long as nobody else has committed since this table was asked what is known

    @property
    def exists(self) -> bool:
        """Whether anything was ever added."""
        return (self.folder / "_delta_log").exists()

    def version(self) -> int:
        """Return the version, which grows with each commit; −1 before the first."""
        return int(DeltaTable(str(self.folder)).version()) if self.exists else -1

    def known(self, key: PredictionKey) -> pa.ChunkedArray:
        """List the photometry hashes that have a prediction of this model and these settings."""
        self._alone_at = self.version()
        return self.rows(["PHOTOMETRY_HASH"], key)["PHOTOMETRY_HASH"]

    def models(self) -> list[str]:
        """List the models that have predictions here, in order of name."""
        return sorted(set(self.rows(["MODEL"])["MODEL"].unique().to_pylist()))

    def add(self, predictions: Predictions, key: PredictionKey, replace: bool = False) -> int:
        """Add predictions in one atomic commit; what another run has added meanwhile is not added again.

        Args:
            predictions: of photometry that had none when this table was last asked what is `known`.
            key: who predicts.
            replace: put these in the place of the present rows of the same photometry and key.

        Returns:
            How many rows were written.

        Raises:
            PredictionsError: if the disk is full or cannot be written; the table is then as it was.
        """
        rows = _as_rows(predictions, key)
        for _ in range(ATTEMPTS):
            table = self._opened()
            on_top_of = table.version()
            self._alone_at = max(self._alone_at, 0)  # version 0 is the empty table
            if not replace and on_top_of != self._alone_at:
                known = self.rows(["PHOTOMETRY_HASH"], key, version=on_top_of)["PHOTOMETRY_HASH"]
                rows = rows.filter(pc.invert(pc.is_in(rows["PHOTOMETRY_HASH"], known.combine_chunks())))
            if not len(rows):
                return 0
            try:
                self._commit(table, rows, key, replace)
            except CommitFailedError:
                continue
            except (DeltaError, OSError) as error:
                raise PredictionsError(
                    f"{self.folder}: {len(rows)} predictions could not be written ({error}); those written before are "
                    "whole: make room or let the folder be written, and the same command goes on from there"
                ) from error
            if on_top_of == self._alone_at:
                self._alone_at += 1
            return len(rows)
        raise PredictionsError(
            f"{self.folder}: other runs were faster {ATTEMPTS} times; try again when they have ended"
        )

    def remove(self, rows: pd.DataFrame) -> None:
        """Delete the rows with these SETTINGS_HASH and PHOTOMETRY_HASH, in one commit for each SETTINGS_HASH."""
        for digest, some in rows.groupby("SETTINGS_HASH"):
            hashes = ", ".join(f"'{name}'" for name in some["PHOTOMETRY_HASH"])
            table = DeltaTable(str(self.folder))
            table.delete(f"SETTINGS_HASH = '{digest}' AND PHOTOMETRY_HASH IN ({hashes})")

    def _opened(self) -> Any:
        try:
            return DeltaTable.create(
                str(self.folder), PREDICTION_SCHEMA, mode="ignore", partition_by=["MODEL"], name="predictions"
            )
        except DeltaError as error:
            if self.exists:  # another run made it in the same moment
                return DeltaTable(str(self.folder))
            raise PredictionsError(f"{self.folder} cannot be made ({error})") from error
        except OSError as error:
            raise PredictionsError(f"{self.folder} cannot be made ({error})") from error

    def _commit(self, table: Any, rows: pa.Table, key: PredictionKey, replace: bool) -> None:
        """Commit on top of the version that `table` shows; CommitFailedError if this model's rows were added since."""
        mark = Transaction(f"snflow {key.model}", table.version() + 1)
        properties = CommitProperties(app_transactions=[mark])
        if not replace:
            write_deltalake(table, rows, mode="append", commit_properties=properties)
            return
        hashes = ", ".join(f"'{digest}'" for digest in rows["PHOTOMETRY_HASH"].to_pylist())
        model = key.model.replace("'", "''")
        same = f"MODEL = '{model}' AND SETTINGS_HASH = '{key.digest}' AND PHOTOMETRY_HASH IN ({hashes})"
        write_deltalake(table, rows, mode="overwrite", predicate=same, commit_properties=properties)

    def rows(
        self,
        columns: Sequence[str] | None = None,
        key: PredictionKey | None = None,
        model: str | None = None,
        snids: Sequence[str] | None = None,
        version: int | None = None,
    ) -> pa.Table:
        """Read rows of PREDICTION_SCHEMA, in no order.

        Args:
            columns: which; None for all.
            key: of one model and settings alone.
            model: of one model, by its whole name or by what stands before the @.
            snids: of these objects.
            version: an earlier version of the table; None for the latest.
        """
        schema = pa.schema([PREDICTION_SCHEMA.field(name) for name in columns or PREDICTION_SCHEMA.names])
        if not self.exists:
            return schema.empty_table()
        wanted = pc.scalar(True)
        if key is not None:
            wanted &= (pc.field("MODEL") == key.model) & (pc.field("SETTINGS_HASH") == key.digest)
        if model is not None:
            wanted &= (pc.field("MODEL") == model) | pc.starts_with(pc.field("MODEL"), f"{model}@")
        if snids is not None:
            wanted &= pc.field("SNID").isin(pa.array(snids, pa.string()))
        dataset = DeltaTable(str(self.folder), version=version).to_pyarrow_dataset()
        return dataset.to_table(columns=schema.names, filter=wanted).cast(schema)

    def of_photometry(self, key: PredictionKey, hashes: pa.ChunkedArray) -> tuple[pd.DataFrame, tuple[str, ...]]:
        """Return the predictions of these photometry hashes that are here, and the classes (none where no rows are)."""
        rows = self.rows(key=key)
        rows = rows.filter(pc.is_in(rows["PHOTOMETRY_HASH"], hashes.combine_chunks()))
        classes = tuple(rows["CLASSES"][0].as_py()) if len(rows) else ()
        return as_frame(rows, classes), classes

    def read(
        self, model: str | None = None, snids: Sequence[str] | None = None, version: int | None = None
    ) -> pd.DataFrame:
        """Read predictions in long form; `Store.predictions` says what it looks like."""
        rows = self.rows(model=model, snids=snids, version=version)
        joined = pc.binary_join(rows["CLASSES"], "\n")
        sets = sorted(joined.unique().to_pylist()) or [""]
        frames = [as_frame(rows.filter(pc.equal(joined, names)), names.split("\n") if names else []) for names in sets]
        table = pd.concat(frames, ignore_index=True)
        values = [name for name in table.columns if name.startswith("P_")]
        first = [name for name in PREDICTION_SCHEMA.names if name in table.columns]
        place = first.index("REASON") + 1
        table = table[[*first[:place], *values, *first[place:]]]
        return table.sort_values(["SNID", "CREATED", "LAST_MJD", "MODEL", "SETTINGS"], kind="stable", ignore_index=True)


def _as_rows(predictions: Predictions, key: PredictionKey) -> pa.Table:
    table, names = predictions.table, probability_columns(predictions.classes)
    offsets = pa.array(np.arange(len(table) + 1, dtype=np.int32) * len(names))
    spreads = table[[f"{name}_STD" for name in names]].to_numpy(np.float64)
    lists = {
        "CLASSES": pa.array(list(predictions.classes) * len(table), pa.string()),
        "P": pa.array(predictions.probabilities.ravel()),
        "P_STD": pa.array(spreads.ravel()),
    }
    members = [name for name in table.columns if name != "CALLED" and is_optional(name, predictions.classes)]
    constants = {"SETTINGS": key.settings, "SETTINGS_HASH": key.digest, "MODEL": key.model}
    columns = []
    for field in PREDICTION_SCHEMA:
        if field.name == "P_MEMBERS" and members:
            columns.append(pa.array(list(table[members].to_numpy(np.float64)), field.type))
        elif field.name in lists:
            columns.append(pa.ListArray.from_arrays(offsets, lists[field.name]).cast(field.type))
        elif field.name in constants:
            columns.append(pa.repeat(pa.scalar(constants[field.name], pa.string()), len(table)))
        elif field.name not in table.columns:
            columns.append(pa.nulls(len(table), field.type))
        else:
            columns.append(pa.array(table[field.name], field.type))
    return pa.Table.from_arrays(columns, schema=PREDICTION_SCHEMA)


def as_frame(rows: pa.Table, classes: Sequence[str]) -> pd.DataFrame:
    """Return rows of one list of classes with a column for each class's probability and spread."""
    table: pd.DataFrame = rows.drop_columns(["CLASSES", "P", "P_STD", "P_MEMBERS"]).to_pandas()
    names = probability_columns(classes)
    for column, ending in (("P", ""), ("P_STD", "_STD")):
        flat = rows[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        table[[f"{name}{ending}" for name in names]] = flat.reshape(len(rows), len(names))
    n_members = int(pc.max(pc.list_value_length(rows["P_MEMBERS"])).as_py() or 0) // max(len(names), 1)
    if n_members:
        absent = [float("nan")] * n_members * len(names)
        values = np.array([row or absent for row in rows["P_MEMBERS"].to_pylist()])
        table[[f"{name}_{member}" for name in names for member in range(n_members)]] = values
    if table["CALLED"].isna().all():
        table = table.drop(columns="CALLED")
    return table
