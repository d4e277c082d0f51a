"""What is read of the real data at hand, format by format: `python -m tests.benchmarks.formats`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.store import IngestSettings, Store, ingest
from tests.real_data import find_real_data

COLUMNS = (
    "data",
    "files",
    "ingested",
    "quarantined",
    "ignored",
    "objects",
    "epochs",
    "left out",
    "bands",
    "true classes",
)


def row(source: Path, scratch: Path) -> list[str]:
    """Ingest into a new store, and say what came of it."""
    store = Store.create(scratch / source.name)
    found = ingest([source], store, IngestSettings(max_bad_fraction=1))
    classes = store.truth().table["SUBCLASS"].fillna("unknown").value_counts()
    numbers = (
        found.n_files,
        found.n_ingested,
        found.n_quarantined,
        found.n_ignored,
        len(store.snids()),
        found.n_epochs,
        found.n_epochs_dropped,
    )
    bands = " ".join(store.light_curves().bands)
    told = ", ".join(f"{name} {count:,}" for name, count in classes.items())
    return [source.name, *(f"{number:,}" for number in numbers), bands, told]


def main() -> None:
    """Read every folder of the real data and print a table, as Markdown."""
    data = find_real_data()
    if data is None:
        print("The real data are not here: set SNFLOW_DATA to the folder that holds spcc/ and snls/.")  # noqa: T201
        return
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))  # noqa: T201
    with TemporaryDirectory(prefix="snflow-formats-") as scratch:
        for source in sorted(path for path in data.iterdir() if path.is_dir()):
            print("| " + " | ".join(row(source, Path(scratch))) + " |")  # noqa: T201


if __name__ == "__main__":
    main()
