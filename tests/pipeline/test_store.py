from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from deltalake import DeltaTable

from pipeline.ingest.duplicates import DuplicatePolicy
from pipeline.store import IngestSettings, IngestSummary, Store, StoreError, ingest
from tests.pipeline.ingest.snana_files import ROWS, Written, write_survey

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    return write_survey(tmp_path / "survey", 6)


@pytest.fixture
def store(survey: Path, tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "store")
    ingest([survey], store)
    return store


def same_tables(one: Store, two: Store) -> bool:
    return (
        one.light_curves().to_arrow().equals(two.light_curves().to_arrow())
        and one.truth().table.equals(two.truth().table)
        and one.quarantine().equals(two.quarantine())
        and sorted(one.stored_parts()) == sorted(two.stored_parts())
    )


def test_a_path_that_is_no_store_is_refused(tmp_path: Path):
    with pytest.raises(StoreError, match=r"no store.json"):
        Store.open(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="exists and is not a snflow store"):
        Store.create(tmp_path)
    with pytest.raises(StoreError, match="exists and is not a snflow store"):
        Store.create(tmp_path / "notes.txt")
    with pytest.raises(StoreError, match="is not a snflow store"):
        Store.open(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("{", "store.json is not JSON"),
        ('["snflow store"]', "does not say 'snflow store'"),
        ('{"format": "something else", "version": 1}', "does not say 'snflow store'"),
        ('{"format": "snflow store", "version": 2}', "is a store of version 2; this snflow reads version 1"),
    ],
)
def test_a_store_with_a_strange_or_newer_label_is_refused(label: str, message: str, store: Store):
    (store.path / "store.json").write_text(label)
    with pytest.raises(StoreError, match=message):
        Store.open(store.path)
    with pytest.raises(StoreError, match=message):
        Store.create(store.path)


def test_creating_a_store_that_exists_opens_it(store: Store):
    assert Store.create(store.path).snids() == store.snids()
    assert json.loads((store.path / "store.json").read_text()) == {"format": "snflow store", "version": 1}


def test_an_unfinished_creation_can_be_repeated(tmp_path: Path):
    Store.create(tmp_path / "store")
    (tmp_path / "store" / "store.json").unlink()
    assert len(Store.create(tmp_path / "store").light_curves()) == 0


def test_an_empty_store_has_empty_tables_and_a_hash(tmp_path: Path):
    store = Store.create(tmp_path / "store")
    assert (len(store.light_curves()), len(store.truth()), len(store.quarantine())) == (0, 0, 0)
    assert (store.version(), len(store.content_hash())) == (0, 32)


def test_objects_come_in_order_of_snid_or_in_the_order_asked_for(store: Store):
    assert store.snids() == store.light_curves().objects["SNID"].tolist() == [str(100 + number) for number in range(6)]
    assert store.light_curves(["104", "101"]).objects["SNID"].tolist() == ["104", "101"]
    assert store.truth().table["SNID"].tolist() == store.snids()
    with pytest.raises(KeyError, match="no object with SNID 999"):
        store.light_curves(["104", "999"])


@pytest.mark.parametrize("name", ["with space", "a#b?c", "é", "100%"])
def test_a_store_may_be_in_a_folder_of_any_usual_name(name: str, survey: Path, tmp_path: Path):
    ingest([survey], Store.create(tmp_path / name))
    assert len(Store.open(tmp_path / name).snids()) == 6


def test_a_percent_escape_in_the_path_is_refused_since_delta_lake_would_decode_it(tmp_path: Path):
    with pytest.raises(StoreError, match="percent escape"):
        Store.create(tmp_path / "a%20b")


def test_what_was_written_is_what_is_read(store: Store):
    curves = store.light_curves(["100"])
    assert curves.epochs["FLUXCAL"].tolist() == [row[2] for row in ROWS]
    assert curves.bands == ("g", "r")


def test_ingesting_the_same_again_changes_nothing(survey: Path, store: Store):
    versions = store.versions()
    summary = ingest([survey], store)
    assert (summary.n_files, summary.n_unchanged, summary.n_ingested) == (6, 6, 0)
    assert store.versions() == versions == {"light_curves": 1, "truth": 1, "quarantine": 0}


def test_a_changed_file_replaces_its_object_and_the_earlier_version_stays_readable(survey: Path, store: Store):
    before, first = store.content_hash(), store.version()
    rows = (*ROWS, (56020.0, "r", 5.0, 1.0))
    (survey / "sn02.dat").write_text(Written("102", rows, {"FILTERS": "griz", "SNTYPE": "1"}).text())
    summary = ingest([survey], store)
    assert (summary.n_unchanged, summary.n_ingested) == (5, 1)
    assert len(store.light_curves(["102"]).epochs) == 4
    assert len(store.light_curves(["102"], version=first).epochs) == 3
    assert store.truth().table.set_index("SNID")["CLASS"]["102"] == "Ia"
    assert len(store.snids()) == len(store.truth()) == 6
    assert store.content_hash() != before


def test_the_content_hash_knows_photometry_and_not_the_order_of_ingest(survey: Path, store: Store, tmp_path: Path):
    backwards = Store.create(tmp_path / "backwards")
    for number in reversed(range(6)):
        ingest([survey / f"sn{number:02d}.dat"], backwards)
    assert backwards.content_hash() == store.content_hash()
    assert same_tables(store, backwards)
    (survey / "sn00.dat").write_text("# a remark\n" + (survey / "sn00.dat").read_text())
    assert ingest([survey], store).n_ingested == 1
    assert backwards.content_hash() == store.content_hash()


def test_many_objects_are_few_commits(tmp_path: Path):
    store = Store.create(tmp_path / "store")
    ingest([write_survey(tmp_path / "survey", 30)], store)
    assert store.version() == 1
    assert len(DeltaTable(str(store.path / "light_curves")).file_uris()) == 1


def test_the_summary_is_plain_values_for_json(survey: Path, tmp_path: Path):
    summary = ingest([survey], Store.create(tmp_path / "store"))
    assert isinstance(summary, IngestSummary)
    loaded = json.loads(json.dumps(summary.to_dict()))
    assert (loaded["n_ingested"], loaded["n_epochs"], loaded["sources"]) == (6, 18, [str(survey)])


KILL = """
    import os, signal, sys
    from pathlib import Path
    from pipeline.ingest import reading
    from pipeline import store as room

    survey, folder, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    override, duplicates = Path(sys.argv[4]) if sys.argv[4] else None, sys.argv[5]
    reading.CHUNK_FILES = 4

    def killed_at(step):
        left = [step]
        def dying(function):
            def wrapper(*args, **kwargs):
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return function(*args, **kwargs)
            return wrapper
        room.write_deltalake = dying(room.write_deltalake)
        room.Store._upsert = dying(room.Store._upsert)
        room.Store._replace_parts = dying(room.Store._replace_parts)
        room.update_quarantine = dying(room.update_quarantine)
        settings = room.IngestSettings(
            workers=1, objects_per_commit=8, max_bad_fraction=1, override=override, duplicates=duplicates
        )
        room.ingest([survey], room.Store.create(folder / str(step)), settings)

    for step in range(steps):
        child = os.fork()
        if child == 0:
            killed_at(step)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(step, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)
"""


def test_killed_at_any_write_and_repeated_an_ingest_ends_as_if_never_killed(tmp_path: Path):
    survey = write_survey(tmp_path / "survey", 30, sn03="", sn09=Written("101").text(), sn20="SNID: 5\n")
    bad = tuple((mjd, band, flux, error * (mjd != ROWS[1][0])) for mjd, band, flux, error in ROWS)
    (survey / "sn05.dat").write_text(Written("105", bad).text())
    whole = killed_everywhere_and_repeated(survey, tmp_path, IngestSettings(max_bad_fraction=1))
    assert whole.quarantine()["FILE"].tolist() == ["sn03.dat", "sn05.dat", "sn09.dat", "sn20.dat"]


@pytest.mark.parametrize("policy", [pytest.param("newest", marks=pytest.mark.slow), "merge"])
def test_killed_at_any_write_an_ingest_with_overrides_and_shared_objects_ends_as_if_never_killed(
    policy: DuplicatePolicy, tmp_path: Path
):
    survey = write_survey(tmp_path / "survey", 9, sn03="", sn05=Written("101").text())
    (survey / "sn15.dat").write_text(Written("101", ((56030.0, "r", 5.0, 1.0),)).text())
    (survey / "sn19.dat").write_text(Written("108", ((56000.0, "g", 5.0, 1.0),)).text())
    table = tmp_path / "table.csv"
    table.write_text("SNID,PHOTOZ,SUBCLASS\n101,0.25,IIn\n104,0.5,\n106,,Ia\n")
    settings = IngestSettings(max_bad_fraction=1, override=table, duplicates=policy)
    whole = killed_everywhere_and_repeated(survey, tmp_path, settings)
    assert whole.light_curves(["101"]).objects["PHOTOZ"].tolist() == [0.25]
    assert len(whole.stored_parts()) == 5
    assert "conflict" in set(whole.quarantine()["SCOPE"])


def killed_everywhere_and_repeated(survey: Path, tmp_path: Path, settings: IngestSettings) -> Store:
    """Kill an ingest before each of its writes, run it again, compare with one that was not killed, and return that."""
    whole = Store.create(tmp_path / "whole")
    ingest([survey], whole, settings)
    folder = tmp_path / "killed"
    folder.mkdir()
    words = [str(survey), str(folder), "40", str(settings.override or ""), settings.duplicates]
    script = [sys.executable, "-c", textwrap.dedent(KILL), *words]
    told = subprocess.run(script, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split()
    killed = [int(step) for step, end in zip(told[::2], told[1::2], strict=True) if int(end) == signal.SIGKILL]
    assert killed == list(range(len(killed)))
    assert 12 <= len(killed) < 40
    for step in killed:
        store = Store.create(folder / str(step))
        ingest([survey], store, settings)
        assert same_tables(store, whole), f"killed before write {step}"
    return whole


def all_gone(group: int, seconds: float) -> bool:
    """Wait until a process group has no member left."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    os.killpg(group, signal.SIGKILL)
    return False


def test_killed_from_outside_with_workers_and_repeated_an_ingest_ends_as_if_never_killed(tmp_path: Path):
    survey = write_survey(tmp_path / "survey", 200)
    whole = Store.create(tmp_path / "whole")
    ingest([survey], whole)
    folder = tmp_path / "store"
    script = f"""
        from pathlib import Path
        from pipeline.ingest import reading
        from pipeline.store import IngestSettings, Store, ingest
        reading.CHUNK_FILES = 5
        settings = IngestSettings(workers=2, objects_per_commit=10)
        ingest([Path({str(survey)!r})], Store.create(Path({str(folder)!r})), settings)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=REPOSITORY, start_new_session=True)
    while process.poll() is None and not (folder / "light_curves" / "_delta_log" / f"{3:020d}.json").exists():
        pass
    process.kill()
    process.wait()
    assert all_gone(process.pid, seconds=20), "a worker outlives its parent"
    store = Store.create(folder)
    left = len(store.snids())
    assert 0 < left < 200
    summary = ingest([survey], store)
    assert (summary.n_unchanged, summary.n_ingested) == (left, 200 - left)
    assert same_tables(store, whole)
