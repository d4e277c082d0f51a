"""The deployments of a site: its flows with its own settings as defaults, and a schedule for its nights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.schedules import Cron, Schedule
from prefect.types.entrypoint import EntrypointType

from flows.automations import ensure_automations
from flows.classify import classify
from flows.ingest import ingest
from flows.nightly import nightly
from flows.report import report
from flows.site import SiteSettings, load_site
from flows.train import train
from pipeline.settings import SettingsError
from pipeline.train.experiment import load_experiment

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.deployments.runner import RunnerDeployment

__all__ = ["register", "site_deployments"]

EXPERIMENTS: Final = Path(__file__).parent / "experiments"
COMMAND: Final = "snflow serve"
"""What stands in the records as typed."""


def site_deployments(config: Path, words: list[str] | None = None) -> list[RunnerDeployment]:
    """Return the deployments of a site: `nightly` is scheduled, the others wait until somebody starts them.

    Each runs once at a time: a night while another one is at work is cancelled, since that one does its work; all
    others wait.

    Raises:
        SettingsError: if the site file has a mistake.
    """
    site = load_site(config, words)
    name = site.out.name or "site"
    schedule = Cron(site.schedule.nightly, timezone=site.schedule.timezone)
    night: dict[str, Any] = {"config": str(config.absolute()), "settings": words, "command": COMMAND}
    return [
        _deployment(nightly, name, night, ConcurrencyLimitStrategy.CANCEL_NEW, schedule),
        *(
            _deployment(flow, name, parameters | {"command": COMMAND}, ConcurrencyLimitStrategy.ENQUEUE)
            for flow, parameters in (
                (ingest, _for_ingest(site)),
                (train, _for_train(site)),
                (classify, _for_classify(site)),
            )
        ),
        _deployment(report, name, {"beside": []}, ConcurrencyLimitStrategy.ENQUEUE),
    ]


def register(config: Path, words: list[str] | None = None) -> None:
    """Tell the Prefect server of the environment the deployments of a site, and whom to tell of its nights.

    What it knew of them before is replaced.
    """
    ensure_automations(load_site(config, words))
    for deployment in site_deployments(config, words):
        deployment.apply()


def _deployment(
    flow: Flow[..., Any],
    name: str,
    parameters: dict[str, Any],
    collision: ConcurrencyLimitStrategy,
    schedule: Schedule | None = None,
) -> RunnerDeployment:
    made = flow.to_deployment(
        name,
        schedule=schedule,
        parameters=parameters,
        tags=["snflow", name],
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=collision),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    return cast("RunnerDeployment", made)  # a coroutine only where it is called in one


def _for_ingest(site: SiteSettings) -> dict[str, Any]:
    sources = [str(source) for source in site.sources]
    return {"sources": sources, "store": str(site.store), "settings": site.ingest.model_dump(mode="json")}


def _for_train(site: SiteSettings) -> dict[str, Any]:
    experiment = load_experiment("spcc", EXPERIMENTS, [])
    out = str(site.out / "training")
    return {"store": str(site.store), "experiment": experiment.model_dump(mode="json"), "out": out}


def _for_classify(site: SiteSettings) -> dict[str, Any]:
    return {
        "source": str(site.store),
        "model": str(site.model_folder),
        "outputs": [str(site.out / "predictions.parquet")],
        "settings": site.classify.model_dump(mode="json"),
    }


if __name__ == "__main__":
    try:
        register(Path(sys.argv[1]), sys.argv[2:])
    except SettingsError as error:
        sys.exit(str(error))
