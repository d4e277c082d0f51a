"""Light curves as they were known at a moment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.schema import LightCurves

__all__ = ["truncate", "truncate_at_random"]

Floats = npt.NDArray[np.float64]


def truncate(light_curves: LightCurves, until_mjd: Floats) -> LightCurves:
    """Return the same objects without the measurements after a moment.

    Args:
        light_curves: n objects.
        until_mjd: (n_objects,) measurements at or before it are kept [d]; NaN: none.

    Returns:
        All n objects; one without a measurement left has no epochs. PHOTOMETRY_HASH stays that of the whole.
    """
    owner = light_curves.object_index
    is_kept = light_curves.epochs["MJD"].to_numpy() <= np.asarray(until_mjd)[owner]
    lengths = np.bincount(owner[is_kept], minlength=len(light_curves))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return LightCurves(light_curves.objects, light_curves.epochs[is_kept].reset_index(drop=True), offsets)


def truncate_at_random(light_curves: LightCurves, rng: np.random.Generator) -> LightCurves:
    """Return the same objects, each as it was known after one of its measurements, drawn at random."""
    lengths = np.diff(light_curves.offsets)
    mjd = light_curves.epochs["MJD"].to_numpy(dtype=np.float64)
    last = light_curves.offsets[:-1] + (rng.random(len(lengths)) * lengths).astype(np.int64)
    until = np.append(mjd, np.nan)[np.where(lengths > 0, last, len(mjd))]
    return truncate(light_curves, until)
