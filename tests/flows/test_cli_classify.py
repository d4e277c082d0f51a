from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest
from deltalake import write_deltalake
from typer.testing import CliRunner

from flows.cli import app
from flows.cli_classify import read_bounds
from pipeline.classify.catalogue import classify_catalogue
from pipeline.classify.job import Job, repeat
from pipeline.classify.settings import ClassifySettings
from pipeline.settings import SettingsError
from pipeline.store import Store
from tests.builders import make_survey
from tests.small_model import small_classifier

RERUN = """
    import sys
    from flows.cli import app

    app(["classify", *sys.argv[1:], "--json"], standalone_mode=False)
    print(*(name for name in ("torch", "prefect", "astropy") if name in sys.modules), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A catalogue, classified."""
    folder = tmp_path_factory.mktemp("classified")
    store = Store.create(folder / "store")
    write_deltalake(str(store.path / "light_curves"), make_survey(9, seed=5)[0].to_arrow(), mode="append")
    small_classifier().checkpoint.save(folder / "model")
    asked = Job(store.path, folder / "model", [folder / "first.parquet"], ClassifySettings())
    classify_catalogue(asked.source, asked.model, asked.outputs, asked.settings)
    return asked


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


def test_with_nothing_new_the_command_writes_the_same_without_torch_or_prefect(job: Job, tmp_path: Path) -> None:
    out = tmp_path / "again.parquet"
    words = [str(job.source), "--model", str(job.model), "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RERUN), *words],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.split() == []
    pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(job.outputs[0]))
    told, first = json.loads(done.stdout), json.loads((job.outputs[0].parent / "classify.json").read_text())["summary"]
    same = ("n_objects", "status", "reasons", "called", "notes", "n_quarantined_files", "n_left_out")
    assert [told[name] for name in same] == [first[name] for name in same]
    assert (told["n_new"], first["n_new"]) == (0, 9)
    assert json.loads((tmp_path / "classify.json").read_text())["summary"] == told


def test_what_has_something_to_do_is_not_done_as_a_repetition(job: Job, tmp_path: Path) -> None:
    out = [tmp_path / "p.csv"]
    assert repeat(Job(job.source, job.model, out, ClassifySettings(redshift="none"))) is None
    assert repeat(Job(job.source, job.model, out, job.settings, nights=tmp_path / "nights.csv")) is None
    assert repeat(Job(tmp_path, job.model, out, job.settings)) is None
    assert list(tmp_path.iterdir()) == []
