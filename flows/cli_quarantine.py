"""The verbs of `snflow quarantine`: look at what could not be read, take it elsewhere, read it again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.console import print_json, say, show, typed_command
from flows.errors import explained

if TYPE_CHECKING:
    import pandas as pd

quarantine_app = typer.Typer(
    name="quarantine",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="What could not be read, and why: files, measurements, and conflicts between files of one object.",
)

StoreOption = Annotated[Path, typer.Option("--store", help="Catalogue: a folder of Delta tables.")]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="KIND", help="Only entries of this reason, as `list` counts them.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


@quarantine_app.command("list")
def list_entries(
    store: StoreOption,
    reason: ReasonOption = None,
    limit: Annotated[int, typer.Option(min=0, help="Entries to show; 0: all.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Count the entries by reason, and list them.

    Example: `snflow quarantine list --store catalogue --reason "unknown band" --limit 0`
    """
    with explained():
        from pipeline.ingest.inspection import count_kinds

        entries = _entries(store, reason)
        shown = entries.head(limit) if limit else entries
        counts = count_kinds(entries)
        if as_json:
            print_json({"n_entries": len(entries), "counts": counts, "entries": _records(shown)})
            return
        _print("Entries by reason", ("reason", "entries"), [(kind, f"{count:,}") for kind, count in counts.items()])
        _print_entries(shown)
        if len(shown) < len(entries):
            say(f"{len(shown)} of {len(entries)} entries are shown; --limit 0 shows all")


@quarantine_app.command("show")
def show_entries(
    name: Annotated[str, typer.Argument(metavar="FILE|SNID", help="A file, with or without its folder, or an SNID.")],
    store: StoreOption,
    as_json: AsJson = False,
) -> None:
    """Show all entries of a file or an object, with the lines to blame where the source can still be read.

    Example: `snflow quarantine show DES_SN000123.DAT --store catalogue`
    """
    with explained():
        from pipeline.ingest.inspection import entries_of, lines_around

        records = _records(entries_of(_entries(store), name))
        for record in records:
            has_line = record["LINE"] is not None
            lines = lines_around(record["SOURCE"], record["FILE"], record["LINE"]) if has_line else None
            record["LINES"] = dict(lines) if lines else None
        if as_json:
            print_json({"entries": records})
            return
        for record in records:
            _print_record(record)


@quarantine_app.command()
def retry(
    store: StoreOption,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the last ingest, such as band_map.Y=z."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read the quarantined files again, and no others, as the last ingest read them; what is good now is ingested.

    Example: `snflow quarantine retry --store catalogue --set duplicates=merge`
    """
    with explained():
        from flows.ingest import retry as retry_flow
        from pipeline.ingest.settings import IngestSettings
        from pipeline.provenance import read_record
        from pipeline.settings import load_settings, override
        from pipeline.store import Store

        recorded = read_record(Store.open(store).path, "ingest").get("configuration", {}).get("settings", {})
        if not recorded:
            say(f"{store} has no ingest.json that says how its files were read: the default settings are used")
        chosen = load_settings(IngestSettings, override(recorded, settings or []), "settings of the last ingest")
        summary = retry_flow(store, chosen, typed_command())
        show(f"Read the quarantine of {store} again", summary, as_json)
        for path in summary["gone"]:
            say(f"no longer there: {path}")


@quarantine_app.command()
def export(
    store: StoreOption,
    out: Annotated[Path, typer.Option("--out", help="File to write, .csv or .parquet.")],
    reason: ReasonOption = None,
    as_json: AsJson = False,
) -> None:
    """Write the quarantine to a table.

    Example: `snflow quarantine export --store catalogue --out quarantine.csv`
    """
    with explained():
        from pipeline.ingest.inspection import write_quarantine

        entries = _entries(store, reason)
        write_quarantine(entries, out)
        show(f"Wrote {out}", {"entries": len(entries), "file": str(out)}, as_json)


def _entries(store: Path, reason: str | None = None) -> pd.DataFrame:
    from pipeline.ingest.inspection import entries_of_kind
    from pipeline.store import Store

    entries = Store.open(store).quarantine()
    return entries if reason is None else entries_of_kind(entries, reason)


def _records(entries: pd.DataFrame) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads(entries.to_json(orient="records"))
    return [record | {"LINE": None if record["LINE"] is None else int(record["LINE"])} for record in records]


def _print_entries(entries: pd.DataFrame) -> None:
    rows = [
        (row["FILE"], "" if row["LINE"] is None else str(row["LINE"]), row["SNID"] or "", row["SCOPE"], row["REASON"])
        for row in _records(entries)
    ]
    _print("Entries", ("file", "line", "SNID", "left out", "reason"), rows)


def _print(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from pipeline.ingest.inspection import printable

    table = Table(title=title if rows else f"{title}: none", title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in ("line", "entries") else "left")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console().print(table)


def _print_record(record: dict[str, Any]) -> None:
    from pipeline.ingest.inspection import printable

    line = "" if record["LINE"] is None else f", line {record['LINE']}"
    place = f"{record['FILE']}{line}" + (f" of {record['SOURCE']}" if record["SOURCE"] else "")
    told = [printable(place), f"  SNID {printable(record['SNID'] or '–')}, {record['SCOPE']}"]
    told.append(f"  {printable(record['REASON'])}")
    if record["LINES"]:
        marks = {number: ">" if number == record["LINE"] else " " for number in record["LINES"]}
        told += [f"  {marks[number]} {number:>6} | {text}" for number, text in record["LINES"].items()]
    elif record["LINE"] is not None:
        told.append("  (the source can no longer be read, has fewer lines, or is a table with this row)")
    Console(highlight=False, markup=False).print("\n".join(told), soft_wrap=True)
