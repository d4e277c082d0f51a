"""What a classifier accepts, held against the data before any inference: one readable list, nothing silent."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.classify.settings import ContractError
from pipeline.prepare.resample import band_columns
from pipeline.prepare.selection import best_snr
from pipeline.schema import ZP_INTERNAL, LightCurves
from pipeline.train.checkpoint import Checkpoint

__all__ = ["ContractError", "at_zeropoint", "check_bands", "check_contract", "ignore_bands", "rename_bands"]

SHARE_TOLD: Final = 0.1
"""Share of the objects outside of what the model was trained on from which on it is told."""

ERROR_RATIO_TOLD: Final = 8.0
"""Ratio of the typical flux error to that of the training data (or its inverse) from which on it is told: 2.3 mag."""


def check_contract(light_curves: LightCurves, checkpoint: Checkpoint, redshift: str = "photoz") -> list[str]:
    """Compare the data with those that the classifier was trained on.

    Args:
        light_curves: n objects, with the redshift that is to be used in the place of the photo-z.
        checkpoint: the classifier.
        redshift: which one that is: photoz, specz or none.

    Returns:
        Notes on what is accepted but differs from the training data, for the log and the report: bands, redshifts,
        survey, number of measurements, S/N, flux errors; each with what to do.

    Raises:
        ContractError: if the data have bands that the classifier does not know, or none that it knows, or another
            zeropoint.
    """
    check_bands(light_curves.bands, checkpoint)
    return list(_differences(light_curves, checkpoint, redshift))


def check_bands(bands: Collection[str], checkpoint: Checkpoint) -> None:
    """Compare what decides whether data are accepted at all.

    Args:
        bands: those with a measurement.
        checkpoint: the classifier.

    Raises:
        ContractError: as `check_contract` does.
    """
    known = checkpoint.experiment.bands
    mismatches = [
        f"band {band!r} is not one of the model's ({', '.join(known)}): rename it with --band-map {band}=..., "
        f"or leave its measurements out with --ignore-band {band}"
        for band in sorted(bands)
        if band not in known
    ]
    if bands and not set(bands) & set(known):
        mismatches.append(f"no measurement is in the model's bands ({', '.join(known)})")
    if checkpoint.accepts.zeropoint != ZP_INTERNAL:
        mismatches.append(
            f"the model wants fluxes at zeropoint {checkpoint.accepts.zeropoint:g} mag AB, snflow's are at "
            f"{ZP_INTERNAL:g}: train the model again with this snflow"
        )
    if mismatches:
        raise ContractError(checkpoint.name, mismatches)


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


def at_zeropoint(light_curves: LightCurves, zeropoint: float | None) -> LightCurves:
    """Bring fluxes that are at a zeropoint [mag AB] to ours, of None nothing."""
    if zeropoint is None or zeropoint == ZP_INTERNAL:
        return light_curves
    epochs, scale = light_curves.epochs, 10 ** (0.4 * (ZP_INTERNAL - zeropoint))
    scaled = epochs.assign(FLUXCAL=epochs["FLUXCAL"] * scale, FLUXCALERR=epochs["FLUXCALERR"] * scale)
    return replace(light_curves, epochs=scaled)


def _differences(light_curves: LightCurves, checkpoint: Checkpoint, redshift: str) -> Iterator[str]:
    seen = set(light_curves.bands)
    missing = [band for band in checkpoint.experiment.bands if band not in seen]
    if missing:
        yield f"the data have no measurement in {', '.join(missing)}, which the model was trained with"
    surveys = sorted(set(light_curves.objects["SURVEY"].dropna().unique()) - set(checkpoint.accepts.surveys))
    if surveys:
        trained = ", ".join(checkpoint.accepts.surveys)
        yield f"survey {', '.join(surveys)} is not one the model was trained on ({trained}): look at NOVELTY and drift"
    yield from _redshift_differences(light_curves, checkpoint, redshift)
    if len(light_curves):
        yield from _range_differences(light_curves, checkpoint)
        yield from _scale_differences(light_curves, checkpoint)
    if checkpoint.novelty is None:
        yield "the model was trained before there was a novelty score: NOVELTY is empty; train it again for one"


def _redshift_differences(light_curves: LightCurves, checkpoint: Checkpoint, redshift: str) -> Iterator[str]:
    wanted, objects = checkpoint.accepts.redshift, light_curves.objects
    if wanted == "none":
        return
    n_without = int(objects[wanted.upper()].isna().sum())
    if n_without and redshift != "none":
        yield f"{n_without} of {len(objects)} objects have no {redshift}; classified without redshift"
    if redshift not in (wanted, "none"):
        yield f"the model was trained with {wanted} and is given {redshift}: probabilities are no longer calibrated"


def _range_differences(light_curves: LightCurves, checkpoint: Checkpoint) -> Iterator[str]:
    """Tell of each quantity how many objects are outside the range of the training objects."""
    accepts = checkpoint.accepts
    used = band_columns(light_curves, checkpoint.experiment.bands) >= 0
    counts = np.bincount(light_curves.object_index[used], minlength=len(light_curves)).astype(np.float64)
    photoz = light_curves.objects["PHOTOZ"].to_numpy(np.float64)
    snr = np.asarray(best_snr(light_curves, used), dtype=np.float64)
    for name, values, known, advice in (
        ("number of measurements", counts, accepts.epochs, "expect less of short ones; --at-epochs shows how it grows"),
        ("best S/N", snr, accepts.best_snr, "check errors and --zeropoint"),
        ("redshift", photoz, accepts.photoz, "compare with --redshift none"),
    ):
        n_outside = _count_outside(values, known)
        if known is not None and n_outside > SHARE_TOLD * len(light_curves):
            yield (
                f"{n_outside} of {len(light_curves)} objects have a {name} outside of {known[0]:.4g} to "
                f"{known[1]:.4g}, that of the training objects: {advice}"
            )


def _count_outside(values: npt.NDArray[np.float64], known: tuple[float, float] | None) -> int:
    return 0 if known is None else int(((values < known[0]) | (values > known[1])).sum())


def _scale_differences(light_curves: LightCurves, checkpoint: Checkpoint) -> Iterator[str]:
    """Tell flux errors of another scale, as those of another zeropoint are."""
    if checkpoint.reference is None or not len(light_curves.epochs):
        return
    summary = checkpoint.reference.summary
    columns = [name for name in summary.columns if name.startswith("median error in")]
    theirs = float(np.nanmedian(summary[columns].to_numpy())) if columns else np.nan
    ours = float(light_curves.epochs["FLUXCALERR"].median())
    ratio = ours / theirs
    if not 1 / ERROR_RATIO_TOLD <= ratio <= ERROR_RATIO_TOLD:
        as_in_training = ZP_INTERNAL + 2.5 * np.log10(ratio)
        yield (
            f"the typical flux error is {ours:.3g}, {ratio:.3g} times that of the training data: if the fluxes are not "
            f"at zeropoint {ZP_INTERNAL:g}, say by --zeropoint where they are (errors would be as in training at "
            f"{as_in_training:.1f})"
        )
