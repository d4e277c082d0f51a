from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.cli_classify import read_bounds
from pipeline.settings import SettingsError


def test_bounds_are_two_thresholds() -> None:
    assert read_bounds("0.3,purity95") == ("0.3", "purity95")
    assert read_bounds(None) is None
    for words in ("0.3", "0.3,", ",purity95"):
        with pytest.raises(SettingsError, match="expected --abstain-between LOW,HIGH"):
            read_bounds(words)


def test_the_help_of_classify_names_every_word_and_an_example() -> None:
    text = CliRunner().invoke(app, ["classify", "--help"], env={**os.environ, "COLUMNS": "200"}).output
    for word in ("--at-epochs", "--threshold", "--members", "--zeropoint", "--band-map", "--keep-novel", "Example"):
        assert word in text


def test_a_zeropoint_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    words = ["classify", str(tmp_path), "--model", str(tmp_path), "--out", str(tmp_path / "p.csv"), "--zeropoint", "-1"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "zeropoint" in result.output
