"""How objects are classified, and the refusal to do so; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from pipeline.prepare.course import NIGHTS_AFTER
from pipeline.settings import FrozenConfig
from pipeline.taxonomy import ClassSet

__all__ = ["ClassifySettings", "ContractError"]


class ClassifySettings(FrozenConfig):
    """How objects are classified."""

    redshift: Literal["photoz", "specz", "none"] = "photoz"
    """Which redshift the model is given in the place of the photo-z that it was trained with."""
    min_steps: int = Field(default=3, ge=1)
    """Objects with fewer resampled steps keep their probabilities, but abstain."""
    constant_above: float = Field(default=1e-3, ge=0, le=1)
    """Objects abstain whose fluxes would differ as much, had each band one constant flux, with a higher probability.

    Of 1000 constant sources one passes; of the SPCC's whole supernovae, 1.2 % (the faintest) abstain.
    """
    abstain_novel: bool = True
    """Objects abstain whose NOVELTY is above the model's threshold, once they have been seen after their brightest."""
    nights_after: int = Field(default=NIGHTS_AFTER, ge=0)
    """Nights after the brightest (the highest S/N) that an object needs to abstain as novel: before, too many look so.

    Of SPCC supernovae cut off 10 days before their peak 28 % are called novel, at their peak 11 %, 20 days after it
    5.5 %, whole 0.2 %; with 5 nights after the brightest asked for it is 7.5 %, 1.8 %, 0.8 % and 0.1 %.
    """
    abstain_between: tuple[float | str, float | str] | None = None
    """Objects abstain whose P(Ia) is between these two, numbers or names of the model's thresholds, in any order."""
    threshold: float | str | None = None
    """Adds CALLED: "Ia" where P(Ia) is above this, a number or the name of one of the model's thresholds."""
    classes: ClassSet | None = None
    """Classes to answer in, where they are not the model's own: coarser, or finer if it has learnt subtypes."""
    members: bool = False
    """Adds P_<class>_<k> of each member of the ensemble."""
    band_map: dict[str, str] = Field(default_factory=dict)
    """Bands to rename, as in {"DES-g": "g"}."""
    ignore_bands: tuple[str, ...] = ()
    """Bands whose measurements are left out."""
    zeropoint: float | None = Field(default=None, gt=0, lt=50)
    """Of the data's fluxes, where they do not say it themselves [mag AB]; None: they are at 27.5, or say so."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    chunk_objects: int = Field(default=20_000, ge=1)
    """Objects prepared at a time; bounds the memory."""
    max_failed: int = Field(default=100, ge=0)
    """Objects that may fail by themselves; of one more, its error is raised."""


class ContractError(ValueError):
    """Data that a classifier does not accept; `mismatches` lists every one, each with what to do."""

    def __init__(self, model: str, mismatches: Sequence[str]) -> None:
        super().__init__(f"{model} does not accept these data:\n" + "\n".join(f"  - {line}" for line in mismatches))
        self.mismatches = tuple(mismatches)
