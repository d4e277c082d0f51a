"""Facts about what a site publishes while some of it is held."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.classify.outputs import read_predictions
from pipeline.classify.publication import hold, publish, read_held, release
from pipeline.schema import Predictions
from tests.builders import make_survey
from tests.small_model import small_classifier

NAMES = ("predictions.parquet", "predictions.csv")


@pytest.fixture(scope="module")
def predictions() -> Predictions:
    return small_classifier().classify(make_survey(8)[0])


def again(predictions: Predictions, **columns: object) -> Predictions:
    """The same objects, observed once more."""
    table = predictions.table.assign(PHOTOMETRY_HASH=[f"{row:016x}" for row in range(len(predictions))], **columns)
    return replace(predictions, table=table)


def hashes(predictions: Predictions, rows: slice) -> dict[str, str]:
    table = predictions.table.iloc[rows]
    return dict(zip(table["SNID"], table["PHOTOMETRY_HASH"], strict=True))


def test_what_was_never_published_has_a_row_without_a_class_that_says_why(predictions: Predictions, tmp_path: Path):
    hold(tmp_path, hashes(predictions, slice(2, 4)), "night-1", "look at the zeropoint")
    counts = publish(predictions, tmp_path, NAMES)
    assert counts == {"n_published": 8, "n_held": 2, "n_held_with_older_row": 0}
    table = read_predictions(tmp_path / NAMES[0]).table
    assert table["SNID"].tolist() == predictions.table["SNID"].tolist()
    held = table.iloc[2:4]
    assert held["STATUS"].eq("rejected").all()
    assert held["REASON"].eq("held: of night-1, look at the zeropoint").all()
    assert held[["P_Ia", "P_nonIa"]].isna().all(axis=None)
    assert table.drop(index=[2, 3])["P_Ia"].equals(predictions.table.drop(index=[2, 3])["P_Ia"])


def test_a_held_object_keeps_its_older_row_in_every_file(predictions: Predictions, tmp_path: Path):
    publish(predictions, tmp_path, NAMES)
    newer = again(predictions, P_Ia=0.25, P_nonIa=0.75)
    hold(tmp_path, hashes(newer, slice(0, 3)), "night-2", "cadence")
    assert publish(newer, tmp_path, NAMES)["n_held_with_older_row"] == 3
    for name in NAMES:
        table = read_predictions(tmp_path / name).table
        assert table.loc[:2, "P_Ia"].tolist() == pytest.approx(predictions.table.loc[:2, "P_Ia"].tolist())
        assert table.loc[:2, "PHOTOMETRY_HASH"].tolist() == predictions.table.loc[:2, "PHOTOMETRY_HASH"].tolist()
        assert (table.loc[3:, "P_Ia"] == 0.25).all()


def test_new_photometry_and_a_release_end_a_hold(predictions: Predictions, tmp_path: Path):
    hold(tmp_path, hashes(predictions, slice(0, 2)), "night-1", "depth")
    hold(tmp_path, hashes(predictions, slice(4, 5)), "night-2", "depth")
    assert publish(again(predictions), tmp_path, NAMES)["n_held"] == 0
    assert release(tmp_path, "night-1") == 2
    assert list(read_held(tmp_path)) == [predictions.table["SNID"].iloc[4]]
    assert publish(predictions, tmp_path, NAMES)["n_held"] == 1


def test_a_damaged_list_is_told_and_holds_up_publication(predictions: Predictions, tmp_path: Path):
    (tmp_path / "held.json").write_text("{")
    with pytest.raises(ValueError, match=r"held.json is damaged.*delete it to hold nothing"):
        publish(predictions, tmp_path, NAMES)
    assert not (tmp_path / NAMES[0]).exists()
