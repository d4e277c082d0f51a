"""Random changes of training light curves, fresh each epoch, on tensors; other objects are never changed."""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from pipeline.prepare.batches import PhotometryBatch
from pipeline.settings import FrozenConfig

__all__ = ["AugmentConfig", "augment"]


class AugmentConfig(FrozenConfig):
    """How strongly training light curves are changed; 0 switches a change off."""

    drop: float = Field(default=0.3, ge=0, lt=1)
    """Measurements are dropped with a probability drawn for each object from U(0, drop)."""
    noise: float = Field(default=1.0, ge=0)
    """Extra noise in units of the error, its size drawn for each object from U(0, noise); errors grow to match."""
    truncate: float = Field(default=0.1, ge=0, le=1)
    """Probability that an object is cut off at a random time."""
    photoz: float = Field(default=0.5, ge=0)
    """Extra scatter of the photo-z in units of its error."""
    hide_redshift: float = Field(default=0.15, ge=0, le=1)
    """Probability that an object's redshift is hidden, so that one model also takes objects without one."""


def augment(batch: PhotometryBatch, config: AugmentConfig, generator: torch.Generator) -> PhotometryBatch:
    """Change every object of a batch at random."""
    batch = truncate(batch, config.truncate, generator)
    batch = drop_measurements(batch, config.drop, generator)
    batch = add_noise(batch, config.noise, generator)
    return scatter_redshift(batch, config.photoz, config.hide_redshift, generator)


def truncate(batch: PhotometryBatch, probability: float, generator: torch.Generator) -> PhotometryBatch:
    """Cut some objects off at a uniformly random time between their first and last step."""
    shape = (len(batch), 1)
    end = batch.days.amax(dim=1, keepdim=True) * torch.rand(shape, generator=generator)
    is_cut = torch.rand(shape, generator=generator) < probability
    mask = batch.mask & (~is_cut | (batch.days <= end))
    return keep_measurements(batch, batch.observed & mask[..., None])


def drop_measurements(batch: PhotometryBatch, most: float, generator: torch.Generator) -> PhotometryBatch:
    """Drop single measurements."""
    share = most * torch.rand((len(batch), 1, 1), generator=generator)
    kept = torch.rand(batch.observed.shape, generator=generator) >= share
    return keep_measurements(batch, batch.observed & kept)


def keep_measurements(batch: PhotometryBatch, observed: Tensor) -> PhotometryBatch:
    """Keep only these measurements; steps left empty vanish, and an object left empty keeps all that it had."""
    observed = torch.where(observed.any(dim=2).any(dim=1)[:, None, None], observed, batch.observed)
    mask = observed.any(dim=2)
    order = torch.argsort(~mask, dim=1, stable=True)[:, : int(mask.sum(dim=1).max())]
    mask = mask.gather(1, order)
    wide = order[..., None].expand(-1, -1, observed.shape[2])
    observed = observed.gather(1, wide) & mask[..., None]
    days = batch.days.gather(1, order)
    return PhotometryBatch(
        days=(days - days[:, :1]) * mask,
        flux=batch.flux.gather(1, wide) * observed,
        flux_err=batch.flux_err.gather(1, wide) * observed,
        observed=observed,
        mask=mask,
        header=batch.header,
    )


def add_noise(batch: PhotometryBatch, most: float, generator: torch.Generator) -> PhotometryBatch:
    """Add Gaussian noise, and enlarge the errors by as much."""
    size = most * torch.rand((len(batch), 1, 1), generator=generator)
    noise = torch.randn(batch.flux.shape, generator=generator) * batch.flux_err * size
    return replace(batch, flux=batch.flux + noise, flux_err=batch.flux_err * (1 + size**2).sqrt())


def scatter_redshift(batch: PhotometryBatch, size: float, hidden: float, generator: torch.Generator) -> PhotometryBatch:
    """Scatter the photo-z within its error, and hide it for some objects."""
    photoz, photoz_err, mwebv = batch.header.unbind(dim=1)
    scattered = photoz + size * photoz_err.nan_to_num(0) * torch.randn(len(batch), generator=generator)
    is_hidden = torch.rand(len(batch), generator=generator) < hidden
    nothing = torch.full_like(photoz, torch.nan)
    header = [torch.where(is_hidden, nothing, scattered), torch.where(is_hidden, nothing, photoz_err), mwebv]
    return replace(batch, header=torch.stack(header, dim=1))
