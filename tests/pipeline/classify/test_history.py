from __future__ import annotations

import json
import time
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from flows.cli import app
from pipeline.classify.history import history, merged
from pipeline.classify.incremental import classify_store
from pipeline.classify.predict import ClassifySettings
from pipeline.housekeeping import GarbageSettings, collect_garbage
from pipeline.store import Store
from tests.builders import make_survey
from tests.pipeline.classify.test_incremental import changed, stored
from tests.small_model import small_classifier

SETTINGS = ClassifySettings()


def invoke(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folders = [tmp_path_factory.mktemp("models") / name for name in ("ia", "types")]
    for folder, classes in zip(folders, ("ia", "types"), strict=True):
        small_classifier(classes=classes).checkpoint.save(folder)
    return folders


@pytest.fixture
def store(models: list[Path], tmp_path: Path) -> Store:
    """A store of 6 objects, of which 1002 was measured five times anew, classified after each."""
    light_curves = make_survey(6, seed=5)[0]
    store = stored(tmp_path / "store", light_curves)
    for _ in range(5):
        classify_store(store, models[0], SETTINGS)
        light_curves = changed(light_curves, "1002")
        stored(store.path, light_curves)
    classify_store(store, models[0], SETTINGS)
    return store


def test_a_history_is_in_order_of_time_and_marks_the_present_photometry(store: Store) -> None:
    table = history(store, "1002")
    assert len(table) == 6
    assert table["LAST_MJD"].is_monotonic_increasing
    assert table["PRESENT"].tolist() == [False] * 5 + [True]
    assert len(history(store)) == 11
    with pytest.raises(ValueError, match="no object with SNID 7 in"):
        history(store, "7")
    with pytest.raises(ValueError, match=r"no prediction of 1002 by other in .*; models with predictions: small@"):
        history(store, "1002", "other")


def test_models_of_other_classes_and_settings_stand_side_by_side(store: Store, models: list[Path]) -> None:
    classify_store(store, models[1], SETTINGS)
    classify_store(store, models[1], ClassifySettings(redshift="none"))
    one, two = (small_classifier(classes=name).checkpoint.name for name in ("ia", "types"))
    view = merged(store, [one, two])
    assert view["SNID"].tolist() == store.snids()
    for column in (f"P_nonIa:{one}", f"P_II:{two}/default", f"P_II:{two}/redshift=none"):
        assert view[column].notna().all()
    assert f"P_II:{one}" not in view.columns
    last = history(store, "1002", one)["P_Ia"].iloc[-1]
    assert view.set_index("SNID")[f"P_Ia:{one}"]["1002"] == last
    assert len(merged(store)) == 6


def test_garbage_is_what_no_latest_version_needs_and_predictions_of_photometry_long_gone(store: Store) -> None:
    before = store.light_curves().to_arrow(), history(store)
    files = {path: path.stat().st_size for path in store.path.rglob("*.parquet")}
    young = collect_garbage(store, dry_run=True)
    assert (young["bytes"], young["n_predictions"]) == (0, 3)
    assert collect_garbage(store, GarbageSettings(keep_days=0), dry_run=True)["bytes"] > 0
    assert {path: path.stat().st_size for path in store.path.rglob("*.parquet")} == files
    found = collect_garbage(store, GarbageSettings(keep_days=0))
    left = {path: path.stat().st_size for path in store.path.rglob("*.parquet")}
    new = {path: size for path, size in left.items() if path not in files}
    assert found["bytes"] == sum(files.values()) - sum(left.values()) + sum(new.values()) > 0
    assert set(found["tables"]) == {"light_curves", "truth", "quarantine", "predictions"}
    assert store.light_curves().to_arrow().equals(before[0])
    kept = before[1].drop(index=before[1].index[before[1]["SNID"] == "1002"][:3]).reset_index(drop=True)
    pd.testing.assert_frame_equal(history(store), kept)
    assert collect_garbage(store, GarbageSettings(keep_days=0))["bytes"] == 0


def test_garbage_settings_that_would_leave_nothing_are_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="expected at least 0 days and 1 photometry to keep, came -1 and 3"):
        collect_garbage(store, GarbageSettings(keep_days=-1))


def test_history_and_gc_on_the_command_line(store: Store, tmp_path: Path) -> None:
    words = ("--store", store.path)
    for verb in ("history", "gc"):
        assert f"snflow {verb}" in invoke(verb, "--help")
    found = json.loads(invoke("history", "1002", *words, "--json"))
    assert (found["n_rows"], found["rows"][0]["SNID"]) == (6, "1002")
    assert "P_Ia" in invoke("history", "1002", *words)
    assert "2 of 11 rows are shown" in invoke("history", "--all", *words, "--limit", 2)
    out = tmp_path / "view.parquet"
    invoke("history", "--all", "--merged", *words, "--out", out)
    assert len(pd.read_parquet(out)) == 6
    assert "expected an SNID or --all" in invoke("history", *words, code=2)
    assert "no object with SNID 7" in invoke("history", "7", *words, code=1)
    time.sleep(0.01)
    assert "Would free" in invoke("gc", *words, "--keep-days", 0, "--dry-run")
    assert json.loads(invoke("gc", *words, "--keep-days", 0, "--json"))["bytes"] > 0
