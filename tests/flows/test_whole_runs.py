"""Whole commands in processes of their own: killed, resumed, and on real data. Minutes, so marked slow."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

SNFLOW = (sys.executable, "-c", "from flows.cli import app; app()")
QUICK = ("--set", "model.hidden_sizes=[8]", "--set", "fit.epochs=12", "--set", "fit.members=2")


def environment(tmp_path: Path) -> dict[str, str]:
    home = {"PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONPATH": str(Path(__file__).parents[2])}
    return {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"} | home


def snflow(tmp_path: Path, *words: object) -> None:
    command = [*SNFLOW, *map(str, words)]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def kill_when(tmp_path: Path, file: Path, *words: object) -> int:
    """Start a command, kill -9 it as soon as a file is there, and return the process group of what it leaves behind."""
    command, nowhere = [*SNFLOW, *map(str, words)], subprocess.DEVNULL
    with subprocess.Popen(
        command, env=environment(tmp_path), stderr=nowhere, stdout=nowhere, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 240
        while not file.exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert process.poll() is None, f"the command ended before it could be killed at {file.name}"
        process.send_signal(signal.SIGKILL)
    return process.pid


def bury(groups: list[int]) -> None:
    """End what killed commands left: members of an ensemble in their last epoch, and Prefect's short-lived servers."""
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def answers(run: Path) -> pd.DataFrame:
    return pd.read_parquet(run / "predictions.parquet").drop(columns="CREATED")


def test_a_job_killed_at_every_step_ends_as_one_that_was_not(tmp_path: Path) -> None:
    words = ("demo", "--objects", 150, *QUICK, "--out")
    snflow(tmp_path, *words, tmp_path / "whole")
    parts = tmp_path / "parts"
    groups = []
    for moment in (
        parts / "survey-150",
        parts / "store" / "truth" / "_delta_log" / "00000000000000000001.json",
        parts / "training" / "member-1.state.safetensors",
        parts / "model" / "model.json",
        parts / "predictions.parquet",
        parts / "metrics.json",
    ):
        groups.append(kill_when(tmp_path, moment, *words, parts))
    snflow(tmp_path, *words, parts)
    bury(groups)
    pd.testing.assert_frame_equal(answers(tmp_path / "whole"), answers(parts))
    whole, resumed = (json.loads((run / "metrics.json").read_text()) for run in (tmp_path / "whole", parts))
    assert whole == resumed
    assert whole["trust"] is not None


def test_the_spcc_goes_through_and_a_short_training_already_learns(shared_data: Path, tmp_path: Path) -> None:
    archive = shared_data / "spcc" / "SIMGEN_PUBLIC_DES.tar.gz"
    short = ("--set", "fit.epochs=4", "--set", "fit.members=1", "--set", "model.hidden_sizes=[32]")
    snflow(tmp_path, "run", archive, "--experiment", "spcc", *short, "--out", tmp_path / "spcc")
    summary = json.loads((tmp_path / "spcc" / "run.json").read_text())["summary"]
    assert summary["ingest"]["n_files"] == summary["ingest"]["n_ingested"] == len(answers(tmp_path / "spcc"))
    assert summary["train"]["split"]["train"] + summary["train"]["split"]["validation"] == 10_660
    metrics = summary["evaluate"]["metrics"]
    assert metrics["auc"]["value"] > 0.88
    control = json.loads((tmp_path / "spcc" / "metrics.json").read_text())["evaluations"][-1]
    assert 0.55 < control["metrics"]["auc"]["value"] < 0.70

    snls = tmp_path / "snls.parquet"
    snflow(tmp_path, "classify", shared_data / "snls", "--model", tmp_path / "spcc" / "model", "--out", snls)
    assert pd.read_parquet(snls)["STATUS"].isin(["classified", "abstained"]).sum() == 239


def test_a_server_that_is_up_is_used_and_none_is_started(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    words = ("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui")
    nowhere = subprocess.DEVNULL
    server = subprocess.Popen(
        [sys.executable, *words], env=environment(tmp_path), stdout=nowhere, stderr=nowhere, start_new_session=True
    )
    try:
        wait_for(f"{api}/health")
        command = [*SNFLOW, "demo", "--objects", "150", *QUICK, "--out", str(tmp_path / "demo")]
        other_home = environment(tmp_path / "other") | {"PREFECT_API_URL": api}
        subprocess.run(command, env=other_home, check=True, stdout=nowhere, stderr=nowhere)
        runs = post(f"{api}/flow_runs/filter")
        assert len(runs) == 5
        assert {run["state_type"] for run in runs} == {"COMPLETED"}
        keys = {artifact["key"] for artifact in post(f"{api}/artifacts/filter")}
        assert {"snflow-run", "snflow-run-summary", "snflow-report", "snflow-report-summary"} <= keys
        assert not (tmp_path / "other" / "prefect" / "prefect.db").exists()
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"no server answered at {url}")


def post(url: str) -> list[dict[str, str]]:
    request = urllib.request.Request(url, b"{}", {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        found: list[dict[str, str]] = json.loads(response.read())
        return found


def test_a_run_that_keeps_no_test_part_goes_through(tmp_path: Path) -> None:
    run = tmp_path / "run"
    everything = ("--set", "split.train=1.0", "--set", "split.validation=0.2")
    snflow(tmp_path, "demo", "--objects", 120, "--out", run, *QUICK, *everything, "--set", "fit.epochs=2")
    assert json.loads((run / "train.json").read_text())["summary"]["split"]["test"] == 0
    assert (run / "report.html").exists()
    assert len(answers(run)) == 120
