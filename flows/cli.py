"""The command line: every verb calls the flow of its name. Heavy imports wait until a verb needs them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from flows.cli_classify import classify
from flows.cli_models import add_models
from flows.cli_nightly import nightly
from flows.cli_protocols import protocols
from flows.cli_quarantine import quarantine_app
from flows.cli_retrain import retrain
from flows.cli_serve import serve, status
from flows.cli_store import gc, history
from flows.console import (
    pairs_of,
    pointing_at_quarantine,
    print_json,
    say,
    say_quarantined,
    show,
    show_datasets,
    show_fetched,
    show_ingested,
    show_metrics,
    show_run,
    type_codes_of,
    typed_command,
)
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
app.add_typer(quarantine_app)
for verb in (classify, retrain, protocols, history, gc, nightly, serve, status):
    app.command()(verb)
add_models(app)

EXPERIMENTS: Final = Path(__file__).parent / "experiments"
DEMO_OBJECTS: Final = 2000

Sources = Annotated[
    list[Path],
    typer.Argument(
        help="Folders, .tar(.gz|.xz|.bz2) or .zip archives, single files, packed (.gz, .xz, .bz2) or not, or quoted "
        "patterns such as 'night/*.DAT'; SNANA text or FITS (HEAD), a .LIST, CSV, ECSV, VOTable, Parquet, Arrow. "
        "Archives in folders and archives are opened, once."
    ),
]
StoreOption = Annotated[Path, typer.Option("--store", help="Catalogue: a folder of Delta tables.")]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder for what the verb writes; made if it is not there.")]
ExperimentOption = Annotated[
    str,
    typer.Option(
        "--experiment",
        help="An experiment (demo, best, spcc, spcc-ia, spcc-small, charnock17, moss18, moller20) or a .toml file.",
    ),
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
TypeCodes = Annotated[
    list[str] | None,
    typer.Option(
        "--type-codes",
        metavar="CODE=TYPE|LIST",
        help="What SNTYPE and SIM_TYPE_INDEX mean, such as 20=IIP, or a known list: des, elasticc, spcc.",
    ),
]
MaxBad = Annotated[
    float, typer.Option("--max-bad-fraction", help="Fail, after writing what is good, above this share of bad files.")
]
OverrideOption = Annotated[
    Path | None,
    typer.Option(
        "--override",
        help="Table (CSV, ECSV, Parquet) by SNID whose cells replace values of the files (PHOTOZ, CLASS, …).",
    ),
]
Duplicates = Annotated[
    Literal["quarantine", "newest", "merge"],
    typer.Option("--duplicates", help="Files with one SNID: quarantine the later, keep the newest, or merge them."),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where networks run; auto: a GPU if there is one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON on standard output.")]


def show_version(is_wanted: bool) -> None:
    """Print the version and stop."""
    if is_wanted:
        from pipeline.provenance import versions

        typer.echo(f"snflow {versions()['snflow']}")
        raise typer.Exit


def show_schema(is_wanted: bool) -> None:
    """Print the JSON Schema of metrics.json and stop."""
    if is_wanted:
        from pipeline.evaluate.findings import json_schema

        print_json(json_schema())
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options of snflow itself; the verbs follow."""


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
        show_run(run_flow([survey], experiment, out, IngestSettings(), typed_command()), as_json)


@app.command()
def run(
    sources: Sources,
    experiment: ExperimentOption,
    out: OutFolder,
    settings: SetOption = None,
    band_map: BandMap = None,
    column: ColumnMap = None,
    type_codes: TypeCodes = None,
    max_bad_fraction: MaxBad = 0.05,
    override: OverrideOption = None,
    duplicates: Duplicates = "quarantine",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Ingest, train, classify, evaluate and report; after a crash the same command goes on where it stopped.

    Example: `snflow run SIMGEN_PUBLIC_DES.tar.gz --experiment spcc --out runs/spcc`
    """
    with explained():
        from flows.run import run as run_flow

        ingest_settings = _ingest_settings(band_map, column, type_codes, max_bad_fraction, 0, override, duplicates)
        chosen = _experiment(experiment, settings, device)
        with pointing_at_quarantine(out / "store"):
            summary = run_flow(sources, chosen, out, ingest_settings, typed_command())
        show_run(summary, as_json)
        if not as_json:
            say_quarantined(summary["ingest"], out / "store")


@app.command()
def fetch(
    name: Annotated[
        str | None, typer.Argument(help="Dataset: spcc, plasticc or des-sn5yr; without it, a list.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Files go into DIR/NAME; default: the user's cache, see --list.")
    ] = None,
    archive: Annotated[
        list[Path] | None, typer.Option("--archive", help="A copy at hand: file, or folder of files; verified, copied.")
    ] = None,
    only: Annotated[str, typer.Option("--only", metavar="PATTERN", help="Only files whose names match.")] = "*",
    mirror: Annotated[
        str | None, typer.Option("--mirror", metavar="URL", help="Another folder on the web that holds the files.")
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List the datasets, and what is here.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch public data by name, verified by checksum; a cut download goes on, what is here is not fetched again.

    Example: `snflow fetch spcc --out data`, or offline `snflow fetch spcc --archive SIMGEN_PUBLIC_DES.tar.gz`
    """
    with explained():
        from pipeline.ingest.datasets import default_folder, describe
        from pipeline.ingest.fetching import plan_fetch

        if name is None or list_all:
            show_datasets(describe(out or default_folder()), as_json)
            return
        plan = plan_fetch(name, out, archive or [], only, mirror)
        from flows.fetch import fetch as fetch_flow

        show_fetched(fetch_flow(plan, typed_command()), as_json)


@app.command()
def ingest(
    sources: Sources,
    store: StoreOption,
    band_map: BandMap = None,
    column: ColumnMap = None,
    type_codes: TypeCodes = None,
    max_bad_fraction: MaxBad = 0.05,
    workers: Annotated[int, typer.Option(help="Processes that read; 0: one per core.")] = 0,
    override: OverrideOption = None,
    duplicates: Duplicates = "quarantine",
    as_json: AsJson = False,
) -> None:
    """Read light curves into a catalogue; the same again changes nothing, a changed file replaces its object.

    What is no light curve (README, filter curves, lists) is left alone, counted and named; what was meant to be one and
    cannot be read is in the quarantine, with its reason.

    Example: `snflow ingest SIMGEN_PUBLIC_DES.tar.gz 'night/*.DAT' --store catalogue --override redshifts.csv`

    A table of one's own: `snflow ingest night.csv --column SNID=name --column MJD=time --column BAND=filter
    --column FLUXCAL=flux --column FLUXCALERR=error --store catalogue`
    """
    with explained():
        from flows.ingest import ingest as ingest_flow

        settings = _ingest_settings(band_map, column, type_codes, max_bad_fraction, workers, override, duplicates)
        with pointing_at_quarantine(store):
            summary = ingest_flow(sources, store, settings, None, typed_command())
        show_ingested(store, summary, as_json)
        if not as_json:
            say_quarantined(summary, store)


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

    A small, fast network that learns what a good classifier says (a run, a folder or a name): `snflow train
    --store runs/spcc/store --experiment spcc-small --set fit.teacher=runs/spcc --out runs/spcc-small`
    """
    with explained():
        from flows.train import train as train_flow

        summary = train_flow(store, _experiment(experiment, settings, device), out, typed_command())
        show(f"Trained {out / 'model'}", summary, as_json)


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Predictions, .parquet or .csv.")],
    truth: Annotated[Path, typer.Option("--truth", help="A catalogue, light curves with classes, or a table.")],
    out: OutFolder,
    prior: Annotated[
        list[str] | None,
        typer.Option(
            "--prior",
            metavar="CLASS=SHARE",
            help="Give the metrics also as they would be with this share of a class, such as Ia=0.3; classes not named "
            "share the rest in natural proportion. May be given again.",
        ),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option("--threshold", metavar="NAME=P", help="Judge another threshold on P(Ia), such as pure=0.7."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    resamples: Annotated[int, typer.Option(help="Of the bootstrap.")] = 300,
    schema: Annotated[
        bool,
        typer.Option(
            "--schema", callback=show_schema, is_eager=True, help="Print the JSON Schema of metrics.json and stop."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare predictions with true classes: metrics with bootstrap errors, in `metrics.json`.

    Example: `snflow evaluate predictions.parquet --truth catalogue --prior Ia=0.3 --out runs/check`
    """
    with explained():
        from pipeline.evaluate.evaluation_run import EvaluateSettings, evaluate_file
        from pipeline.settings import load_settings

        shares, thresholds = pairs_of(prior, "--prior CLASS=SHARE"), pairs_of(threshold, "--threshold NAME=P")
        values = {"prior": shares, "thresholds": thresholds, "seed": seed, "n_resamples": resamples}
        settings = load_settings(EvaluateSettings, values, "command line")
        summary = evaluate_file(predictions, truth, out, typed_command(), settings)
        show_metrics(f"{summary['n_evaluated']} objects of {predictions}", summary, as_json)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder that `snflow run` wrote.")],
    beside: Annotated[
        list[Path] | None, typer.Option("--beside", help="Another run whose numbers stand beside; may be given twice.")
    ] = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option("--compare", help="Another run of the same objects, compared one by one; may be given twice."),
    ] = None,
    requirements: Annotated[
        Path | None, typer.Option("--requirements", help="TOML file of what is asked of the run, for its verdict.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Folder for the figures as PDF and SVG, and their data as CSV.")
    ] = None,
    redraw: Annotated[
        bool, typer.Option("--redraw", help="Draw from report.json and metrics.json alone; no catalogue is needed.")
    ] = False,
    prior: Annotated[
        list[str] | None,
        typer.Option("--prior", metavar="CLASS=SHARE", help="Metrics at this class mix, too, such as Ia=0.3."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw the report of a run anew: one page that works offline.

    Example: `snflow report runs/spcc --compare runs/last --beside runs/charnock17 --figures figures`
    """
    with explained():
        from flows.report import report as report_flow
        from pipeline.evaluate.evaluation_run import EvaluateSettings
        from pipeline.report.requirements import load_requirements
        from pipeline.settings import load_settings

        asked = load_requirements(requirements) if requirements else None
        values = {"prior": pairs_of(prior, "--prior CLASS=SHARE")}
        shares = load_settings(EvaluateSettings, values, "command line").prior
        page = report_flow(run, beside or [], figures, compare or [], asked, redraw, shares or None)
        show("Report", {"report": str(page)}, as_json)


def _experiment(name: str, words: list[str] | None, device: str) -> Experiment:
    from pipeline.train.experiment import load_experiment
    from pipeline.train.teacher import settings_of_student

    chosen = [] if device == "auto" else [f"fit.device={device}"]
    return settings_of_student(load_experiment(name, EXPERIMENTS, [*chosen, *(words or [])]))


def _ingest_settings(
    band_map: list[str] | None,
    column: list[str] | None,
    type_codes: list[str] | None,
    max_bad_fraction: float,
    workers: int,
    override: Path | None,
    duplicates: str,
) -> Any:
    from pipeline.ingest.settings import IngestSettings
    from pipeline.settings import load_settings

    maps = {"band_map": pairs_of(band_map), "columns": pairs_of(column, "--column OURS=THEIRS")}
    chosen = {
        "type_codes": type_codes_of(type_codes),
        "override": override.absolute() if override else None,
        "duplicates": duplicates,
    }
    values = {**maps, **chosen, "max_bad_fraction": max_bad_fraction, "workers": workers}
    return load_settings(IngestSettings, values, "command line")
