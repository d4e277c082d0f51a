"""Facts about evaluations of files: what is asked for is found, recorded and summarised."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.classify.catalogue import write_predictions
from pipeline.evaluate.evaluation_run import EvaluateSettings, evaluate_file, read_best_snr, read_findings
from pipeline.ingest.simulate import SimulationSettings, simulate_survey
from pipeline.prepare.selection import best_snr
from pipeline.schema import Predictions
from pipeline.store import Store, ingest
from tests.pipeline.evaluate.examples import make_predictions


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("survey")
    simulate_survey(folder / "files", SimulationSettings(n_objects=40))
    store = Store.create(folder / "store")
    ingest([folder / "files"], store)
    return store


@pytest.fixture
def predictions(store: Store, tmp_path: Path) -> Path:
    """Of the survey's objects, and of one that the store does not have."""
    drawn = make_predictions(np.random.default_rng(0).uniform(0, 1, 41), n_epochs=20)
    named = Predictions(drawn.table.assign(SNID=[*store.snids(), "elsewhere"]), drawn.classes)
    write_predictions(named, tmp_path / "predictions.parquet")
    return tmp_path / "predictions.parquet"


def test_a_store_gives_metrics_by_signal_to_noise_and_a_table_does_not(store, predictions, tmp_path):
    evaluate_file(predictions, store.path, tmp_path / "a")
    store.truth().table.to_csv(tmp_path / "truth.csv", index=False)
    evaluate_file(predictions, tmp_path / "truth.csv", tmp_path / "b")
    (with_snr,), (without,) = (read_findings(tmp_path / name / "metrics.json").evaluations for name in "ab")
    assert sum(row.count for row in with_snr.by_snr) == with_snr.counts.n_evaluated == 40
    assert with_snr.counts.n_without_truth == 1
    assert without.by_snr == ()
    assert with_snr.metrics == without.metrics


def test_what_was_asked_for_is_summarised_and_recorded(store, predictions, tmp_path):
    wishes = EvaluateSettings(prior={"Ia": 0.3}, thresholds={"mine": 0.7}, seed=5, n_resamples=20)
    summary = evaluate_file(predictions, store.path, tmp_path, "typed", wishes)
    (found,) = read_findings(tmp_path / "metrics.json").evaluations
    assert (found.seed, found.n_resamples, found.mixes[-1].shares) == (5, 20, {"Ia": 0.3, "nonIa": 0.7})
    assert summary["prior"]["shares"] == {"Ia": 0.3, "nonIa": 0.7}
    assert summary["operating_points"]["mine"]["threshold"] == 0.7
    record = (tmp_path / "evaluate.json").read_text(encoding="utf-8")
    assert json.loads(record)["configuration"]["prior"] == {"Ia": 0.3}


def test_the_best_signal_to_noise_is_the_same_read_in_parts(store, monkeypatch):
    whole = best_snr(store.light_curves())
    monkeypatch.setattr("pipeline.evaluate.evaluation_run.OBJECTS_IN_MEMORY", 7)
    parts = read_best_snr(store, store.snids()[::-1])
    assert parts[::-1].to_dict() == whole.to_dict()
    assert read_best_snr(store, []).empty
