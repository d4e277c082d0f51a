"""The verb `snflow retrain`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from flows.console import pointing_at_quarantine, print_json, print_line, say, typed_command
from flows.errors import explained

if TYPE_CHECKING:
    from pipeline.evaluate.candidate import PromotionRule
    from pipeline.ingest.settings import IngestSettings

__all__ = ["retrain"]

EVERYTHING: Final = "split.train=1.0"
"""What is not in the frozen test set is learnt from, whatever share the experiment keeps; --set comes after it."""

HEADINGS: Final = {
    "current": "current",
    "candidate": "new",
    "difference": "change",
    "low": "2.5 %",
    "high": "97.5 %",
    "p_better": "P(better)",
}
"""Columns of a decision, the interval being that of the change."""


def retrain(
    store: Annotated[Path, typer.Option("--store", help="Catalogue: a folder of Delta tables.")],
    name: Annotated[str, typer.Option("--name", help="Of the classifier, as `snflow models list` shows it, or a new.")],
    experiment: Annotated[str, typer.Option("--experiment", metavar="NAME|FILE", help="As of `snflow train`.")],
    test: Annotated[Path, typer.Option("--test", metavar="FILE", help="Frozen test set: SNIDs, and their hash.")],
    out: Annotated[Path, typer.Option("--out", help="Each candidate has a folder of its own in it.")],
    sources: Annotated[
        list[Path] | None, typer.Argument(help="New light curves or classes, as of `snflow ingest`, read first.")
    ] = None,
    freeze: Annotated[
        int | None,
        typer.Option("--freeze", metavar="N", help="Draw the test set, N objects, if there is none; never again."),
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            "--rule",
            metavar="KEY=VALUE",
            help="When a candidate is promoted: metric=log_loss, probability=0.95, margins.auc=0.005, min_objects=100, "
            "max_unanswered=0.01 are the defaults. May be given again.",
        ),
    ] = None,
    by_hand: Annotated[bool, typer.Option("--by-hand", help="Promote nothing; say how to.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as fit.epochs=10.")
    ] = None,
    override: Annotated[
        Path | None, typer.Option("--override", help="Table by SNID, such as of new classes, for reading SOURCES.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on standard output.")] = False,
) -> None:
    """Train a classifier anew on all that is known by now, and promote it if it is better on a frozen test set.

    Sources are read as the last ingest of the catalogue read its own. Everything outside the test set is learnt from.
    If nothing to learn from has changed since the current version was trained, nothing happens. After a crash the same
    command ends with the same decision; `snflow models rollback NAME` undoes a promotion.

    Example: `snflow retrain night/ --override classes.csv --store catalogue --name night --experiment spcc
    --test frozen.json --freeze 1000 --out runs/retrain`
    """
    with explained():
        from flows.cli import EXPERIMENTS
        from flows.retrain import retrain as retrain_flow
        from pipeline.evaluate.retraining import RetrainSettings
        from pipeline.settings import load_settings
        from pipeline.train.experiment import load_experiment
        from pipeline.train.teacher import settings_of_student

        chosen = settings_of_student(load_experiment(experiment, EXPERIMENTS, [EVERYTHING, *(settings or [])]))
        values = {"store": store, "name": name, "test": test, "out": out, "freeze": freeze}
        asked = load_settings(RetrainSettings, values | {"rule": _rule(rule, by_hand)}, "command line")
        with pointing_at_quarantine(store):
            summary = retrain_flow(asked, chosen, sources or [], _ingest_settings(store, override), typed_command())
        _show(name, summary, as_json)


def _rule(words: list[str] | None, by_hand: bool) -> PromotionRule | None:
    from pipeline.evaluate.candidate import PromotionRule
    from pipeline.settings import SettingsError, load_settings, override

    if by_hand and words:
        raise SettingsError(f"expected --rule or --by-hand, and not both, came --by-hand and {words[0]!r}")
    values = override(PromotionRule().model_dump(), words or [])
    return None if by_hand else load_settings(PromotionRule, values, "--rule")


def _ingest_settings(store: Path, table: Path | None) -> IngestSettings:
    """Return how the last ingest read its sources, with another table of overrides if there is one."""
    from pipeline.ingest.settings import IngestSettings
    from pipeline.provenance import read_record
    from pipeline.settings import load_settings

    recorded = read_record(store, "ingest").get("configuration", {}).get("settings", {})
    values = recorded if table is None else {**recorded, "override": table.absolute()}
    return load_settings(IngestSettings, values, "settings of the last ingest")


def _show(name: str, summary: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(summary)
        return
    if "decision" in summary:
        _print_metrics(summary["decision"])
    print_line(f"{name}: {summary['outcome']}: {summary['why']}")
    print_line(f"Current is {summary['model'] or 'none'}")
    if summary["next"]:
        what = "To undo it" if summary["outcome"] == "promoted" else "To promote it all the same"
        say(f"{what}: {summary['next']}")


def _print_metrics(decision: Mapping[str, Any]) -> None:
    title = f"{decision['candidate']} on {decision['test_set']['n_objects']} frozen objects"
    table = Table(title=title, title_justify="left")
    table.add_column("metric", no_wrap=True)
    known = [column for column in HEADINGS if any(column in found for found in decision["metrics"].values())]
    for column in known:
        table.add_column(HEADINGS[column], justify="right")
    for metric, found in decision["metrics"].items():
        table.add_row(metric, *("–" if found[column] is None else f"{found[column]:.4f}" for column in known))
    Console().print(table)
