"""The verbs that look after what a catalogue keeps: `snflow history` and `snflow gc`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.console import print_json, say, show
from flows.errors import explained

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["gc", "history"]

StoreOption = Annotated[Path, typer.Option("--store", help="Catalogue: a folder of Delta tables.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def history(
    store: StoreOption,
    snid: Annotated[str | None, typer.Argument(help="An object; without it, --all.")] = None,
    all_objects: Annotated[bool, typer.Option("--all", help="All objects of the catalogue.")] = False,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="Only this model, NAME or NAME@DIGEST; with --merged, may be given again."),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merged", help="One row an object, the models side by side, of the present photometry.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write a file, .parquet, .csv, .ecsv, .fits or .vot, instead.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Rows to print; 0: all.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show every prediction of an object, by time and model; or of all, or the models side by side.

    Example: `snflow history 100023 --store catalogue`, or `snflow history --all --merged --store catalogue
    --out models.parquet`
    """
    from pipeline.settings import SettingsError

    with explained():
        if (snid is None) == (not all_objects):
            raise SettingsError("expected an SNID or --all, and not both")
        if merge and snid is not None:
            raise SettingsError("expected --all with --merged: an object's models stand one below the other without it")
        if len(model or []) > 1 and not merge:
            raise SettingsError(f"expected one --model, or --merged, came {', '.join(model or [])}")
        table = _history(store, snid, model, merge)
        if out is not None:
            from pipeline.classify.outputs import write_table

            write_table(table, out)
            show(f"Wrote {out}", {"rows": len(table), "columns": len(table.columns), "file": str(out)}, as_json)
            return
        _print_rows(table, limit, as_json)


def gc(
    store: StoreOption,
    keep_days: Annotated[
        float, typer.Option(help="Files of earlier versions stay so long; older versions can no longer be read.")
    ] = 30,
    keep_photometry: Annotated[
        int, typer.Option(help="Predictions of gone photometry that stay: with the present one, so many an object.")
    ] = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Free the disk of files that no latest version needs, and of predictions of photometry long gone.

    Run it while nothing writes to the catalogue if --keep-days is less than such a write takes.

    Example: `snflow gc --store catalogue --keep-days 7 --dry-run`
    """
    with explained():
        from pipeline.housekeeping import GarbageSettings, collect_garbage
        from pipeline.settings import load_settings
        from pipeline.store import Store

        values = {"keep_days": keep_days, "keep_photometry": keep_photometry}
        settings = load_settings(GarbageSettings, values, "command line")
        summary = collect_garbage(Store.open(store), settings, dry_run)
        show(f"{'Would free' if dry_run else 'Freed'} {summary['bytes']:,} bytes of {store}", summary, as_json)


def _history(store: Path, snid: str | None, models: list[str] | None, merge: bool) -> pd.DataFrame:
    from pipeline.classify.history import history as long_form
    from pipeline.classify.history import merged
    from pipeline.store import Store

    opened = Store.open(store)
    return merged(opened, models) if merge else long_form(opened, snid, models[0] if models else None)


def _print_rows(table: pd.DataFrame, limit: int, as_json: bool) -> None:
    shown = table.head(limit) if limit else table
    records: list[dict[str, Any]] = json.loads(shown.to_json(orient="records", double_precision=15))
    if as_json:
        print_json({"n_rows": len(table), "rows": records})
        return
    hidden = {"SETTINGS_HASH", "PHOTOMETRY_HASH"}
    names = [name for name in shown.columns if name not in hidden and shown[name].notna().any()]
    printed = Table(*names)
    for record in records:
        printed.add_row(*(Text(_cell(record[name])) for name in names))
    Console().print(printed)
    if len(shown) < len(table):
        say(f"{len(shown)} of {len(table)} rows are shown; --limit 0 shows all")


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
