from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from flows.cli import app
from pipeline.ingest.simulate import SimulationSettings, simulate_survey
from pipeline.store import Store

VERBS = ("demo", "run", "ingest", "train", "classify", "evaluate", "report")
QUICK = ["--set", "fit.epochs=2", "--set", "model.hidden_sizes=[6]"]


def invoke(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_shows_an_example(verb: str) -> None:
    assert f"snflow {verb}" in invoke(verb, "--help")


def test_looking_starts_no_server_and_imports_neither_torch_nor_prefect() -> None:
    script = "import sys, flows.cli; sys.exit(bool({'torch', 'prefect', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_schema_of_metrics_json_is_printed_without_further_work() -> None:
    assert "evaluations" in json.loads(invoke("evaluate", "--schema"))["properties"]


def test_the_version_is_printed_without_further_work() -> None:
    assert invoke("--version").startswith("snflow 0.")


def test_wrong_words_exit_with_2_and_say_what_was_expected(tmp_path: Path) -> None:
    assert "nearest valid key is fit.epochs" in invoke("demo", "--out", tmp_path, "--set", "fit.epoch=2", code=2)
    assert "there are best, charnock17" in invoke(
        "train", "--store", tmp_path, "--experiment", "x", "--out", tmp_path, code=2
    )
    student = ("--experiment", "spcc-small", "--set", "fit.teacher=no/such/run", "--out", tmp_path / "run")
    assert "fit.teacher: no checkpoint in" in invoke("run", tmp_path, *student, code=2).replace("\n", " ")
    words = ("classify", tmp_path, "--model", tmp_path, "--out", "p.csv", "--band-map", "g")
    assert "expected --band-map A=B" in invoke(*words, code=2)


def test_type_codes_are_one_list_or_pairs(tmp_path: Path) -> None:
    words = ("ingest", tmp_path, "--store", tmp_path / "store", "--type-codes")
    assert "there is des, elasticc, spcc" in invoke(*words, "elastic", code=2)
    assert "expected --type-codes CODE=TYPE" in invoke(*words, "elasticc", "--type-codes", "20=IIP", code=2)
    assert "type_codes.x" in invoke(*words, "x=Ia", code=2)


def test_help_of_every_quarantine_verb_shows_an_example() -> None:
    for verb in ("list", "show", "retry", "export"):
        assert f"snflow quarantine {verb}" in invoke("quarantine", verb, "--help")


@pytest.fixture
def quarantine(tmp_path: Path) -> Path:
    """A store with a damaged row, an escape sequence in a name, and two more entries."""
    from pipeline.store import IngestSettings, Store, ingest
    from tests.pipeline.ingest.snana_files import Written, write_survey

    damaged = Written("103").text().replace("20.0", "2o.0\x1b[31m")
    folder = write_survey(tmp_path / "files", 5, sn01="", sn03=damaged)
    (folder / "[red]x.dat").write_text("")
    store = tmp_path / "store"
    ingest([folder], Store.create(store), IngestSettings(max_bad_fraction=1))
    return store


def test_quarantine_is_listed_shown_and_exported(quarantine: Path, tmp_path: Path) -> None:
    words = ("--store", quarantine)
    printed = invoke("quarantine", "list", *words)
    for text in ("damaged row", "empty", "[red]x.dat", "sn03.dat", "103"):
        assert text in printed
    assert "\x1b[31m" not in printed
    assert "1 of 3 entries are shown" in invoke("quarantine", "list", *words, "--limit", 1)
    found = json.loads(invoke("quarantine", "list", *words, "--json", "--reason", "empty"))
    assert (found["n_entries"], found["counts"], len(found["entries"])) == (2, {"empty": 2}, 2)
    assert "there are: empty, damaged row" in invoke("quarantine", "list", *words, "--reason", "x", code=2)
    shown = invoke("quarantine", "show", "103", *words)
    assert "2o.0\\x1b[31m" in shown
    assert "\x1b" not in shown
    (entry,) = json.loads(invoke("quarantine", "show", "sn03.dat", *words, "--json"))["entries"]
    assert "2o.0\\x1b[31m" in entry["LINES"][str(entry["LINE"])]
    assert "nothing in quarantine" in invoke("quarantine", "show", "sn02.dat", *words, code=2)
    (tmp_path / "files" / "sn03.dat").unlink()
    assert "can no longer be read" in invoke("quarantine", "show", "103", *words)
    invoke("quarantine", "export", *words, "--out", tmp_path / "q.csv")
    assert pd.read_csv(tmp_path / "q.csv")["FILE"].tolist() == ["[red]x.dat", "sn01.dat", "sn03.dat"]
    assert "is not a snflow store" in invoke("quarantine", "list", "--store", tmp_path, code=1)


def test_looking_into_the_quarantine_does_not_import_prefect(quarantine: Path) -> None:
    import subprocess

    script = f"""
import sys
from typer.testing import CliRunner
from flows.cli import app
for words in (["list"], ["show", "sn01.dat"], ["export", "--out", {str(quarantine.parent / "q.parquet")!r}]):
    result = CliRunner().invoke(app, ["quarantine", *words, "--store", {str(quarantine)!r}])
    assert result.exit_code == 0, result.output
sys.exit("prefect" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_column_map_names_columns_that_exist(tmp_path: Path) -> None:
    (tmp_path / "night.csv").write_text("who,time,filter,f,df\n1,2,g,3,1\n")
    words = ("ingest", tmp_path / "night.csv", "--store", tmp_path / "store")
    assert "expected --column OURS=THEIRS, came 'MJD'" in invoke(*words, "--column", "MJD", code=2)
    assert "no column FLUX" in invoke(*words, "--column", "FLUX=f", code=2)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("survey") / "simulated"
    simulate_survey(folder, SimulationSettings(n_objects=150))
    (folder / "SNFLOW_SN000007.DAT").write_text("SURVEY: SNFLOW-SIM\nSNID: 7\nNOBS: 9\n")
    return folder


@pytest.fixture(scope="module")
def run(survey: Path, prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "whole"
    invoke("run", survey, "--experiment", "demo", "--out", out, *QUICK)
    return out


@pytest.mark.usefixtures("prefect_server")
def test_a_table_of_ones_own_is_ingested_by_its_column_map(tmp_path: Path) -> None:
    (tmp_path / "night.csv").write_text("who,time,filter,f,df\n1,2,g,3,1\n")
    names = {"SNID": "who", "MJD": "time", "BAND": "filter", "FLUXCAL": "f", "FLUXCALERR": "df"}
    columns = [word for ours, theirs in names.items() for word in ("--column", f"{ours}={theirs}")]
    told = invoke("ingest", tmp_path / "night.csv", "--store", tmp_path / "store", *columns, "--json")
    assert json.loads(told[told.index("{") :])["n_objects_ingested"] == 1


@pytest.mark.usefixtures("prefect_server")
class TestThroughPrefect:
    """One survey through every verb; the server is started once."""

    def test_an_ingest_says_what_it_left_alone_and_how_fast_it_was(self, survey: Path, tmp_path: Path) -> None:
        (tmp_path / "night").mkdir()
        (tmp_path / "night" / "README.md").write_text("Read me.\n")
        for file in sorted(survey.glob("*.DAT"))[1:4]:
            (tmp_path / "night" / file.name).write_bytes(file.read_bytes())
        told = invoke("ingest", tmp_path / "night" / "*", "--store", tmp_path / "store")
        assert "Companions that are no light curves, left alone: 1 (README.md)." in told
        assert " files/s." in told
        missing = invoke("ingest", tmp_path / "night" / "*.FITS", "--store", tmp_path / "store", code=2)
        assert "*.FITS: nothing matches this pattern" in missing

    def test_the_whole_job_leaves_everything_in_its_folder(self, run: Path) -> None:
        for name in (
            "store/store.json",
            "model/weights.safetensors",
            "model/card.md",
            "split.parquet",
            "history.csv",
            "predictions.parquet",
            "predictions.csv",
            "metrics.json",
            "report.html",
            "report.json",
            "ingest.json",
            "train.json",
            "classify.json",
            "evaluate.json",
            "run.json",
        ):
            assert (run / name).is_file(), name

    def test_every_file_is_accounted_for(self, run: Path) -> None:
        summary = json.loads((run / "run.json").read_text())["summary"]
        assert summary["ingest"]["n_files"] == 150
        assert summary["ingest"]["n_ingested"] == 149
        assert summary["ingest"]["n_quarantined"] == 1
        assert len(pd.read_parquet(run / "predictions.parquet")) == 149
        assert "SNFLOW_SN000007.DAT" in (run / "report.html").read_text()

    def test_only_the_test_part_is_evaluated(self, run: Path) -> None:
        split = pd.read_parquet(run / "split.parquet")
        metrics = json.loads((run / "metrics.json").read_text())["evaluations"]
        assert metrics[0]["counts"]["n_evaluated"] == (split["PART"] == "test").sum() < 149
        assert sum(row["count"] for row in metrics[0]["by_snr"]) == metrics[0]["counts"]["n_evaluated"]
        names = [found["name"] for found in metrics]
        assert names == ["test part", "without redshift", "uncalibrated", "control: header and cadence only"]

    def test_the_page_says_that_the_data_are_simulated(self, run: Path) -> None:
        assert "simulated by snflow" in (run / "report.html").read_text()

    def test_the_same_command_again_changes_no_prediction(self, survey: Path, run: Path) -> None:
        before = pd.read_parquet(run / "predictions.parquet").drop(columns="CREATED")
        summary = json.loads(invoke("run", survey, "--experiment", "demo", "--out", run, "--json", *QUICK))
        assert summary["ingest"]["n_unchanged"] == 149
        assert summary["ingest"]["n_ingested"] == 0
        after = pd.read_parquet(run / "predictions.parquet").drop(columns="CREATED")
        pd.testing.assert_frame_equal(before, after)

    def test_classify_reads_files_as_it_reads_a_store(self, survey: Path, run: Path, tmp_path: Path) -> None:
        for source, name in ((survey, "files.parquet"), (run / "store", "store.csv")):
            invoke("classify", source, "--model", run / "model", "--out", tmp_path / name)
        files, store = pd.read_parquet(tmp_path / "files.parquet"), pd.read_csv(tmp_path / "store.csv")
        assert files["SNID"].tolist() == store["SNID"].astype(str).tolist()
        assert (files["P_Ia"] - store["P_Ia"]).abs().max() < 1e-5

    def test_data_that_the_model_does_not_accept_exit_with_3(self, survey: Path, run: Path, tmp_path: Path) -> None:
        store = tmp_path / "renamed"
        invoke("ingest", survey, "--store", store, "--band-map", "g=DES-g")
        words = ("classify", store, "--model", run / "model", "--out", tmp_path / "p.parquet")
        assert "--band-map DES-g=" in invoke(*words, code=3)
        assert not (tmp_path / "p.parquet").exists()
        invoke(*words, "--band-map", "DES-g=g")
        expected = pd.read_parquet(run / "predictions.parquet")["P_Ia"]
        assert (pd.read_parquet(tmp_path / "p.parquet")["P_Ia"] - expected).abs().max() < 1e-5

    def test_too_many_bad_files_fail_the_run_after_the_good_are_stored(self, survey: Path, tmp_path: Path) -> None:
        from pipeline.store import Store

        store = tmp_path / "store"
        message = invoke("ingest", survey, "--store", store, "--max-bad-fraction", "0.001", code=1)
        assert "1 of 150 files were quarantined" in message
        assert f"see: snflow quarantine list --store {store}" in message
        assert len(Store.open(store).light_curves()) == 149

    def test_quarantine_retry_ingests_what_is_repaired_as_the_last_ingest_would(
        self, quarantine: Path, tmp_path: Path
    ) -> None:
        from pipeline.store import Store
        from tests.pipeline.ingest.snana_files import write_survey

        folder, store = tmp_path / "files", tmp_path / "new"
        (tmp_path / "table.csv").write_text("SNID,PHOTOZ\n103,0.25\n999,0.5\n")
        words = ("--band-map", "g=DES-g", "--override", tmp_path / "table.csv", "--max-bad-fraction", 1)
        said = invoke("ingest", folder, "--store", store, *words)
        assert "2 of 2 SNIDs of" in said
        assert "In quarantine: 1 damaged row, 2 empty; see: snflow quarantine list --store" in said
        write_survey(folder, 5)
        (folder / "[red]x.dat").unlink()
        printed = invoke("quarantine", "retry", "--store", store)
        assert f"no longer there: {folder}/[red]x.dat" in printed
        summary = json.loads((store / "quarantine-retry.json").read_text())["summary"]
        assert (summary["n_files"], summary["n_ingested"], summary["n_entries_after"]) == (2, 2, 1)
        found = Store.open(store).light_curves(["103"])
        assert (found.bands, found.objects["PHOTOZ"].tolist()) == (("DES-g", "r"), [0.25])
        words = ("quarantine", "retry", "--store", store, "--set", "duplicate=merge")
        assert "nearest valid key is duplicates" in invoke(*words, code=2)

    def test_a_table_of_overrides_that_is_wrong_exits_with_2(self, survey: Path, tmp_path: Path) -> None:
        (tmp_path / "table.csv").write_text("SNID,PHOTO_Z\n1,0.5\n")
        words = ("--store", tmp_path / "store", "--override", tmp_path / "table.csv")
        assert "the nearest valid one is PHOTOZ" in invoke("ingest", survey, *words, code=2)

    def test_a_missing_source_exits_with_2(self, tmp_path: Path) -> None:
        assert "nowhere" in invoke("ingest", tmp_path / "nowhere", "--store", tmp_path / "store", code=2)

    def test_evaluate_takes_truth_from_a_store_or_a_table(self, run: Path, tmp_path: Path) -> None:
        from pipeline.store import Store

        words = ("evaluate", run / "predictions.parquet", "--out", tmp_path, "--json", "--truth")
        from_store = json.loads(invoke(*words, run / "store"))
        Store.open(run / "store").truth().table[["SNID", "SUBCLASS"]].to_csv(tmp_path / "truth.csv", index=False)
        from_table = json.loads(invoke(*words, tmp_path / "truth.csv"))
        assert from_store["metrics"] == from_table["metrics"]
        wishes = (run / "store", "--prior", "Ia=0.3", "--threshold", "mine=0.7", "--resamples", "10", "--seed", "1")
        summary = json.loads(invoke(*words, *wishes))
        assert (summary["prior"]["shares"]["Ia"], list(summary["operating_points"])) == (0.3, ["mine"])
        assert (
            "as they would be with 30.0% ia" in invoke(*[word for word in words if word != "--json"], *wishes).lower()
        )
        assert "prior.Ia: Input should be less than 1" in invoke(*words, run / "store", "--prior", "Ia=3", code=2)
        assert "expected classes among Ia, nonIa" in invoke(*words, run / "store", "--prior", "KN=0.3", code=1)
        assert "expected --threshold NAME=P" in invoke(*words, run / "store", "--threshold", "0.7", code=2)
        (tmp_path / "wrong.csv").write_text("NAME,KIND\na,Ia\n")
        assert "expected the columns SNID" in invoke(*words, tmp_path / "wrong.csv", code=1)

    def test_report_sets_other_runs_beside_and_writes_figures(self, run: Path, tmp_path: Path) -> None:
        invoke("report", run, "--beside", run, "--figures", tmp_path / "figures")
        assert "whole: test part" in (run / "report.html").read_text()
        assert {path.suffix for path in (tmp_path / "figures").iterdir()} == {".pdf", ".svg", ".csv"}
        assert "has no classify.json" in invoke("report", tmp_path, code=1)

    def test_report_compares_runs_and_judges_them(self, run: Path, tmp_path: Path) -> None:
        asked = tmp_path / "asked.toml"
        asked.write_text("[metrics.accuracy]\nat_least = 1.01\n[quarantined_share]\nat_most = 0.5\n")
        invoke("report", run, "--compare", run, "--requirements", asked)
        found = json.loads((run / "report.json").read_text())
        assert found["comparisons"][0]["n_changed"] == 0
        statuses = {check["name"]: check["status"] for check in found["verdict"]["checks"]}
        assert (statuses["Accuracy"], statuses["Files quarantined"], statuses["Against whole"]) == (
            "bad",
            "good",
            "good",
        )
        assert (statuses["Nothing lost"], found["verdict"]["n_inputs"]) == ("good", 149)
        asked.write_text("[metrics.acuracy]\nat_least = 0.9\n")
        assert "acuracy" in invoke("report", run, "--requirements", asked, code=2)

    def test_report_draws_anew_from_its_two_files_where_the_rest_is_gone(self, run: Path, tmp_path: Path) -> None:
        for name in ("metrics.json", "report.json"):
            (tmp_path / name).write_bytes((run / name).read_bytes())
        invoke("report", tmp_path)
        page = (tmp_path / "report.html").read_bytes()
        invoke("report", run, "--redraw")
        assert page == (run / "report.html").read_bytes()

    def test_a_folder_of_predictions_alone_has_a_report_too(self, survey: Path, run: Path, tmp_path: Path) -> None:
        invoke("classify", survey, "--model", run / "model", "--out", tmp_path / "night.csv")
        invoke("report", tmp_path)
        assert "simulated by snflow" in (tmp_path / "report.html").read_text()

    def test_the_python_example_of_the_readme_runs(self, run: Path, tmp_path: Path) -> None:
        root = Path(__file__).parents[2]
        (example,) = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(encoding="utf-8"), re.DOTALL)
        curves = Store.open(run / "store").light_curves()
        snids = ["1003", *curves.objects["SNID"][1:]]
        night = curves.epochs.assign(SNID=[snids[row] for row in curves.object_index])
        night.rename(columns={"MJD": "time", "BAND": "filter"}).to_csv(tmp_path / "night.csv", index=False)
        shown = example + "print(predictions.table.to_csv(index=False))\n"
        script = subprocess.run(
            [sys.executable, "-c", shown],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert script.returncode == 0, script.stderr
        assert [line.split(",")[0] for line in script.stdout.strip().splitlines()] == ["SNID", *snids]

    def test_each_run_leaves_a_text_and_a_table_in_prefect(self, run: Path) -> None:
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            found = client.read_artifacts(limit=200)
        kinds = {(artifact.key, artifact.type) for artifact in found}
        for verb in ("ingest", "train", "classify", "report", "run"):
            assert (f"snflow-{verb}", "markdown") in kinds
            assert (f"snflow-{verb}-summary", "table") in kinds
        texts = [str(artifact.data) for artifact in found if artifact.key in ("snflow-run", "snflow-report")]
        assert all("**Verdict: " in text and "[Open the report](file://" in text for text in texts)


def test_only_passing_failures_are_retried() -> None:
    from prefect.states import Failed

    from flows.tasks import is_passing_failure

    def verdict(failure: Exception) -> bool:
        return is_passing_failure(None, None, Failed(data=failure))  # type: ignore[arg-type]

    assert verdict(OSError("the disk is busy"))
    assert not verdict(FileNotFoundError("no such file"))
    assert not verdict(ValueError("wrong data"))
