"""From epochs of single bands to steps of all bands: vectorised over objects, no Python loop.

A resampler has two halves. Grouping (numpy, over all objects at once) merges epochs that are close in time. Completing
(torch, over a batch, so that it can be drawn afresh each epoch of training) decides what stands where a band was not
observed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from models.parts import is_traced
from pipeline.prepare.batches import PhotometryBatch, brightest_point
from pipeline.schema import LightCurves
from pipeline.settings import FrozenConfig

__all__ = [
    "RESAMPLERS",
    "Grid",
    "Nightly",
    "RandomFill",
    "Resampled",
    "ResamplerConfig",
    "complete",
    "completions",
    "group_epochs",
    "neighbour_fill",
    "on_grid",
]

WindowDays: TypeAlias = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None

GOLDEN_RATIO: Final = 0.6180339887498949


class Nightly(FrozenConfig):
    """Epochs of a night merged per band by inverse variance; a band without a measurement stays missing."""

    kind: Literal["nightly"] = "nightly"
    gap_days: float = Field(default=0.5, gt=0)
    """Epochs no further apart than this, and within this of the first of their group, make one step [d]."""
    window_days: WindowDays = None
    """Steps no longer before, and no longer after an object's brightest time than these two are read; none: all [d]."""


class RandomFill(FrozenConfig):
    """Charnock & Moss 2017 (arXiv:1606.07442): hourly groups, missing bands filled between their neighbours."""

    kind: Literal["random_fill"] = "random_fill"
    gap_days: float = Field(default=1 / 24, gt=0)
    """As in `nightly` [d]."""
    test_draws: int = Field(default=0, ge=0)
    """Fills averaged when classifying; 0: the deterministic mean of the two neighbours. Training draws afresh."""
    window_days: WindowDays = None
    """As in `nightly` [d]."""


class Grid(FrozenConfig):
    """Nights interpolated linearly to a regular grid that has the brightest measurement on one of its points.

    Each light curve becomes as many steps. A band without a measurement before or after a point is not extrapolated: it
    is missing there, unless its first or last measurement is within half a step. `observed` says that a measurement is.
    """

    kind: Literal["grid"] = "grid"
    gap_days: float = Field(default=0.5, gt=0)
    """As in `nightly` [d]."""
    step_days: float = Field(default=3.0, gt=0)
    """Distance of two points [d]."""
    steps_before: int = Field(default=20, ge=0)
    """Points before the brightest measurement."""
    steps_after: int = Field(default=39, ge=0)
    """Points after it; measurements beyond the grid are not read."""

    @property
    def n_steps(self) -> int:
        """Points of the grid."""
        return self.steps_before + 1 + self.steps_after


ResamplerConfig = Annotated[Nightly | RandomFill | Grid, Field(discriminator="kind")]
RESAMPLERS: Final[dict[str, type[Nightly] | type[RandomFill] | type[Grid]]] = {
    "nightly": Nightly,
    "random_fill": RandomFill,
    "grid": Grid,
}


@dataclass(frozen=True)
class Resampled:
    """Light curves as steps in time, each with all bands.

    Attributes:
        offsets: (n_objects + 1) int64; the steps of object i are `offsets[i]:offsets[i + 1]`.
        days: (n_steps) float32, days since the object's first step.
        flux, flux_err: (n_steps, n_bands) float32, FLUXCAL; 0 where not observed.
        observed: (n_steps, n_bands) bool.
        header: (n_objects, 3) float32: photo-z, its error, MWEBV [mag]; NaN where unknown.
    """

    offsets: npt.NDArray[np.int64]
    days: npt.NDArray[np.float32]
    flux: npt.NDArray[np.float32]
    flux_err: npt.NDArray[np.float32]
    observed: npt.NDArray[np.bool_]
    header: npt.NDArray[np.float32]

    def __len__(self) -> int:
        """Count the objects."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(n_objects) steps of each object."""
        return np.diff(self.offsets)

    def pieces(self, size: int) -> Iterator[Resampled]:
        """Yield the objects in order, so many at a time; nothing is copied but the offsets."""
        for first in range(0, len(self), size):
            offsets = self.offsets[first : first + size + 1]
            steps = slice(offsets[0], offsets[-1])
            values = (self.days[steps], self.flux[steps], self.flux_err[steps], self.observed[steps])
            yield Resampled(offsets - offsets[0], *values, self.header[first : first + size])

    def batch(self, rows: npt.NDArray[np.int64]) -> PhotometryBatch:
        """Pad the steps of these objects into one batch."""
        lengths = self.lengths[rows]
        steps = np.arange(lengths.max())
        mask = steps < lengths[:, None]
        index = np.where(mask, self.offsets[rows][:, None] + steps, 0)
        values = [self.days[index], self.flux[index], self.flux_err[index], self.observed[index]]
        if not mask.all():
            for padded in values:
                padded[~mask] = 0
        days, flux, flux_err, observed = (torch.from_numpy(padded) for padded in values)
        header = torch.from_numpy(self.header[rows])
        return PhotometryBatch(days, flux, flux_err, observed, torch.from_numpy(mask), header)


def group_epochs(light_curves: LightCurves, bands: tuple[str, ...], gap_days: float) -> Resampled:
    """Merge epochs that are close in time, per band, by inverse variance.

    Args:
        light_curves: n objects; epochs of bands that are not in `bands` are left out.
        bands: the model's bands, in its order.
        gap_days: the longest distance to the epoch before, and to the first of the group [d].

    Returns:
        Steps in time order; an object without an epoch in `bands` has none.
    """
    column = band_columns(light_curves, bands)
    used = column >= 0
    epochs = [light_curves.epochs[name].to_numpy() for name in ("MJD", "FLUXCAL", "FLUXCALERR")]
    values = [column, light_curves.object_index, *epochs]
    column, owner, mjd, flux, flux_err = values if used.all() else [some[used] for some in values]
    weight = 1 / np.square(flux_err)
    step, first = group_index(owner, mjd, gap_days)
    n_steps, n_bands = len(first), len(bands)
    cell = step * n_bands + column
    total = np.bincount(cell, weight, n_steps * n_bands)
    observed = total > 0
    total_or_one = np.where(observed, total, 1.0)
    merged = np.bincount(cell, weight * flux, n_steps * n_bands) / total_or_one
    error = np.where(observed, 1 / np.sqrt(total_or_one), 0)
    offsets = np.searchsorted(owner[first], np.arange(len(light_curves) + 1)).astype(np.int64)
    step_mjd = np.bincount(step, mjd, n_steps) / np.maximum(np.bincount(step, minlength=n_steps), 1)
    start = step_mjd[np.minimum(offsets[:-1], max(n_steps - 1, 0))] if n_steps else np.zeros(len(light_curves))
    days = step_mjd - np.repeat(start, np.diff(offsets))
    shape = (n_steps, n_bands)
    header = light_curves.objects[["PHOTOZ", "PHOTOZ_ERR", "MWEBV"]].to_numpy(dtype=np.float32)
    return Resampled(
        offsets=offsets,
        days=days.astype(np.float32),
        flux=merged.reshape(shape).astype(np.float32),
        flux_err=error.reshape(shape).astype(np.float32),
        observed=observed.reshape(shape),
        header=header,
    )


def band_columns(light_curves: LightCurves, bands: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """(n_epochs) place of each epoch's band in `bands`, −1 where it has none."""
    categories = light_curves.epochs["BAND"].cat
    places = {band: place for place, band in enumerate(bands)}
    lookup = np.array([places.get(str(name), -1) for name in categories.categories] or [-1], dtype=np.int64)
    return lookup[categories.codes.to_numpy()]


def group_index(
    owner: npt.NDArray[np.int64], mjd: npt.NDArray[np.float64], gap_days: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Number the groups of epochs, which come ordered by owner and time.

    A chain of epochs breaks where two are more than the gap apart; a chain longer than the gap is cut into pieces of
    it, so that minute-by-minute photometry does not become one step.

    Returns:
        (n_epochs) group of each epoch, and (n_groups) first epoch of each group.
    """
    if not len(mjd):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    new_owner = np.diff(owner, prepend=-1) != 0
    new_chain = new_owner | (np.diff(mjd, prepend=mjd[0]) > gap_days)
    chain_start = mjd[np.maximum.accumulate(np.where(new_chain, np.arange(len(mjd)), 0))]
    piece = np.floor((mjd - chain_start) / gap_days)
    new_group = new_chain | (np.diff(piece, prepend=0) != 0)
    return np.cumsum(new_group) - 1, np.flatnonzero(new_group)


def complete(batch: PhotometryBatch, config: ResamplerConfig, generator: torch.Generator) -> PhotometryBatch:
    """Give missing bands what the resampler says, at random, in training: nothing, or a value between neighbours."""
    if isinstance(config, RandomFill):
        return neighbour_fill(batch, torch.rand(batch.flux.shape, generator=generator))
    return on_grid(batch, config) if isinstance(config, Grid) else batch


def completions(batch: PhotometryBatch, config: ResamplerConfig) -> Iterator[PhotometryBatch]:
    """Yield each deterministic completion whose answers are averaged when classifying; one, unless draws are asked."""
    if isinstance(config, Grid):
        yield on_grid(batch, config)
    elif not isinstance(config, RandomFill):
        yield batch
    elif config.test_draws == 0:
        yield neighbour_fill(batch, torch.tensor(0.5))
    else:
        for draw in range(config.test_draws):
            yield neighbour_fill(batch, fill_fraction(batch, draw, config.test_draws))


def fill_fraction(batch: PhotometryBatch, draw: int, n_draws: int) -> Tensor:
    """Fractions for one of several fills at test time: evenly spread, and the same whoever shares the batch."""
    places = torch.arange(1, batch.flux[0].numel() + 1, dtype=torch.float64).reshape(batch.flux.shape[1:])
    return ((places * GOLDEN_RATIO + draw / n_draws) % 1.0).float()


def neighbour_fill(batch: PhotometryBatch, fraction: Tensor) -> PhotometryBatch:
    """Fill a missing band at `fraction` of the way from the measurement before to the one after.

    Before the first and after the last measurement of a band its nearest one is repeated; a band that was never
    observed stays 0. Flux and error are filled alike.
    """
    before, after = neighbours(batch.observed)

    def fill(values: Tensor) -> Tensor:
        low, high = (values.gather(1, index.clamp(0, values.shape[1] - 1)) for index in (before, after))
        low, high = torch.where(before < 0, high, low), torch.where(after >= values.shape[1], low, high)
        filled = torch.where(batch.observed, values, low + fraction * (high - low))
        return filled * batch.mask[..., None]

    return replace(batch, flux=fill(batch.flux), flux_err=fill(batch.flux_err))


def neighbours(observed: Tensor) -> tuple[Tensor, Tensor]:
    """For each (step, band) the last step observed at or before it (−1: none) and the next (n_steps: none)."""
    n_steps = observed.shape[1]
    steps = torch.arange(n_steps)
    last = torch.where(observed, steps[:, None], -1)
    following = torch.where(observed, steps[:, None], n_steps)
    if not is_traced():
        return last.cummax(dim=1).values, following.flip(1).cummin(dim=1).values.flip(1)
    is_earlier = (steps <= steps[:, None])[..., None]  # a graph of ONNX knows no running maximum: all pairs of steps
    before = torch.where(is_earlier, last[:, None], -1).amax(dim=2)
    return before, torch.where(is_earlier.transpose(0, 1), following[:, None], n_steps).amin(dim=2)


def on_grid(batch: PhotometryBatch, config: Grid) -> PhotometryBatch:
    """Interpolate flux and error alike to the points of the grid; see `Grid`. No step of it is padding."""
    n_steps = batch.flux.shape[1]
    places = torch.arange(config.n_steps) - config.steps_before
    points = brightest_point(batch)[1][:, None] + config.step_days * places
    days = torch.where(batch.mask, batch.days, torch.inf)
    n_passed = (days[:, None] <= points[..., None]).sum(dim=2)[..., None].expand(-1, -1, batch.flux.shape[2])
    before, after = neighbours(batch.observed)
    low = torch.cat([torch.full_like(before[:, :1], -1), before], dim=1).gather(1, n_passed)
    high = torch.cat([after, torch.full_like(after[:, :1], n_steps)], dim=1).gather(1, n_passed)
    since_low, until_high = days_apart(batch.days, low, points), days_apart(batch.days, high, points)
    is_near = torch.minimum(since_low, until_high) <= config.step_days / 2
    has_value = is_near | (since_low + until_high).isfinite()
    fraction = torch.where(
        until_high.isinf(), 0, torch.where(since_low.isinf(), 1, since_low / (since_low + until_high))
    )

    def interpolate(values: Tensor) -> Tensor:
        first, last = values.gather(1, low.clamp(min=0)), values.gather(1, high.clamp(max=n_steps - 1))
        return torch.where(has_value, first + fraction * (last - first), 0)

    return PhotometryBatch(
        days=(config.step_days * torch.arange(config.n_steps)).expand_as(points),
        flux=interpolate(batch.flux),
        flux_err=interpolate(batch.flux_err),
        observed=is_near,
        mask=batch.mask.any(dim=1, keepdim=True).expand(-1, config.n_steps),
        header=batch.header,
    )


def days_apart(days: Tensor, index: Tensor, points: Tensor) -> Tensor:
    """(batch, point, band) distance of each point to the step of an index [d]; infinite where there is no such step."""
    n_steps = days.shape[1]
    at_index = days[..., None].expand(-1, -1, index.shape[2]).gather(1, index.clamp(0, n_steps - 1))
    return torch.where((index >= 0) & (index < n_steps), (points[..., None] - at_index).abs(), torch.inf)
