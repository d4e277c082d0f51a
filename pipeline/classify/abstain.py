"""When a classifier keeps quiet: too few epochs, nothing that changes, unlike a supernova, or undecided.

Who abstains keeps its probabilities; only the status says that they are not to be relied upon. The first reason that
holds is the one that is told.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.prepare.course import constancy
from pipeline.prepare.resample import Resampled

__all__ = ["reasons_to_abstain"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def reasons_to_abstain(
    resampled: Resampled,
    *,
    min_steps: int,
    constant_above: float,
    is_novel: Bools,
    undecided: tuple[float, float] | None,
    p_ia: Floats,
) -> npt.NDArray[np.object_]:
    """(n,) why each object abstains, "" for those that do not.

    Args:
        resampled: n objects, each with at least one step.
        min_steps: fewer are too few.
        constant_above: `constancy` above this is that of an object that does not change.
        is_novel: (n,) whether each is unlike a supernova.
        undecided: between these two values of P(Ia), both included, nothing is decided; None: always decided.
        p_ia: (n,) probability of Ia.
    """
    reasons = np.full(len(resampled), "", dtype=object)
    if undecided is not None:
        low, high = undecided
        reasons[(p_ia >= low) & (p_ia <= high)] = f"undecided: P(Ia) is between {low:.3g} and {high:.3g}"
    reasons[is_novel] = "novel: its course of flux is unlike those of the training supernovae"
    reasons[constancy(resampled) > constant_above] = "constant: its fluxes do not change beyond their errors"
    reasons[resampled.lengths < min_steps] = f"fewer than {min_steps} epochs after grouping"
    return reasons
