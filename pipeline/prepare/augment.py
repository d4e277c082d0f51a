"""Random changes of training light curves, fresh each epoch, on tensors; other objects are never changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from models import LightCurveBatch
from pipeline.prepare.batches import PhotometryBatch
from pipeline.settings import FrozenConfig

__all__ = ["AugmentConfig", "Mixture", "augment", "mix"]

Change: TypeAlias = Callable[[PhotometryBatch, float, torch.Generator], PhotometryBatch]
"""Takes a batch, how strongly to change it, and a generator."""


class AugmentConfig(FrozenConfig):
    """How strongly training light curves are changed; 0 switches a change off."""

    drop: float = Field(default=0.3, ge=0, lt=1)
    """Measurements are dropped with a probability drawn for each object from U(0, drop)."""
    noise: float = Field(default=1.0, ge=0)
    """Extra noise in units of the error, its size drawn for each object from U(0, noise); errors grow to match."""
    noise_varies: bool = True
    """False: the size of `noise` is not drawn, it is the same for all objects."""
    truncate: float = Field(default=0.1, ge=0, le=1)
    """Probability that an object is cut off at a random time."""
    photoz: float = Field(default=0.5, ge=0)
    """Extra scatter of the photo-z in units of its error."""
    hide_redshift: float = Field(default=0.15, ge=0, le=1)
    """Probability that an object's redshift is hidden, so that one model also takes objects without one."""
    truncate_start: float = Field(default=0.0, ge=0, le=1)
    """Probability that an object is found at a random time between its first step and its highest S/N."""
    cut_end_days: float = Field(default=0.0, ge=0)
    """Every object loses what is in its last U(0, cut_end_days) days."""
    drop_night: float = Field(default=0.0, ge=0, lt=1)
    """Whole steps are dropped with a probability drawn for each object from U(0, drop_night): a sparser cadence."""
    drop_band: float = Field(default=0.0, ge=0, lt=1)
    """Probability of each band of an object to be lost."""
    band_noise: float = Field(default=0.0, ge=0)
    """As `noise`, its size drawn for each object and band: other depths, and other ratios of the bands' depths."""
    error_scale: float = Field(default=0.0, ge=0, le=2)
    """Standard deviation of ln(factor) on the errors alone of an object: errors that are given too small or large."""
    brightness: float = Field(default=0.0, ge=0, le=5)
    """Standard deviation of the change of an object's brightness, its errors and S/N included [mag]."""
    zeropoint: float = Field(default=0.0, ge=0, le=1)
    """The same for each band of an object on its own [mag]: colours of other filters and calibrations."""
    stretch: float = Field(default=0.0, ge=0, le=1)
    """Standard deviation of ln(factor) on an object's times."""
    shift_days: float = Field(default=0.0, ge=0)
    """Times are moved by U(-shift_days, shift_days); networks that read days from the brightest do not see it."""
    mix: float = Field(default=0.0, ge=0)
    """Each object is mixed with another by a share drawn from Beta(mix, mix) (mixup, arXiv:1710.09412)."""


def augment(batch: PhotometryBatch, config: AugmentConfig, generator: torch.Generator) -> PhotometryBatch:
    """Change every object of a batch at random; what is switched off draws no random number."""
    changes: tuple[tuple[float, Change], ...] = (
        (config.truncate, truncate),
        (config.truncate_start, truncate_start),
        (config.cut_end_days, cut_end),
        (config.drop_night, drop_nights),
        (config.drop_band, drop_bands),
        (config.drop, drop_measurements),
        (config.noise, partial(add_noise, varies=config.noise_varies)),
        (config.band_noise, partial(add_noise, by_band=True)),
        (config.error_scale, scale_errors),
        (config.brightness, change_brightness),
        (config.zeropoint, partial(change_brightness, by_band=True)),
        (config.stretch, stretch),
        (config.shift_days, shift),
    )
    for strength, change in changes:
        if strength:
            batch = change(batch, strength, generator)
    return scatter_redshift(batch, config.photoz, config.hide_redshift, generator)


def truncate(batch: PhotometryBatch, probability: float, generator: torch.Generator) -> PhotometryBatch:
    """Cut some objects off at a uniformly random time between their first and last step."""
    shape = (len(batch), 1)
    end = batch.days.amax(dim=1, keepdim=True) * torch.rand(shape, generator=generator)
    is_cut = torch.rand(shape, generator=generator) < probability
    mask = batch.mask & (~is_cut | (batch.days <= end))
    return keep_measurements(batch, batch.observed & mask[..., None])


def truncate_start(batch: PhotometryBatch, probability: float, generator: torch.Generator) -> PhotometryBatch:
    """Leave out what is before a uniformly random time between the first step and the highest S/N of some objects."""
    shape = (len(batch), 1)
    start = day_of_highest_snr(batch)[:, None] * torch.rand(shape, generator=generator)
    is_cut = torch.rand(shape, generator=generator) < probability
    mask = batch.mask & (~is_cut | (batch.days >= start))
    return keep_measurements(batch, batch.observed & mask[..., None])


def cut_end(batch: PhotometryBatch, most: float, generator: torch.Generator) -> PhotometryBatch:
    """Leave out the last days of all objects."""
    end = batch.days.amax(dim=1, keepdim=True) - most * torch.rand((len(batch), 1), generator=generator)
    return keep_measurements(batch, batch.observed & (batch.mask & (batch.days <= end))[..., None])


def day_of_highest_snr(batch: PhotometryBatch) -> Tensor:
    """(batch,) time of each object's measurement of highest S/N [d since the first step]."""
    snr = torch.where(batch.observed, batch.flux / torch.where(batch.observed, batch.flux_err, 1), -torch.inf)
    step = snr.amax(dim=2).argmax(dim=1, keepdim=True)
    return batch.days.gather(1, step)[:, 0]


def drop_nights(batch: PhotometryBatch, most: float, generator: torch.Generator) -> PhotometryBatch:
    """Drop whole steps."""
    share = most * torch.rand((len(batch), 1), generator=generator)
    kept = torch.rand(batch.mask.shape, generator=generator) >= share
    return keep_measurements(batch, batch.observed & kept[..., None])


def drop_bands(batch: PhotometryBatch, probability: float, generator: torch.Generator) -> PhotometryBatch:
    """Drop whole bands; an object that would lose all that it was observed in keeps all."""
    kept = torch.rand((len(batch), 1, batch.flux.shape[2]), generator=generator) >= probability
    return keep_measurements(batch, batch.observed & kept)


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


def add_noise(
    batch: PhotometryBatch, most: float, generator: torch.Generator, by_band: bool = False, varies: bool = True
) -> PhotometryBatch:
    """Add Gaussian noise, and enlarge the errors by as much."""
    shape = (len(batch), 1, batch.flux.shape[2] if by_band else 1)
    size = most * (torch.rand(shape, generator=generator) if varies else torch.ones(shape))
    noise = torch.randn(batch.flux.shape, generator=generator) * batch.flux_err * size
    return replace(batch, flux=batch.flux + noise, flux_err=batch.flux_err * (1 + size**2).sqrt())


def scale_errors(batch: PhotometryBatch, spread: float, generator: torch.Generator) -> PhotometryBatch:
    """Multiply the errors of an object, and not its fluxes."""
    factor = (spread * torch.randn((len(batch), 1, 1), generator=generator)).exp()
    return replace(batch, flux_err=batch.flux_err * factor)


def change_brightness(
    batch: PhotometryBatch, spread: float, generator: torch.Generator, by_band: bool = False
) -> PhotometryBatch:
    """Multiply fluxes and errors alike, the S/N staying as it is."""
    change = spread * torch.randn((len(batch), 1, batch.flux.shape[2] if by_band else 1), generator=generator)
    factor = 10 ** (-0.4 * change)
    return replace(batch, flux=batch.flux * factor, flux_err=batch.flux_err * factor)


def stretch(batch: PhotometryBatch, spread: float, generator: torch.Generator) -> PhotometryBatch:
    """Make light curves faster or slower."""
    factor = (spread * torch.randn((len(batch), 1), generator=generator)).exp()
    return replace(batch, days=batch.days * factor)


def shift(batch: PhotometryBatch, most: float, generator: torch.Generator) -> PhotometryBatch:
    """Move light curves in time."""
    days = most * (2 * torch.rand((len(batch), 1), generator=generator) - 1)
    return replace(batch, days=(batch.days + days) * batch.mask)


def scatter_redshift(batch: PhotometryBatch, size: float, hidden: float, generator: torch.Generator) -> PhotometryBatch:
    """Scatter the photo-z within its error, and hide it for some objects."""
    photoz, photoz_err, mwebv = batch.header.unbind(dim=1)
    scattered = photoz + size * photoz_err.nan_to_num(0) * torch.randn(len(batch), generator=generator)
    is_hidden = torch.rand(len(batch), generator=generator) < hidden
    nothing = torch.full_like(photoz, torch.nan)
    header = [torch.where(is_hidden, nothing, scattered), torch.where(is_hidden, nothing, photoz_err), mwebv]
    return replace(batch, header=torch.stack(header, dim=1))


@dataclass(frozen=True)
class Mixture:
    """Who was mixed with whom, which says what is to be answered.

    Attributes:
        partner: (batch,) row of the other object.
        share: (batch,) share of the object itself, 1/2 or more.
    """

    partner: Tensor
    share: Tensor

    def of(self, losses: Tensor, losses_of_partner: Tensor) -> Tensor:
        """(batch,) losses of mixed objects, from those with what each is, and with what its partner is."""
        return self.share * losses + (1 - self.share) * losses_of_partner


def mix(batch: LightCurveBatch, strength: float, rng: np.random.Generator) -> tuple[LightCurveBatch, Mixture]:
    """Mix each normalised object, step by step, with another; what a shorter partner lacks is 0, as in its padding."""
    n_objects, device = len(batch), batch.sequence.device
    share = rng.beta(strength, strength, n_objects)
    partner = torch.from_numpy(rng.permutation(n_objects)).to(device)
    own = torch.from_numpy(np.maximum(share, 1 - share).astype(np.float32)).to(device)
    sequence = torch.lerp(batch.sequence[partner], batch.sequence, own[:, None, None]) * batch.mask[..., None]
    context = torch.lerp(batch.context[partner], batch.context, own[:, None])
    return LightCurveBatch(sequence, batch.mask, context), Mixture(partner, own)
