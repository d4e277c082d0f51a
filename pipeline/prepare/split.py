"""Training, validation and test objects, by SNID; the test part keeps the natural mix of classes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydantic import Field

from pipeline.settings import FrozenConfig

__all__ = ["PARTS", "Split", "SplitSettings", "split_objects"]

PARTS = ("train", "validation", "test")


class SplitSettings(FrozenConfig):
    """How objects with known class are shared out."""

    train: int | float = Field(default=0.5, gt=0)
    """Training objects, validation included: a whole number, or a share; 1.0: all, and none is left for a test.

    With a frozen test set, of the objects outside it."""
    validation: float = Field(default=0.1, gt=0, lt=1)
    """Share of the training objects kept for early stopping, calibration and thresholds."""
    seed: int = 1
    """Draws the parts; another seed is another draw of the same protocol."""


@dataclass(frozen=True)
class Split:
    """SNIDs of each part, each in order of SNID."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Count the objects of each part."""
        return {part: len(getattr(self, part)) for part in PARTS}

    @property
    def hash(self) -> str:
        """16 hexadecimal digits over who is in which part."""
        text = "\n".join(f"{part} {snid}" for part in PARTS for snid in getattr(self, part))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def to_table(self) -> pd.DataFrame:
        """Return one row per object: SNID, PART."""
        return pd.DataFrame([(snid, part) for part in PARTS for snid in getattr(self, part)], columns=["SNID", "PART"])

    @classmethod
    def from_table(cls, table: pd.DataFrame) -> Split:
        """Read back what `to_table` returned."""
        return cls(*(tuple(table.loc[table["PART"] == part, "SNID"]) for part in PARTS))


def split_objects(snids: Sequence[str], settings: SplitSettings, kept: Collection[str] = ()) -> Split:
    """Share objects out at random; the answer depends on which SNIDs there are, not on their order.

    Args:
        snids: to share out.
        settings: how.
        kept: SNIDs, of these or of others, that are for the test alone; only the rest is drawn from.

    Raises:
        ValueError: if there are not enough objects for a part.
    """
    held = frozenset(kept)
    free = np.array(sorted(snid for snid in snids if snid not in held), dtype=object)
    n_train = settings.train if isinstance(settings.train, int) else round(settings.train * len(free))
    n_validation = round(settings.validation * n_train)
    if not 0 < n_validation < n_train <= len(free):
        beside = f", beside {len(snids) - len(free)} that are kept for the test" if held else ""
        raise ValueError(
            f"cannot draw {n_train} training objects, {n_validation} of them for validation, from {len(free)} "
            f"objects with a known class{beside}; lower split.train, or bring more"
        )
    drawn = np.random.default_rng([settings.seed, 0x5E1EC7]).permutation(free)
    train, validation, rest = np.split(drawn, [n_train - n_validation, n_train])
    test = sorted([*rest, *held.intersection(snids)])
    return Split(tuple(sorted(train)), tuple(sorted(validation)), tuple(test))
