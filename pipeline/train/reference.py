"""What the training objects were like, small enough to travel with the classifier: the other side of any drift.

A survey that is still going on has light curves that still grow; they are compared with training light curves that were
cut off, for a light curve after three nights differs from a whole one in almost everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.prepare.summary import summarise_light_curves, summary_units
from pipeline.prepare.truncate import truncate_at_random
from pipeline.schema import LightCurves

__all__ = ["UNLIKE", "Reference", "Unlike", "make_reference", "summarise"]

MAX_OBJECTS: Final = 2000
MAX_VALUES: Final = 48_000
"""Of the reference: 192 kB of float32; more properties, fewer objects."""


UNLIKE: Final = "unlike a supernova"
"""1 for a light curve that shows that it is no supernova, 0 for another, NaN where nothing can be told yet."""

Unlike = Callable[[LightCurves], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Reference:
    """A sample of the training objects in their properties, and the mix of their classes.

    Attributes:
        summary: one row per object of the sample, columns of `prepare.summary.summary_units`, and UNLIKE where the
            classifier has a novelty score; no identity, no class.
        class_shares: share of each class in the whole training part.
        growing: the same objects, each as it was known after one of its measurements, drawn at random; no rows in
            a classifier made before there was such a sample.
    """

    summary: pd.DataFrame
    class_shares: dict[str, float]
    growing: pd.DataFrame

    @property
    def tensors(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the numbers, as safetensors holds them."""
        tables = {"summary": self.summary, "growing": self.growing}
        return {name: np.ascontiguousarray(table.to_numpy(dtype=np.float32)) for name, table in tables.items()}

    def description(self) -> dict[str, Any]:
        """Return the rest, as JSON holds it."""
        return {"columns": list(self.summary.columns), "class_shares": self.class_shares}

    @classmethod
    def restore(cls, tensors: dict[str, npt.NDArray[np.float32]], description: dict[str, Any]) -> Reference:
        """Read `tensors` and `description` back."""
        columns = description["columns"]
        growing = tensors.get("growing", np.zeros((0, len(columns)), np.float32))
        tables = [pd.DataFrame(values.astype(np.float64), columns=columns) for values in (tensors["summary"], growing)]
        return cls(tables[0], dict(description["class_shares"]), tables[1])


def make_reference(
    train: LightCurves,
    labels: npt.NDArray[np.int64],
    bands: tuple[str, ...],
    classes: tuple[str, ...],
    seed: int,
    unlike: Unlike | None = None,
) -> Reference:
    """Draw a sample of the training objects and summarise it.

    Args:
        train: training part.
        labels: index of the class of each.
        bands: of the model.
        classes: names of the classes.
        seed: of the draw.
        unlike: tells which light curves are no supernovae, as `unlike.unlike_supernovae` does.
    """
    n_kept = min(MAX_OBJECTS, MAX_VALUES // (len(summary_units(bands)) + 1))
    rng = np.random.default_rng([seed, 0x726566])
    chosen = train.take(np.sort(rng.permutation(len(train))[:n_kept]))
    shares = np.bincount(labels, minlength=len(classes)) / len(labels)
    summary, growing = (
        summarise(curves, bands, unlike).astype(np.float32).astype(np.float64)
        for curves in (chosen, truncate_at_random(chosen, rng))
    )
    return Reference(summary, dict(zip(classes, shares.tolist(), strict=True)), growing)


def summarise(light_curves: LightCurves, bands: tuple[str, ...], unlike: Unlike | None) -> pd.DataFrame:
    """Return the properties that a reference keeps: n rows of `prepare.summary`'s columns, and UNLIKE if it is told."""
    summary = summarise_light_curves(light_curves, bands)
    return summary if unlike is None else summary.assign(**{UNLIKE: unlike(light_curves)})
