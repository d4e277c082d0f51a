from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import app
from pipeline.evaluate.promotion import describe_run
from pipeline.files import write_parquet
from pipeline.prepare.split import Split
from pipeline.provenance import write_record
from pipeline.train.calibration import Calibration
from tests.small_model import small_classifier

VERBS = ("list", "show", "promote", "rollback", "verify")


@pytest.fixture(autouse=True)
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty registry."""
    monkeypatch.setenv("SNFLOW_MODELS", str(tmp_path / "own"))
    return tmp_path / "own"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What a training leaves, with nothing for a test."""
    folder = tmp_path / "run"
    small_classifier().checkpoint.save(folder / "model")
    split = Split(train=("a", "b"), validation=("c",), test=())
    write_parquet(split.to_table(), folder / "split.parquet")
    summary = {"model": "small@0", "split": split.counts, "n_objects": 3, "cuts": {}}
    write_record(folder, "train", {"experiment": {"protocol": "P1"}}, summary)
    return folder


def invoke(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_models_verb_shows_an_example(verb: str) -> None:
    assert f"snflow models {verb}" in invoke("models", verb, "--help")


def test_a_run_is_promoted_listed_shown_verified_and_rolled_back(run: Path, own_models: Path) -> None:
    invoke("models", "promote", "night", run, "--note", "the first")
    small_classifier(classes="types").checkpoint.save(run / "model")
    invoke("models", "promote", "night", run)
    listed = json.loads(invoke("models", "list", "--json"))
    own = [model for model in listed["models"] if model["name"] == "night"]
    assert (listed["folder"], [model["is_current"] for model in own]) == (str(own_models), [True, False])
    shown = json.loads(invoke("models", "show", f"night@{own[1]['version']}", "--json"))
    assert shown["model"] == f"night@{own[1]['version']}"
    assert shown["history"][0]["why"] == "the first"
    assert "the first" in invoke("models", "show", "night")
    assert json.loads(invoke("models", "verify", "night", "--json"))["models"][0]["is_same"]
    assert json.loads(invoke("models", "rollback", "night", "--json"))["version"] == own[1]["version"]
    assert "nothing to go back to" in invoke("models", "rollback", "night", code=2)


def test_the_card_says_whom_a_promoted_model_has_learnt_from(run: Path) -> None:
    folder = Path(json.loads(invoke("models", "promote", "night", run, "--json"))["folder"])
    card = json.loads((folder / "card.json").read_text())
    assert "learnt from 2 objects and was calibrated on 1" in card["leakage"]
    assert "none was kept" in card["leakage"]
    assert "judged_by" not in card
    assert "leakage" in (folder / "card.md").read_text()
    assert (folder / "objects.parquet").exists()


def test_a_run_without_a_test_part_cannot_judge_another(run: Path) -> None:
    with pytest.raises(ValueError, match="expected a run with a test part"):
        describe_run(run, run)


def test_a_model_that_answers_otherwise_fails_with_the_difference(tmp_path: Path) -> None:
    checkpoint = small_classifier().checkpoint
    replace(checkpoint, calibration=Calibration(checkpoint.calibration.temperature / 2)).save(tmp_path / "model")
    told = json.loads(invoke("models", "verify", tmp_path / "model", "--json", code=1))["models"][0]
    assert told["largest_difference"] > told["tolerance"]
    assert "DIFFERENT" in invoke("models", "verify", tmp_path / "model", code=1)


def test_an_unknown_model_exits_with_2_and_the_nearest_name(run: Path, tmp_path: Path) -> None:
    invoke("models", "promote", "night", run)
    words = ("classify", tmp_path, "--model", "nihgt", "--out", tmp_path / "p.csv")
    assert "did you mean night?" in invoke(*words, code=2)
    assert "did you mean night?" in invoke("models", "verify", "nihgt", code=2)


def test_export_needs_a_known_model(tmp_path: Path) -> None:
    assert "no model named" in invoke("export", "nobody", "--onnx", tmp_path / "x.onnx", code=2)


def test_a_card_and_a_message_cannot_command_the_terminal(tmp_path: Path) -> None:
    checkpoint = small_classifier().checkpoint
    replace(checkpoint, card={"note": "\x1b[2Jseen\u202e"}).save(tmp_path / "model")
    told = invoke("models", "show", tmp_path / "model")
    assert "\\x1b[2Jseen\\u202e" in told
    assert "\x1b[2J" not in told
    assert "no model named '\\x1b" in invoke("models", "show", "\x1b[2J", code=2)
