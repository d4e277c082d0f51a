"""Whole catalogues: light curves from a store or straight from files, predictions to a file."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.classify.contract import at_zeropoint, ignore_bands, rename_bands
from pipeline.classify.incremental import Renewal, classify_store
from pipeline.classify.job import Job
from pipeline.classify.nights import classify_nights
from pipeline.classify.outputs import read_predictions, write_predictions
from pipeline.classify.predict import Classifier, Progress
from pipeline.classify.settings import ClassifySettings
from pipeline.ingest.settings import IngestSettings, TooManyBadFilesError
from pipeline.schema import LightCurves
from pipeline.store import Store, StoreError, ingest
from pipeline.train.calibration import UNCALIBRATED
from pipeline.train.checkpoint import Checkpoint
from pipeline.train.control import control_predictions
from pipeline.train.fit import choose_sample
from pipeline.train.training_run import read_split

__all__ = [
    "as_classified",
    "as_store",
    "classify_beside",
    "classify_catalogue",
    "read_predictions",
    "write_predictions",
]

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
    nights: Path | None = None,
    renewal: Renewal | None = None,
) -> dict[str, Any]:
    """Classify every object of a store, folder, archive or file, and write the predictions.

    Of a store, only what has changed is classified; its table of predictions keeps the rest.

    Args:
        source: a store, or what `ingest` reads.
        model: checkpoint folder.
        outputs: files to write, in the formats of WRITERS; all of them appear, or none.
        settings: how to classify; also which bands to rename or leave out.
        progress: called with how many objects are done, and how many there are.
        command: what was typed, for the record.
        nights: a further file, of the probabilities after each night (`classify_nights`), always of all objects.
        renewal: which objects of a store are classified.

    Returns:
        Counts by status, how many were classified now (`n_new`), notes on differences of these from the training data,
        and the time taken.

    Raises:
        ContractError: if the model does not accept the data; nothing is written then.
        ValueError: before any work, if an output cannot be written.
    """
    job = Job(source, model, outputs, settings, renewal or Renewal(), nights, command)
    job.check_outputs()
    started = time.perf_counter()
    with _ingested(source) as (store, ingested):
        renewed = classify_store(store, model, settings, renewal, progress)
        by_night = None
        if nights is not None:
            light_curves = as_classified(store.light_curves(), settings)
            by_night = classify_nights(Classifier.load(model, settings), light_curves, progress)
        return job.write(store, renewed, started, ingested, by_night)


def classify_beside(store: Path, run: Path) -> None:
    """Classify a run's test part in the ways that stand beside the headline: BESIDE; nothing where it is empty."""
    snids = read_split(run).test
    if not snids:
        return
    checkpoint = Checkpoint.load(run / "model")
    catalogue = Store.open(store)
    everything = catalogue.light_curves()
    test = everything.select(snids)
    plain = Classifier(replace(checkpoint, calibration=UNCALIBRATED))
    hidden = Classifier(checkpoint, ClassifySettings(redshift="none"))
    sample = choose_sample(everything, catalogue.truth(), checkpoint.experiment)
    found = (hidden.classify(test), plain.classify(test), control_predictions(sample, checkpoint.experiment))
    for name, predictions in zip(BESIDE, found, strict=True):
        write_predictions(predictions, beside_file(run, name))


def beside_file(run: Path, name: str) -> Path:
    """Where a classification that stands beside the headline is kept."""
    return run / "beside" / f"{name.partition(':')[0].replace(' ', '-')}.parquet"


def as_classified(light_curves: LightCurves, settings: ClassifySettings) -> LightCurves:
    """Return light curves as a classification with these settings sees them: bands and zeropoint."""
    return at_zeropoint(choose_bands(light_curves, settings), settings.zeropoint)


def choose_bands(light_curves: LightCurves, settings: ClassifySettings) -> LightCurves:
    """Rename and leave out bands as the settings say."""
    renamed = rename_bands(light_curves, settings.band_map) if settings.band_map else light_curves
    return ignore_bands(renamed, settings.ignore_bands) if settings.ignore_bands else renamed
