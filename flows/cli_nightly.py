"""Verb `nightly`: what a site does every night, once, now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from flows.console import print_json, print_line, say, show, typed_command
from flows.errors import explained

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

__all__ = ["nightly"]

HELD_EXIT = 3
"""The night's classes are held back; as for data that a contract refuses."""


def nightly(
    config: Annotated[Path, typer.Option("--config", help="Site file: sources, store, model, out.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as guard.red_p=1e-6.")
    ] = None,
    release: Annotated[
        str | None, typer.Option("--release", metavar="NIGHT", help="Publish what a night held back; runs no night.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ingest what is new, compare it with the training data, classify what changed, publish, and report.

    A night that differs much (red) is classified, but its classes are not published: exit code 3, and the message says
    what to look at. `--release NIGHT` publishes them all the same. Beside the nights stand `log.jsonl`, every log
    record with the id of its run, and `metrics.prom`, the last night in numbers for Prometheus.

    Example: `snflow nightly --config site.toml`
    """
    with explained():
        if release:
            show(f"Released {release}", _release(config, settings, release), as_json)
            return
        from flows.nightly import nightly as nightly_flow

        found = nightly_flow(config.absolute(), settings, typed_command(), return_state=True)
        state = cast("State[Any]", found)  # the flow is not asynchronous
        summary = state.result()
        if summary is None:  # another run is at work
            raise RuntimeError(state.message)
        if as_json:
            print_json(summary)
        else:
            show(f"Night {summary['night']}", _shown(summary), False)
            print_line(summary["sentence"])
    if summary["guard"]["status"] == "red":
        say(
            f"The classes of this night are held back. Once you have looked, publish them all the same: "
            f"snflow nightly --config {config} --release {summary['night']}"
        )
        raise typer.Exit(HELD_EXIT)


def _release(config: Path, settings: list[str] | None, night: str) -> dict[str, Any]:
    """Publish what a night held back."""
    from flows.nights import newest_nights, publish_night
    from flows.site import PUBLISHED, load_site
    from pipeline.classify import publication

    site = load_site(config, settings)
    n_released = publication.release(site.out / PUBLISHED, night)
    classified = [folder for folder in newest_nights(site) if (folder / "predictions.parquet").exists()]
    return {"n_released": n_released, **(publish_night(site, classified[0]) if classified else {})}


def _shown(summary: dict[str, Any]) -> dict[str, Any]:
    names = ("n_changed", "publish", "report", "folder")
    return {name: summary[name] for name in names if summary[name]}
