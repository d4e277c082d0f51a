"""What the training objects were like, small enough to travel with the classifier: the other side of any drift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.prepare.summary import summarise_light_curves, summary_units
from pipeline.schema import LightCurves

__all__ = ["Reference", "make_reference"]

MAX_OBJECTS: Final = 2000
MAX_VALUES: Final = 48_000
"""Of the reference: 192 kB of float32; more properties, fewer objects."""


@dataclass(frozen=True)
class Reference:
    """A sample of the training objects in their properties, and the mix of their classes.

    Attributes:
        summary: one row per object of the sample, columns of `prepare.summary.summary_units`; no identity, no class.
        class_shares: share of each class in the whole training part.
    """

    summary: pd.DataFrame
    class_shares: dict[str, float]

    @property
    def tensors(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the numbers, as safetensors holds them."""
        return {"summary": np.ascontiguousarray(self.summary.to_numpy(dtype=np.float32))}

    def description(self) -> dict[str, Any]:
        """Return the rest, as JSON holds it."""
        return {"columns": list(self.summary.columns), "class_shares": self.class_shares}

    @classmethod
    def restore(cls, tensors: dict[str, npt.NDArray[np.float32]], description: dict[str, Any]) -> Reference:
        """Read `tensors` and `description` back."""
        summary = pd.DataFrame(tensors["summary"].astype(np.float64), columns=description["columns"])
        return cls(summary, dict(description["class_shares"]))


def make_reference(
    train: LightCurves,
    labels: npt.NDArray[np.int64],
    bands: tuple[str, ...],
    classes: tuple[str, ...],
    seed: int,
) -> Reference:
    """Draw a sample of the training objects and summarise it.

    Args:
        train: training part.
        labels: index of the class of each.
        bands: of the model.
        classes: names of the classes.
        seed: of the draw.
    """
    n_kept = min(MAX_OBJECTS, MAX_VALUES // len(summary_units(bands)))
    rows = np.sort(np.random.default_rng([seed, 0x726566]).permutation(len(train))[:n_kept])
    shares = np.bincount(labels, minlength=len(classes)) / len(labels)
    summary = summarise_light_curves(train.take(rows), bands).astype(np.float32).astype(np.float64)
    return Reference(summary, dict(zip(classes, shares.tolist(), strict=True)))
