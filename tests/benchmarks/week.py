"""A week of seven accelerated nights, served by the real scheduler: what was expected, and what was found.

`python -m tests.benchmarks.week STORE [--model spcc-ia] [--json FILE]`: the light curves of a store come in as a survey
would send them, a night a minute or so: new ones, each until some measurement of its course, and updates of earlier
ones; three files a night are damaged. In the fourth night the process of the run is killed when it has judged; in the
sixth all zeropoints are off by 0.2 mag. `snflow serve` runs with a cron line of every minute; nothing else is told it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.classify.outputs import read_predictions
from pipeline.classify.publication import read_held
from pipeline.files import write_atomically
from pipeline.processes import AtWorkError, only_one
from pipeline.provenance import versions
from pipeline.schema import LightCurves
from pipeline.store import Store
from tests.serving import EVERY_MINUTE, Served, free_port, wait_for

NIGHTS: Final = 7
CRASH: Final = 4
DRIFT: Final = 6
N_BAD_FILES: Final = 3
PATIENCE: Final = 600.0
"""Seconds until a night must be done."""
SITE: Final = """
sources = ["inbox"]
store = "catalogue"
model = "{model}"
out = "."
[schedule]
nightly = "{cron}"
[server]
port = {port}
"""


@dataclass
class Sky:
    """What the survey has seen of each object so far.

    Attributes:
        light_curves: whole ones, in the order in which they are discovered.
        seen: measurements of each that were sent, 0 before the first.
    """

    light_curves: LightCurves
    rng: np.random.Generator
    seen: np.ndarray[Any, np.dtype[np.int64]] = field(init=False)

    def __post_init__(self) -> None:
        self.seen = np.zeros(len(self.light_curves), dtype=np.int64)

    def next_night(self, n_new: int, n_updated: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Go on by a night; return the rows of the objects that are sent."""
        lengths = np.diff(self.light_curves.offsets)
        new = np.flatnonzero(self.seen == 0)[:n_new]
        growing = np.flatnonzero((self.seen > 0) & (self.seen < lengths))
        rows = np.concatenate([new, self.rng.permutation(growing)[:n_updated]])
        left = lengths[rows] - self.seen[rows]
        self.seen[rows] += 1 + (self.rng.random(len(rows)) * left).astype(np.int64)
        return rows

    def text(self, row: int, factor: float) -> str:
        """Return an object as SNANA text, as far as it has been seen; fluxes and errors times a factor."""
        one, start = self.light_curves.objects.iloc[row], self.light_curves.offsets[row]
        epochs = self.light_curves.epochs.iloc[start : start + self.seen[row]]
        head = [
            "SURVEY: DES", f"SNID: {one['SNID']}", "FILTERS: griz", f"RA: {one['RA']} deg", f"DECL: {one['DEC']} deg",
            f"MWEBV: {one['MWEBV']}", f"HOST_GALAXY_PHOTO-Z: {one['PHOTOZ']} +- {one['PHOTOZ_ERR']}",
            f"NOBS: {len(epochs)}", "NVAR: 5", "VARLIST: MJD FLT FIELD FLUXCAL FLUXCALERR",
        ]  # fmt: skip
        values = epochs[["MJD", "BAND", "FLUXCAL", "FLUXCALERR"]].itertuples(index=False)
        lines = [
            f"OBS: {mjd:.3f} {band} NULL {flux * factor:.6e} {err * factor:.6e}" for mjd, band, flux, err in values
        ]
        return "\n".join([*head, *lines, "END:", ""])


@dataclass
class Expected:
    """What a site must hold after a night, by the script's own books."""

    changed: int = 0
    objects: int = 0
    predictions: int = 0
    quarantined: int = 0
    held: set[str] = field(default_factory=set)
    verdicts: tuple[str, ...] = ("green", "amber")

    def told(self) -> dict[str, Any]:
        """Return what is compared."""
        return {
            "changed": self.changed,
            "objects": self.objects,
            "predictions": self.predictions,
            "quarantined": self.quarantined,
            "held": len(self.held),
            "verdict": " or ".join(self.verdicts),
        }


def main() -> None:
    """Run the week, print the table, and fail if anything was not as expected."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.week", description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--model", default="spcc-ia")
    parser.add_argument("--new", type=int, default=300, help="new objects a night")
    parser.add_argument("--updated", type=int, default=150, help="updated objects a night")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--site", type=Path, help="folder to keep the site in; default: a temporary one")
    parser.add_argument("--json", type=Path, help="file for the results")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    everything = Store.open(arguments.store).light_curves()
    chosen = everything.take(rng.permutation(len(everything))[: arguments.new * NIGHTS])
    with TemporaryDirectory(prefix="snflow-week-") as scratch:
        folder = arguments.site or Path(scratch)
        rows = list(run_week(Sky(chosen, rng), folder, arguments))
        states = rows.pop()
    show(rows, states)
    if arguments.json:
        told = {"model": arguments.model, "new": arguments.new, "updated": arguments.updated, "seed": arguments.seed}
        content = {**told, "versions": versions(), "nights": rows, "runs": states}
        write_atomically(arguments.json, json.dumps(content, indent=1) + "\n")
    if not all(row["as expected"] for row in rows):
        raise SystemExit("not all was as expected")


def run_week(sky: Sky, folder: Path, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield what was expected of each night and found, and last the states of all runs in Prefect."""
    (folder / "inbox").mkdir(parents=True)
    port, expected = free_port(), Expected()
    (folder / "site.toml").write_text(SITE.format(model=arguments.model, cron=EVERY_MINUTE, port=port))
    with Served(folder / "site.toml", port) as served:
        for number in range(1, NIGHTS + 1):
            started = time.monotonic()
            with alone(folder):
                send_night(sky, folder, number, arguments, expected)
            if number == CRASH:
                kill_run(folder)
            record = wait_for(partial(night_with_changes, folder, number), PATIENCE)
            found = look(folder, record)
            wanted = expected.told()
            is_right = all(found[name] == wanted[name] for name in wanted if name != "verdict")
            yield {
                "night": number,
                "expected": wanted,
                "found": found,
                "as expected": is_right and found["verdict"] in expected.verdicts,
                "seconds": round(time.monotonic() - started),
                "said": record["sentence"],
            }
        names = Counter(f"{run['state']['name']}" for run in served.nights())
        yield dict(names)


def alone(folder: Path) -> Any:
    """Keep nights from starting while files are put into the inbox; waits for one at work."""

    def lock() -> Any:
        held = only_one(folder / ".nightly.lock", "the inbox")
        try:
            held.__enter__()
        except AtWorkError:
            return None
        return held

    held = wait_for(lock, PATIENCE)

    class Held:
        def __enter__(self) -> None: ...
        def __exit__(self, *error: object) -> None:
            held.__exit__(None, None, None)

    return Held()


def send_night(sky: Sky, folder: Path, number: int, arguments: argparse.Namespace, expected: Expected) -> None:
    """Put the files of a night into the inbox, and keep the books."""
    rows = sky.next_night(arguments.new, arguments.updated)
    factor = 10 ** (-0.4 * 0.2) if number == DRIFT else 1.0
    snids = [str(snid) for snid in sky.light_curves.objects["SNID"].iloc[rows]]
    for row, snid in zip(rows, snids, strict=True):
        (folder / "inbox" / f"DES_SN{snid}.DAT").write_text(sky.text(int(row), factor))
    for place, content in enumerate(bad_files(sky.text(int(rows[0]), factor), number)):
        (folder / "inbox" / f"BAD_{number}_{place}.DAT").write_bytes(content)
    expected.changed = len(rows)
    expected.objects += min(arguments.new, len(rows))
    expected.predictions += len(rows)
    expected.quarantined += N_BAD_FILES
    expected.held -= set(snids)
    expected.verdicts = ("red",) if number == DRIFT else ("green", "amber")
    if number == DRIFT:
        expected.held |= set(snids)


def bad_files(text: str, number: int) -> tuple[bytes, bytes, bytes]:
    """Return a file that is no text, one that ends after its head, and one that was cut off in a measurement."""
    other = re.sub(r"SNID: \S+", f"SNID: bad{number}", text)
    return b"\0" + os.urandom(300), other[: other.index("NOBS")].encode(), other[: other.rindex("OBS:") + 12].encode()


def kill_run(folder: Path) -> None:
    """Kill the process of a run when it has judged what has changed."""

    def judged() -> bool:
        newest = max((folder / "nights").iterdir())
        guard = newest / "guard.json"
        return (
            guard.exists()
            and bool(json.loads(guard.read_text())["photometry"])
            and not (newest / "nightly.json").exists()
        )

    wait_for(judged, PATIENCE)
    words = (folder / ".nightly.holder").read_text().split()
    os.kill(int(words[1].rstrip(",")), signal.SIGKILL)


def night_with_changes(folder: Path, number: int) -> dict[str, Any] | None:
    """Return the record of the night that was the so-manyth in which anything had changed, once it is done."""
    records = [json.loads(path.read_text())["summary"] for path in sorted((folder / "nights").glob("*/nightly.json"))]
    changed = [record for record in records if record["n_changed"]]
    return changed[number - 1] if len(changed) >= number else None


def look(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Say what a site holds after a night."""
    store = Store.open(folder / "catalogue")
    published = read_predictions(folder / "published" / "predictions.parquet").table
    kept = store.predictions()
    twice = kept.duplicated(["SNID", "PHOTOMETRY_HASH", "SETTINGS_HASH"]).sum()
    is_held = published["REASON"].str.startswith("held:") | published["SNID"].isin(read_held(folder / "published"))
    return {
        "changed": record["n_changed"],
        "objects": len(published),
        "predictions": len(kept) - int(twice),
        "twice": int(twice),
        "quarantined": len(store.quarantine()),
        "held": record["publish"]["n_held"],
        "held or marked": int(is_held.sum()),
        "verdict": record["guard"]["status"],
    }


def show(rows: list[dict[str, Any]], states: dict[str, int]) -> None:
    """Print the table."""
    table = Table(title="expected / found")
    names = ("changed", "objects", "predictions", "quarantined", "held", "verdict")
    for name in ("night", *names, "s", "as expected"):
        table.add_column(name, justify="right")
    for row in rows:
        cells = [f"{row['expected'][name]} / {row['found'][name]}" for name in names]
        table.add_row(str(row["night"]), *cells, str(row["seconds"]), "yes" if row["as expected"] else "NO")
    Console(width=140).print(
        table, f"runs in Prefect: {states}", *(f"{row['night']}: {row['said']}" for row in rows), sep="\n"
    )


if __name__ == "__main__":
    main()
