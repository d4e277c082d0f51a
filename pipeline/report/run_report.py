"""The report of a run folder, drawn from what its steps have written there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.classify.catalogue import as_store, read_predictions
from pipeline.evaluate.evaluation_run import read_findings, select
from pipeline.evaluate.findings import Evaluation
from pipeline.ingest.simulate import SURVEY
from pipeline.prepare.split import PARTS, Split
from pipeline.provenance import read_record, versions
from pipeline.report.figures import write_figures
from pipeline.report.inputs import HISTORY_COLUMNS, GalleryItem, ReportInputs, choose_gallery
from pipeline.report.page import write_report
from pipeline.schema import LightCurves, Truth
from pipeline.train.training_run import read_history, read_split

__all__ = ["ReportError", "report_run"]

UNCALIBRATED = "uncalibrated"


class ReportError(ValueError):
    """A folder that cannot be reported on."""


def report_run(run: Path, beside: Sequence[Path] = (), figures: Path | None = None) -> Path:
    """Write `report.html` into a run folder.

    Args:
        run: folder with the records of ingest, train, classify and evaluate; what is missing is missing on the page.
        beside: other run folders whose headline stands beside this one's.
        figures: folder for the same figures as PDF and SVG, and their data as CSV.

    Returns:
        The page.

    Raises:
        ReportError: if there is nothing to report on.
    """
    train, classify = read_record(run, "train"), read_record(run, "classify")
    if not classify:
        raise ReportError(f"{run} has no classify.json: expected a folder that `snflow run` or `classify` wrote")
    inputs = collect(run, train, classify)
    others = [
        named(found[0], folder.name)
        for folder in beside
        if (found := read_findings(folder / "metrics.json").evaluations)
    ]
    inputs = replace(inputs, evaluations=[*inputs.evaluations, *others])
    if figures is not None:
        write_figures(inputs, figures)
    return write_report(inputs, run / "report.html")


def collect(run: Path, train: dict[str, Any], classify: dict[str, Any]) -> ReportInputs:
    """Gather everything the page shows from the run's files."""
    configuration = classify["configuration"]
    with as_store(Path(configuration["source"])) as store:
        light_curves, truth, quarantine = store.light_curves(), store.truth(), store.quarantine()
    evaluations = read_findings(run / "metrics.json").evaluations
    split = read_split(run) if train else None
    experiment = train["configuration"]["experiment"] if train else {}
    surveys = sorted(light_curves.objects["SURVEY"].dropna().unique())
    return ReportInputs(
        title=f"snflow: {experiment.get('name', run.name)}",
        is_simulated=SURVEY in surveys,
        model=str(train.get("summary", {}).get("model", configuration["model"])),
        data=f"{'the test part of ' if split else ''}{len(light_curves):,} of {', '.join(surveys)}",
        ingest=read_record(run, "ingest").get("summary", {}),
        cuts=[(str(reason), int(count)) for reason, count in train.get("summary", {}).get("cuts", {}).items()],
        split=split.counts if split else {},
        class_mix=class_mix(split, truth) if split else {},
        redshifts=redshifts(split, truth) if split else {},
        history=read_history(run) if train else pd.DataFrame(columns=list(HISTORY_COLUMNS)),
        evaluations=[found for found in evaluations if found.name != UNCALIBRATED],
        uncalibrated=next((found for found in evaluations if found.name == UNCALIBRATED), None),
        gallery=gallery(Path(configuration["outputs"][0]), light_curves, truth, split),
        quarantine=quarantine,
        configuration={
            verb: read_record(run, verb).get("configuration", {}) for verb in ("ingest", "train", "classify")
        },
        provenance=provenance(train, classify),
        command=str(read_record(run, "run").get("command") or classify.get("command", "")),
        protocol=experiment.get("protocol"),
    )


def class_mix(split: Split, truth: Truth) -> dict[str, dict[str, int]]:
    """Count the objects of each part and class."""
    counts = {part: truth.select(getattr(split, part)).table["CLASS"].value_counts() for part in PARTS}
    return {part: {str(name): int(count) for name, count in found.items()} for part, found in counts.items()}


def redshifts(split: Split, truth: Truth) -> dict[str, list[float]]:
    """Return the true redshifts of each part."""
    return {part: truth.select(getattr(split, part)).table["REDSHIFT"].dropna().tolist() for part in PARTS}


def gallery(file: Path, light_curves: LightCurves, truth: Truth, split: Split | None) -> list[GalleryItem]:
    """Choose light curves to look at, from the test part where there is one."""
    predictions = read_predictions(file)
    if split is not None:
        predictions = select(predictions, split.test)
    return choose_gallery(light_curves, predictions, truth)


def provenance(train: dict[str, Any], classify: dict[str, Any]) -> dict[str, str]:
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


def named(evaluation: Evaluation, folder: str) -> Evaluation:
    """Name an evaluation of another run after its folder."""
    return replace(evaluation, name=f"{folder}: {evaluation.name}")
