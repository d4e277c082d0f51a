"""Verbs `serve`, which does the nights of a site, and `status`, which tells how they went."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.console import say
from flows.errors import FAILED, WRONG_USAGE

__all__ = ["serve"]


def serve(
    config: Annotated[Path, typer.Option("--config", help="Site file: sources, store, model, out, schedule, server.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as server.port=4201.")
    ] = None,
) -> None:
    """Do the nights of a site on schedule, with Prefect's server and its pages, on this machine.

    It goes on until it is stopped. What ends meanwhile is started anew; a night that was interrupted is gone on with,
    and nights missed while it was down are done as one. `snflow status` tells how it goes.

    Example: `snflow serve --config site.toml`
    """
    from flows.serving.plan import PlanError, make_plan
    from flows.serving.serve import serve as serve_site

    try:
        serve_site(make_plan(config, settings), say)
    except PlanError as error:
        say(f"snflow: {error}")
        raise typer.Exit(WRONG_USAGE) from None
    except (RuntimeError, OSError) as error:
        say(f"snflow: {error}")
        raise typer.Exit(FAILED) from None
