"""Flow `nightly`: ingest, look whether the night is like the training data, classify what changed, publish, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import Completed

from flows.classify import classify
from flows.ingest import ingest
from flows.night_artifacts import publish_artifacts
from flows.nights import LOCK, drop_old_nights, finish, judge, open_night, publish_night
from flows.observe import Watch, observed, tell_crash
from flows.report import report
from flows.site import SiteSettings, load_site
from flows.tasks import computing, reading_or_writing
from pipeline.evaluate.night import Night
from pipeline.ingest.settings import TooManyBadFilesError
from pipeline.processes import AtWorkError, only_one

__all__ = ["nightly"]

judge_task = computing(judge, "compare with the training data")
publish_task = reading_or_writing(publish_night, "publish")


@flow(name="nightly", on_crashed=[tell_crash], persist_result=False)
def nightly(config: Path, settings: list[str] | None = None, command: str = "") -> Any:
    """Do what a site does every night; again after a crash, it goes on where it stopped.

    Args:
        config: site file: sources, store, model, out, and what else is not the default.
        settings: single settings to change, such as guard.red_p=1e-6.
        command: what was typed, for the record.

    Returns:
        The summary; a state named Skipped, with nothing done, while another run is at work on the site.
    """
    site = load_site(config, settings)
    try:
        with only_one(site.out / LOCK, f"the nights in {site.out}"):
            folder = open_night(site)
            with observed(site, folder) as watch:
                return _work(site, folder, watch, command)
    except AtWorkError as error:
        return Completed(name="Skipped", message=str(error))


def _work(site: SiteSettings, folder: Path, watch: Watch, command: str) -> dict[str, Any]:
    failure: TooManyBadFilesError | None = None
    watch.step("ingest")
    try:
        ingested = ingest(list(site.sources), site.store, site.ingest, folder, command)
    except TooManyBadFilesError as error:  # what is good is in the store, and is classified all the same
        ingested, failure = error.summary.to_dict(), error
    watch.step("compare with the training data")
    night: Night = judge_task(site, folder)
    watch.step("classify")
    classified = classify(site.store, site.model_folder, [folder / "predictions.parquet"], site.classify, command)
    watch.step("publish")
    published = publish_task(site, folder)
    watch.step("report")
    page = report(folder, []) if night.photometry else None
    done = {"ingest": ingested, "classify": classified, "publish": published, "report": str(page) if page else None}
    summary = finish(site, folder, night, done, failure, command)
    watch.done(summary)
    drop_old_nights(site)
    publish_artifacts(site, folder, summary)
    if failure:
        raise failure
    return summary
