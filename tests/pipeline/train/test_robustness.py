"""The measurement of what changes of the training are worth, on the toy survey."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.prepare.resample import group_epochs
from pipeline.prepare.window import brightest_day
from pipeline.protocols.data import ProtocolData
from tests.benchmarks.robustness import EMPTY_FROM, Study, Subject, as_long_survey, read_runs, table_of
from tests.builders import BANDS, make_survey

TINY = ("split.train=40", "fit.epochs=1", "model.hidden_sizes=[4]", "model.embedding_size=4")


def test_a_longer_survey_has_fewer_nights_of_the_supernova_and_many_of_nothing() -> None:
    light_curves, _ = make_survey(20)
    spoilt = as_long_survey(Subject(light_curves, np.zeros(20, dtype=np.int64)), BANDS, np.random.default_rng(0))
    whole, long = (group_epochs(one, BANDS, 0.5) for one in (light_curves, spoilt.light_curves))
    assert list(spoilt.light_curves.objects["SNID"]) == list(light_curves.objects["SNID"])
    since = long.days - np.repeat(brightest_day(long), long.lengths)
    is_empty = since > EMPTY_FROM - 30
    assert 0.3 < (~is_empty).sum() / whole.lengths.sum() < 0.9
    assert is_empty.sum() > 20 * 20
    pull = (long.flux / np.where(long.observed, long.flux_err, 1))[is_empty & long.observed.any(axis=1)]
    assert np.abs(pull).max() < 6


def test_a_candidate_is_measured_on_every_part_with_a_redshift_and_without() -> None:
    data = ProtocolData(*make_survey(60))
    study = Study(data, make_survey(5, seed=2)[0], TINY)
    run = study.run("both", seed=1)
    assert run["settings"] == ["resampler.window_days=[80,170]", "normaliser.error_floor=0.05"]
    for part in ("validation", "test", "long"):
        assert set(run[part]) == {"z", "no z"}
        assert 0 <= run[part]["no z"]["accuracy"] <= 1
    assert set(run["real"]["z"]) == {"called_ia", "mean_p_ia"}
    assert table_of([run, run]).row_count == 1


def test_results_of_other_data_are_not_added_to(tmp_path: Path) -> None:
    path = tmp_path / "sky.json"
    assert read_runs(path, {"data_hash": "a"}) == []
    path.write_text(json.dumps({"data_hash": "a", "runs": [{"candidate": "both"}]}))
    assert read_runs(path, {"data_hash": "a"}) == [{"candidate": "both"}]
    with pytest.raises(ValueError, match="another data_hash; give another --out"):
        read_runs(path, {"data_hash": "b"})
