"""The verb `snflow classify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from flows.cli_models import ModelOption, model_folder
from flows.console import pairs_of, show, typed_command
from flows.errors import explained
from pipeline.taxonomy import ClassSet

__all__ = ["classify", "read_bounds"]


def classify(
    source: Annotated[Path, typer.Argument(help="A catalogue, or a folder, archive or file of light curves.")],
    model: ModelOption,
    out: Annotated[
        list[Path],
        typer.Option("--out", help="File to write, .parquet, .csv, .ecsv, .fits or .vot; may be given again."),
    ],
    at_epochs: Annotated[
        Path | None,
        typer.Option("--at-epochs", metavar="FILE", help="Write the probabilities after each night, too."),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            help="Add CALLED: Ia where P(Ia) is at least this, a number or the name of a threshold of the model, such "
            "as purity95."
        ),
    ] = None,
    classes: Annotated[
        ClassSet | None,
        typer.Option(
            help="Answer in these: ia (Ia, nonIa), types (Ia, II, Ibc) or subtypes, if the model tells them apart."
        ),
    ] = None,
    abstain_between: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH", help="Abstain where P(Ia) is between two thresholds of the model, or two numbers."
        ),
    ] = None,
    keep_novel: Annotated[
        bool, typer.Option("--keep-novel", help="Classify also what is unlike the training supernovae.")
    ] = False,
    members: Annotated[bool, typer.Option("--members", help="Add the probabilities of each network.")] = False,
    band_map: Annotated[
        list[str] | None, typer.Option("--band-map", metavar="A=B", help="Rename band A to B, such as DES-g=g.")
    ] = None,
    ignore_band: Annotated[
        list[str] | None, typer.Option("--ignore-band", help="Leave the measurements of a band out.")
    ] = None,
    zeropoint: Annotated[
        float | None,
        typer.Option(help="Of fluxes that do not say it themselves [mag AB]; without it they are at 27.5."),
    ] = None,
    redshift: Annotated[
        Literal["photoz", "specz", "none"], typer.Option("--redshift", help="What the model is given as redshift.")
    ] = "photoz",
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option("--device", help="Where networks run; auto: a GPU if there is one."),
    ] = "auto",
    everything: Annotated[
        bool,
        typer.Option(
            "--all/--only-changed",
            help="Of a catalogue, classify all objects again, or only those whose present photometry has no prediction "
            "by this model with these settings.",
        ),
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="MJD|DATE", help="Only objects with a measurement later than this, such as 2026-11-23."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on standard output.")] = False,
) -> None:
    """Write one prediction for every object, with a status and a reason; data that do not fit the model are refused.

    An object is classified; or it abstained (too few epochs, no change, unlike a supernova, undecided), was rejected
    (by a cut of the model) or failed (by an error, which the log tells): REASON says why.

    A catalogue keeps its predictions: the same again does no work, and after a crash it goes on where it stopped.

    Example: `snflow classify catalogue --model runs/spcc/model --out predictions.parquet --out predictions.csv
    --threshold purity95 --at-epochs nights.parquet`
    """
    with explained():
        from pipeline.classify.incremental import Renewal
        from pipeline.classify.job import Job, repeat
        from pipeline.classify.settings import ClassifySettings
        from pipeline.settings import load_settings

        values: dict[str, Any] = {
            "redshift": redshift,
            "device": device,
            "members": members,
            "abstain_novel": not keep_novel,
            "threshold": threshold,
            "classes": classes,
            "abstain_between": read_bounds(abstain_between),
            "zeropoint": zeropoint,
            "band_map": pairs_of(band_map),
            "ignore_bands": tuple(ignore_band or ()),
        }
        settings = load_settings(ClassifySettings, values, "command line")
        renewal = load_settings(Renewal, {"everything": everything, "since": since}, "command line")
        job = Job(source, model_folder(model), out, settings, renewal, at_epochs, typed_command())
        summary = repeat(job)
        if summary is None:  # there is work for a flow, which takes seconds to import
            from flows.classify import classify as classify_flow

            summary = classify_flow(source, job.model, out, settings, job.command, at_epochs, renewal)
        told = summary if as_json else {name: value for name, value in summary.items() if name != "ingest"}
        show(f"Wrote {', '.join(map(str, [*out, *([at_epochs] if at_epochs else [])]))}", told, as_json)


def read_bounds(words: str | None) -> tuple[str, str] | None:
    """Read the two thresholds of --abstain-between; raises SettingsError if they are not two."""
    from pipeline.settings import SettingsError

    if words is None:
        return None
    low, comma, high = words.partition(",")
    if not (low.strip() and comma and high.strip()):
        raise SettingsError(f"expected --abstain-between LOW,HIGH, came {words!r}")
    return low.strip(), high.strip()
