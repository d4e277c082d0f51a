"""The verbs of `snflow models`: classifiers by name, in versions; and `snflow export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from flows.console import print_json, print_line, say, show
from flows.errors import explained

if TYPE_CHECKING:
    from pipeline.train.registry import Registered

models_app = typer.Typer(
    name="models",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Classifiers by name: those that came with snflow, and your own in versions, of which one is current. Your "
    "own are kept in the folder SNFLOW_MODELS, or else in the user's data folder.",
)

SHIPPED_BYTES: Final = 5_000_000

ModelOption = Annotated[
    str,
    typer.Option("--model", metavar="NAME|DIR", help="NAME or NAME@VERSION of `snflow models list`, or a checkpoint."),
]
ModelArgument = Annotated[
    str, typer.Argument(metavar="NAME|DIR", help="NAME or NAME@VERSION of `snflow models list`, or a checkpoint.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `snflow models list` shows it.")]
Note = Annotated[str, typer.Option("--note", help="Why, for the history.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


@models_app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List all classifiers and their versions, the current one of each name first.

    Example: `snflow models list`
    """
    with explained():
        from pipeline.train.registry import Registry

        known = Registry()
        found = [version for name in known.names() for version in known.versions(name)]
        if as_json:
            print_json({"folder": str(known.folder), "models": [version.to_dict() for version in found]})
            return
        _print_models(found)
        say(f"Your own are kept in {known.folder}")


@models_app.command("show")
def show_model(model: ModelArgument, as_json: AsJson = False) -> None:
    """Show the card of a classifier, its versions, and when which was current.

    Example: `snflow models show spcc-ia`
    """
    with explained():
        from dataclasses import asdict

        from pipeline.train.checkpoint import Checkpoint, card_text
        from pipeline.train.registry import Registry, find_model

        registry, folder = Registry(), find_model(model)
        checkpoint, name = Checkpoint.load(folder), model.partition("@")[0]
        is_named = name in registry.names()
        versions = registry.versions(name) if is_named else []
        history = [asdict(entry) for entry in registry.history(name)] if is_named else []
        if as_json:
            told = {"model": checkpoint.name, "folder": str(folder), "card": checkpoint.card}
            print_json(told | {"versions": [one.to_dict() for one in versions], "history": history})
            return
        print_line(card_text(checkpoint))
        if versions:
            _print_models(versions)
        for entry in history:
            print_line(f"{entry['when']}  {name}@{entry['version']}  {entry['why']}")


@models_app.command()
def promote(
    name: Name,
    source: Annotated[Path, typer.Argument(metavar="RUN|DIR", help="Folder of a run, or a checkpoint.")],
    note: Note = "",
    judged: Annotated[
        Path | None,
        typer.Option("--judged-by", metavar="RUN", help="Run of the same experiment; its test numbers go on the card."),
    ] = None,
    ship: Annotated[
        bool, typer.Option("--ship", help="Put it into data/pretrained of this checkout, for every user; below 5 MB.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Copy a classifier into the registry and make it the current one of a name; its predictions carry that name.

    Example: `snflow models promote spcc-ia runs/night --note "half a year more data"`
    """
    with explained():
        from pipeline.evaluate.promotion import describe_run
        from pipeline.train.registry import Registry
        from pipeline.train.verify import verify_checkpoint

        registry, extra = Registry(), describe_run(source, judged)
        if ship:
            folder = registry.ship(name, source, extra, SHIPPED_BYTES)
        else:
            folder = registry.promote(name, source, note, extra).folder
        told = verify_checkpoint(folder)
        show(f"Promoted {told.model}", {"folder": str(folder), **told.to_dict()}, as_json)


@models_app.command()
def rollback(name: Name, note: Note = "", as_json: AsJson = False) -> None:
    """Make the version current again that was so before the last promotion; nothing is deleted.

    Example: `snflow models rollback spcc-ia --note "too sure of faint ones"`
    """
    with explained():
        from pipeline.train.registry import Registry

        found = Registry().rollback(name, note)
        show(f"Current is {found.name}@{found.version}", found.to_dict(), as_json)


@models_app.command()
def verify(
    model: Annotated[
        str | None, typer.Argument(metavar="[NAME|DIR]", help="Without it, the current version of every name.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a classifier what it was asked when it was made, and fail where a probability differs by more than 1e-5.

    Example: `snflow models verify spcc-ia`
    """
    with explained():
        from pipeline.train.registry import Registry, find_model
        from pipeline.train.verify import verify_checkpoint

        words = [model] if model is not None else Registry().names()
        found = [verify_checkpoint(find_model(word)) for word in words]
        if as_json:
            print_json({"models": [one.to_dict() for one in found]})
        for one in found:
            if not as_json:
                told = {"largest difference": f"{one.largest:.3g}", "versions then": one.then, "versions now": one.now}
                show(f"{one.model}: {'the same' if one.is_same else 'DIFFERENT'}", told, as_json)
        if not found:
            say("no model to verify: snflow models promote NAME RUN adds one")
    if not all(one.is_same for one in found):
        raise typer.Exit(1)


def export(
    model: ModelArgument,
    onnx: Annotated[Path, typer.Option("--onnx", metavar="FILE", help="File to write.")],
    as_json: AsJson = False,
) -> None:
    """Write a classifier as an ONNX graph from grouped photometry to calibrated probabilities, and check it.

    The inputs are days, flux, flux_err, observed, mask and header, as `pipeline.train.export` describes them; needs
    `pip install snflow[onnx]`.

    Example: `snflow export spcc-ia --onnx spcc-ia.onnx`
    """
    with explained():
        from pipeline.train.export import export_onnx
        from pipeline.train.registry import find_model

        show(f"Wrote {onnx}", export_onnx(find_model(model), onnx), as_json)


def model_folder(word: str) -> Path:
    """Return the checkpoint folder that --model means."""
    from pipeline.train.registry import find_model

    return find_model(word)


def add_models(app: typer.Typer) -> None:
    """Add `models` and `export` to the verbs."""
    app.add_typer(models_app)
    app.command()(export)


def _print_models(found: list[Registered]) -> None:
    rows: list[dict[str, Any]] = [one.to_dict() for one in found]
    table = Table(title="Models" if rows else "Models: none", title_justify="left")
    for column in ("name", "version", "current", "origin", "folder"):
        table.add_column(column, overflow="fold")
    for row in rows:
        is_current = "yes" if row["is_current"] else ""
        table.add_row(row["name"], row["version"], is_current, row["origin"], row["folder"])
    Console().print(table)
