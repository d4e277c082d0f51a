"""What is fuzzed: every reader, and the containers that files come in; how each is given damaged files."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pipeline.ingest.readers import ReadOptions
from tests.fuzz import columnar_damage, container_damage, fits_damage, text_damage
from tests.fuzz.mutations import Files, mutate

__all__ = ["FUZZED", "Target", "seeds_of", "stored_inputs"]

DATA: Final = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class Target:
    """How the files of a format are damaged, and how they are read.

    Attributes:
        draws: ways to make one damaged input.
        options: of the reader.
    """

    draws: tuple[Callable[[random.Random], Files], ...]
    options: ReadOptions = field(default_factory=ReadOptions)


def seeds_of(reader: str) -> list[bytes]:
    """Return the example files of a reader."""
    return [path.read_bytes() for path in sorted((DATA / reader).iterdir())]


def stored_inputs(target: str) -> list[Files]:
    """Return the inputs that once broke a promise: a folder each, named by what was wrong."""
    folder = DATA / "fuzz" / target
    cases = sorted(folder.iterdir()) if folder.is_dir() else []
    return [tuple((path.name, path.read_bytes()) for path in sorted(case.iterdir())) for case in cases]


def _draw_snana_text(rng: random.Random) -> Files:
    return (("sn.dat", mutate(rng, _SNANA_TEXT)),)


_SNANA_TEXT: Final = seeds_of("snana_text")

FUZZED: Final[dict[str, tuple[Target, ...]]] = {
    "snana_text": (Target((_draw_snana_text,)),),
    "containers": (Target((container_damage.draw_container,)),),
    "ecsv": (Target((text_damage.draw_ecsv,)),),
    "snana_fits": (Target((fits_damage.draw_fits,)),),
    "parquet": (Target((columnar_damage.draw_parquet, columnar_damage.draw_parquet_bytes)),),
    "votable": (Target((text_damage.draw_votable,)),),
    "arrow": (Target((columnar_damage.draw_arrow, columnar_damage.draw_arrow_bytes)),),
    "csv": (
        Target((text_damage.draw_csv, text_damage.draw_plasticc, text_damage.draw_supernnova)),
        Target((text_damage.draw_mapped_csv,), ReadOptions(columns=text_damage.MAPPED_COLUMNS)),
    ),
}
"""By name of the reader; a batch is read by one of its targets. The fastest come first."""
