"""What metrics.json says beyond metrics: how early, on how different a survey, and of curves that are no supernovae.

It needs the classifier, the light curves and the predictions together: a `Subject`, read from the folder that
`snflow run` or `snflow classify` wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.classify.catalogue import as_classified, as_store, read_predictions
from pipeline.classify.predict import Classifier, ClassifySettings
from pipeline.evaluate.drift import measure_drift
from pipeline.evaluate.early import evaluate_early
from pipeline.evaluate.evaluation import evaluate, find_targets
from pipeline.evaluate.evaluation_run import METRICS_FILE, read_findings, select, write_findings
from pipeline.evaluate.findings import Evaluation, Findings
from pipeline.evaluate.trust import measure_trust
from pipeline.prepare.selection import best_snr
from pipeline.provenance import read_record, write_record
from pipeline.schema import TRUTH_SCHEMA, LightCurves, Predictions, Truth
from pipeline.train.training_run import read_split

__all__ = ["Subject", "examine_run", "has_inputs", "is_examined", "predictions_file", "read_subject"]

PREDICTIONS: Final = "predictions.parquet"
ALL_OBJECTS: Final = "all objects"
SEED: Final = 0

STEPS: Final = ("metrics", "early classification", "drift from the training data", "novelty and sensitivity")

Say = Callable[[int, int, str], None]
"""Called with what is done, out of how many, and what comes next."""


@dataclass(frozen=True)
class Subject:
    """What is examined: a classifier, and objects that it has not learnt from.

    Attributes:
        classifier: with the settings that made the predictions.
        light_curves: of the objects in `predictions`, in their order, bands named as the model's.
        predictions: of the test part, or of all objects where nothing was split.
        truth: of any objects; None where no class of theirs is known.
    """

    classifier: Classifier
    light_curves: LightCurves
    predictions: Predictions
    truth: Truth | None


def read_subject(run: Path) -> Subject:
    """Read the folder of a run or a classification.

    Raises:
        FileNotFoundError: if its predictions are gone.
    """
    configuration = read_record(run, "classify")["configuration"]
    settings = ClassifySettings.model_validate(configuration["settings"])
    file = predictions_file(run)
    if file is None:
        raise FileNotFoundError(f"{run}: its predictions are gone; classify again")
    predictions = read_predictions(file)
    if (run / "split.parquet").exists():
        predictions = select(predictions, read_split(run).test)
    with as_store(Path(configuration["source"])) as store:
        light_curves = store.light_curves(predictions.table["SNID"].tolist())
        truth = store.truth()
    is_known = bool((find_targets(predictions, truth) >= 0).any())
    classifier = Classifier.load(Path(configuration["model"]), settings)
    return Subject(classifier, as_classified(light_curves, settings), predictions, truth if is_known else None)


def predictions_file(run: Path) -> Path | None:
    """Return the predictions of a folder: those it was told to write, or those in it; None where all are gone."""
    told = read_record(run, "classify").get("configuration", {}).get("outputs", [])
    return next((path for path in (*map(Path, told), run / PREDICTIONS) if path.exists()), None)


def has_inputs(run: Path) -> bool:
    """Whether the light curves, the predictions and the classifier of a classification are still there."""
    configuration = read_record(run, "classify").get("configuration")
    if configuration is None or predictions_file(run) is None:
        return False
    return Path(configuration["source"]).exists() and (Path(configuration["model"]) / "model.json").exists()


def is_examined(run: Path) -> bool:
    """Whether metrics.json already says all that is to be said of the latest classification in a folder."""
    told = read_record(run, "examine").get("configuration", {}).get("classified")
    return told is not None and told == _classified(run) and read_findings(run / METRICS_FILE).trust is not None


def examine_run(
    run: Path, say: Say = lambda done, total, words: None, prior: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Add early classification, drift and trust to `metrics.json`, and the metrics themselves where they are missing.

    Nothing is done where it has been done for the same classification, or where what it needs is gone.

    Args:
        run: folder with `classify.json` and predictions.
        say: called before each step.
        prior: share of some classes under which the headline's metrics are to be given, too.

    Returns:
        What was measured, in few numbers; empty where nothing was done.
    """
    is_done, told = is_examined(run), read_record(run, "examine").get("configuration", {}).get("prior", {})
    asked = dict(prior or (told if is_done else {}))
    if (is_done and asked == told) or not has_inputs(run):
        return {}
    say(0, len(STEPS), STEPS[0])
    subject, findings = read_subject(run), read_findings(run / METRICS_FILE)
    if asked or not findings.evaluations or not (run / "split.parquet").exists():
        findings = replace(findings, evaluations=_evaluate_again(subject, findings, asked))
    findings = findings if is_done else _examine(subject, findings, say)
    write_findings(findings, run / METRICS_FILE)
    summary = _summarise(findings)
    write_record(run, "examine", {"classified": _classified(run), "seed": SEED, "prior": asked}, summary)
    return summary


def _examine(subject: Subject, findings: Findings, say: Say) -> Findings:
    classifier, light_curves, truth = subject.classifier, subject.light_curves, subject.truth
    say(1, len(STEPS), STEPS[1])
    early = None if truth is None else evaluate_early(classifier, light_curves, truth, SEED)
    say(2, len(STEPS), STEPS[2])
    drift = measure_drift(light_curves, subject.predictions, truth, classifier.checkpoint, SEED)
    say(3, len(STEPS), STEPS[3])
    return replace(findings, early=early, drift=drift, trust=measure_trust(classifier, light_curves, truth, SEED))


def _evaluate_again(subject: Subject, findings: Findings, prior: Mapping[str, float]) -> tuple[Evaluation, ...]:
    """Evaluate the headline; what stands beside it stays."""
    name = findings.evaluations[0].name if findings.evaluations else ALL_OBJECTS
    truth = subject.truth if subject.truth is not None else _no_truth(subject.predictions)
    snr = best_snr(subject.light_curves)
    thresholds = subject.classifier.checkpoint.thresholds
    headline = evaluate(subject.predictions, truth, name=name, thresholds=thresholds, best_snr=snr, prior=prior or None)
    return (headline, *findings.evaluations[1:])


def _no_truth(predictions: Predictions) -> Truth:
    return Truth(TRUTH_SCHEMA.empty_table().to_pandas()).select(predictions.table["SNID"])


def _classified(run: Path) -> str | None:
    return read_record(run, "classify").get("finished")


def _summarise(findings: Findings) -> dict[str, Any]:
    drift, trust = findings.drift, findings.trust
    tests = () if trust is None else trust.novelty_tests
    return {
        "domain_auc": None if drift is None else drift.domain_auc.value,
        "share_novel": None if trust is None else trust.share_novel,
        "worst_novelty_auroc": min((test.auroc for test in tests if np.isfinite(test.auroc)), default=None),
        "early_points": 0 if findings.early is None else len(findings.early.points),
    }
