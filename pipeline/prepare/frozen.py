"""A test set that is drawn once and never changes: candidates are compared on it, and nothing is learnt from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.files import write_atomically

__all__ = ["FrozenTest", "FrozenTestError", "freeze_objects", "read_frozen"]

FORMAT: Final = "snflow frozen test set"
FORMAT_VERSION: Final = 1


class FrozenTestError(ValueError):
    """A frozen test set that cannot be read, has been changed, or cannot be drawn; the message says what to do."""


@dataclass(frozen=True)
class FrozenTest:
    """The objects of a frozen test set.

    Attributes:
        snids: each once, in order.
    """

    snids: tuple[str, ...]

    @property
    def hash(self) -> str:
        """16 hexadecimal digits over the SNIDs."""
        return hashlib.blake2b(json.dumps(self.snids).encode(), digest_size=8).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return what names it, as JSON holds it: hash, n_objects."""
        return {"hash": self.hash, "n_objects": len(self.snids)}

    def write(self, path: Path) -> None:
        """Write the file, one SNID a line, with the hash by which a change is noticed."""
        content = {"format": FORMAT, "version": FORMAT_VERSION, **self.to_dict(), "snids": self.snids}
        write_atomically(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_frozen(path: Path, n_objects: int | None = None) -> FrozenTest:
    """Read a frozen test set.

    Args:
        path: of the file.
        n_objects: that it must have; None: any number.

    Raises:
        FrozenTestError: if there is none, it is not as it was written, or has another number of objects.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FrozenTestError(f"no frozen test set at {path}: --freeze N draws N objects, once") from None
    except (OSError, ValueError) as error:
        raise FrozenTestError(f"{path} is no frozen test set: {error}; restore it from a copy") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != FORMAT_VERSION:
        raise FrozenTestError(f"{path} is no frozen test set: it does not say {FORMAT!r}, version {FORMAT_VERSION}")
    snids = content.get("snids")
    if not isinstance(snids, list) or not all(isinstance(snid, str) for snid in snids) or len({*snids}) < len(snids):
        raise FrozenTestError(f"{path} has no list of SNIDs, each once; restore it from a copy")
    found = FrozenTest(tuple(snids))
    if found.hash != content.get("hash"):
        raise FrozenTestError(
            f"{path} has been changed: its {len(snids)} SNIDs have the hash {found.hash}, it was written with "
            f"{content.get('hash')}; restore it from a copy: numbers on another test set are not comparable"
        )
    if n_objects not in (None, len(snids)):
        raise FrozenTestError(
            f"{path} holds {len(snids)} objects and stays as it is: leave --freeze {n_objects} out, or give another "
            "file"
        )
    return found


def freeze_objects(path: Path, n_objects: int, snids: Sequence[str], learnt: Collection[str], seed: int) -> FrozenTest:
    """Draw a frozen test set, and write it.

    Args:
        path: of the file.
        n_objects: to draw.
        snids: objects of known class; what is drawn does not depend on their order.
        learnt: those that the current classifier has learnt from, which are not drawn.
        seed: of the draw.

    Raises:
        FrozenTestError: if there are not so many.
    """
    free = np.array(sorted(set(snids).difference(learnt)), dtype=object)
    if not 0 < n_objects < len(free):
        raise FrozenTestError(
            f"cannot freeze {n_objects} of {len(free)} objects: {len(set(snids))} have a known class and pass the "
            f"cuts, of which the current classifier has learnt from {len(set(snids).intersection(learnt))}"
        )
    drawn = np.random.default_rng([seed, 0xF205E4]).choice(free, n_objects, replace=False)
    found = FrozenTest(tuple(sorted(drawn)))
    found.write(path)
    return found
