"""The command line: every verb calls the flow of its name. Heavy imports wait until a verb needs them."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from rich.console import Console
from rich.table import Table

from flows.errors import explained

if TYPE_CHECKING:
    from pipeline.train.experiment import Experiment

app = typer.Typer(
    name="snflow",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
    help="Classify supernovae from their light curves: survey photometry in, calibrated probabilities, metrics and a "
    "report out. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 data refused by the model's contract.",
)

EXPERIMENTS: Final = Path(__file__).parent / "experiments"
DEMO_OBJECTS: Final = 2000

Sources = Annotated[
    list[Path],
    typer.Argument(
        help="Folders, .tar(.gz|.xz) or .zip archives, or single files: SNANA text or FITS (HEAD), a .LIST, CSV, ECSV, "
        "VOTable, Parquet, Arrow."
    ),
]
StoreOption = Annotated[Path, typer.Option("--store", help="Catalogue: a folder of Delta tables.")]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder for what the verb writes; made if it is not there.")]
ExperimentOption = Annotated[
    str, typer.Option("--experiment", help="Name of an experiment (demo, spcc, charnock17), or a .toml file.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as fit.epochs=10.")
]
BandMap = Annotated[
    list[str] | None, typer.Option("--band-map", metavar="A=B", help="Rename band A to B, such as DES-g=g.")
]
ColumnMap = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="OURS=THEIRS", help="Name a column of a table of light curves, such as MJD=time."),
]
MaxBad = Annotated[
    float, typer.Option("--max-bad-fraction", help="Fail, after writing what is good, above this share of bad files.")
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where networks run; auto: a GPU if there is one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON on standard output.")]


@app.command()
def demo(
    out: OutFolder = Path("runs/demo"),
    objects: Annotated[int, typer.Option(help="Supernovae to simulate.")] = DEMO_OBJECTS,
    settings: SetOption = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Do the whole job on a small survey that snflow simulates itself; needs no data and no network.

    Example: `snflow demo --out runs/demo`
    """
    with explained():
        from flows.progress import progress
        from flows.run import run as run_flow
        from pipeline.ingest.settings import IngestSettings
        from pipeline.ingest.simulate import SimulationSettings, simulate_survey

        experiment = _experiment("demo", settings, device)
        say(f"These data are simulated by snflow itself: {objects} supernovae that no telescope has seen.")
        survey = out / f"survey-{objects}"
        if not survey.exists():  # a survey appears whole or not at all, and the same number gives the same survey
            with progress("Simulating") as report:
                report(0, objects, "supernovae")
                simulate_survey(survey, SimulationSettings(n_objects=objects))
                report(objects, objects, "supernovae")
        show_run(run_flow([survey], experiment, out, IngestSettings(), _command()), as_json)


@app.command()
def run(
    sources: Sources,
    experiment: ExperimentOption,
    out: OutFolder,
    settings: SetOption = None,
    band_map: BandMap = None,
    column: ColumnMap = None,
    max_bad_fraction: MaxBad = 0.05,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Ingest, train, classify, evaluate and report; after a crash the same command goes on where it stopped.

    Example: `snflow run SIMGEN_PUBLIC_DES.tar.gz --experiment spcc --out runs/spcc`
    """
    with explained():
        from flows.run import run as run_flow

        ingest_settings = _ingest_settings(band_map, column, max_bad_fraction)
        chosen = _experiment(experiment, settings, device)
        summary = run_flow(sources, chosen, out, ingest_settings, _command())
        show_run(summary, as_json)


@app.command()
def ingest(
    sources: Sources,
    store: StoreOption,
    band_map: BandMap = None,
    column: ColumnMap = None,
    max_bad_fraction: MaxBad = 0.05,
    workers: Annotated[int, typer.Option(help="Processes that read; 0: one per core.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Read light curves into a catalogue; the same again changes nothing, a changed file replaces its object.

    Example: `snflow ingest SIMGEN_PUBLIC_DES.tar.gz --store catalogue`

    A table of one's own: `snflow ingest night.csv --column SNID=name --column MJD=time --column BAND=filter
    --column FLUXCAL=flux --column FLUXCALERR=error --store catalogue`
    """
    with explained():
        from flows.ingest import ingest as ingest_flow

        settings = _ingest_settings(band_map, column, max_bad_fraction, workers)
        show(f"Ingested into {store}", ingest_flow(sources, store, settings, None, _command()), as_json)


@app.command()
def train(
    store: StoreOption,
    experiment: ExperimentOption,
    out: OutFolder,
    settings: SetOption = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Train and calibrate a classifier on the objects of known class; an interrupted training is resumed exactly.

    Example: `snflow train --store catalogue --experiment spcc --set fit.epochs=10 --out runs/short`
    """
    with explained():
        from flows.train import train as train_flow

        summary = train_flow(store, _experiment(experiment, settings, device), out, _command())
        show(f"Trained {out / 'model'}", summary, as_json)


@app.command()
def classify(
    source: Annotated[Path, typer.Argument(help="A catalogue, or a folder, archive or file of light curves.")],
    model: Annotated[Path, typer.Option("--model", help="Checkpoint folder, such as runs/spcc/model.")],
    out: Annotated[list[Path], typer.Option("--out", help="File to write, .parquet or .csv; may be given twice.")],
    band_map: BandMap = None,
    ignore_band: Annotated[
        list[str] | None, typer.Option("--ignore-band", help="Leave the measurements of a band out.")
    ] = None,
    redshift: Annotated[
        Literal["photoz", "specz", "none"], typer.Option("--redshift", help="What the model is given as redshift.")
    ] = "photoz",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Write one prediction for every object, with a status and a reason; data that do not fit the model are refused.

    Example: `snflow classify catalogue --model runs/spcc/model --out predictions.parquet --out predictions.csv`
    """
    with explained():
        from flows.classify import classify as classify_flow
        from pipeline.classify.predict import ClassifySettings
        from pipeline.settings import load_settings

        bands = {"band_map": _pairs(band_map), "ignore_bands": tuple(ignore_band or ())}
        settings = load_settings(ClassifySettings, {"redshift": redshift, "device": device, **bands}, "command line")
        show(f"Wrote {', '.join(map(str, out))}", classify_flow(source, model, out, settings, _command()), as_json)


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Predictions, .parquet or .csv.")],
    truth: Annotated[Path, typer.Option("--truth", help="A catalogue, light curves with classes, or a table.")],
    out: OutFolder,
    as_json: AsJson = False,
) -> None:
    """Compare predictions with true classes: metrics with bootstrap errors, in `metrics.json`.

    Example: `snflow evaluate predictions.parquet --truth catalogue --out runs/check`
    """
    with explained():
        from pipeline.evaluate.evaluation_run import evaluate_file

        summary = evaluate_file(predictions, truth, out, _command())
        show_metrics(f"{summary['n_evaluated']} objects of {predictions}", summary, as_json)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder that `snflow run` wrote.")],
    beside: Annotated[
        list[Path] | None, typer.Option("--beside", help="Another run whose numbers stand beside; may be given twice.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Folder for the figures as PDF and SVG, and their data as CSV.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw the report of a run anew: one page that works offline.

    Example: `snflow report runs/spcc --beside runs/charnock17 --figures figures`
    """
    with explained():
        from flows.report import report as report_flow

        page = report_flow(run, beside or [], figures)
        show("Report", {"report": str(page)}, as_json)


def show_run(summary: Mapping[str, Any], as_json: bool) -> None:
    """Print the outcome of a whole run."""
    if as_json:
        print_json(summary)
        return
    ingested, trained, classified = summary["ingest"], summary["train"], summary["classify"]
    show_metrics(f"{summary['evaluate']['n_evaluated']} test objects that the networks never saw", summary["evaluate"])
    say(
        f"{ingested['n_files']} files: {ingested['n_ingested']} ingested, {ingested['n_unchanged']} unchanged, "
        f"{ingested['n_quarantined']} quarantined. {classified['n_objects']} objects: {classified['status']}. "
        f"{trained['split']['train'] + trained['split']['validation']} were learnt from."
    )
    say(f"Report: {summary['report']}")


def show_metrics(title: str, summary: Mapping[str, Any], as_json: bool = False) -> None:
    """Print metrics with their bootstrap errors."""
    if as_json:
        print_json(summary)
        return
    table = Table(title=title, title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("±", justify="right")
    for name, found in summary["metrics"].items():
        table.add_row(name, f"{found['value']:.4f}", f"{found['std']:.4f}")
    Console().print(table)


def show(title: str, summary: Mapping[str, Any], as_json: bool) -> None:
    """Print a summary as a table of two columns, or as JSON."""
    if as_json:
        print_json(summary)
        return
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in summary.items():
        table.add_row(name, json.dumps(value) if isinstance(value, dict | list | tuple) else str(value))
    Console().print(table)


def print_json(summary: Mapping[str, Any]) -> None:
    """Print a summary for a machine."""
    sys.stdout.write(json.dumps(summary, indent=2, default=str) + "\n")


def say(text: str) -> None:
    """Print a sentence for people, on standard error, so that standard output stays the result alone."""
    Console(stderr=True, highlight=False).print(text, soft_wrap=True, markup=False)


def _experiment(name: str, words: list[str] | None, device: str) -> Experiment:
    from pipeline.train.experiment import load_experiment

    chosen = [] if device == "auto" else [f"fit.device={device}"]
    return load_experiment(name, EXPERIMENTS, [*chosen, *(words or [])])


def _ingest_settings(
    band_map: list[str] | None, column: list[str] | None, max_bad_fraction: float, workers: int = 0
) -> Any:
    from pipeline.ingest.settings import IngestSettings
    from pipeline.settings import load_settings

    maps = {"band_map": _pairs(band_map), "columns": _pairs(column, "--column OURS=THEIRS")}
    values = {**maps, "max_bad_fraction": max_bad_fraction, "workers": workers}
    return load_settings(IngestSettings, values, "command line")


def _pairs(words: list[str] | None, expected: str = "--band-map A=B") -> dict[str, str]:
    from pipeline.settings import SettingsError

    pairs = [word.partition("=") for word in words or []]
    wrong = [old + sign + new for old, sign, new in pairs if not (old and sign and new)]
    if wrong:
        raise SettingsError(f"expected {expected}, came {wrong[0]!r}")
    return {old: new for old, _, new in pairs}


def _command() -> str:
    return shlex.join(["snflow", *sys.argv[1:]])
