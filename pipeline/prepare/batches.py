"""Batches of photometry, what is brightest in them, and the order in which objects fill them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["HEADER", "PhotometryBatch", "brightest_point", "equal_length_batches", "shuffled_batches", "shuffled_pools"]

HEADER = ("PHOTOZ", "PHOTOZ_ERR", "MWEBV")
"""Columns of `PhotometryBatch.header`, in order."""


@dataclass(frozen=True)
class PhotometryBatch:
    """Padded photometry of a batch of objects, in physical units.

    Attributes:
        days: (batch, time) float32, days since the object's first step; 0 in the padding.
        flux, flux_err: (batch, time, band) float32, FLUXCAL at ZP 27.5; 0 where there is no value.
        observed: (batch, time, band) bool, true where a band was measured.
        mask: (batch, time) bool; steps come first, padding last.
        header: (batch, 3) float32, HEADER; NaN where unknown.
    """

    days: Tensor
    flux: Tensor
    flux_err: Tensor
    observed: Tensor
    mask: Tensor
    header: Tensor

    def __len__(self) -> int:
        """Count the objects."""
        return len(self.mask)

    def take(self, rows: npt.NDArray[np.int64]) -> PhotometryBatch:
        """Return some objects, with no more padding than they need."""
        mask = self.mask[rows]
        steps = slice(int(mask.sum(dim=1).max()))
        return PhotometryBatch(
            days=self.days[rows, steps],
            flux=self.flux[rows, steps],
            flux_err=self.flux_err[rows, steps],
            observed=self.observed[rows, steps],
            mask=mask[:, steps],
            header=self.header[rows],
        )


def brightest_point(batch: PhotometryBatch) -> tuple[Tensor, Tensor]:
    """Find the measurement of each object that is brightest beyond its own error.

    Returns:
        Its flux, or its error where that is larger (FLUXCAL, always positive), and its time [d since the first step].
    """
    lower = torch.where(batch.observed, batch.flux - batch.flux_err, -torch.inf).flatten(1)
    best = lower.argmax(dim=1, keepdim=True)
    flux, error = (values.flatten(1).gather(1, best)[:, 0] for values in (batch.flux, batch.flux_err))
    step = torch.div(best, batch.flux.shape[2], rounding_mode="floor")
    return torch.maximum(flux, error), batch.days.gather(1, step)[:, 0]


def equal_length_batches(lengths: npt.NDArray[np.int64], batch_size: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield rows of objects of exactly equal length, shortest first, so that nobody's padding touches an answer.

    Objects of length 0 are in no batch.
    """
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    for rows in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
        for start in range(0, len(rows), batch_size):
            yield rows[start : start + batch_size]


def shuffled_pools(n_objects: int, size: int, rng: np.random.Generator) -> list[npt.NDArray[np.int64]]:
    """Put objects, at random, into parts of a size; the last may be smaller."""
    return np.split(rng.permutation(n_objects), range(size, n_objects, size))


def shuffled_batches(
    lengths: npt.NDArray[np.int64], batch_size: int, rng: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Put the objects of a pool into batches of similar length, in random order."""
    order = rng.permutation(len(lengths))
    order = order[np.argsort(lengths[order], kind="stable")]
    batches = np.split(order, range(batch_size, len(order), batch_size))
    rng.shuffle(batches)
    return batches
