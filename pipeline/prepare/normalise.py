"""From photometry in physical units to the numbers a network reads, and back."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Final, Literal

import torch
from pydantic import Field
from torch import Tensor

from models.base import Inputs, LightCurveBatch
from pipeline.prepare.batches import PhotometryBatch, brightest_point
from pipeline.prepare.resample import Resampled
from pipeline.settings import FrozenConfig

__all__ = ["NORMALISERS", "GlobalScale", "NormaliserConfig", "NotFittedError", "ObjectScale", "build_normaliser"]

DAYS_SCALE: Final = 30.0
GAP_SCALE: Final = 10.0
"""Days that become 1 in the time features of `per_object`: about a supernova's width, and about a cadence."""


LEAST_REDSHIFT: Final = 0.01
"""Smaller ones, and the negative ones that photo-z's may be, say nothing of a distance."""
OMEGA_MATTER: Final = 0.3


class NotFittedError(RuntimeError):
    """A normaliser was used before `fit`."""


class ObjectScale(FrozenConfig):
    """Each object divided by the flux of its best-measured brightest point; the scale itself goes to the context."""

    kind: Literal["per_object"] = "per_object"
    use_redshift: bool = True
    """Give the network the host photo-z and its error, where known."""
    rest_frame: bool = False
    """Give it what follows from a redshift, too: times in the rest frame, and how luminous the scale makes the object.
    Needs `use_redshift`, and the second `use_scale`."""
    use_scale: bool = True
    """Give the network the scale; without it, it cannot tell a bright object from a faint one but by the S/N."""
    error_floor: float = Field(default=0.0, ge=0, lt=1)
    """Share of the scale that is added to each error in quadrature, so that no S/N tells of a survey's depth alone."""


class GlobalScale(FrozenConfig):
    """Every quantity shifted and scaled by the training objects' mean and standard deviation."""

    kind: Literal["global"] = "global"
    use_redshift: bool = True
    """As in `per_object`."""
    scale: Literal["standard", "none"] = "standard"
    """`none`: FLUXCAL and days as they are."""
    include_errors: bool = True
    """Give the network the flux errors; Moss 2018 does not."""
    include_observed: bool = True
    """Tell the network which bands were measured at each step; Charnock & Moss 2017 do not."""
    time: Literal["days", "gaps"] = "days"
    """Days since the first step, or since the step before (Möller & de Boissière 2020)."""


NormaliserConfig = Annotated[ObjectScale | GlobalScale, Field(discriminator="kind")]


class Normaliser(ABC):
    """Turns a batch of photometry into a batch of features. Fitted on training objects only."""

    time_name: ClassVar[str]
    """Feature that is the time of a step, where there is one."""

    def __init__(self, bands: tuple[str, ...], use_redshift: bool) -> None:
        self.bands = bands
        self.use_redshift = use_redshift

    @property
    @abstractmethod
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features of a step, in order."""

    @property
    @abstractmethod
    def context_names(self) -> tuple[str, ...]:
        """Names of the features of an object, in order."""

    @property
    @abstractmethod
    def days_per_unit(self) -> float:
        """Days that a change of 1 in the feature `time_name` stands for; raises NotFittedError before `fit`."""

    @property
    def inputs(self) -> Inputs:
        """Return what a network is told of these features; raises NotFittedError before `fit`."""
        names = self.feature_names
        time = names.index(self.time_name) if self.time_name in names else None
        return Inputs(len(names), len(self.context_names), time, self.days_per_unit)

    @abstractmethod
    def fit(self, resampled: Resampled) -> None:
        """Learn from training objects what needs to be learned."""

    @abstractmethod
    def __call__(self, batch: PhotometryBatch) -> LightCurveBatch:
        """Return features; raises NotFittedError before `fit`."""

    @abstractmethod
    def inverse(self, batch: LightCurveBatch) -> tuple[Tensor, Tensor]:
        """Return (flux, flux_err), (batch, time, band), from features."""

    @abstractmethod
    def state(self) -> dict[str, list[float]]:
        """Return what was learned, as numbers that JSON can hold."""

    @abstractmethod
    def load_state(self, state: dict[str, list[float]]) -> None:
        """Take over what another normaliser learned."""

    def per_band(self, *quantities: str) -> list[str]:
        """Name one feature per quantity and band."""
        return [f"{quantity}_{band}" for quantity in quantities for band in self.bands]

    def redshift_context(self, header: Tensor) -> list[Tensor]:
        """Photo-z, its error, and whether there is one; zeros where hidden or unknown."""
        photoz, photoz_err = header[:, 0], header[:, 1]
        if not self.use_redshift:
            return []
        known = ~photoz.isnan()
        return [photoz.nan_to_num(0), torch.where(known, photoz_err, 0).nan_to_num(0), known.float()]

    @property
    def redshift_names(self) -> tuple[str, ...]:
        """Names of `redshift_context`."""
        return ("photoz", "photoz_err", "has_photoz") if self.use_redshift else ()


class PerObjectNormaliser(Normaliser):
    """See `ObjectScale`. It learns nothing from other objects."""

    time_name = "days_from_brightest"

    def __init__(self, bands: tuple[str, ...], config: ObjectScale) -> None:
        super().__init__(bands, config.use_redshift)
        self.config = config
        self.rest_frame = config.rest_frame and config.use_redshift

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features of a step, in order."""
        times = ("days_from_brightest", "days_since_previous")
        rest = tuple(f"rest_{name}" for name in times) if self.rest_frame else ()
        return (*self.per_band("flux", "flux_err", "snr", "observed"), *times, *rest)

    @property
    def context_names(self) -> tuple[str, ...]:
        """Names of the features of an object, in order."""
        scale = ("log_scale",) if self.config.use_scale else ()
        luminosity = ("log_luminosity",) if self.config.use_scale and self.rest_frame else ()
        return (*scale, *self.redshift_names, "mwebv", *luminosity)

    @property
    def days_per_unit(self) -> float:
        """Days that a change of 1 in `days_from_brightest` stands for."""
        return DAYS_SCALE

    def fit(self, resampled: Resampled) -> None:
        """Nothing to learn: each object brings its own scale."""

    def __call__(self, batch: PhotometryBatch) -> LightCurveBatch:
        """Return flux, error and asinh(S/N) per band, a mask of bands, and times relative to the brightest point."""
        scale, brightest_day = brightest_point(batch)
        present = batch.flux_err > 0
        wide = scale[:, None, None]
        error = batch.flux_err
        if self.config.error_floor:
            error = torch.where(present, (error**2 + (self.config.error_floor * wide) ** 2).sqrt(), 0)
        snr = torch.where(present, batch.flux / torch.where(present, error, 1), 0).asinh()
        since = (batch.days - brightest_day[:, None]) * batch.mask / DAYS_SCALE
        times = torch.stack([since, days_since_previous(batch) / GAP_SCALE], dim=-1)
        features = [batch.flux / wide, error / wide, snr, batch.observed.float(), times]
        context = [*self.redshift_context(batch.header), batch.header[:, 2].nan_to_num(0)]
        if self.config.use_scale:
            context = [scale.log10(), *context]
        if self.rest_frame:
            known, redshift = ~batch.header[:, 0].isnan(), batch.header[:, 0].nan_to_num(0).clamp(min=LEAST_REDSHIFT)
            features.append(times * torch.where(known, 1 / (1 + redshift), 0)[:, None, None])
            if self.config.use_scale:
                context.append(torch.where(known, scale.log10() + 2 * luminosity_distance(redshift).log10(), 0))
        return LightCurveBatch(torch.cat(features, dim=-1), batch.mask, torch.stack(context, dim=1))

    def inverse(self, batch: LightCurveBatch) -> tuple[Tensor, Tensor]:
        """Return (flux, flux_err), (batch, time, band), from features; NaN where the scale is not one of them."""
        n_bands = len(self.bands)
        scale = 10 ** batch.context[:, :1, None] if self.config.use_scale else torch.nan
        flux, error = batch.sequence[..., :n_bands], batch.sequence[..., n_bands : 2 * n_bands]
        return flux * scale, (error**2 - self.config.error_floor**2).clamp(min=0).sqrt() * scale

    def state(self) -> dict[str, list[float]]:
        """Nothing was learned."""
        return {}

    def load_state(self, state: dict[str, list[float]]) -> None:
        """Nothing to take over."""


class GlobalNormaliser(Normaliser):
    """See `GlobalScale`."""

    time_name = "days"

    def __init__(self, bands: tuple[str, ...], config: GlobalScale) -> None:
        super().__init__(bands, config.use_redshift)
        self.config = config
        self.mean: Tensor | None = None
        self.std: Tensor | None = None

    @property
    def quantities(self) -> tuple[str, ...]:
        """What is given of each band, beside whether it was measured."""
        return ("flux", "flux_err") if self.config.include_errors else ("flux",)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features of a step, in order."""
        observed = self.per_band("observed") if self.config.include_observed else []
        time = "days" if self.config.time == "days" else "days_since_previous"
        return (*self.per_band(*self.quantities), time, *observed)

    @property
    def context_names(self) -> tuple[str, ...]:
        """Names of the features of an object, in order."""
        return (*self.redshift_names, "mwebv")

    @property
    def days_per_unit(self) -> float:
        """Days that a change of 1 in `days` stands for; raises NotFittedError before `fit`."""
        return float(self._learned()[1][-1])

    def fit(self, resampled: Resampled) -> None:
        """Learn mean and standard deviation of each band's quantities and of the time from training objects."""
        columns = [
            torch.from_numpy(getattr(resampled, quantity)[:, band][resampled.observed[:, band]]).double()
            for quantity in self.quantities
            for band in range(len(self.bands))
        ]
        days = torch.from_numpy(resampled.days).double()
        columns.append(days if self.config.time == "days" else days.diff()[days.diff() > 0])
        if self.config.scale == "none":
            self.mean, self.std = torch.zeros(len(columns)), torch.ones(len(columns))
            return
        self.mean = torch.stack(
            [column.mean() if len(column) else torch.zeros(()).double() for column in columns]
        ).float()
        spread = torch.stack(
            [column.std() if len(column) > 1 else torch.ones(()).double() for column in columns]
        ).float()
        self.std = torch.where(spread > 0, spread, 1)

    def __call__(self, batch: PhotometryBatch) -> LightCurveBatch:
        """Return scaled flux and error per band and time; 0 where a band has no value."""
        mean, std = self._learned()
        present = (batch.flux_err > 0) & batch.mask[..., None]
        time = batch.days if self.config.time == "days" else days_since_previous(batch)
        values = torch.cat([*(getattr(batch, quantity) for quantity in self.quantities), time[..., None]], dim=-1)
        has_value = torch.cat([*(present for _ in self.quantities), batch.mask[..., None]], dim=-1)
        features = [torch.where(has_value, (values - mean) / std, 0)]
        if self.config.include_observed:
            features.append(batch.observed.float())
        context = [*self.redshift_context(batch.header), batch.header[:, 2].nan_to_num(0)]
        return LightCurveBatch(torch.cat(features, dim=-1), batch.mask, torch.stack(context, dim=1))

    def inverse(self, batch: LightCurveBatch) -> tuple[Tensor, Tensor]:
        """Return (flux, flux_err), (batch, time, band), from features; errors that were not given are NaN."""
        mean, std = self._learned()
        n_bands, n_values = len(self.bands), len(self.quantities) * len(self.bands)
        values = batch.sequence[..., :n_values] * std[:n_values] + mean[:n_values]
        flux = values[..., :n_bands]
        return flux, values[..., n_bands:] if self.config.include_errors else torch.full_like(flux, torch.nan)

    def state(self) -> dict[str, list[float]]:
        """Return mean and standard deviation, in the order flux per band, error per band, time."""
        mean, std = self._learned()
        return {"mean": mean.tolist(), "std": std.tolist()}

    def load_state(self, state: dict[str, list[float]]) -> None:
        """Take over what another normaliser learned."""
        self.mean, self.std = torch.tensor(state["mean"]), torch.tensor(state["std"])

    def _learned(self) -> tuple[Tensor, Tensor]:
        if self.mean is None or self.std is None:
            raise NotFittedError("this normaliser was not fitted; call fit with training objects, or load its state")
        return self.mean, self.std


def days_since_previous(batch: PhotometryBatch) -> Tensor:
    """(batch, time) days from each step back to the one before; 0 at the first and in the padding."""
    before = torch.cat([batch.days[:, :1], batch.days[:, :-1]], dim=1)
    return (batch.days - before) * batch.mask


def luminosity_distance(redshift: Tensor) -> Tensor:
    """Luminosity distance in a flat universe [c / H0], by the formula of Pen (1999, ApJS 120, 49), right to 0.4 %.

    Args:
        redshift: of any shape, above 0.
    """
    ratio = math.cbrt(1 / OMEGA_MATTER - 1)

    def eta(scale_factor: Tensor) -> Tensor:
        powers = (1.0, -0.1540 * ratio, 0.4304 * ratio**2, 0.19097 * ratio**3, 0.066941 * ratio**4)
        total = torch.stack([power * scale_factor ** (place - 4) for place, power in enumerate(powers)]).sum(dim=0)
        found: Tensor = total ** (-1 / 8)
        return 2 * math.sqrt(ratio**3 + 1) * found

    return (1 + redshift) * (eta(torch.ones_like(redshift)) - eta(1 / (1 + redshift)))


NORMALISERS: Final = {"per_object": PerObjectNormaliser, "global": GlobalNormaliser}


def build_normaliser(bands: tuple[str, ...], config: NormaliserConfig) -> Normaliser:
    """Build an unfitted normaliser."""
    if isinstance(config, ObjectScale):
        return PerObjectNormaliser(bands, config)
    return GlobalNormaliser(bands, config)
