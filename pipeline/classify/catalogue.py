"""Whole catalogues: light curves from a store or straight from files, predictions to a file."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.classify.contract import check_contract, ignore_bands, rename_bands
from pipeline.classify.predict import Classifier, ClassifySettings, Progress, with_redshift
from pipeline.files import write_atomically, write_parquet
from pipeline.ingest.settings import IngestSettings, TooManyBadFilesError
from pipeline.provenance import write_record
from pipeline.schema import LightCurves, Predictions
from pipeline.store import Store, StoreError, ingest
from pipeline.train.checkpoint import Checkpoint
from pipeline.train.control import control_predictions
from pipeline.train.fit import choose_sample
from pipeline.train.training_run import read_split

__all__ = ["as_store", "classify_beside", "classify_catalogue", "read_predictions", "write_predictions"]

BESIDE = ("without redshift", "uncalibrated", "control: header and cadence only")
"""Further classifications of a run's test part, in the folder `beside/`."""


@contextmanager
def as_store(source: Path) -> Iterator[Store]:
    """Open a store, or read files into a temporary one.

    Raises:
        StoreError, SourceError: if it is neither.
    """
    with _ingested(source) as (store, _):
        yield store


@contextmanager
def _ingested(source: Path) -> Iterator[tuple[Store, dict[str, Any]]]:
    """Yield a store and, where its files had to be read, what came of them."""
    if (source / "store.json").exists():
        yield Store.open(source), {}
        return
    with tempfile.TemporaryDirectory(prefix="snflow-") as folder:
        store = Store.create(Path(folder) / "store")
        try:
            summary = ingest([source], store, IngestSettings())
        except TooManyBadFilesError as error:
            raise StoreError(
                f"{source}: {error}; ingest it into a store of its own to look at the quarantine"
            ) from None
        yield store, summary.to_dict()


def classify_catalogue(
    source: Path,
    model: Path,
    outputs: list[Path],
    settings: ClassifySettings,
    progress: Progress | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Classify every object of a store, folder, archive or file, and write the predictions.

    Args:
        source: a store, or what `ingest` reads.
        model: checkpoint folder.
        outputs: files to write, .parquet or .csv.
        settings: how to classify; also which bands to rename or leave out.
        progress: called with how many objects are done, and how many there are.
        command: what was typed, for the record.

    Returns:
        Counts by status, notes on differences from the training data, and the time taken.

    Raises:
        ContractError: if the model does not accept the data; nothing is written then.
    """
    for path in outputs:
        check_suffix(path)
    started = time.perf_counter()
    classifier = Classifier.load(model, settings)
    with _ingested(source) as (store, ingested):
        light_curves = choose_bands(store.light_curves(), settings)
        scopes = store.quarantine()["SCOPE"].value_counts()
    notes = check_contract(with_redshift(light_curves, settings.redshift), classifier.checkpoint)
    predictions = classifier.classify(light_curves, progress)
    for path in outputs:
        write_predictions(predictions, path)
    seconds = time.perf_counter() - started
    summary = summarise(predictions, notes, int(scopes.get("file", 0)), seconds)
    summary["n_quarantined_objects"] = int(scopes.get("object", 0))
    summary |= {"ingest": ingested} if ingested else {}
    configuration = {
        "source": str(source.absolute()),
        "model": str(model.absolute()),
        "outputs": [str(path.absolute()) for path in outputs],
        "settings": settings.model_dump(),
    }
    write_record(outputs[0].parent, "classify", configuration, summary, command)
    return summary


def classify_beside(store: Path, run: Path) -> None:
    """Classify a run's test part in the ways that stand beside the headline: BESIDE; nothing where it is empty."""
    snids = read_split(run).test
    if not snids:
        return
    checkpoint = Checkpoint.load(run / "model")
    catalogue = Store.open(store)
    everything = catalogue.light_curves()
    test = everything.select(snids)
    plain = Classifier(replace(checkpoint, temperature=1.0))
    hidden = Classifier(checkpoint, ClassifySettings(redshift="none"))
    sample = choose_sample(everything, catalogue.truth(), checkpoint.experiment)
    found = (hidden.classify(test), plain.classify(test), control_predictions(sample, checkpoint.experiment))
    for name, predictions in zip(BESIDE, found, strict=True):
        write_predictions(predictions, beside_file(run, name))


def beside_file(run: Path, name: str) -> Path:
    """Where a classification that stands beside the headline is kept."""
    return run / "beside" / f"{name.partition(':')[0].replace(' ', '-')}.parquet"


def choose_bands(light_curves: LightCurves, settings: ClassifySettings) -> LightCurves:
    """Rename and leave out bands as the settings say."""
    renamed = rename_bands(light_curves, settings.band_map) if settings.band_map else light_curves
    return ignore_bands(renamed, settings.ignore_bands) if settings.ignore_bands else renamed


def summarise(predictions: Predictions, notes: list[str], n_quarantined: int, seconds: float) -> dict[str, Any]:
    """Say in numbers what was classified."""
    table = predictions.table
    called = predictions.probabilities[(table["STATUS"] == "classified").to_numpy()].argmax(axis=1)
    return {
        "n_objects": len(table),
        "status": table["STATUS"].value_counts().to_dict(),
        "reasons": table.loc[table["REASON"] != "", "REASON"].value_counts().to_dict(),
        "called": {name: int((called == place).sum()) for place, name in enumerate(predictions.classes)},
        "n_quarantined_files": n_quarantined,
        "notes": notes,
        "seconds": round(seconds, 2),
    }


def check_suffix(path: Path) -> None:
    """Raise ValueError if predictions cannot be written to a file of this name."""
    if path.suffix not in (".parquet", ".csv"):
        raise ValueError(f"cannot write predictions to {path}: expected a name that ends in .parquet or .csv")


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write predictions to .parquet or .csv, atomically."""
    check_suffix(path)
    if path.suffix == ".csv":
        write_atomically(path, predictions.table.to_csv(index=False))
    else:
        write_parquet(predictions.table, path)


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote.

    Raises:
        ValueError: if the file is missing, or is not a table of predictions.
    """
    check_suffix(path)
    if not path.exists():
        raise ValueError(f"no predictions at {path}")
    if path.suffix == ".csv":
        table = pd.read_csv(path, dtype={"SNID": "str", "REASON": "str", "PHOTOMETRY_HASH": "str"})
        table["REASON"] = table["REASON"].fillna("")
    else:
        table = pd.read_parquet(path)
    names = [name for name in table.columns if name.startswith("P_") and not name.endswith("_STD")]
    return Predictions(table, tuple(name.removeprefix("P_") for name in names))
