"""The verb `snflow protocols`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from flows.console import print_json, say, typed_command
from flows.errors import explained

__all__ = ["protocols"]

LEFT: Final = frozenset({"row", "asked", "metric", "by", "verdict"})
"""Columns of words."""
WHOLE_WIDTH: Final = 200
"""Columns of text in which the whole table fits."""
LEFT_OUT: Final = frozenset({"asked", "by"})
"""Columns that a narrower terminal does not show."""


def protocols(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="PROTOCOL|all", help="P1 to P14 and R1, or single rows of the table such as P3-noz or P7-50."
        ),
    ],
    store: Annotated[Path, typer.Option("--store", help="Catalogue with the SPCC: a folder of Delta tables.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of all draws and of the table; what is there is kept.")],
    draws: Annotated[int, typer.Option("--draws", min=1, help="Random draws of each row; draw k has the seed k.")] = 5,
    experiment: Annotated[
        str, typer.Option("--experiment", metavar="NAME|FILE", help="Network, preparation and training.")
    ] = "best",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting, such as fit.epochs=10, or for a row alone P4:fit.epochs=200.",
        ),
    ] = None,
    members: Annotated[
        int, typer.Option("--members", min=1, help="Networks of the ensemble; more than one: rows of their own.")
    ] = 1,
    real: Annotated[
        Path | None, typer.Option("--real", metavar="DIR", help="Real supernovae Ia, for R1: a folder or a catalogue.")
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where networks run; auto: a GPU if there is.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on standard output.")] = False,
) -> None:
    """Rerun the published protocols of the SPCC, and show our numbers beside the records and the goals.

    Each draw is a folder with its settings, split, model, predictions, metrics and result. The table is written after
    each, as protocols.json and protocols.md. A draw that is finished is not run again, and an interrupted training
    goes on, so the same command with more draws or other protocols adds to what is there. P13 has no record; P14 and
    R1 are answered by the networks of P1. Beside every number stand boosted trees on light-curve features, boosted
    trees on header and cadence only, and the most frequent class.

    Example: `snflow protocols P1 P4 --store runs/spcc/store --draws 2 --set fit.epochs=20 --out runs/protocols`

    Everything, the real sky with it: `snflow protocols all --store runs/spcc/store --real snls --out runs/protocols`
    """
    with explained():
        from flows.cli import EXPERIMENTS
        from flows.protocols import protocols as protocols_flow
        from pipeline.protocols.run import ProtocolSettings, plan_draws

        chosen = ProtocolSettings(
            protocols=tuple(names),
            store=store,
            out=out,
            experiments=EXPERIMENTS,
            experiment=experiment,
            words=(*([] if device == "auto" else [f"fit.device={device}"]), *(settings or [])),
            draws=draws,
            members=members,
            real=real,
        )
        plan_draws(chosen)  # what is typed wrong is told before a server starts
        summary = protocols_flow(chosen, typed_command())
        if as_json:
            print_json(summary)
        else:
            show_protocols(summary, out)


def show_protocols(summary: Mapping[str, Any], out: Path) -> None:
    """Print the table, and what a reader of it must know."""
    from pipeline.protocols.summary import HEADINGS, TABLE_FILE, table_lines, table_notes

    console = Console()
    console = console if console.is_terminal else Console(width=WHOLE_WIDTH)
    shown = [name for name in HEADINGS if console.width >= WHOLE_WIDTH or name not in LEFT_OUT]
    table = Table(title="Published protocols", title_justify="left", box=box.SIMPLE)
    for name in shown:
        table.add_column(name, justify="left" if name in LEFT else "right", no_wrap=name in {"row", "ours"})
    row = ""
    for line in table_lines(dict(summary)):
        cells = dict(zip(HEADINGS, line, strict=True))
        if cells["row"] == row:
            cells |= {"row": "", "asked": ""}
        row = line[0]
        table.add_row(*(cells[name] for name in shown))
    console.print(table)
    for note in table_notes(dict(summary)):
        say(note)
    say(f"Table: {out / TABLE_FILE}")
