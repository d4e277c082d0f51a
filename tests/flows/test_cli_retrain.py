from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from flows.cli import app
from pipeline.ingest.simulate import SimulationSettings, simulate_survey
from pipeline.prepare.frozen import read_frozen

NETWORK = ("--set", "model.hidden_sizes=[6]", "--set", "fit.epochs=2")


@pytest.fixture(autouse=True)
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNFLOW_MODELS", str(tmp_path / "own"))


def invoke(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def test_help_shows_an_example() -> None:
    assert "snflow retrain" in invoke("retrain", "--help")


def test_wrong_words_say_what_was_expected(tmp_path: Path) -> None:
    words = ("retrain", "--store", tmp_path, "--name", "night", "--test", tmp_path / "t.json", "--out", tmp_path)
    demo = (*words, "--experiment", "demo")
    assert "nearest valid key is probability" in invoke(*demo, "--rule", "probabilty=0.9", code=2)
    assert "not both" in invoke(*demo, "--by-hand", "--rule", "metric=auc", code=2)
    assert "nearest valid key is fit.epochs" in invoke(*demo, "--set", "fit.epoch=2", code=2)


@pytest.mark.usefixtures("prefect_server")
def test_new_truth_is_ingested_learnt_from_and_judged_on_objects_that_stay_unseen(tmp_path: Path) -> None:
    simulate_survey(tmp_path / "survey", SimulationSettings(n_objects=160))
    files = sorted((tmp_path / "survey").glob("*.DAT"))
    for number, file in enumerate(files):
        night = tmp_path / ("first" if number < 120 else "second")
        night.mkdir(exist_ok=True)
        file.rename(night / file.name)
    words = ("--store", tmp_path / "store", "--name", "night", "--experiment", "demo", "--test", tmp_path / "test.json")
    words = ("retrain", *words, "--out", tmp_path / "out", *NETWORK, "--json")
    missing = invoke(*words, tmp_path / "first", code=1)
    assert "--freeze N draws N objects, once" in missing.replace("\n", " ")
    first = json.loads(invoke(*words, "--freeze", 50))
    assert (first["outcome"], first["decision"]["current"]) == ("promoted", None)
    assert json.loads(invoke(*words))["outcome"] == "unchanged"
    second = json.loads(invoke(*words, tmp_path / "second", "--by-hand"))
    assert (second["outcome"], second["model"]) == ("not promoted", first["model"])
    parts = pd.read_parquet(Path(second["folder"]) / "split.parquet").groupby("PART")["SNID"].agg(set)
    assert parts["test"] == set(read_frozen(tmp_path / "test.json").snids)
    assert len(parts["train"] | parts["validation"]) == len(files) - 50
    rule = ("--rule", "min_objects=50", "--rule", "metric=accuracy", "--rule", "probability=0.999")
    printed = invoke(*words[:-1], *rule)
    assert "expected better with P ≥ 0.999" in printed
    assert "P(better)" in printed
    told = json.loads((tmp_path / "out" / "retrain.json").read_text())
    assert told["summary"]["outcome"] == "not promoted"
    assert told["configuration"]["settings"]["rule"]["metric"] == "accuracy"
    invoke("models", "promote", "night", second["folder"], "--note", "seen by me")
    shown = json.loads(invoke("models", "show", "night", "--json"))
    assert [entry["why"] for entry in shown["history"]][1] == "seen by me"
    assert shown["card"]["test_set"]["n_objects"] == 50
    assert json.loads(invoke(*words))["outcome"] == "unchanged"
    assert f"night@{json.loads(invoke('models', 'rollback', 'night', '--json'))['version']}" == first["model"]
