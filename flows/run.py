"""Flow `run`: ingest, train, classify, evaluate and report, each step the flow of its own name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from flows.artifacts import publish
from flows.classify import classify
from flows.ingest import ingest
from flows.report import report
from flows.tasks import computing, reading_or_writing
from flows.train import train
from pipeline.classify.catalogue import classify_beside
from pipeline.classify.predict import ClassifySettings
from pipeline.evaluate.evaluation_run import evaluate_run
from pipeline.ingest.settings import IngestSettings
from pipeline.provenance import write_record
from pipeline.report.content import read_content
from pipeline.report.draw import REPORT_FILE
from pipeline.report.verdict import verdict_markdown
from pipeline.train.experiment import Experiment

__all__ = ["run"]

beside_task = computing(classify_beside, "classify beside")
evaluate_task = reading_or_writing(evaluate_run, "evaluate")


@flow(name="run", persist_result=False)
def run(
    sources: list[Path], experiment: Experiment, out: Path, ingest_settings: IngestSettings, command: str = ""
) -> dict[str, Any]:
    """Do the whole job; run again after a crash, it goes on where it stopped."""
    store = out / "store"
    ingested = ingest(sources, store, ingest_settings, out, command)
    trained = train(store, experiment, out, command)
    outputs = [out / "predictions.parquet", out / "predictions.csv"]
    classified = classify(store, out / "model", outputs, ClassifySettings(device=experiment.fit.device), command)
    beside_task(store, out)
    evaluated = evaluate_task(store, out, trained["thresholds"], command)
    configuration = {"sources": [str(path) for path in sources], "experiment": experiment.model_dump()}
    summary = {"ingest": ingested, "train": trained, "classify": classified, "evaluate": evaluated}
    write_record(out, "run", configuration, summary, command)
    page = report(out, [])
    verdict = verdict_markdown(read_content(out / REPORT_FILE))
    publish("snflow-run", f"{experiment.name}: {trained['model']}", evaluated["metrics"], verdict, page)
    return summary | {"report": str(page)}
