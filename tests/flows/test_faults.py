"""Facts about nights that go wrong: nothing is lost, nothing is done twice, and the next night repairs what it can."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prefect.settings import PREFECT_API_URL

from flows.nightly import nightly
from pipeline.classify.outputs import read_predictions
from pipeline.ingest.simulate import SimulationSettings, simulate_survey
from pipeline.store import Store, StoreError
from pipeline.train.errors import CheckpointError
from tests.sites import UNJUDGED, make_site

STEPS = ("ingest", "judge_task", "classify", "publish_task", "report", "finish")
DIES = """
    import os, signal, sys
    from pathlib import Path
    import flows.nightly

    def die(*words, **more):
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(flows.nightly, sys.argv[2], die)
    flows.nightly.nightly(Path(sys.argv[1]))
"""


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text())["summary"] for path in sorted((folder / "nights").glob("*/nightly.json"))]


def published(folder: Path) -> pd.DataFrame:
    return read_predictions(folder / "published" / "predictions.parquet").table


def answers(folder: Path) -> pd.DataFrame:
    return published(folder).drop(columns="CREATED")


def test_every_test_that_the_guide_names_is_there():
    flows_tests = Path(__file__).parent
    named = set(re.findall(r"`(test_\w+)`", (flows_tests.parents[1] / "flows" / "README.md").read_text()))
    there = {
        name
        for path in flows_tests.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    assert named - there == set()
    assert len(named) > 12


@pytest.fixture(scope="module")
def undisturbed(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    nightly(make_site(folder, 20, UNJUDGED))
    return folder


@pytest.mark.slow
def test_a_poisoned_file_every_night_stops_no_night_and_is_told_every_time(prefect_server: None, tmp_path: Path):
    site = make_site(tmp_path, 20, UNJUDGED)
    for number in range(2):
        (tmp_path / "inbox" / f"POISON{number}.DAT").write_bytes(b"SURVEY: X\nSNID: \x00\xff\n" * 9)
        late = tmp_path / "inbox" / f"late{number}"
        simulate_survey(late, SimulationSettings(n_objects=4, seed=50 + number))
        for path in late.rglob("*.DAT"):
            path.write_text(re.sub(r"SNID: *", f"SNID: {number}00", path.read_text()))
        nightly(site, ["ingest.max_bad_fraction=0.3"])
    assert len(published(tmp_path)) == 20 + 2 * 4
    assert [night["ingest"]["n_quarantined"] for night in records(tmp_path)] == [1, 2]
    assert [night["n_changed"] for night in records(tmp_path)] == [24, 4]
    assert set(Store.open(tmp_path / "catalogue").quarantine()["SCOPE"]) == {"file"}


def test_a_damaged_classifier_fails_the_night_and_the_next_one_makes_good(undisturbed: Path, tmp_path: Path):
    site = make_site(tmp_path, 20, UNJUDGED)
    weights = next((tmp_path / "model").rglob("*.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(CheckpointError, match=r"damaged|checksum"):
        nightly(site)
    assert Store.open(tmp_path / "catalogue").light_curves().objects["SNID"].size == 20
    assert records(tmp_path) == []
    weights.write_bytes(whole)
    nightly(site)
    assert len(records(tmp_path)) == 1
    pd.testing.assert_frame_equal(answers(tmp_path), answers(undisturbed))


@pytest.mark.slow
def test_a_full_disk_fails_the_night_and_the_next_one_makes_good(undisturbed: Path, tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root alone")
    try:
        site = make_site(disk, 20, UNJUDGED)
        fill(disk / "filling")
        with pytest.raises((OSError, ValueError), match="No space left"):
            nightly(site)
        (disk / "filling").unlink()
        nightly(site)
        pd.testing.assert_frame_equal(answers(disk), answers(undisturbed))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))


def test_a_store_of_another_version_is_refused_with_what_to_do_and_left_as_it_is(prefect_server: None, tmp_path: Path):
    site = make_site(tmp_path, 20, UNJUDGED)
    nightly(site)
    label = tmp_path / "catalogue" / "store.json"
    before = label.read_text()
    label.write_text(json.dumps(json.loads(before) | {"version": 0}))
    with pytest.raises(StoreError, match=r"store of version 0.*ingest"):
        nightly(site)
    label.write_text(before)
    nightly(site)
    assert len(published(tmp_path)) == 20


def test_what_a_crashed_run_left_in_a_store_is_not_read_and_harms_nothing(undisturbed: Path, tmp_path: Path):
    site = make_site(tmp_path, 20, UNJUDGED)
    store = Store.create(tmp_path / "catalogue")
    (store.path / "light_curves" / "part-00000-left-behind.parquet").write_bytes(b"PAR1 half a file")
    (store.path / "light_curves" / "_delta_log" / ".tmp-left-behind.json").write_text('{"commit')
    (store.path / ".notes.json.partial").write_text("{")
    nightly(site)
    pd.testing.assert_frame_equal(answers(tmp_path), answers(undisturbed))


def test_of_two_nights_at_once_on_one_site_the_second_does_nothing_and_says_so(prefect_server: None, tmp_path: Path):
    from flows.site import load_site
    from pipeline.processes import only_one

    site = make_site(tmp_path, 20, UNJUDGED)
    with only_one(load_site(site).out / ".nightly.lock", "the nights"):
        state = nightly(site, return_state=True)
    assert (state.name, state.is_completed()) == ("Skipped", True)
    assert "another run is at work" in state.message
    assert not (tmp_path / "catalogue").exists()


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_killed_before_any_step_the_next_run_goes_on_with_the_same_night(undisturbed: Path, tmp_path: Path, step: str):
    site = make_site(tmp_path, 20, UNJUDGED)
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PREFECT_API_URL": PREFECT_API_URL.value(),
    }
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DIES), str(site), step],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert len(list((tmp_path / "nights").iterdir())) == 1
    nightly(site)
    assert len(list((tmp_path / "nights").iterdir())) == 1
    (record,) = records(tmp_path)
    assert record["n_changed"] == 20
    assert Path(record["report"]).exists()
    assert set(Counter(Store.open(tmp_path / "catalogue").predictions()["SNID"]).values()) == {1}
    pd.testing.assert_frame_equal(answers(tmp_path), answers(undisturbed))
