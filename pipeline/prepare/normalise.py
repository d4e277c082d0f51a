"""From photometry in physical units to the numbers a network reads, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Final, Literal

import torch
from pydantic import Field
from torch import Tensor

from models.base import LightCurveBatch
from pipeline.prepare.batches import PhotometryBatch
from pipeline.prepare.resample import Resampled
from pipeline.settings import FrozenConfig

__all__ = ["NORMALISERS", "GlobalScale", "NormaliserConfig", "NotFittedError", "ObjectScale", "build_normaliser"]

DAYS_SCALE: Final = 30.0
GAP_SCALE: Final = 10.0
"""Days that become 1 in the time features of `per_object`: about a supernova's width, and about a cadence."""


class NotFittedError(RuntimeError):
    """A normaliser was used before `fit`."""


class ObjectScale(FrozenConfig):
    """Each object divided by the flux of its best-measured brightest point; the scale itself goes to the context."""

    kind: Literal["per_object"] = "per_object"
    use_redshift: bool = True
    """Give the network the host photo-z and its error, where known."""


class GlobalScale(FrozenConfig):
    """Every quantity shifted and scaled by the training objects' mean and standard deviation."""

    kind: Literal["global"] = "global"
    use_redshift: bool = True
    """As in `per_object`."""
    include_observed: bool = True
    """Tell the network which bands were measured at each step; Charnock & Moss 2017 do not."""


NormaliserConfig = Annotated[ObjectScale | GlobalScale, Field(discriminator="kind")]


class Normaliser(ABC):
    """Turns a batch of photometry into a batch of features. Fitted on training objects only."""

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

    def __init__(self, bands: tuple[str, ...], config: ObjectScale) -> None:
        super().__init__(bands, config.use_redshift)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features of a step, in order."""
        return (*self.per_band("flux", "flux_err", "snr", "observed"), "days_from_brightest", "days_since_previous")

    @property
    def context_names(self) -> tuple[str, ...]:
        """Names of the features of an object, in order."""
        return ("log_scale", *self.redshift_names, "mwebv")

    def fit(self, resampled: Resampled) -> None:
        """Nothing to learn: each object brings its own scale."""

    def __call__(self, batch: PhotometryBatch) -> LightCurveBatch:
        """Return flux, error and asinh(S/N) per band, a mask of bands, and times relative to the brightest point."""
        scale, brightest_day = brightest_point(batch)
        present = batch.flux_err > 0
        wide = scale[:, None, None]
        snr = torch.where(present, batch.flux / torch.where(present, batch.flux_err, 1), 0).asinh()
        since = (batch.days - brightest_day[:, None]) * batch.mask / DAYS_SCALE
        before = torch.cat([batch.days[:, :1], batch.days[:, :-1]], dim=1)
        gaps = (batch.days - before) * batch.mask / GAP_SCALE
        sequence = torch.cat(
            [batch.flux / wide, batch.flux_err / wide, snr, batch.observed.float(), since[..., None], gaps[..., None]],
            dim=-1,
        )
        header = [scale.log10(), *self.redshift_context(batch.header), batch.header[:, 2].nan_to_num(0)]
        return LightCurveBatch(sequence, batch.mask, torch.stack(header, dim=1))

    def inverse(self, batch: LightCurveBatch) -> tuple[Tensor, Tensor]:
        """Return (flux, flux_err), (batch, time, band), from features."""
        scale = 10 ** batch.context[:, :1, None]
        n_bands = len(self.bands)
        return batch.sequence[..., :n_bands] * scale, batch.sequence[..., n_bands : 2 * n_bands] * scale

    def state(self) -> dict[str, list[float]]:
        """Nothing was learned."""
        return {}

    def load_state(self, state: dict[str, list[float]]) -> None:
        """Nothing to take over."""


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


class GlobalNormaliser(Normaliser):
    """See `GlobalScale`."""

    def __init__(self, bands: tuple[str, ...], config: GlobalScale) -> None:
        super().__init__(bands, config.use_redshift)
        self.include_observed = config.include_observed
        self.mean: Tensor | None = None
        self.std: Tensor | None = None

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features of a step, in order."""
        observed = self.per_band("observed") if self.include_observed else []
        return (*self.per_band("flux", "flux_err"), "days", *observed)

    @property
    def context_names(self) -> tuple[str, ...]:
        """Names of the features of an object, in order."""
        return (*self.redshift_names, "mwebv")

    def fit(self, resampled: Resampled) -> None:
        """Learn mean and standard deviation of flux and error per band, and of the days, from training objects."""
        columns = [
            torch.from_numpy(values[:, band][resampled.observed[:, band]]).double()
            for values in (resampled.flux, resampled.flux_err)
            for band in range(len(self.bands))
        ]
        columns.append(torch.from_numpy(resampled.days).double())
        self.mean = torch.stack(
            [column.mean() if len(column) else torch.zeros(()).double() for column in columns]
        ).float()
        spread = torch.stack(
            [column.std() if len(column) > 1 else torch.ones(()).double() for column in columns]
        ).float()
        self.std = torch.where(spread > 0, spread, 1)

    def __call__(self, batch: PhotometryBatch) -> LightCurveBatch:
        """Return standardised flux and error per band and days; 0 where a band has no value."""
        mean, std = self._learned()
        present = (batch.flux_err > 0) & batch.mask[..., None]
        values = torch.cat([batch.flux, batch.flux_err, batch.days[..., None]], dim=-1)
        has_value = torch.cat([present, present, batch.mask[..., None]], dim=-1)
        features = [torch.where(has_value, (values - mean) / std, 0)]
        if self.include_observed:
            features.append(batch.observed.float())
        context = [*self.redshift_context(batch.header), batch.header[:, 2].nan_to_num(0)]
        return LightCurveBatch(torch.cat(features, dim=-1), batch.mask, torch.stack(context, dim=1))

    def inverse(self, batch: LightCurveBatch) -> tuple[Tensor, Tensor]:
        """Return (flux, flux_err), (batch, time, band), from features."""
        mean, std = self._learned()
        n_bands = len(self.bands)
        values = batch.sequence[..., : 2 * n_bands] * std[: 2 * n_bands] + mean[: 2 * n_bands]
        return values[..., :n_bands], values[..., n_bands:]

    def state(self) -> dict[str, list[float]]:
        """Return mean and standard deviation, in the order flux per band, error per band, days."""
        mean, std = self._learned()
        return {"mean": mean.tolist(), "std": std.tolist()}

    def load_state(self, state: dict[str, list[float]]) -> None:
        """Take over what another normaliser learned."""
        self.mean, self.std = torch.tensor(state["mean"]), torch.tensor(state["std"])

    def _learned(self) -> tuple[Tensor, Tensor]:
        if self.mean is None or self.std is None:
            raise NotFittedError("this normaliser was not fitted; call fit with training objects, or load its state")
        return self.mean, self.std


NORMALISERS: Final = {"per_object": PerObjectNormaliser, "global": GlobalNormaliser}


def build_normaliser(bands: tuple[str, ...], config: NormaliserConfig) -> Normaliser:
    """Build an unfitted normaliser."""
    if isinstance(config, ObjectScale):
        return PerObjectNormaliser(bands, config)
    return GlobalNormaliser(bands, config)
