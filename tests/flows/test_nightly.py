"""Facts about a site's nights: what changed is judged, classified and published, and a red night is held."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.site import load_site
from pipeline.classify.outputs import read_predictions
from pipeline.settings import SettingsError
from tests.sites import UNJUDGED, add_bad_files, make_drift, make_site, write_site


def nightly(folder: Path, *words: object, code: int = 0) -> dict[str, Any]:
    typed = ["nightly", "--config", str(folder / "site.toml"), "--json", *map(str, words)]
    result = CliRunner().invoke(app, typed)
    assert result.exit_code == code, (result.output, result.exception)
    return json.loads(result.stdout) if result.stdout.startswith("{") else {}


def published(folder: Path) -> dict[str, str]:
    table = read_predictions(folder / "published" / "predictions.parquet").table
    return dict(zip(table["SNID"], table["REASON"].str.partition(":")[0], strict=True))


@pytest.mark.usefixtures("prefect_server")
def test_nights_publish_what_changed_hold_what_is_red_and_release_it(tmp_path: Path) -> None:
    make_site(tmp_path, 40, UNJUDGED)

    first = nightly(tmp_path)
    assert (first["n_changed"], first["guard"]["status"], first["publish"]["n_held"]) == (40, "unknown", 0)
    assert Path(first["report"]).exists()
    assert len(published(tmp_path)) == 40

    again = nightly(tmp_path)
    assert (again["n_changed"], again["publish"]["n_published"]) == (0, 40)
    assert again["report"] is None

    make_drift(tmp_path)
    write_site(tmp_path, "[guard]\nmin_objects = 20\n")
    red = nightly(tmp_path, code=3)
    assert red["guard"]["status"] == "red"
    assert red["publish"]["n_held"] == red["n_changed"] > 0
    assert red["publish"]["n_held_with_older_row"] == red["n_changed"]
    assert "look at" in red["sentence"]

    name = Path(red["folder"]).name
    assert nightly(tmp_path, "--release", name)["n_released"] == red["n_changed"]
    assert json.loads((tmp_path / "published" / "held.json").read_text()) == {}


@pytest.mark.usefixtures("prefect_server")
def test_a_night_of_many_bad_files_fails_after_publishing_the_good_ones(tmp_path: Path) -> None:
    make_site(tmp_path, 20, UNJUDGED)
    add_bad_files(tmp_path, 5)
    nightly(tmp_path, code=1)
    assert len(published(tmp_path)) == 20
    (record,) = (tmp_path / "nights").glob("*/nightly.json")
    assert "more than the allowed" in json.loads(record.read_text())["summary"]["failure"]


def test_a_site_file_is_read_beside_itself_and_its_mistakes_are_told(tmp_path: Path) -> None:
    site = load_site(write_site(tmp_path, UNJUDGED), ["guard.red_p=1e-6"])
    assert (site.store, site.guard.red_p) == (tmp_path / "catalogue", 1e-6)
    assert site.sources == (tmp_path / "inbox",)
    for wrong, words in (
        ("stor=1", "nearest valid key is store"),
        ('publish=["a.xyz"]', "publish"),
        ("sources=[]", "sources"),
    ):
        with pytest.raises(SettingsError, match=words):
            load_site(write_site(tmp_path, UNJUDGED), [wrong])
