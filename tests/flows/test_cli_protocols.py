from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import app
from pipeline.ingest.settings import IngestSettings
from pipeline.ingest.simulate import SimulationSettings, simulate_survey
from pipeline.store import Store, ingest

NETWORK = ("fit.epochs=1", "model.hidden_sizes=[4]", "split.train=60")


def invoke(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def test_help_shows_an_example() -> None:
    assert "snflow protocols P1 P4" in invoke("protocols", "--help")


def test_wrong_words_say_what_was_expected(tmp_path: Path) -> None:
    words = ("--store", tmp_path, "--out", tmp_path / "out")
    assert "expected protocols, came 'P0'" in invoke("protocols", "P0", *words, code=2)
    assert "--real DIR" in invoke("protocols", "R1", *words, code=2)
    assert "nearest valid key is fit.epochs" in invoke("protocols", "P4", *words, "--set", "fit.epoch=2", code=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("prefect_server")
def test_protocols_are_run_once_and_shown_beside_their_records(tmp_path: Path) -> None:
    simulate_survey(tmp_path / "survey", SimulationSettings(n_objects=120))
    ingest([tmp_path / "survey"], Store.create(tmp_path / "store"), IngestSettings())
    settings = [word for key in NETWORK for word in ("--set", key)]
    words = ("protocols", "P4", "--store", tmp_path / "store", "--out", tmp_path / "out", "--draws", 1, *settings)
    summary = json.loads(invoke(*words, "--json"))
    (row,) = summary["rows"]
    assert row["metrics"]["auc"]["record"]["arxiv"] == "1603.00882"
    result = tmp_path / "out" / "P4" / "draw-1" / "result.json"
    written = result.stat().st_mtime_ns
    printed = invoke(*words)
    assert result.stat().st_mtime_ns == written
    for cell in ("P4", "figure of merit", "0.5710", "not comparable", "split.train is 60, not 1103", "protocols.md"):
        assert cell in printed.replace("FoM", "figure of merit")
    assert json.loads((tmp_path / "out" / "run.json").read_text())["configuration"]["protocols"] == ["P4"]
