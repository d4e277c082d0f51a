"""Verbs `serve`, which does the nights of a site, and `status`, which tells how they went."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.console import print_json, print_line, say, show
from flows.errors import FAILED, WRONG_USAGE, explained

if TYPE_CHECKING:
    from flows.status import SiteStatus

__all__ = ["serve", "status"]


def serve(
    config: Annotated[Path, typer.Option("--config", help="Site file: sources, store, model, out, schedule, server.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as server.port=4201.")
    ] = None,
) -> None:
    """Do the nights of a site on schedule, with Prefect's server and its pages, on this machine.

    It goes on until it is stopped. What ends meanwhile is started anew; a night that was interrupted is gone on with,
    and nights missed while it was down are done as one. `snflow status` tells how it goes. Changes of the site file
    hold from the next night on, those of [schedule], [server] and [retention] when it is started again.

    Example: `snflow serve --config site.toml`
    """
    from flows.serving.plan import PlanError, make_plan
    from flows.serving.serve import serve as serve_site

    try:
        serve_site(make_plan(config, settings), lambda text: say(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}"))
    except PlanError as error:
        say(f"snflow: {error}")
        raise typer.Exit(WRONG_USAGE) from None
    except (RuntimeError, OSError) as error:
        say(f"snflow: {error}")
        raise typer.Exit(FAILED) from None


def status(
    config: Annotated[Path, typer.Option("--config", help="Site file.")],
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell how the nights of a site go: the last and the next one, what waits, and whether it is served.

    It reads the site's files, so it works without a server. Exit code 1, and the reason, if the last night failed or
    was interrupted, or none has ended though two were due since the last; 0 if all is well.

    Example: `snflow status --config site.toml`, or in a monitor `snflow status --config site.toml --json`
    """
    with explained():
        from flows.site import load_site
        from flows.status import site_status

        found = site_status(load_site(config, settings), datetime.now(UTC))
        if as_json:
            print_json(found.to_dict())
        else:
            _show(config, found)
    if found.problems:
        raise typer.Exit(FAILED)


def _show(config: Path, found: SiteStatus) -> None:
    last, waiting = found.last, found.backlog
    rows = {
        "served": f"{found.url}, {found.served}" if found.served else "no",
        "last night": f"{last.night}: {last.outcome}{f', {last.verdict}' if last.verdict else ''}" if last else "none",
        "next night": found.following,
        "objects": f"{waiting.n_objects:,}",
        "waiting": f"{waiting.n_unclassified:,} not classified yet, {waiting.n_held:,} held, "
        f"{waiting.n_quarantined:,} entries in quarantine",
    }
    show(f"Site {config}", rows, False)
    if last and last.message:
        print_line(last.message)
    for problem in found.problems:
        say(f"Look at this: {problem}")
