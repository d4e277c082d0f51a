"""Files that have the same SNID: quarantined, the newest alone, or merged."""

from __future__ import annotations

import tempfile
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.sources import open_sources
from pipeline.schema import light_curve_hashes
from pipeline.store import IngestSettings, IngestSummary, Store, ingest
from tests.pipeline.ingest.snana_files import ROWS, Row, Written, write_survey

POLICIES = ("newest", "merge")


def take(paths: list[Path], store: Path, policy: str, **others: object) -> IngestSummary:
    values = {"max_bad_fraction": 1, "workers": 1, "duplicates": policy, **others}
    return ingest(paths, Store.create(store), IngestSettings.model_validate(values))


def write(folder: Path, name: str, rows: tuple[Row, ...], snid: str = "7", **header: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(Written(snid, rows, {"FILTERS": "griz", "SNTYPE": "1", **header}).text())
    return path


def measurements(store: Path, snid: str = "7") -> list[tuple[float, str, float]]:
    epochs = Store.open(store).light_curves([snid]).epochs
    return list(epochs[["MJD", "BAND", "FLUXCAL"]].itertuples(index=False, name=None))


def tables(store: Path) -> list[object]:
    """All that a store holds, parts included, in a fixed order."""
    opened = Store.open(store)
    parts = sorted(opened.stored_parts())
    curves = opened.light_curves().to_arrow().to_pylist()
    return [curves, opened.truth().table.to_csv(), opened.quarantine().to_csv(), parts]


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """A first night, and a second with one measurement again, one changed and one more."""
    second = (ROWS[1], (56007.0, "g", 31.0, 3.0), (56010.0, "r", 5.0, 1.0))
    one = write(tmp_path / "nights", "a.dat", ROWS, MWEBV="0.01")
    return [one, write(tmp_path / "nights", "b.dat", second, MWEBV="0.02", SNTYPE="21")]


def test_newest_takes_the_file_that_goes_on_longest_and_lists_the_other(pair: list[Path], tmp_path: Path):
    summary = take(pair, tmp_path / "store", "newest")
    assert (summary.n_files, summary.n_ingested, summary.n_quarantined, summary.n_conflicts) == (2, 2, 0, 1)
    store = Store.open(tmp_path / "store")
    assert [mjd for mjd, _, _ in measurements(tmp_path / "store")] == [56000.5, 56007.0, 56010.0]
    assert store.light_curves().objects["MWEBV"].tolist() == [0.02]
    assert store.truth().table["SUBCLASS"].tolist() == ["IIn"]
    (entry,) = store.quarantine().to_dict("records")
    assert (entry["FILE"], entry["SCOPE"], entry["SNID"], entry["SOURCE"]) == ("a.dat", "conflict", "7", "")
    assert entry["REASON"] == "older photometry: 3 measurements to MJD 56007; b.dat, to MJD 56010, is kept"


@pytest.mark.parametrize(
    ("rows", "winner"),
    [(ROWS[1:], "a.dat"), ((*ROWS[:2], (56001.0, "z", 1.0, 1.0), ROWS[2]), "b.dat"), (ROWS, "b.dat")],
)
def test_a_tie_goes_to_more_measurements_and_then_to_the_later_name(rows: tuple[Row, ...], winner: str, tmp_path: Path):
    paths = [write(tmp_path, "b.dat", rows), write(tmp_path, "a.dat", ROWS)]
    take(paths, tmp_path / "store", "newest")
    assert Store.open(tmp_path / "store").light_curves().objects["SOURCE"].tolist() == [winner]


def test_merge_unites_measurements_and_lists_both_sides_of_a_contradiction(pair: list[Path], tmp_path: Path):
    summary = take(pair, tmp_path / "store", "merge")
    assert (summary.n_files, summary.n_ingested, summary.n_quarantined, summary.n_conflicts) == (2, 2, 0, 2)
    assert measurements(tmp_path / "store") == [
        (56000.0, "g", 10.0),
        (56000.5, "r", 20.0),
        (56007.0, "g", 31.0),
        (56010.0, "r", 5.0),
    ]
    store = Store.open(tmp_path / "store")
    assert store.light_curves().objects["MWEBV"].tolist() == [0.02]
    table = store.quarantine()
    assert table["FILE"].tolist() == ["a.dat", "b.dat"]
    what = "g at MJD 56007.0 is"
    assert table["REASON"].tolist() == [
        f"conflicting measurement: {what} 30 ± 3, and 31 ± 3 in b.dat, which is kept",
        f"conflicting measurement: {what} 31 ± 3, and 30 ± 3 in a.dat, which is not kept",
    ]


def test_a_merged_object_has_the_hash_of_its_measurements(pair: list[Path], tmp_path: Path):
    take(pair, tmp_path / "store", "merge")
    table = Store.open(tmp_path / "store").light_curves().to_arrow()
    assert light_curve_hashes(table) == table["PHOTOMETRY_HASH"].to_pylist()


@pytest.mark.parametrize("policy", POLICIES)
def test_again_changes_nothing(policy: str, pair: list[Path], tmp_path: Path):
    take(pair, tmp_path / "store", policy)
    before, versions = tables(tmp_path / "store"), Store.open(tmp_path / "store").versions()
    for paths in (pair, pair[::-1], pair[:1], pair[1:]):
        again = take(paths, tmp_path / "store", policy)
        assert (again.n_ingested, again.n_unchanged, again.n_quarantined) == (0, len(paths), 0)
    assert tables(tmp_path / "store") == before
    assert Store.open(tmp_path / "store").versions() == versions


def test_another_policy_composes_the_object_anew_and_quarantine_leaves_it(pair: list[Path], tmp_path: Path):
    take(pair, tmp_path / "merged", "merge")
    take(pair, tmp_path / "store", "quarantine")
    assert Store.open(tmp_path / "store").quarantine()["SCOPE"].tolist() == ["file"]
    for policy in ("newest", "merge"):
        assert take(pair, tmp_path / "store", policy).n_ingested >= 1
    assert tables(tmp_path / "store") == tables(tmp_path / "merged")
    assert take(pair, tmp_path / "store", "quarantine").n_unchanged == 2
    assert tables(tmp_path / "store") == tables(tmp_path / "merged")


def test_a_shared_object_takes_new_versions_of_its_files_and_refuses_strangers_when_duplicates_are_quarantined(
    pair: list[Path], tmp_path: Path
):
    take(pair, tmp_path / "store", "merge")
    write(pair[0].parent, "a.dat", (*ROWS[:2], (56007.0, "g", 31.0, 3.0)))
    stranger = write(tmp_path, "c.dat", ROWS)
    summary = take([*pair, stranger], tmp_path / "store", "quarantine")
    assert (summary.n_ingested, summary.n_unchanged, summary.n_quarantined) == (1, 1, 1)
    assert Store.open(tmp_path / "store").quarantine()["REASON"].tolist() == [
        "duplicate SNID: 7 is already that of b.dat"
    ]
    assert len(measurements(tmp_path / "store")) == 4


@pytest.mark.parametrize("policy", POLICIES)
def test_a_changed_file_takes_the_place_of_its_earlier_version(policy: str, pair: list[Path], tmp_path: Path):
    take(pair, tmp_path / "store", policy)
    write(pair[1].parent, "b.dat", ((56007.0, "g", 30.0, 3.0), (56020.0, "r", 6.0, 1.0)))
    assert take([pair[1].parent], tmp_path / "store", policy).n_ingested == 1
    take(pair, tmp_path / "fresh", policy)
    assert tables(tmp_path / "store") == tables(tmp_path / "fresh")


def test_files_of_one_name_in_one_ingest_are_different_files(tmp_path: Path):
    for night, mjd in (("1", 56000.0), ("2", 56030.0)):
        write(tmp_path / "nights" / night, "sn.dat", ((mjd, "g", 10.0, 1.0),))
    for _ in range(2):
        take([tmp_path / "nights"], tmp_path / "store", "merge")
        assert len(measurements(tmp_path / "store")) == 2


Rows = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("gr"), st.integers(1, 3)),
    min_size=1,
    max_size=5,
    unique_by=lambda row: row[:2],
)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(files=st.lists(st.tuples(st.sampled_from("78"), Rows), min_size=2, max_size=3), policy=st.sampled_from(POLICIES))
def test_the_order_of_files_and_of_ingests_does_not_matter(
    files: list[tuple[str, list[tuple[int, str, int]]]], policy: str
):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = []
        for number, (snid, rows) in enumerate(files):
            timed = tuple((56000.0 + mjd, band, float(flux), 1.0) for mjd, band, flux in rows)
            paths.append(write(folder / "files", f"{number}.dat", timed, snid, MWEBV=f"0.0{number}"))
        take(paths, folder / "together", policy)
        expected = tables(folder / "together")
        for order, chosen in enumerate(permutations(paths)):
            one_by_one = order % 2 == 0
            for group in [[path] for path in chosen] if one_by_one else [list(chosen)]:
                take(group, folder / str(order), policy, objects_per_commit=1 + order % 3)
            assert tables(folder / str(order)) == expected, chosen


def test_the_number_of_workers_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from pipeline.ingest import duplicates, reading

    monkeypatch.setattr(reading, "CHUNK_FILES", 2)
    monkeypatch.setattr(duplicates, "OBJECTS_AT_ONCE", 2)
    folder = write_survey(tmp_path / "survey", 10)
    for number in range(6):
        write(folder, f"x{number}.dat", ((56000.0, "g", float(number), 1.0),), str(100 + number // 2))
    for workers in (1, 2):
        take([folder], tmp_path / str(workers), "merge", workers=workers)
    assert tables(tmp_path / "1") == tables(tmp_path / "2")


def test_a_source_that_is_open_already_may_be_given(pair: list[Path], tmp_path: Path):
    opened = open_sources([pair[0].parent])
    assert ingest(opened, Store.create(tmp_path / "store"), IngestSettings(duplicates="merge")).n_ingested == 2
