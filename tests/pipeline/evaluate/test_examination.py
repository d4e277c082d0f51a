"""What stands in metrics.json beyond metrics, for a folder that a classification wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.classify.catalogue import classify_catalogue
from pipeline.classify.predict import ClassifySettings
from pipeline.evaluate.evaluation_run import read_findings
from pipeline.evaluate.examination import examine_run, is_examined, predictions_file, read_subject
from pipeline.evaluate.findings import to_json
from pipeline.ingest.simulate import SimulationSettings, simulate_survey
from tests.small_model import small_classifier


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "survey"
    simulate_survey(folder, SimulationSettings(n_objects=40))
    return folder


def without_truth(survey: Path, out: Path) -> Path:
    """Copy a survey as a telescope would have written it."""
    out.mkdir()
    for path in survey.glob("*.DAT"):
        lines = [line for line in path.read_text().splitlines() if not line.startswith(("SIM_", "SNTYPE"))]
        (out / path.name).write_text("\n".join(lines) + "\n")
    return out


def classified(survey: Path, run: Path) -> Path:
    small_classifier().checkpoint.save(run / "model")
    classify_catalogue(survey, run / "model", [run / "predictions.parquet"], ClassifySettings())
    return run


def test_a_classification_with_truth_gets_metrics_early_classification_drift_and_trust(survey: Path, tmp_path: Path):
    run = classified(survey, tmp_path)
    assert not is_examined(run)
    said: list[str] = []
    examine_run(run, lambda done, total, words: said.append(f"{done} of {total}: {words}"))
    assert said[0] == "0 of 4: metrics"
    assert said[-1] == "3 of 4: novelty and sensitivity"
    findings = read_findings(run / "metrics.json")
    (evaluation,) = findings.evaluations
    assert (evaluation.name, evaluation.counts.n_objects) == ("all objects", 40)
    assert evaluation.by_snr
    assert findings.early is not None
    assert findings.early.points[-1].since == "whole"
    assert findings.early.points[-1].metrics["accuracy"].value == evaluation.metrics["accuracy"].value
    assert findings.drift is not None
    assert findings.drift.n_survey == 40
    assert findings.trust is not None
    assert {test.name for test in findings.trust.novelty_tests} >= {"random", "reversed", "constant"}
    assert json.loads((run / "metrics.json").read_text())["format_version"] == 2


def test_what_is_examined_is_known_until_it_is_classified_again(survey: Path, tmp_path: Path):
    run = classified(survey, tmp_path)
    assert examine_run(run)
    assert is_examined(run)
    assert examine_run(run) == {}
    record = json.loads((run / "classify.json").read_text())
    (run / "classify.json").write_text(json.dumps(record | {"finished": "2030-01-01T00:00:00+00:00"}))
    assert not is_examined(run)


def test_without_truth_there_is_drift_and_trust_and_no_metric(survey: Path, tmp_path: Path):
    run = classified(without_truth(survey, tmp_path / "night"), tmp_path / "run")
    examine_run(run)
    findings = read_findings(run / "metrics.json")
    assert findings.evaluations[0].counts.n_evaluated == 0
    assert findings.early is None
    assert findings.drift is not None
    assert findings.trust is not None
    assert all(not change.metrics for change in findings.trust.sensitivities)


def test_predictions_that_are_gone_are_named(survey: Path, tmp_path: Path):
    run = classified(survey, tmp_path)
    (run / "predictions.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="its predictions are gone; classify again"):
        read_subject(run)


def test_the_subject_is_seen_at_the_zeropoint_it_was_classified_at(survey: Path, tmp_path: Path):
    small_classifier().checkpoint.save(tmp_path / "model")
    out = tmp_path / "predictions.parquet"
    classify_catalogue(survey, tmp_path / "model", [out], ClassifySettings())
    usual = read_subject(tmp_path).light_curves.epochs["FLUXCAL"]
    classify_catalogue(survey, tmp_path / "model", [out], ClassifySettings(zeropoint=30.0))
    brighter = read_subject(tmp_path).light_curves.epochs["FLUXCAL"]
    np.testing.assert_allclose(brighter, usual / 10)


def test_a_prior_asked_for_later_is_measured_and_kept(survey: Path, tmp_path: Path):
    run = classified(survey, tmp_path)
    examine_run(run)
    before = read_findings(run / "metrics.json")
    examine_run(run, prior={"Ia": 0.9})
    assert examine_run(run) == {}
    after = read_findings(run / "metrics.json")
    assert [mix.name for mix in after.evaluations[0].mixes] == ["natural", "balanced", "prior"]
    assert after.evaluations[0].mixes[-1].shares["Ia"] == pytest.approx(0.9)
    assert to_json(after)["trust"] == to_json(before)["trust"]
    assert after.evaluations[0].metrics["accuracy"] == before.evaluations[0].metrics["accuracy"]


def test_a_table_of_nights_is_not_taken_for_the_predictions(survey: Path, tmp_path: Path):
    small_classifier().checkpoint.save(tmp_path / "model")
    out, nights = tmp_path / "night.parquet", tmp_path / "nights.parquet"
    classify_catalogue(survey, tmp_path / "model", [out], ClassifySettings(), nights=nights)
    assert predictions_file(tmp_path) == out
    out.unlink()
    assert predictions_file(tmp_path) is None
