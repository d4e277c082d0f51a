"""Settings of the drift guard; reading a site file needs no torch."""

from __future__ import annotations

from pydantic import Field, model_validator

from pipeline.settings import FrozenConfig

__all__ = ["GuardSettings"]


class GuardSettings(FrozenConfig):
    """When a night is to be looked at, and when its classes are held back."""

    amber_p: float = Field(default=0.01, gt=0, lt=1)
    """Share of nights like the training data that may be amber, at most."""
    red_p: float = Field(default=1e-4, gt=0, lt=1)
    """Share of nights like the training data that may be red, at most."""
    amber_distance: float = Field(default=0.10, ge=0, le=1)
    """Largest difference of cumulative distributions, or of shares missing, that is no matter for amber."""
    red_distance: float = Field(default=0.15, ge=0, le=1)
    """The same for red."""
    amber_unlike: float = Field(default=0.03, ge=0, le=1)
    """Largest difference of the shares of light curves that show that they are no supernovae, that is no matter."""
    red_unlike: float = Field(default=0.06, ge=0, le=1)
    """The same for red."""
    min_objects: int = Field(default=20, ge=2)
    """A night of fewer changed objects is not judged."""

    @model_validator(mode="after")
    def _red_is_further(self) -> GuardSettings:
        if self.red_p > self.amber_p or self.red_distance < self.amber_distance or self.red_unlike < self.amber_unlike:
            raise ValueError("red must be at least as improbable and as far as amber")
        return self
