"""What every network shares: its frozen configuration, the batch it reads, and the logits it returns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn


class FrozenConfig(BaseModel):
    """Base of all settings: immutable, closed (an unknown key is an error), documented by attribute docstrings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True)
class Inputs:
    """What the batches of a network hold, as its normaliser says.

    Attributes:
        n_features: features of a step.
        n_context: features of an object.
        time_feature: which feature of a step is its time; None: none is.
        days_per_unit: days that a change of 1 in it stands for.
    """

    n_features: int
    n_context: int
    time_feature: int | None = None
    days_per_unit: float = 1.0

    def days(self, batch: LightCurveBatch) -> Tensor:
        """(batch, time) time of each step [d], from a moment that is not said.

        Raises:
            ValueError: if no feature is a time.
        """
        return batch.sequence[..., self.require_time()] * self.days_per_unit

    def require_time(self) -> int:
        """Return `time_feature`.

        Raises:
            ValueError: if there is none.
        """
        if self.time_feature is None:
            raise ValueError("this network reads the time of each step, which the normaliser does not give")
        return self.time_feature


@dataclass(frozen=True)
class LightCurveBatch:
    """Light curves as a network reads them; a padded tensor never travels without its mask.

    Attributes:
        sequence: (batch, time, feature) float32, one step per resampled epoch, in time order.
        mask: (batch, time) bool, true where a step exists; steps come first, padding last.
        context: (batch, feature) float32, what is known of the object as a whole.

    Raises:
        ValueError: if the three shapes do not belong together, or a light curve has no step.
    """

    sequence: Tensor
    mask: Tensor
    context: Tensor

    def __post_init__(self) -> None:
        """Check that the shapes belong together."""
        if self.sequence.ndim != 3 or self.context.ndim != 2 or self.mask.shape != self.sequence.shape[:2]:
            raise ValueError(
                "expected sequence (batch, time, feature), mask (batch, time) and context (batch, feature); came "
                f"{tuple(self.sequence.shape)}, {tuple(self.mask.shape)} and {tuple(self.context.shape)}"
            )
        if len(self.context) != len(self.sequence):
            raise ValueError(f"expected {len(self.sequence)} rows of context, came {len(self.context)}")
        if not bool(self.mask.any(dim=1).all()):
            raise ValueError("every light curve of a batch needs at least one step")

    def __len__(self) -> int:
        """Count the light curves."""
        return len(self.sequence)

    @property
    def lengths(self) -> Tensor:
        """(batch,) int64, the number of steps of each light curve."""
        return self.mask.sum(dim=1)

    def to(self, device: torch.device | str) -> LightCurveBatch:
        """Copy the batch to a device."""
        return LightCurveBatch(self.sequence.to(device), self.mask.to(device), self.context.to(device))


class LightCurveClassifier(nn.Module):
    """A network from a batch of light curves to one logit per class."""

    def forward(self, batch: LightCurveBatch) -> Tensor:
        """Return logits of shape (batch, n_classes)."""
        raise NotImplementedError
