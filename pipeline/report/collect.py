"""From the files of a run, its store and other runs to the content of report.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from pipeline.classify.catalogue import as_classified, as_store, read_predictions
from pipeline.classify.predict import Classifier, ClassifySettings
from pipeline.evaluate.evaluation_run import select
from pipeline.evaluate.examination import predictions_file
from pipeline.evaluate.findings import Evaluation
from pipeline.ingest.inspection import count_kinds
from pipeline.ingest.simulate import SURVEY
from pipeline.prepare.split import PARTS, Split
from pipeline.provenance import read_record, versions
from pipeline.report.content import (
    Data,
    HistoryRow,
    Quarantine,
    QuarantineEntry,
    RedshiftHistogram,
    ReportContent,
    Verdict,
)
from pipeline.report.draw import read_metrics
from pipeline.report.gallery import GalleryCurve
from pipeline.report.gather import gather_gallery
from pipeline.schema import LightCurves, Predictions, Truth
from pipeline.train.training_run import read_history, read_split

__all__ = ["bin_redshifts", "collect", "describe_history", "describe_quarantine", "named_after"]

MAX_ENTRIES: Final = 200
"""Entries of the quarantine that report.json keeps; all are counted."""
REDSHIFT_STEP: Final = 0.05
PREDICTIONS: Final = "predictions.parquet"


def collect(run: Path, beside: Sequence[Path] = ()) -> ReportContent:
    """Gather everything the page shows beyond metrics.json; what is missing is left empty.

    Args:
        run: folder with the records of ingest, train, classify and evaluate.
        beside: other run folders whose headline stands beside this one's.
    """
    train, classify = read_record(run, "train"), read_record(run, "classify")
    configuration, summary = classify["configuration"], train.get("summary", {})
    with as_store(Path(configuration["source"])) as store:
        light_curves, truth, quarantine = store.light_curves(), store.truth(), store.quarantine()
    split = read_split(run) if train else None
    experiment = train["configuration"]["experiment"] if train else {}
    surveys = sorted(light_curves.objects["SURVEY"].dropna().unique())
    predictions = read_predictions(predictions_file(run) or run / PREDICTIONS)
    judged = part_of(predictions, split)
    n_available = int(np.isfinite(judged.probabilities).all(axis=1).sum())
    return ReportContent(
        title=f"snflow: {experiment.get('name', run.name)}",
        is_simulated=SURVEY in surveys,
        verdict=Verdict(
            model=str(summary.get("model", configuration["model"])),
            data=f"{'the test part of ' if split else ''}{len(light_curves):,} of {', '.join(surveys)}",
            n_inputs=len(light_curves),
            n_outputs=len(predictions),
        ),
        data=Data(
            ingest=dict(read_record(run, "ingest").get("summary") or classify["summary"].get("ingest", {})),
            cuts={str(reason): int(count) for reason, count in summary.get("cuts", {}).items()},
            split=dict(split.counts) if split else {},
            class_mix=class_mix(split, truth) if split else {},
            redshifts=bin_redshifts(redshifts(split, truth)) if split else RedshiftHistogram(),
            quarantine=describe_quarantine(quarantine),
        ),
        history=describe_history(read_history(run)) if train else (),
        gallery=gallery(configuration, light_curves, judged, truth),
        n_gallery_available=n_available,
        beside=tuple(found for folder in beside for found in headline_of(folder)),
        configuration={
            verb: read_record(run, verb).get("configuration", {}) for verb in ("ingest", "train", "classify")
        },
        provenance=provenance(train, classify),
        command=str(read_record(run, "run").get("command") or classify.get("command", "")),
        protocol=experiment.get("protocol"),
    )


def gallery(
    configuration: Mapping[str, Any], light_curves: LightCurves, predictions: Predictions, truth: Truth
) -> tuple[GalleryCurve, ...]:
    """Gather the light curves to look at, with what their classifier says of them where it is still there."""
    settings = ClassifySettings.model_validate(configuration["settings"])
    model = Path(configuration["model"])
    classifier = Classifier.load(model, settings) if (model / "model.json").exists() else None
    return gather_gallery(classifier, as_classified(light_curves, settings), predictions, truth)


def part_of(predictions: Predictions, split: Split | None) -> Predictions:
    """Return the predictions of the test part, of all objects where nothing was split."""
    return predictions if split is None else select(predictions, split.test)


def class_mix(split: Split, truth: Truth) -> dict[str, dict[str, int]]:
    """Count the objects of each part and class."""
    counts = {part: truth.select(getattr(split, part)).table["CLASS"].value_counts() for part in PARTS}
    return {part: {str(name): int(count) for name, count in found.items()} for part, found in counts.items()}


def redshifts(split: Split, truth: Truth) -> dict[str, list[float]]:
    """Return the true redshifts of each part."""
    return {part: truth.select(getattr(split, part)).table["REDSHIFT"].dropna().tolist() for part in PARTS}


def bin_redshifts(found: Mapping[str, Sequence[float]]) -> RedshiftHistogram:
    """Count the redshifts of each part in bins of 0.05; parts without any are left out.

    >>> bin_redshifts({"train": [0.01, 0.06, 0.07], "test": []}).counts
    {'train': (1, 2)}
    """
    values = {part: np.asarray(z, dtype=float) for part, z in found.items()}
    values = {part: z[np.isfinite(z)] for part, z in values.items() if np.isfinite(z).any()}
    if not values:
        return RedshiftHistogram()
    n_bins = math.floor(max(float(z.max()) for z in values.values()) / REDSHIFT_STEP + 1e-9) + 1
    edges = np.round(np.arange(n_bins + 1) * REDSHIFT_STEP, 6)
    return RedshiftHistogram(
        edges=tuple(edges.tolist()),
        counts={part: tuple(np.histogram(z, edges)[0].tolist()) for part, z in values.items()},
        medians={part: float(np.median(z)) for part, z in values.items()},
    )


def describe_quarantine(entries: pd.DataFrame) -> Quarantine:
    """Count the entries by reason, and keep the first."""
    if entries.empty:
        return Quarantine()
    first = entries.head(MAX_ENTRIES)[["FILE", "LINE", "SNID", "SCOPE", "REASON"]].astype(object)
    rows = tuple(
        QuarantineEntry(
            file=str(file),
            line=None if pd.isna(line) else int(line),
            snid=None if pd.isna(snid) else str(snid),
            scope=str(scope),
            reason=str(reason),
        )
        for file, line, snid, scope, reason in first.itertuples(index=False)
    )
    return Quarantine(len(entries), count_kinds(entries), rows)


def describe_history(history: pd.DataFrame) -> tuple[HistoryRow, ...]:
    """Return the training history row by row."""
    names = ("MEMBER", "EPOCH", "TRAIN_LOSS", "VALID_LOSS", "VALID_ACCURACY", "LEARNING_RATE", "SECONDS")
    rows = history[list(names)].astype(float).itertuples(index=False)
    return tuple(HistoryRow(int(member), int(epoch), *numbers) for member, epoch, *numbers in rows)


def provenance(train: Mapping[str, Any], classify: Mapping[str, Any]) -> dict[str, str]:
    """Flatten hashes, times and versions for the page."""
    summary = train.get("summary", {})
    fields = {
        "trained": train.get("finished"),
        "classified": classify.get("finished"),
        "data hash": summary.get("data_hash"),
        "split hash": summary.get("split_hash"),
        "store version": summary.get("store_version"),
        "seconds of training": summary.get("seconds"),
        "seconds of classifying": classify.get("summary", {}).get("seconds"),
    }
    known = {key: str(value) for key, value in fields.items() if value is not None}
    return known | {f"version of {name}": version for name, version in classify.get("versions", versions()).items()}


def headline_of(folder: Path) -> list[Evaluation]:
    """Return the headline of another run, named after its folder; nothing where it has none."""
    return [named_after(found, folder.name) for found in read_metrics(folder).evaluations[:1]]


def named_after(evaluation: Evaluation, folder: str) -> Evaluation:
    """Name an evaluation of another run after its folder."""
    return replace(evaluation, name=f"{folder}: {evaluation.name}")
