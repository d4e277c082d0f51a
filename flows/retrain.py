"""Flow `retrain`: a candidate from all that is known by now, compared with the current classifier, promoted or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from flows.artifacts import publish
from flows.ingest import ingest
from flows.tasks import computing, reading_or_writing
from flows.train import train
from pipeline.evaluate.retraining import RetrainSettings, conclude, decide_on_candidate, plan_retraining
from pipeline.ingest.settings import IngestSettings
from pipeline.train.experiment import Experiment

__all__ = ["retrain"]

plan_task = reading_or_writing(plan_retraining, "look what is new")
decide_task = computing(decide_on_candidate, "compare on the frozen test set")
conclude_task = reading_or_writing(conclude, "promote or not")


@flow(name="retrain", persist_result=False)
def retrain(
    settings: RetrainSettings,
    experiment: Experiment,
    sources: list[Path],
    ingest_settings: IngestSettings,
    command: str = "",
) -> dict[str, Any]:
    """Ingest what is new, train a candidate, compare and promote; after a crash the same command ends alike.

    Args:
        settings: catalogue, name in the registry, frozen test set, folder of the candidates, rule of promotion.
        experiment: what a candidate is; `split.train` is of the objects outside the test set.
        sources: folders, archives and files with new light curves or classes; none: the catalogue as it is.
        ingest_settings: how the sources are read.
        command: what was typed, for the record.
    """
    if sources:
        ingest(sources, settings.store, ingest_settings, None, command)
    plan = plan_task(settings, experiment)
    if plan.is_due:
        train(settings.store, experiment, plan.folder, command, settings.test)
        decide_task(settings, plan)
    summary = conclude_task(settings, plan, experiment, command)
    publish("snflow-retrain", f"{settings.name}: {summary['outcome']}", summary, summary["why"])
    return summary
