from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from deltalake import write_deltalake

from pipeline.classify import incremental
from pipeline.classify.catalogue import classify_catalogue, read_predictions
from pipeline.classify.contract import ContractError
from pipeline.classify.incremental import Renewal, as_mjd, classify_store, prediction_key
from pipeline.classify.predict import Classifier, ClassifySettings
from pipeline.predictions import PredictionKey, PredictionsError
from pipeline.schema import LightCurves
from pipeline.store import Store, StoreError
from tests.builders import make_light_curves, make_survey
from tests.small_model import small_classifier

REPOSITORY = Path(__file__).parents[3]
SETTINGS = ClassifySettings()
SMALL = Renewal(objects_per_commit=5)


def stored(folder: Path, light_curves: LightCurves) -> Store:
    """A store with these light curves; those of an SNID that is there are replaced."""
    store = Store.create(folder)
    new = light_curves.to_arrow()
    quoted = ", ".join(f"'{snid}'" for snid in new["SNID"].to_pylist())
    write_deltalake(str(folder / "light_curves"), new, mode="overwrite", predicate=f"SNID IN ({quoted})")
    return store


def changed(light_curves: LightCurves, snid: str) -> LightCurves:
    """One of these light curves, measured once more, 30 days later."""
    one = light_curves.select([snid])
    epochs = [*one.epochs[["MJD", "BAND", "FLUXCAL", "FLUXCALERR"]].itertuples(index=False, name=None)]
    later = (epochs[-1][0] + 30, "r", 40.0, 4.0)
    columns = {name: one.objects[name].tolist() for name in ("RA", "DEC", "MWEBV", "PHOTOZ", "PHOTOZ_ERR")}
    return make_light_curves({snid: [*epochs, later]}, **columns)


@pytest.fixture(scope="module")
def light_curves() -> LightCurves:
    return make_survey(23, seed=5)[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    small_classifier().checkpoint.save(folder)
    return folder


@pytest.fixture
def store(light_curves: LightCurves, tmp_path: Path) -> Store:
    return stored(tmp_path / "store", light_curves)


def rows(store: Store) -> pd.DataFrame:
    """All predictions of a store but the time of their making."""
    return store.predictions().drop(columns="CREATED").sort_values(["SNID", "PHOTOMETRY_HASH"], ignore_index=True)


def test_a_store_is_classified_in_chunks_as_light_curves_are_at_once(
    store: Store, model: Path, light_curves: LightCurves
) -> None:
    seen: list[tuple[int, int]] = []
    renewed = classify_store(store, model, SETTINGS, SMALL, lambda done, total: seen.append((done, total)))
    at_once = Classifier.load(model).classify(light_curves)
    assert renewed.n_new == len(light_curves)
    assert store.prediction_table.version() == 5
    assert seen[-1] == (23, 23)
    names = [name for name in at_once.table.columns if name != "CREATED"]
    pd.testing.assert_frame_equal(renewed.predictions.table[names], at_once.table[names], atol=1e-5)


def test_with_nothing_new_nothing_is_read_or_written(
    store: Store, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = classify_store(store, model, SETTINGS, SMALL)
    version = store.prediction_table.version()
    monkeypatch.setattr(Store, "stream", None)
    monkeypatch.setattr(Classifier, "load", None)
    again = classify_store(store, model, SETTINGS)
    assert (again.n_new, store.prediction_table.version()) == (0, version)
    assert again.notes == first.notes != []
    pd.testing.assert_frame_equal(again.predictions.table, first.predictions.table)


def test_notes_of_classifiers_at_the_same_moment_are_all_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read = incremental._kept_notes
    both_may_have_read = threading.Barrier(2)

    def slow(of: Store) -> dict[str, list[str]]:
        found = read(of)
        with contextlib.suppress(threading.BrokenBarrierError):
            both_may_have_read.wait(0.5)  # without a lock the second reads before the first has written
        return found

    monkeypatch.setattr(incremental, "_kept_notes", slow)
    keys = [PredictionKey(name, "{}", name) for name in ("one", "other")]
    with ThreadPoolExecutor() as pool:
        for kept in [pool.submit(incremental._keep_notes, store, key, [key.digest]) for key in keys]:
            kept.result()
    assert read(store) == {"one": ["one"], "other": ["other"]}


def test_damaged_notes_are_told_with_what_to_do(store: Store, model: Path) -> None:
    classify_store(store, model, ClassifySettings())
    (store.path / "notes.json").write_text("{")
    with pytest.raises(StoreError, match=r"notes.json is damaged .*delete it"):
        classify_store(store, model, ClassifySettings())


def test_one_changed_light_curve_yields_one_new_row_and_the_old_one_stays(
    store: Store, model: Path, light_curves: LightCurves
) -> None:
    before = classify_store(store, model, SETTINGS).predictions.table
    stored(store.path, changed(light_curves, "1004"))
    renewed = classify_store(store, model, SETTINGS)
    assert renewed.n_new == 1
    after = renewed.predictions.table
    assert after.index[after["P_Ia"] != before["P_Ia"]].tolist() == [4]
    kept = store.predictions(snids=["1004"])
    assert kept["LAST_MJD"].diff().tolist()[1] == pytest.approx(30)
    assert len(store.predictions()) == 24
    assert len(store.predictions(version=1)) == 23


def test_other_settings_and_other_calibration_are_other_predictions_and_other_chunks_are_not(
    store: Store, model: Path, tmp_path: Path
) -> None:
    classify_store(store, model, SETTINGS)
    assert classify_store(store, model, ClassifySettings(chunk_objects=7)).n_new == 0
    assert classify_store(store, model, ClassifySettings(redshift="none")).n_new == 23
    recalibrated = tmp_path / "model"
    recalibrated.mkdir()
    for file in model.iterdir():
        (recalibrated / file.name).write_bytes(file.read_bytes())
    text = (model / "model.json").read_text()
    (recalibrated / "model.json").write_text(text.replace('"temperature": ', '"temperature": 1'))
    assert classify_store(store, recalibrated, SETTINGS).n_new == 23
    found = store.predictions()
    assert found["SETTINGS"].value_counts().to_dict() == {"{}": 46, '{"redshift": "none"}': 23}
    assert found["SETTINGS_HASH"].nunique() == 3
    assert len(store.predictions("small")) == 69
    assert len(store.predictions("smal")) == 0


def test_all_classifies_again_in_place_of_the_present_rows(store: Store, model: Path) -> None:
    classify_store(store, model, SETTINGS, SMALL)
    before = rows(store)
    assert classify_store(store, model, SETTINGS, Renewal(everything=True, objects_per_commit=5)).n_new == 23
    pd.testing.assert_frame_equal(rows(store), before, atol=1e-5)


def test_since_asks_for_later_measurements_and_the_others_have_a_row_with_the_reason(
    store: Store, model: Path, light_curves: LightCurves
) -> None:
    last = light_curves.epochs["MJD"].to_numpy()[light_curves.offsets[1:] - 1]
    since = float(np.median(last))
    renewed = classify_store(store, model, SETTINGS, Renewal(since=since))
    assert renewed.n_new == (last > since).sum() < 23
    table = renewed.predictions.table
    assert table["SNID"].tolist() == store.snids()
    assert ((table["STATUS"] == "rejected") == (last <= since)).all()
    assert table["REASON"].str.contains("--since").sum() == renewed.n_left_out == 23 - renewed.n_new
    assert classify_store(store, model, SETTINGS).n_new == renewed.n_left_out


def test_since_is_an_mjd_or_a_date() -> None:
    assert Renewal.model_validate({"since": "1858-11-18"}).since == 1
    assert as_mjd("2000-01-01T12:00:00+00:00") == 51544.5
    with pytest.raises(ValueError, match=r"expected an MJD or a date such as 2026-11-23, came 'soon'"):
        as_mjd("soon")


def test_bands_that_the_model_does_not_know_are_refused_before_anything_is_written(
    store: Store, model: Path, light_curves: LightCurves
) -> None:
    odd = {"2001": [(56000.0, "Y", 9.0, 1.0)], "1001": [(56000.0, "u", 9.0, 1.0)]}
    stored(store.path, make_light_curves(odd))
    with pytest.raises(ContractError) as refused:
        classify_store(store, model, SETTINGS, SMALL)
    assert {line.split()[1] for line in refused.value.mismatches} == {"'Y'", "'u'"}
    assert not store.prediction_table.exists
    settings = ClassifySettings(band_map={"Y": "z"}, ignore_bands=("u",))
    assert classify_store(store, model, settings, SMALL).n_new == 24
    stored(store.path, changed(light_curves, "1004"))
    assert classify_store(store, model, settings, SMALL).n_new == 1
    with pytest.raises(ValueError, match=r"--band-map names \['X'\], but the data have only"):
        classify_store(store, model, ClassifySettings(band_map={"X": "z"}, ignore_bands=("u", "Y")))


def test_an_empty_store_has_no_predictions_and_says_so_in_the_right_columns(model: Path, tmp_path: Path) -> None:
    predictions = classify_store(Store.create(tmp_path / "empty"), model, SETTINGS).predictions
    assert (len(predictions), predictions.classes) == (0, ("Ia", "nonIa"))
    assert len(Store.open(tmp_path / "empty").predictions()) == 0


def test_every_output_has_all_objects_also_when_few_are_new(
    store: Store, model: Path, light_curves: LightCurves, tmp_path: Path
) -> None:
    classify_catalogue(store.path, model, [tmp_path / "p.parquet"], SETTINGS)
    stored(store.path, changed(light_curves, "1004"))
    outputs = [tmp_path / "p.parquet", tmp_path / "p.csv"]
    summary = classify_catalogue(store.path, model, outputs, SETTINGS)
    assert (summary["n_new"], summary["n_objects"]) == (1, 23)
    for path in outputs:
        assert read_predictions(path).table["SNID"].tolist() == store.snids()


def test_an_output_that_cannot_be_written_is_an_error_before_any_work(
    store: Store, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    for path, message in ((tmp_path / "file" / "p.csv", "cannot write"), (tmp_path / "folder.csv", "is a folder")):
        with pytest.raises(ValueError, match=message):
            classify_catalogue(store.path, model, [path], SETTINGS)
    assert not store.prediction_table.exists


KILL = """
    import os, signal, sys
    from pathlib import Path
    import torch
    from pipeline import predictions as room
    from pipeline.classify.incremental import Renewal, classify_store
    from pipeline.classify.predict import ClassifySettings
    from pipeline.store import Store

    torch.set_num_threads(1)
    folder, model, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    write = room.write_deltalake

    def killed_at(step):
        left = [step]
        def die():
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
        def dying(*args, **kwargs):
            die()
            write(*args, **kwargs)
            die()
        room.write_deltalake = dying
        classify_store(Store.open(folder / str(step)), model, ClassifySettings(), Renewal(objects_per_commit=10))

    for step in range(steps):
        child = os.fork()
        if child == 0:
            killed_at(step)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(step, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)
"""


def python(script: str, *words: object) -> subprocess.Popen[str]:
    told = [sys.executable, "-c", textwrap.dedent(script), *map(str, words)]
    return subprocess.Popen(told, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def test_killed_around_any_commit_and_repeated_the_predictions_are_as_if_never_killed(
    store: Store, model: Path, light_curves: LightCurves, tmp_path: Path
) -> None:
    chunks = Renewal(objects_per_commit=10)
    classify_store(store, model, SETTINGS, chunks)
    for step in range(7):
        stored(tmp_path / "killed" / str(step), light_curves)
    with python(KILL, tmp_path / "killed", model, 7) as process:
        told = process.communicate()[0].split()
    killed = [int(step) for step, end in zip(told[::2], told[1::2], strict=True) if int(end) == signal.SIGKILL]
    assert killed == list(range(6))
    for step in killed:
        again = Store.open(tmp_path / "killed" / str(step))
        committed = 10 * ((step + 1) // 2)
        assert classify_store(again, model, SETTINGS, chunks).n_new == max(23 - committed, 0)
        pd.testing.assert_frame_equal(rows(again), rows(store))


CLASSIFY = """
    import sys, time
    from pathlib import Path
    import torch
    from pipeline.classify.incremental import Renewal, classify_store
    from pipeline.classify.predict import ClassifySettings
    from pipeline.store import Store

    torch.set_num_threads(1)
    store, model = Store.open(Path(sys.argv[1])), Path(sys.argv[2])
    while len(sys.argv) > 3 and not Path(sys.argv[3]).exists():
        time.sleep(0.001)
    print(classify_store(store, model, ClassifySettings(), Renewal(objects_per_commit=4)).n_new)
"""


def test_killed_from_outside_and_repeated_the_predictions_are_as_if_never_killed(
    store: Store, model: Path, light_curves: LightCurves, tmp_path: Path
) -> None:
    whole = stored(tmp_path / "whole", light_curves)
    classify_store(whole, model, SETTINGS, Renewal(objects_per_commit=4))
    with python(CLASSIFY, store.path, model) as process:
        while process.poll() is None and store.prediction_table.version() < 3:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    left = len(store.predictions())
    assert 8 <= left < 23
    assert classify_store(store, model, SETTINGS, Renewal(objects_per_commit=4)).n_new == 23 - left
    pd.testing.assert_frame_equal(rows(store), rows(whole))


def test_two_runs_at_once_on_one_store_both_finish_and_no_row_is_there_twice(
    store: Store, model: Path, tmp_path: Path
) -> None:
    start = tmp_path / "start"
    processes = [python(CLASSIFY, store.path, model, start) for _ in range(2)]
    time.sleep(3)
    start.touch()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0]
    found = store.predictions()
    assert sorted(found["SNID"]) == store.snids()


def test_rows_that_another_run_added_meanwhile_are_not_added_again(store: Store, model: Path) -> None:
    key = prediction_key(model, SETTINGS)
    slow, fast = store.prediction_table, store.prediction_table
    predictions = Classifier.load(model).classify(store.light_curves())
    for table in (slow, fast):
        table.known(key)
    assert fast.add(predictions, key) == 23
    assert slow.add(predictions, key) == 0
    assert fast.add(predictions, key, replace=True) == 23
    assert len(store.predictions()) == 23


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))


def test_a_full_disk_is_a_clear_error_and_the_store_stays_whole(
    model: Path, light_curves: LightCurves, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root alone")
    try:
        store = stored(disk / "store", light_curves)
        classify_store(store, model, ClassifySettings(redshift="none"), SMALL)
        before = store.predictions()
        fill(disk / "filling")
        with pytest.raises(PredictionsError, match=r"could not be written .*No space left on device.* make room"):
            classify_store(store, model, SETTINGS, SMALL)
        with pytest.raises(ValueError, match=r"cannot write .*No space left"):
            classify_catalogue(store.path, model, [disk / "new" / "p.csv"], SETTINGS)
        pd.testing.assert_frame_equal(store.predictions(), before)
        (disk / "filling").unlink()
        assert classify_store(store, model, SETTINGS, SMALL).n_new == 23
        assert len(store.predictions()) == 46
    finally:
        subprocess.run(["umount", str(disk)], check=True)
