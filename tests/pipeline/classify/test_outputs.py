from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.classify.outputs import WRITERS, read_predictions, write_predictions, write_several, write_table
from pipeline.classify.predict import Classifier, ClassifySettings
from pipeline.schema import Predictions
from tests.builders import make_light_curves
from tests.small_model import small_classifier

CURVE = [(100.0 + day, band, 10.0 * day - 7, 2.0) for day in range(6) for band in "griz"]


def odd_predictions(members: int = 1) -> Predictions:
    """Names that look like numbers, or like nothing; objects with and without probabilities."""
    checkpoint = small_classifier().checkpoint
    ensemble = replace(checkpoint, weights=checkpoint.weights * members)
    settings = ClassifySettings(threshold=0.4, members=members > 1)
    light_curves = make_light_curves({"007": CURVE, "1e5": CURVE[:1], "NA": [], 'a, "b"': CURVE[:12], "SN é": CURVE})
    return Classifier(ensemble, settings).classify(light_curves)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("suffix", list(WRITERS))
def test_predictions_come_back_from_every_format_as_they_were(suffix: str, members: int, tmp_path: Path) -> None:
    before = odd_predictions(members)
    path = tmp_path / f"predictions{suffix}"
    write_predictions(before, path)
    after = read_predictions(path)
    assert after.classes == before.classes == ("Ia", "nonIa")
    pd.testing.assert_frame_equal(after.table, before.table, check_exact=True)
    assert set(before.table["STATUS"]) == {"classified", "rejected"}
    assert "" in set(after.table["REASON"])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_no_predictions_come_back_as_none(suffix: str, tmp_path: Path) -> None:
    nothing = replace(odd_predictions(), table=odd_predictions().table.iloc[:0])
    write_predictions(nothing, tmp_path / f"none{suffix}")
    assert len(read_predictions(tmp_path / f"none{suffix}")) == 0


def test_of_several_files_all_appear_or_none(tmp_path: Path) -> None:
    table = odd_predictions().table
    files = [tmp_path / f"p{suffix}" for suffix in WRITERS]
    write_several(dict.fromkeys(files, table))
    assert sorted(tmp_path.iterdir()) == sorted(files)
    files[0].write_text("what was there before")
    blocked = tmp_path / "file" / "p.csv"
    blocked.parent.write_text("not a folder")
    with pytest.raises(OSError, match="file"):
        write_several({files[0]: table, blocked: table})
    assert files[0].read_text() == "what was there before"
    assert not list(tmp_path.glob(".*"))


def test_a_table_of_nights_is_written_in_every_format(tmp_path: Path) -> None:
    table = pd.DataFrame({"SNID": ["1"], "MJD": [1.0], "N_EPOCHS": [3], "STATUS": ["abstained"], "P_Ia": [np.nan]})
    for suffix in WRITERS:
        write_table(table, tmp_path / f"nights{suffix}")
        assert (tmp_path / f"nights{suffix}").stat().st_size > 0


def test_a_file_that_is_no_table_of_predictions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("SNID,CLASS\n1,Ia\n")
    with pytest.raises(ValueError, match="is not a table of predictions: it has no column REASON, STATUS"):
        read_predictions(tmp_path / "p.csv")
