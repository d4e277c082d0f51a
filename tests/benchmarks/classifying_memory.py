"""Peak memory of classifying a store: `python -m tests.benchmarks.classifying_memory STORE [100000 200000]`.

The light curves of STORE are repeated under new SNIDs into a store of each size, which is classified by a small network
(what grows with the store is not the network), and then again, with nothing new. What is measured is the proportional
set size, as in `tests.benchmarks.memory`. Disk: about 0.6 kB an object.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pyarrow as pa
from deltalake import write_deltalake
from rich.console import Console

from pipeline.schema import LIGHT_CURVE_SCHEMA
from pipeline.store import Store
from tests.benchmarks.memory import measure

CLASSIFY: Final = """
    import sys, time
    from pathlib import Path
    import torch
    from pipeline.classify.catalogue import classify_catalogue
    from pipeline.classify.predict import ClassifySettings

    torch.set_num_threads(1)
    start = time.perf_counter()
    summary = classify_catalogue(Path(sys.argv[1]), Path(sys.argv[2]), [Path(sys.argv[3])], ClassifySettings())
    print(f"{summary['n_new']} new of {summary['n_objects']} in {time.perf_counter() - start:.1f} s after imports")
"""


def repeat(source: Store, n: int, folder: Path) -> Store:
    """Make a store of n objects of those of another, each with an SNID and a photometry hash of its own."""
    store = Store.create(folder)
    rows = source.light_curves().to_arrow()
    for first in range(0, n, len(rows)):
        some = rows[: min(len(rows), n - first)]
        names = [f"{number:09d}" for number in range(first, first + len(some))]
        for column, values in (("SNID", names), ("PHOTOMETRY_HASH", [f"{name:>016}" for name in names])):
            some = some.set_column(LIGHT_CURVE_SCHEMA.names.index(column), LIGHT_CURVE_SCHEMA.field(column), [values])
        write_deltalake(str(folder / "light_curves"), pa.table(some).cast(LIGHT_CURVE_SCHEMA), mode="append")
    return store


def main(source: Path, sizes: Sequence[int], model: Path | None = None) -> None:
    """Measure and print."""
    with TemporaryDirectory(prefix="snflow-memory-") as scratch:
        if model is None:
            from tests.small_model import small_classifier

            model = Path(scratch) / "model"
            small_classifier().checkpoint.save(model)
        for n in sizes:
            store = repeat(Store.open(source), n, Path(scratch) / f"store-{n}")
            for what in ("all new", "nothing new"):
                found = measure(CLASSIFY, store.path, model, Path(scratch) / f"{n}.parquet")
                Console().print(f"{n:>9,} {what:<12} {found.megabytes:6,.0f} MB {found.seconds:7.1f} s  {found.output}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]] or [100_000, 200_000])
