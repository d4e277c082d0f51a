"""Facts about retraining: what is compared, what is promoted, and that nothing is learnt from the frozen test set."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from pipeline.evaluate import retraining
from pipeline.evaluate.candidate import Decision, PromotionRule
from pipeline.evaluate.retraining import RetrainSettings, conclude, decide_on_candidate, plan_retraining
from pipeline.prepare.frozen import FrozenTestError, read_frozen
from pipeline.schema import TRUTH_SCHEMA, LightCurves, Truth
from pipeline.store import Store
from pipeline.train.experiment import Experiment
from pipeline.train.registry import Registry
from pipeline.train.training_run import train_from_store
from tests.builders import make_survey
from tests.small_model import small_classifier

SURVEY = make_survey(360)
FEW = [str(1000 + number) for number in range(240)]
QUICK = {"epochs": 2, "batch_size": 16, "averaging": 0.9}
LONG = {"epochs": 12, "batch_size": 16, "averaging": 0.9, "learning_rate": 0.02}


def experiment(**fit: object) -> Experiment:
    network = {"hidden_sizes": [6], "embedding_size": 0, "head_size": 0}
    return Experiment.model_validate({"name": "small", "model": network, "fit": fit or QUICK, "split": {"train": 1.0}})


def stored(folder: Path, snids: list[str], truth: Truth | None = None, light_curves: LightCurves | None = None) -> Path:
    """A store with these objects; it may know others, too."""
    Store.create(folder)
    classes = (truth or SURVEY[1]).select(snids).table
    tables = {
        "truth": pa.Table.from_pandas(classes, TRUTH_SCHEMA, preserve_index=False),
        "light_curves": (light_curves or SURVEY[0]).select(snids).to_arrow(),
    }
    quoted = ", ".join(f"'{snid}'" for snid in snids)
    for name, rows in tables.items():
        write_deltalake(str(folder / name), rows, mode="overwrite", predicate=f"SNID IN ({quoted})")
    return folder


@pytest.fixture(autouse=True)
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNFLOW_MODELS", str(tmp_path / "own"))


@pytest.fixture
def settings(tmp_path: Path) -> RetrainSettings:
    store = stored(tmp_path / "store", FEW)
    return RetrainSettings(store=store, name="night", test=tmp_path / "test.json", out=tmp_path / "out", freeze=120)


def retrain(settings: RetrainSettings, chosen: Experiment) -> dict:
    """As the flow does."""
    plan = plan_retraining(settings, chosen)
    if plan.is_due:
        train_from_store(settings.store, chosen, plan.folder, test=settings.test)
        decide_on_candidate(settings, plan)
    return conclude(settings, plan, chosen)


def learnt(folder: Path) -> set[str]:
    return set(pd.read_parquet(folder / "objects.parquet")["SNID"])


def test_the_first_of_a_name_is_promoted_and_nothing_new_changes_nothing(settings: RetrainSettings) -> None:
    first = retrain(settings, experiment())
    assert (first["outcome"], first["decision"]["current"], first["next"]) == ("promoted", None, "")
    folders = sorted(settings.out.iterdir())
    again = retrain(settings, experiment())
    assert (again["outcome"], again["model"]) == ("unchanged", first["model"])
    assert "decision" not in again
    assert sorted(settings.out.iterdir()) == folders
    assert len(Registry().history("night")) == 1


def test_frozen_objects_are_learnt_from_by_nobody(settings: RetrainSettings) -> None:
    retrain(settings, experiment())
    stored(settings.store, list(SURVEY[1].table["SNID"]))
    retrain(settings, experiment(**LONG))
    frozen = set(read_frozen(settings.test).snids)
    versions = Registry().versions("night")
    assert [len(learnt(version.folder)) for version in versions] == [360 - 120, 240 - 120]
    assert all(learnt(version.folder).isdisjoint(frozen) for version in versions)
    card = json.loads((versions[0].folder / "card.json").read_text())
    assert card["test_set"] == read_frozen(settings.test).to_dict()
    assert "frozen test set" in card["judged_by"]["metrics"]


def test_a_better_candidate_is_promoted_with_its_numbers_and_rolled_back_by_one_command(
    settings: RetrainSettings,
) -> None:
    first = retrain(settings, experiment())
    stored(settings.store, list(SURVEY[1].table["SNID"]))
    better = retrain(settings, experiment(**LONG))
    found = better["decision"]["metrics"]["log_loss"]
    assert found["candidate"] < found["current"]
    assert found["low"] <= found["difference"] <= found["high"] < 0
    assert found["p_better"] > 0.99
    entry = Registry().history("night")[-1]
    assert f"log_loss {found['current']:.4f} → {found['candidate']:.4f}" in entry.why
    assert read_frozen(settings.test).hash in entry.why
    assert better["next"] == "snflow models rollback night"
    assert f"night@{Registry().rollback('night').version}" == first["model"]
    again = retrain(settings, experiment(**LONG))
    assert again["outcome"] == "not promoted"
    assert "was current before, and was replaced or rolled back from" in again["why"]
    assert f"night@{Registry().current_version('night')}" == first["model"]


@pytest.mark.parametrize("flaw", ["one epoch", "shuffled labels"])
def test_a_worse_candidate_is_not_promoted_and_is_told_why(settings: RetrainSettings, flaw: str) -> None:
    good = retrain(settings, experiment(**LONG))
    chosen = experiment(epochs=1) if flaw == "one epoch" else experiment(**LONG)
    if flaw == "shuffled labels":
        free = sorted(set(FEW) - set(read_frozen(settings.test).snids))
        table = SURVEY[1].select(free).table
        columns = ["CLASS", "SUBCLASS"]
        table[columns] = table[columns].sample(frac=1, random_state=0).to_numpy()
        stored(settings.store, free, Truth(table))
    found = retrain(settings, chosen)
    assert (found["outcome"], found["model"]) == ("not promoted", good["model"])
    assert "log_loss" in found["why"]
    assert "expected better with P ≥ 0.95" in found["why"]
    assert "expected worse by at most" in found["why"]
    assert len(Registry().history("night")) == 1
    assert found["next"].startswith("snflow models promote night ")


def test_by_hand_nothing_is_promoted(settings: RetrainSettings) -> None:
    chosen = settings.model_copy(update={"rule": None})
    found = retrain(chosen, experiment())
    assert (found["outcome"], found["model"]) == ("not promoted", None)
    assert "the decision is left to you" in found["why"]


def test_a_rule_asks_for_enough_objects(settings: RetrainSettings) -> None:
    retrain(settings, experiment())
    strict = settings.model_copy(update={"rule": PromotionRule(min_objects=121)})
    assert "120 objects are compared, expected at least 121" in retrain(strict, experiment(**LONG))["why"]


def test_what_is_learnt_from_decides_whether_there_is_anything_new(settings: RetrainSettings) -> None:
    retrain(settings, experiment())
    frozen = read_frozen(settings.test).snids
    other, _ = make_survey(360, seed=1)
    stored(settings.store, [frozen[0]], light_curves=other)
    assert not plan_retraining(settings, experiment()).is_due
    relabelled = SURVEY[1].select([frozen[1]]).table.assign(SUBCLASS="Ib", CLASS="Ibc")
    stored(settings.store, [frozen[1]], Truth(relabelled))
    assert not plan_retraining(settings, experiment()).is_due
    assert plan_retraining(settings, experiment(**LONG)).is_due
    for change in ({"members": 2}, {"dropout_samples": 2}, {"calibration": "vector"}):
        assert plan_retraining(settings, experiment(**QUICK, **change)).is_due
    free = next(snid for snid in FEW if snid not in frozen)
    stored(settings.store, [free], light_curves=other)
    assert plan_retraining(settings, experiment()).is_due


def test_a_current_version_that_has_learnt_from_the_test_set_is_refused_by_name(
    settings: RetrainSettings, tmp_path: Path
) -> None:
    train_from_store(settings.store, experiment(), tmp_path / "run")
    Registry().promote("night", tmp_path / "run")
    with pytest.raises(FrozenTestError, match=r"cannot freeze 120 of 0 objects: 240 .* has learnt from 240"):
        plan_retraining(settings, experiment())
    plan_retraining(settings.model_copy(update={"name": "other"}), experiment())
    few = sorted(read_frozen(settings.test).snids)[:5]
    with pytest.raises(FrozenTestError, match=f"has learnt from 120 of the 120 objects .* {', '.join(few)} …: its num"):
        plan_retraining(settings, experiment())


def test_a_current_version_of_unknown_origin_is_refused(settings: RetrainSettings, tmp_path: Path) -> None:
    small_classifier().checkpoint.save(tmp_path / "model")
    Registry().promote("night", tmp_path / "model")
    with pytest.raises(FrozenTestError, match=r"nothing says which objects night@.* has learnt from"):
        plan_retraining(settings, experiment())
    assert not settings.test.exists()


def test_the_test_set_is_drawn_once_and_any_change_of_it_is_an_error(settings: RetrainSettings, tmp_path: Path) -> None:
    with pytest.raises(FrozenTestError, match="--freeze N draws N objects, once"):
        plan_retraining(settings.model_copy(update={"freeze": None}), experiment())
    retrain(settings, experiment())
    content = settings.test.read_bytes()
    plan_retraining(settings, experiment())
    assert settings.test.read_bytes() == content
    with pytest.raises(FrozenTestError, match="holds 120 objects and stays as it is"):
        plan_retraining(settings.model_copy(update={"freeze": 60}), experiment())
    one = read_frozen(settings.test).snids[0]
    settings.test.write_bytes(content.replace(f'"{one}",'.encode(), b""))
    with pytest.raises(FrozenTestError, match="has been changed: its 119 SNIDs have the hash"):
        plan_retraining(settings, experiment())
    settings.test.unlink()
    with pytest.raises(FrozenTestError, match=r"was judged on the test set .* and there is none at"):
        plan_retraining(settings, experiment())
    elsewhere = settings.model_copy(update={"name": "other", "freeze": 60})
    plan_retraining(elsewhere, experiment())
    with pytest.raises(FrozenTestError, match=r"was judged on the test set .*, and .*test\.json is"):
        plan_retraining(settings.model_copy(update={"freeze": None}), experiment())


def test_a_test_set_of_another_catalogue_is_refused(settings: RetrainSettings, tmp_path: Path) -> None:
    plan_retraining(settings, experiment())
    other = settings.model_copy(update={"store": stored(tmp_path / "small", FEW[:100])})
    with pytest.raises(FrozenTestError, match=r"objects of .*test\.json are not in "):
        plan_retraining(other, experiment())


RETRAIN = """
import sys
from tests.pipeline.evaluate.test_retraining import LONG, RetrainSettings, experiment, retrain
from pipeline.evaluate import retraining
if sys.argv[2] == "promotion":
    retraining.Registry.promote = lambda *_: sys.exit("killed before")
if sys.argv[2] == "record":
    retraining.write_record = lambda *_: sys.exit("killed before")
retrain(RetrainSettings.model_validate_json(sys.argv[1]), experiment(**LONG))
"""


def killed(settings: RetrainSettings, moment: str) -> None:
    """Retrain in a process that ends abruptly at a moment, or is killed in its training."""
    command = [sys.executable, "-c", RETRAIN, settings.model_dump_json(), moment]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while moment == "training" and process.poll() is None:
            time.sleep(0.01)
            if list(settings.out.glob("*/training/*.safetensors")):
                process.send_signal(signal.SIGKILL)
                break
        assert process.wait() != 0
        assert process.stderr is not None
        assert moment == "training" or "killed before" in process.stderr.read()


@pytest.mark.slow
def test_a_killed_retraining_repeats_to_the_same_decision(
    settings: RetrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retrain(settings, experiment())
    stored(settings.store, list(SURVEY[1].table["SNID"]))
    whole = settings.model_copy(update={"out": tmp_path / "whole"})
    first = Registry().current_version("night")
    expected = retrain(whole, experiment(**LONG))
    (tmp_path / "own" / "night" / "current.json").unlink()
    Registry().promote("night", next(settings.out.glob("*/model")).parent)
    assert Registry().current_version("night") == first
    told = []
    for moment in ("training", "promotion", "record"):
        killed(settings, moment)
        told.append(Registry().current_version("night"))
    assert told[:2] == [first, first]
    assert f"night@{told[2]}" == expected["model"]
    found = retrain(settings, experiment(**LONG))
    assert (found["outcome"], found["model"]) == ("promoted", expected["model"])
    assert found["decision"]["metrics"] == expected["decision"]["metrics"]
    assert len(Registry().history("night")) == 2
    assert retrain(settings, experiment(**LONG))["outcome"] == "unchanged"


def test_a_disk_that_fails_after_the_promotion_does_not_promote_twice(
    settings: RetrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    retrain(settings, experiment())
    chosen = experiment(**LONG)
    plan = plan_retraining(settings, chosen)
    train_from_store(settings.store, chosen, plan.folder, test=settings.test)
    decide_on_candidate(settings, plan)

    def fail(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(retraining, "write_record", fail)
        with pytest.raises(OSError, match="no space left"):
            conclude(settings, plan, chosen)
    assert conclude(settings, plan, chosen)["outcome"] == "promoted"
    assert len(Registry().history("night")) == 2


def test_a_version_promoted_meanwhile_is_not_overruled(settings: RetrainSettings, tmp_path: Path) -> None:
    retrain(settings, experiment())
    chosen = experiment(**LONG)
    plan = plan_retraining(settings, chosen)
    train_from_store(settings.store, chosen, plan.folder, test=settings.test)
    decide_on_candidate(settings, plan)
    small_classifier().checkpoint.save(tmp_path / "model")
    promoted = Registry().promote("night", tmp_path / "model")
    with pytest.raises(ValueError, match=f"night@{promoted.version} is current by now"):
        conclude(settings, plan, chosen)
    assert Registry().current_version("night") == promoted.version


def test_a_decision_is_read_as_it_was_written(tmp_path: Path) -> None:
    metrics = {"auc": {"candidate": 0.9, "current": None}}
    decision = Decision("a@1", "2", {"hash": "x", "n_objects": 3}, False, ("too few",), metrics)
    decision.write(tmp_path)
    assert Decision.read(tmp_path) == decision
    assert Decision.read(tmp_path / "nowhere") is None
