"""What a classification must not depend on, and what it must bear: the list in pipeline/classify/README.md."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.classify import predict
from pipeline.classify.catalogue import classify_catalogue
from pipeline.classify.contract import ContractError, at_zeropoint, check_contract, rename_bands
from pipeline.classify.inputs import to_light_curves
from pipeline.classify.outputs import read_predictions
from pipeline.classify.predict import Classifier, ClassifySettings
from pipeline.evaluate.evaluation import evaluate
from pipeline.ingest import reading
from pipeline.ingest.settings import IngestSettings
from pipeline.prepare.batches import PhotometryBatch
from pipeline.schema import LightCurves, Truth
from pipeline.store import Store, ingest
from tests.builders import make_light_curves, make_survey
from tests.small_model import small_classifier


def test_the_list_names_tests_that_exist() -> None:
    room = Path(predict.__file__).parent
    named = set(re.findall(r"`(test_\w+)`", (room / "README.md").read_text(encoding="utf-8")))
    written = [path.read_text(encoding="utf-8") for path in Path(__file__).parents[2].rglob("test_*.py")]
    assert len(named) > 15
    assert named - set(re.findall(r"def (test_\w+)", "".join(written))) == set()


@pytest.fixture(scope="module")
def light_curves() -> LightCurves:
    return make_survey(40, seed=5)[0]


def table_of(light_curves: LightCurves) -> pd.DataFrame:
    """Write light curves as a table with a row per measurement."""
    header = light_curves.objects[["SNID", "PHOTOZ", "PHOTOZ_ERR", "MWEBV"]].iloc[light_curves.object_index]
    epochs = light_curves.epochs.astype({"BAND": "str"}).drop(columns="PHOTFLAG")
    return pd.concat([header.reset_index(drop=True), epochs], axis=1)


def p_ia(light_curves: LightCurves, settings: ClassifySettings | None = None) -> pd.Series:
    classifier = Classifier(small_classifier().checkpoint, settings)
    return classifier.classify(light_curves).table.set_index("SNID")["P_Ia"]


def assert_same(found: pd.Series, expected: pd.Series) -> None:
    np.testing.assert_allclose(found.loc[expected.index], expected, atol=1e-5)


def test_shuffled_rows_change_no_probability(light_curves: LightCurves) -> None:
    shuffled = to_light_curves(table_of(light_curves).sample(frac=1, random_state=3))
    assert_same(p_ia(shuffled), p_ia(light_curves))


def test_the_order_of_bands_changes_no_probability(light_curves: LightCurves) -> None:
    bands = light_curves.epochs["BAND"].cat.set_categories(["z", "g", "i", "r"])
    assert_same(p_ia(replace(light_curves, epochs=light_curves.epochs.assign(BAND=bands))), p_ia(light_curves))


def test_renamed_bands_are_refused_without_a_map_and_the_same_with_it(light_curves: LightCurves) -> None:
    theirs = rename_bands(light_curves, {band: f"DES-{band}" for band in "griz"})
    with pytest.raises(ContractError) as refusal:
        p_ia(theirs)
    assert len(refusal.value.mismatches) == 5  # four bands, and that none is known
    assert_same(p_ia(rename_bands(theirs, {f"DES-{band}": band for band in "griz"})), p_ia(light_curves))


def test_batches_of_one_and_of_a_thousand_agree(light_curves: LightCurves) -> None:
    one_by_one = p_ia(light_curves, ClassifySettings(chunk_objects=1))
    assert_same(one_by_one, p_ia(light_curves, ClassifySettings(chunk_objects=1000)))


def test_garbage_in_the_padding_changes_no_probability(
    light_curves: LightCurves, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.train import inference

    expected = p_ia(light_curves)
    rows = [np.arange(20), np.arange(20, 40)]  # of unequal length: padded
    monkeypatch.setattr(inference, "equal_length_batches", lambda lengths, size: iter(rows))
    assert_same(p_ia(light_curves), expected)

    def spoilt(batch: PhotometryBatch, resampler: object) -> list[PhotometryBatch]:
        keep = batch.mask[..., None]
        garbage = replace(batch, flux=batch.flux.where(keep, 1e4), flux_err=batch.flux_err.where(keep, 7.0))
        return [replace(garbage, days=batch.days.where(batch.mask, 1e3))]

    monkeypatch.setattr(inference, "completions", spoilt)
    assert_same(p_ia(light_curves), expected)


def test_data_without_a_class_are_classified_all_the_same(light_curves: LightCurves) -> None:
    truth = make_survey(40, seed=5)[1].table
    only = light_curves.take(np.flatnonzero(truth["CLASS"] != "Ia"))
    assert_same(p_ia(only), p_ia(light_curves).loc[only.objects["SNID"]])


@pytest.mark.parametrize("start", [0.0, 40_000.0, 70_000.0])
def test_no_place_in_the_sky_and_no_date_changes_a_probability(light_curves: LightCurves, start: float) -> None:
    n = len(light_curves)
    objects = light_curves.objects.assign(RA=np.linspace(0, 360, n), DEC=np.linspace(-90, 90, n))
    epochs = light_curves.epochs.assign(MJD=light_curves.epochs["MJD"] - 56000 + start)
    moved = replace(light_curves, objects=objects, epochs=epochs)
    np.testing.assert_allclose(p_ia(moved), p_ia(light_curves), atol=1e-5)


def test_ten_thousand_measurements_of_one_object_are_classified() -> None:
    days = np.sort(np.random.default_rng(0).uniform(0, 3000, 10_000))
    flux = 80 * np.exp(-(((days - 1500) / 20) ** 2))
    curve = [(56000 + day, "griz"[place % 4], value, 4.0) for place, (day, value) in enumerate(zip(days, flux))]  # noqa: B905
    table = small_classifier().classify(make_light_curves({"long": curve, "none": []})).table
    assert table["N_EPOCHS"][0] > 5_000
    assert np.isfinite(table["P_Ia"][0])
    assert table["STATUS"][1] == "rejected"


def test_the_contract_lists_every_difference_with_what_to_do(light_curves: LightCurves) -> None:
    checkpoint = small_classifier().checkpoint
    assert check_contract(light_curves, checkpoint) == []
    scaled = at_zeropoint(light_curves, 22.0)
    objects = light_curves.objects.assign(SURVEY="ELSEWHERE", PHOTOZ=9.0)
    notes = check_contract(replace(scaled, objects=objects), checkpoint)
    assert [any(word in note for note in notes) for word in ("drift", "--redshift none", "--zeropoint")] == [True] * 3
    assert any("33.0" in note for note in notes)  # 27.5 + (27.5 − 22)
    short = make_light_curves({str(n): [(1.0 * day, "g", 9.0, 4.0) for day in range(4)] for n in range(9)})
    assert any("number of measurements" in note for note in check_contract(short, checkpoint))
    assert any("given specz" in note for note in check_contract(light_curves, checkpoint, "specz"))


def test_a_model_at_another_zeropoint_is_refused(light_curves: LightCurves) -> None:
    checkpoint = small_classifier().checkpoint
    other = replace(checkpoint, accepts=checkpoint.accepts.model_copy(update={"zeropoint": 31.4}))
    with pytest.raises(ContractError, match="zeropoint 31"):
        check_contract(light_curves, other)


def test_a_catalogue_is_written_to_several_files_with_its_nights(light_curves: LightCurves, tmp_path: Path) -> None:
    small_classifier().checkpoint.save(tmp_path / "model")
    table_of(light_curves.take(np.arange(4))).to_csv(tmp_path / "night.csv", index=False)
    outputs = [tmp_path / "out" / name for name in ("p.parquet", "p.fits", "p.csv")]
    settings = ClassifySettings(threshold="figure_of_merit", zeropoint=27.5)
    nights = tmp_path / "out" / "nights.csv"
    summary = classify_catalogue(tmp_path / "night.csv", tmp_path / "model", outputs, settings, nights=nights)
    assert summary["n_objects"] == 4
    tables = [read_predictions(path).table for path in outputs]
    for other in tables[1:]:
        pd.testing.assert_frame_equal(other, tables[0])
    assert_same(tables[0].set_index("SNID")["P_Ia"], p_ia(light_curves.take(np.arange(4))))
    last = pd.read_csv(nights, dtype={"SNID": "str"}).groupby("SNID").last()
    assert_same(last["P_Ia"], tables[0].set_index("SNID")["P_Ia"])


def test_an_object_is_drawn_with_its_fluxes_and_probabilities(light_curves: LightCurves) -> None:
    classifier = Classifier(small_classifier().checkpoint)
    with pytest.raises(ValueError, match="nothing to plot"):
        classifier.plot("1003")
    classifier.classify(light_curves)
    drawn = classifier.plot("1003").to_dict()
    assert "1003" in str(drawn)
    rows = [len(values) for values in drawn["datasets"].values()]
    n_epochs = int(np.diff(light_curves.offsets)[3])
    assert n_epochs in rows
    with pytest.raises(ValueError, match="no object with SNID nobody"):
        classifier.plot("nobody")


def write_nights(light_curves: LightCurves, folder: Path, names: list[str]) -> Path:
    """Write each object to a file, under one of these names."""
    folder.mkdir()
    tables = table_of(light_curves).groupby("SNID")
    for name, (_, table) in zip(names, tables, strict=True):
        table.to_csv(folder / name, index=False)
    return folder


def test_shuffled_files_and_two_workers_change_no_probability(
    light_curves: LightCurves, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = light_curves.take(np.arange(8))
    names = [f"night{number}.csv" for number in range(8)]
    in_order, shuffled = Store.create(tmp_path / "one"), Store.create(tmp_path / "two")
    ingest([write_nights(few, tmp_path / "in order", names)], in_order, IngestSettings(workers=1))
    monkeypatch.setattr(reading, "CHUNK_FILES", 1)
    ingest([write_nights(few, tmp_path / "shuffled", names[::-1])], shuffled, IngestSettings(workers=2))
    assert_same(p_ia(in_order.light_curves()), p_ia(few))
    assert_same(p_ia(shuffled.light_curves()), p_ia(few))


def test_an_unknown_class_in_the_truth_changes_no_probability_and_counts_in_no_metric(
    light_curves: LightCurves,
) -> None:
    truth = make_survey(40, seed=5)[1].table
    is_known = np.arange(40) >= 6
    names = {name: truth[name].where(is_known, "Kilonova") for name in ("CLASS", "SUBCLASS")}
    predictions = small_classifier().classify(light_curves)
    found = evaluate(predictions, Truth(truth.assign(**names)), name="with strangers", n_resamples=10)
    without = evaluate(predictions, Truth(truth[is_known]), name="without", n_resamples=10)
    assert (found.counts.n_objects, found.counts.n_without_truth, found.counts.n_evaluated) == (40, 6, 34)
    assert found.metrics["auc"].value == without.metrics["auc"].value


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """A folder in which nothing can be written; for root, whom no permission stops, a file system of its own."""
    folder.mkdir()
    is_root = os.geteuid() == 0
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(folder)]
    if is_root and subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("root cannot mount a read-only file system here")
    if not is_root:
        folder.chmod(0o555)
    try:
        yield folder
    finally:
        if is_root:
            subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_output_is_a_clear_error_before_any_work(light_curves: LightCurves, tmp_path: Path) -> None:
    small_classifier().checkpoint.save(tmp_path / "model")
    table_of(light_curves.take(np.arange(2))).to_csv(tmp_path / "night.csv", index=False)
    with read_only(tmp_path / "archive") as folder:
        for path in (folder / "p.csv", folder / "new" / "p.csv"):
            with pytest.raises(ValueError, match=r"cannot write .*(Read-only|Permission).*choose another folder"):
                classify_catalogue(tmp_path / "night.csv", tmp_path / "model", [path], ClassifySettings())
        assert list(folder.iterdir()) == []
