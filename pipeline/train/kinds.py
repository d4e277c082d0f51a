"""What networks learn to tell apart: the classes, or kinds of objects that are added up to the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["UNKNOWN", "Kinds", "Learns", "list_kinds", "name_kinds", "places_of_kinds"]

Learns = Literal["classes", "subtypes", "templates"]

Kinds: TypeAlias = tuple[tuple[int, str], ...]
"""Index of the class, and name, of each kind; every class has one at least."""

UNKNOWN = ""
"""Name where the truth says the class alone."""


def name_kinds(truth: pd.DataFrame, learns: Learns) -> npt.NDArray[np.object_]:
    """Name the kind of each object: nothing, its subtype, or its subtype and the template that was simulated.

    Args:
        truth: SUBCLASS and TEMPLATE of each object, null where unknown.
        learns: what is asked for.

    Returns:
        (n_objects) names, UNKNOWN where the truth does not say it.
    """
    if learns == "classes":
        return np.full(len(truth), UNKNOWN, dtype=object)
    names = truth["SUBCLASS"].astype(object)
    if learns == "templates":
        names = names + " " + truth["TEMPLATE"].astype(object)
    return np.asarray(names.where(names.notna(), UNKNOWN), dtype=object)


def list_kinds(names: Sequence[str] | npt.NDArray[np.object_], labels: npt.NDArray[np.int64], n_classes: int) -> Kinds:
    """List the kinds among training objects, in order of their names, whatever the classes that they belong to.

    Empty where they are but the classes.

    >>> list_kinds(["IIP", "Ia", "IIn", "IIP"], np.array([1, 0, 1, 1]), 2)
    ((1, 'IIP'), (1, 'IIn'), (0, 'Ia'))
    """
    known = {(int(label), name) for label, name in zip(labels, names, strict=True) if name != UNKNOWN}
    without = set(range(n_classes)) - {label for label, _ in known}
    kinds = tuple(sorted(known | {(label, UNKNOWN) for label in without}, key=lambda kind: (kind[1], kind[0])))
    return kinds if len(kinds) > n_classes else ()


def places_of_kinds(
    names: Sequence[str] | npt.NDArray[np.object_], labels: npt.NDArray[np.int64], kinds: Kinds
) -> npt.NDArray[np.int64]:
    """Return where the kind of each object stands in a list, -1 where it does not."""
    place = {kind: number for number, kind in enumerate(kinds) if kind[1] != UNKNOWN}
    return np.array([place.get((int(label), name), -1) for label, name in zip(labels, names, strict=True)], np.int64)
