"""What a classifier accepts, held against the data before any inference: one readable list, nothing silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline.schema import LightCurves
from pipeline.train.checkpoint import Checkpoint

__all__ = ["ContractError", "check_contract", "ignore_bands", "rename_bands"]


class ContractError(ValueError):
    """Data that a classifier does not accept; `mismatches` lists every one, each with what to do."""

    def __init__(self, model: str, mismatches: Sequence[str]) -> None:
        super().__init__(f"{model} does not accept these data:\n" + "\n".join(f"  - {line}" for line in mismatches))
        self.mismatches = tuple(mismatches)


def check_contract(light_curves: LightCurves, checkpoint: Checkpoint) -> list[str]:
    """Compare the bands of the data with those of the classifier.

    Returns:
        Notes on what is accepted but differs from the training data, for the log and the report.

    Raises:
        ContractError: if the data have bands that the classifier does not know, or none that it knows.
    """
    known = checkpoint.experiment.bands
    mismatches = [
        f"band {band!r} is not one of the model's ({', '.join(known)}): rename it with --band-map {band}=..., "
        f"or leave its measurements out with --ignore-band {band}"
        for band in light_curves.bands
        if band not in known
    ]
    if len(light_curves.epochs) and not set(light_curves.bands) & set(known):
        mismatches.append(f"no measurement is in the model's bands ({', '.join(known)})")
    if mismatches:
        raise ContractError(checkpoint.name, mismatches)
    return list(_differences(light_curves, checkpoint))


def rename_bands(light_curves: LightCurves, band_map: Mapping[str, str]) -> LightCurves:
    """Rename bands, explicitly, as in {"DES-g": "g"}.

    Raises:
        ValueError: if the data have no band of a name to replace.
    """
    absent = set(band_map) - set(light_curves.bands)
    if absent:
        raise ValueError(f"--band-map names {sorted(absent)}, but the data have only {list(light_curves.bands)}")
    bands = light_curves.epochs["BAND"].astype("str").replace(dict(band_map)).astype("category")
    return replace(light_curves, epochs=light_curves.epochs.assign(BAND=bands))


def ignore_bands(light_curves: LightCurves, bands: Sequence[str]) -> LightCurves:
    """Leave the measurements of some bands out."""
    kept = ~light_curves.epochs["BAND"].isin(bands).to_numpy()
    counts = np.bincount(light_curves.object_index[kept], minlength=len(light_curves))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return LightCurves(light_curves.objects, light_curves.epochs[kept].reset_index(drop=True), offsets)


def _differences(light_curves: LightCurves, checkpoint: Checkpoint) -> list[str]:
    accepts = checkpoint.accepts
    objects = light_curves.objects
    notes = []
    missing = [band for band in checkpoint.experiment.bands if band not in light_curves.bands]
    if missing:
        notes.append(f"the data have no measurement in {', '.join(missing)}, which the model was trained with")
    surveys = sorted(set(objects["SURVEY"].dropna()) - set(accepts.surveys))
    if surveys:
        notes.append(f"survey {', '.join(surveys)} is not one the model was trained on ({', '.join(accepts.surveys)})")
    n_without = int(objects[accepts.redshift.upper()].isna().sum()) if accepts.redshift != "none" else 0
    if n_without:
        notes.append(f"{n_without} of {len(objects)} objects have no {accepts.redshift}; classified without redshift")
    if checkpoint.novelty is None:
        notes.append("the model was trained before there was a novelty score: NOVELTY is empty; train it again for one")
    return notes
