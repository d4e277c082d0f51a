"""Facts about the table of protocols: every number as it was published or set."""

from __future__ import annotations

import pytest

from pipeline.protocols.definitions import PROTOCOLS, choose_protocols
from pipeline.settings import SettingsError

# row: (classes, objects drawn, spectra, redshift, early, record, goal); records and goals: accuracy, AUC, FoM
WRITTEN = {
    "P1": ("ia", 10660, False, True, False, (0.966, 0.995, 0.757), (0.98, 0.998, 0.85)),
    "P2": ("ia", 10660, False, False, False, (0.953, 0.992, 0.674), (0.97, 0.996, 0.78)),
    "P3-z": ("ia", 5330, False, True, False, (0.929, 0.975, 0.57), (0.97, 0.995, 0.77)),
    "P3-noz": ("ia", 5330, False, False, False, (0.923, 0.973, 0.55), (0.955, 0.992, 0.68)),
    "P4": ("ia", 1103, False, True, False, (0.932, 0.984, 0.571), (0.955, 0.990, 0.70)),
    "P5": ("ia", 1103, False, False, False, (0.919, 0.976, 0.514), (0.94, 0.985, 0.62)),
    "P6": ("ia", 0, True, True, False, (None, 0.96, 0.25), (None, 0.97, 0.55)),
    "P7-50": ("ia", 50, True, True, False, (None, 0.927, 0.349), (None, 0.975, 0.50)),
    "P7-100": ("ia", 100, True, True, False, (None, 0.955, 0.436), (None, 0.980, 0.55)),
    "P7-200": ("ia", 200, True, True, False, (None, 0.962, 0.484), (None, 0.983, 0.60)),
    "P8-z": ("types", 10660, False, True, False, (0.904, 0.974, None), (0.95, 0.992, None)),
    "P8-noz": ("types", 10660, False, False, False, (0.885, 0.959, None), (0.93, 0.985, None)),
    "P9-z": ("types", 1103, False, True, False, (0.781, 0.868, None), (0.89, 0.965, None)),
    "P9-noz": ("types", 1103, False, False, False, (0.780, 0.865, None), (0.86, 0.95, None)),
    "P10-z": ("ia", 10660, False, True, True, (0.931, 0.977, 0.58), (0.96, 0.992, 0.74)),
    "P10-noz": ("ia", 10660, False, False, True, (0.920, 0.970, 0.53), (0.945, 0.987, 0.65)),
    "P11-z": ("ia", 1103, False, True, True, (0.852, 0.902, 0.29), (0.91, 0.960, 0.48)),
    "P11-noz": ("ia", 1103, False, False, True, (0.816, 0.860, 0.21), (0.885, 0.94, 0.39)),
    "P12-z": ("types", 10660, False, True, True, (0.879, 0.960, None), (0.925, 0.983, None)),
    "P12-noz": ("types", 10660, False, False, True, (0.868, 0.948, None), (0.91, 0.975, None)),
    "P13": ("subtypes", 10660, False, True, False, (None, None, None), (None, None, None)),
}
METRICS = ("accuracy", "auc", "figure_of_merit")


@pytest.mark.parametrize("row", WRITTEN)
def test_a_row_asks_what_was_published(row):
    found, (classes, n_train, spectra, redshift, early, record, goal) = PROTOCOLS[row], WRITTEN[row]
    assert (found.classes, found.n_train, found.spectra) == (classes, n_train, spectra)
    assert (found.uses_redshift, found.is_early) == (redshift, early)
    assert {name: one.value for name, one in found.records.items()} == _known(record)
    assert dict(found.goal) == _known(goal)


def _known(values):
    return {name: value for name, value in zip(METRICS, values, strict=True) if value is not None}


def test_the_other_rows_are_answered_by_the_networks_of_the_first():
    others = {row: one for row, one in PROTOCOLS.items() if row not in WRITTEN}
    assert list(others) == ["P14", "R1"]
    assert {one.trained_as for one in others.values()} == {"P1"}
    assert others["P14"].goal == {"ece": 0.005}
    assert others["R1"].goal == {"share_with_redshift": 0.95, "share_without_redshift": 0.95}
    assert not others["P14"].records
    assert not others["R1"].records


def test_every_metric_with_a_record_or_a_goal_is_shown_and_every_record_names_its_source():
    for row in PROTOCOLS.values():
        assert {*row.records, *row.goal} <= set(row.metrics)
        assert all(record.who and record.arxiv for record in row.records.values())


def test_the_record_of_the_spectra_says_that_it_saw_test_light_curves():
    assert "unlabelled test light curves" in PROTOCOLS["P6"].records["auc"].note


def test_a_protocol_stands_for_its_rows_and_all_for_every_row():
    assert [row.id for row in choose_protocols(["P7", "P3-noz"])] == ["P3-noz", "P7-50", "P7-100", "P7-200"]
    assert [row.id for row in choose_protocols(["all"])] == list(PROTOCOLS)
    assert "R1" not in [row.id for row in choose_protocols(["all"], with_real=False)]


def test_an_unknown_protocol_and_one_without_its_data_are_explained():
    with pytest.raises(SettingsError, match="came 'P99'; there are all, P1, "):
        choose_protocols(["P1", "P99"])
    with pytest.raises(SettingsError, match="say where they are: --real"):
        choose_protocols(["R1"], with_real=False)
