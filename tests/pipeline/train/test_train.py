from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.schema import LightCurves, Truth
from pipeline.settings import SettingsError, load_settings
from pipeline.train.checkpoint import Checkpoint, CheckpointError, card_text
from pipeline.train.control import control_predictions
from pipeline.train.ensemble import state_file
from pipeline.train.experiment import Experiment
from pipeline.train.fit import TrainingResult, choose_sample, fingerprint, train_classifier, training_data
from pipeline.train.inference import choose_precision
from pipeline.train.member import MemberRun
from pipeline.train.state import StateError, TrainingState
from tests.builders import make_survey, make_truth
from tests.killing import kill_in_training

SMALL = {
    "name": "small",
    "model": {"hidden_sizes": [6], "embedding_size": 0, "head_size": 0},
    "fit": {"epochs": 3, "batch_size": 16, "averaging": 0.9},
}


def experiment(**fit: object) -> Experiment:
    return Experiment.model_validate({**SMALL, "fit": {**SMALL["fit"], **fit}})


@pytest.fixture(scope="module")
def survey() -> tuple[LightCurves, Truth]:
    return make_survey(90)


@pytest.fixture(scope="module")
def trained(survey: tuple[LightCurves, Truth], tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingResult, Path]:
    folder = tmp_path_factory.mktemp("trained")
    return train_classifier(*survey, experiment(epochs=25, learning_rate=0.02), folder), folder


def same_weights(first: Checkpoint, second: Checkpoint) -> bool:
    return all(
        torch.equal(one[name], other[name])
        for one, other in zip(first.weights, second.weights, strict=True)
        for name in one
    )


def test_a_network_learns_the_toy_survey(trained: tuple[TrainingResult, Path]) -> None:
    history = trained[0].history
    assert history["VALID_LOSS"].min() < 0.3 < history["VALID_LOSS"].iloc[0]
    assert history["EPOCH"].tolist() == list(range(1, len(history) + 1))


def test_an_epoch_shows_every_object_once_changed_and_little_is_padding() -> None:
    light_curves, truth = make_survey(900)
    settings = experiment(batch_size=32)
    strong = settings.augment.model_copy(update={"drop_night": 0.6, "photoz": 0.0, "hide_redshift": 0.0})
    settings = settings.model_copy(update={"augment": strong})
    sample = choose_sample(light_curves, truth, settings)
    data = training_data(sample, settings)
    run = MemberRun(data, settings, 0)
    batches = list(run.batches(np.random.default_rng(0), torch.Generator().manual_seed(0)))
    rows = np.concatenate([rows for rows, _ in batches])
    assert sorted(rows) == list(range(len(data.train.labels)))
    nights = sum(int(photometry.mask.sum()) for _, photometry in batches)
    assert nights < 0.9 * data.train.resampled.lengths.sum()
    assert nights > 0.9 * sum(photometry.mask.numel() for _, photometry in batches)
    for rows, photometry in batches:
        assert torch.equal(photometry.header[:, 0], torch.from_numpy(data.train.resampled.header[rows, 0]))


def test_the_same_command_gives_the_same_weights(survey: tuple[LightCurves, Truth], tmp_path: Path) -> None:
    first = train_classifier(*survey, experiment(), tmp_path / "a")
    second = train_classifier(*survey, experiment(), tmp_path / "b")
    other = train_classifier(*survey, experiment(seed=2), tmp_path / "c")
    assert same_weights(first.checkpoint, second.checkpoint)
    assert not same_weights(first.checkpoint, other.checkpoint)


def test_the_order_of_the_objects_does_not_change_the_weights(
    survey: tuple[LightCurves, Truth], tmp_path: Path
) -> None:
    light_curves, truth = survey
    shuffled = light_curves.take(np.random.default_rng(0).permutation(len(light_curves)))
    first = train_classifier(light_curves, truth, experiment(), tmp_path / "a")
    second = train_classifier(shuffled, truth, experiment(), tmp_path / "b")
    assert same_weights(first.checkpoint, second.checkpoint)


def test_training_in_bfloat16_keeps_float32_weights_and_learns_as_much(
    survey: tuple[LightCurves, Truth], trained: tuple[TrainingResult, Path], tmp_path: Path
) -> None:
    half = experiment(epochs=25, learning_rate=0.02, precision="bfloat16")
    first = train_classifier(*survey, half, tmp_path / "a")
    again = train_classifier(*survey, half, tmp_path / "b")
    assert same_weights(first.checkpoint, again.checkpoint)
    assert not same_weights(first.checkpoint, trained[0].checkpoint)
    assert {values.dtype for values in first.checkpoint.weights[0].values()} == {torch.float32}
    assert first.history["VALID_LOSS"].min() == pytest.approx(trained[0].history["VALID_LOSS"].min(), abs=0.05)


def test_auto_takes_bfloat16_only_where_it_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for capabilities, expected in (({"amx_bf16": True}, torch.bfloat16), ({"avx512_bf16": True}, torch.float32)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found, raising=False)
        assert choose_precision("auto", torch.device("cpu")) == expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert choose_precision("auto", torch.device("cpu")) == torch.float32


def test_training_leaves_the_global_random_state_alone(survey: tuple[LightCurves, Truth], tmp_path: Path) -> None:
    before = torch.get_rng_state()
    train_classifier(*survey, experiment(epochs=1), tmp_path)
    assert torch.equal(before, torch.get_rng_state())


class InterruptedTestError(Exception):
    """Stands for a crash at the end of an epoch."""


def test_an_interrupted_training_goes_on_bit_for_bit(survey: tuple[LightCurves, Truth], tmp_path: Path) -> None:
    whole = train_classifier(*survey, experiment(epochs=4), tmp_path / "whole")

    def crash(row: dict[str, float]) -> None:
        if row["EPOCH"] == 2:
            raise InterruptedTestError

    with pytest.raises(InterruptedTestError):
        train_classifier(*survey, experiment(epochs=4), tmp_path / "parts", crash)
    resumed = train_classifier(*survey, experiment(epochs=4), tmp_path / "parts")
    assert same_weights(whole.checkpoint, resumed.checkpoint)
    assert whole.checkpoint.calibration == resumed.checkpoint.calibration
    columns = ["EPOCH", "TRAIN_LOSS", "VALID_LOSS", "LEARNING_RATE"]
    pd.testing.assert_frame_equal(whole.history[columns], resumed.history[columns])


KILLED = """
import sys
from pathlib import Path
from pipeline.train.experiment import Experiment
from pipeline.train.fit import train_classifier
from tests.builders import make_survey
import torch
torch.set_num_threads(1)
experiment = Experiment.model_validate_json(sys.argv[2])
if __name__ == "__main__":
    train_classifier(*make_survey(90), experiment, Path(sys.argv[1]), lambda row: print(row["EPOCH"], flush=True))
"""


@pytest.mark.parametrize("members", [1, 2])
def test_a_training_killed_with_signal_9_goes_on_bit_for_bit(members: int, tmp_path: Path) -> None:
    chosen = experiment(epochs=40, patience=40, members=members)
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    command = [sys.executable, str(script), str(tmp_path / "killed"), chosen.model_dump_json()]
    kill_in_training(command)
    resumed = train_classifier(*make_survey(90), chosen, tmp_path / "killed")
    whole = train_classifier(*make_survey(90), chosen, tmp_path / "whole")
    assert same_weights(whole.checkpoint, resumed.checkpoint)


def test_members_of_an_ensemble_differ_and_each_equals_its_training_alone(
    survey: tuple[LightCurves, Truth], tmp_path: Path
) -> None:
    both = train_classifier(*survey, experiment(members=2), tmp_path / "both")
    alone = train_classifier(*survey, experiment(), tmp_path / "alone")
    first, second = both.checkpoint.weights
    assert not all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(first[name], alone.checkpoint.weights[0][name]) for name in first)


def test_a_larger_ensemble_keeps_the_members_it_has(survey: tuple[LightCurves, Truth], tmp_path: Path) -> None:
    one = train_classifier(*survey, experiment(), tmp_path)
    before = state_file(tmp_path / "training", 0).stat().st_mtime_ns
    two = train_classifier(*survey, experiment(members=2), tmp_path)
    assert state_file(tmp_path / "training", 0).stat().st_mtime_ns == before
    assert len(two.checkpoint.weights) == 2
    first = one.checkpoint.weights[0]
    assert all(torch.equal(first[name], two.checkpoint.weights[0][name]) for name in first)


def test_members_by_dropout_need_no_further_training(survey: tuple[LightCurves, Truth], tmp_path: Path) -> None:
    plain = train_classifier(*survey, experiment(), tmp_path).checkpoint
    before = state_file(tmp_path / "training", 0).stat().st_mtime_ns
    sampled = train_classifier(*survey, experiment(dropout_samples=4), tmp_path).checkpoint
    assert state_file(tmp_path / "training", 0).stat().st_mtime_ns == before
    assert sampled.name == plain.name
    assert (len(plain.networks()), len(sampled.networks())) == (1, 4)
    assert "1 × recurrent, each as 4 members thinned out by dropout" in (tmp_path / "model" / "card.md").read_text()
    both = replace(sampled, weights=[*sampled.weights, *sampled.weights]).networks()
    kept = [tuple(both[place].dropouts[0].kept.tolist()) for place in range(8)]
    assert len(set(kept)) > 4, "each trained network has dropouts of its own"


def test_another_calibration_needs_no_further_training_and_the_card_says_what_it_did(
    trained: tuple[TrainingResult, Path], survey: tuple[LightCurves, Truth], tmp_path: Path
) -> None:
    result, folder = trained
    shutil.copytree(folder / "training", tmp_path / "training")
    rows: list[dict[str, float]] = []
    for kind in ("vector", "none", "temperature"):
        again = train_classifier(*survey, experiment(epochs=25, learning_rate=0.02, calibration=kind), tmp_path)
        assert again.history["SECONDS"].tolist() == result.history["SECONDS"].tolist(), "nothing was trained"
        assert same_weights(again.checkpoint, result.checkpoint)
        card = Checkpoint.load(tmp_path / "model").card["calibration"]
        assert card["kind"].startswith(kind) or card["kind"].startswith("temperature, not vector")
        rows += [card["on validation, before"], card["on validation, after"]]
        assert set(rows[-1]) == {"log_loss", "brier", "ece"}
        assert "on validation, after: log_loss" in (tmp_path / "model" / "card.md").read_text()
    assert rows[0] == rows[2] == rows[3] == rows[4]
    assert rows[1]["log_loss"] <= rows[5]["log_loss"] <= rows[0]["log_loss"]
    assert again.checkpoint.calibration == result.checkpoint.calibration


@pytest.mark.parametrize("share", [0, 1])
def test_samples_that_would_all_be_the_same_are_refused(share: float) -> None:
    values = {**SMALL, "model": {"dropout": share}, "fit": {"dropout_samples": 3}}
    message = (
        r"^a\.toml: fit\.dropout_samples is 3 and model\.dropout is \d, so that .*makes an ensemble of networks\)$"
    )
    with pytest.raises(SettingsError, match=message):
        load_settings(Experiment, values, "a.toml")


def test_a_state_of_other_settings_is_not_resumed(survey: tuple[LightCurves, Truth], tmp_path: Path) -> None:
    train_classifier(*survey, experiment(), tmp_path)
    with pytest.raises(StateError, match="other settings or data"):
        train_classifier(*survey, experiment(learning_rate=0.1), tmp_path)


def test_a_state_of_a_snflow_that_trained_otherwise_is_not_resumed(
    survey: tuple[LightCurves, Truth], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_classifier(*survey, experiment(epochs=1), tmp_path)
    monkeypatch.setattr("pipeline.train.fit.PROCEDURE", 0)
    with pytest.raises(StateError, match="or by a snflow that trained otherwise"):
        train_classifier(*survey, experiment(epochs=1), tmp_path)


def test_a_damaged_state_says_what_to_do(survey: tuple[LightCurves, Truth], tmp_path: Path) -> None:
    train_classifier(*survey, experiment(epochs=1), tmp_path)
    path = state_file(tmp_path / "training", 0)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StateError, match="delete it"):
        TrainingState.load(path, "any")


def test_early_stopping_keeps_the_best_epoch(survey: tuple[LightCurves, Truth], tmp_path: Path) -> None:
    result = train_classifier(*survey, experiment(epochs=60, learning_rate=0.3, patience=2), tmp_path)
    losses = result.history["VALID_LOSS"]
    assert len(losses) < 60
    assert losses.idxmin() == len(losses) - 3
    assert result.checkpoint.card["best_epochs"] == [len(losses) - 2]


def test_the_last_epoch_is_kept_where_that_is_asked_for(survey: tuple[LightCurves, Truth], tmp_path: Path) -> None:
    wild = experiment(epochs=3, learning_rate=0.3, patience=1, keep="last", schedule="constant")
    result = train_classifier(*survey, wild, tmp_path)
    losses = result.history["VALID_LOSS"]
    assert len(losses) == 3
    assert result.checkpoint.card["best_epochs"] == [3]
    assert losses.idxmin() != 2, "or this test shows nothing"
    state = TrainingState.load(state_file(tmp_path / "training", 0), result.checkpoint.card["fingerprint"])
    assert state is not None
    average = state.part("average")
    assert all(torch.equal(value, average[f"module.{name}"]) for name, value in result.checkpoint.weights[0].items())


@pytest.mark.parametrize(
    "changes",
    [
        {"resampler": {"kind": "random_fill"}, "normaliser": {"kind": "global"}},
        {"classes": "types"},
        {"deredden": True, "fit": {"epochs": 1, "class_weight": "balanced", "schedule": "constant"}},
        {"normaliser": {"kind": "per_object", "use_redshift": False}},
        {"classes": "types", "fit": {"epochs": 1, "learns": "subtypes", "class_weight": "balanced"}},
        {"augment": {"mix": 0.4}, "fit": {"epochs": 1, "learns": "subtypes"}},
    ],
    ids=["random_fill", "types", "balanced", "no redshift", "subtypes", "mixed"],
)
def test_every_way_of_training_gives_a_working_classifier(
    changes: dict[str, object], survey: tuple[LightCurves, Truth], tmp_path: Path
) -> None:
    chosen = Experiment.model_validate({**SMALL, "fit": {"epochs": 1}, **changes})
    result = train_classifier(*survey, chosen, tmp_path)
    assert np.isfinite(result.history["VALID_LOSS"]).all()
    assert Checkpoint.load(tmp_path / "model").accepts == result.checkpoint.accepts


@pytest.mark.parametrize(("learns", "n_kinds"), [("subtypes", 3), ("templates", 4)])
def test_kinds_are_learnt_where_they_are_known_and_add_up_to_the_classes(
    learns: str, n_kinds: int, survey: tuple[LightCurves, Truth], tmp_path: Path
) -> None:
    light_curves, truth = survey
    table = truth.table
    subclasses = table["SUBCLASS"].where(table.index % 2 == 0, table["SUBCLASS"].replace("IIP", "IIn"))
    templates = pd.Series("toy", index=table.index).where(table.index % 4 != 0, "other")
    templates = templates.where(table["SUBCLASS"] == "IIP", None)  # of Ia, the truth does not say it
    finer = Truth(table.assign(SUBCLASS=subclasses, TEMPLATE=templates))
    result = train_classifier(light_curves, finer, experiment(epochs=25, learning_rate=0.02, learns=learns), tmp_path)
    checkpoint = Checkpoint.load(tmp_path / "model")
    assert result.history["VALID_LOSS"].min() < 0.3
    assert checkpoint.classes == ("Ia", "nonIa")
    assert checkpoint.kinds == result.checkpoint.kinds
    assert len(checkpoint.kinds) == n_kinds == checkpoint.networks()[0].network.head.out_features
    assert all(name in card_text(checkpoint) for _, name in checkpoint.kinds)


def test_what_is_not_learnt_is_not_looked_at(survey: tuple[LightCurves, Truth]) -> None:
    light_curves, truth = survey
    other = Truth(truth.table.assign(SUBCLASS=truth.table["SUBCLASS"].replace("IIP", "IIn"), TEMPLATE=None))
    for learns, is_seen in (("classes", False), ("subtypes", True), ("templates", True)):
        chosen = experiment(learns=learns)
        first, second = (fingerprint(choose_sample(light_curves, one, chosen), chosen) for one in (truth, other))
        assert (first != second) == is_seen


def test_a_checkpoint_is_whole_and_holds_no_pickle(trained: tuple[TrainingResult, Path]) -> None:
    result, folder = trained
    loaded = Checkpoint.load(folder / "model")
    assert same_weights(loaded, result.checkpoint)
    assert loaded.name == result.checkpoint.name
    assert loaded.experiment == result.checkpoint.experiment
    assert sorted(path.name for path in (folder / "model").iterdir()) == [
        "answers.safetensors",
        "card.json",
        "card.md",
        "model.json",
        "novelty.safetensors",
        "reference.safetensors",
        "weights.safetensors",
    ]
    assert loaded.novelty_threshold == result.checkpoint.novelty_threshold
    assert loaded.reference is not None
    assert result.checkpoint.reference is not None
    assert loaded.reference.summary.equals(result.checkpoint.reference.summary)
    assert loaded.reference.class_shares == result.checkpoint.reference.class_shares
    description = json.loads((folder / "model" / "model.json").read_text())
    assert description["bands"] == ["g", "r", "i", "z"]
    assert description["classes"] == ["Ia", "nonIa"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "weights.safetensors").write_bytes(b"x" * 50), "damaged: its checksum"),
        (lambda folder: (folder / "weights.safetensors").unlink(), r"cannot read weights\.safetensors"),
        (lambda folder: (folder / "novelty.safetensors").write_bytes(b"x"), r"novelty\.safetensors is damaged"),
        (lambda folder: (folder / "reference.safetensors").unlink(), r"cannot read reference\.safetensors"),
        (lambda folder: (folder / "model.json").write_text("{"), "is damaged"),
        (lambda folder: (folder / "model.json").write_text('{"format_version": 99}'), "format version 99"),
        (lambda folder: (folder / "model.json").unlink(), "no checkpoint in"),
    ],
    ids=[
        "damaged weights",
        "no weights",
        "damaged novelty",
        "no reference",
        "damaged description",
        "newer version",
        "nothing",
    ],
)
def test_a_checkpoint_that_cannot_be_used_says_why(
    damage: object, message: str, trained: tuple[TrainingResult, Path], tmp_path: Path
) -> None:
    trained[0].checkpoint.save(tmp_path / "model")
    damage(tmp_path / "model")  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.load(tmp_path / "model")


def test_a_checkpoint_of_format_1_loads_without_novelty(trained: tuple[TrainingResult, Path], tmp_path: Path) -> None:
    trained[0].checkpoint.save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    description = {**json.loads(path.read_text()), "format_version": 1}
    for name in ("novelty", "reference"):
        del description[name]
        (tmp_path / "model" / f"{name}.safetensors").unlink()
    path.write_text(json.dumps(description))
    loaded = Checkpoint.load(tmp_path / "model")
    assert (loaded.novelty, loaded.reference) == (None, None)
    assert np.isnan(loaded.novelty_threshold)
    assert loaded.name == trained[0].checkpoint.name


def test_objects_of_unknown_class_are_left_out_and_counted(survey: tuple[LightCurves, Truth]) -> None:
    light_curves, truth = survey
    unknown = truth.table.assign(SUBCLASS=truth.table["SUBCLASS"].where(np.arange(len(truth)) >= 5))
    sample = choose_sample(light_curves, Truth(unknown), experiment())
    assert sample.cuts == [("class unknown", 5)]
    assert len(sample.light_curves) == 85


def test_training_on_one_class_only_is_refused(survey: tuple[LightCurves, Truth], tmp_path: Path) -> None:
    light_curves, _ = survey
    with pytest.raises(ValueError, match="at least two of the classes"):
        train_classifier(light_curves, make_truth(light_curves, ["Ia"] * 90), experiment(), tmp_path)


def test_the_control_classifier_sees_no_photometry(survey: tuple[LightCurves, Truth]) -> None:
    light_curves, truth = survey
    sample = choose_sample(light_curves, truth, experiment())
    before = control_predictions(sample, experiment()).probabilities
    changed = sample.light_curves.epochs.assign(FLUXCAL=1.0, FLUXCALERR=9.0)
    blind = LightCurves(sample.light_curves.objects, changed, sample.light_curves.offsets)
    after = control_predictions(replace(sample, light_curves=blind), experiment())
    np.testing.assert_array_equal(before, after.probabilities)


def test_training_twice_at_once_in_one_folder_waits(survey: tuple[LightCurves, Truth], tmp_path: Path) -> None:
    from filelock import FileLock

    lock = state_file(tmp_path / "training", 0).with_suffix(".lock")
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        script = tmp_path / "second.py"
        script.write_text(KILLED)
        command = [sys.executable, str(script), str(tmp_path), experiment(epochs=1).model_dump_json()]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
        second = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        time.sleep(8)
        assert not state_file(tmp_path / "training", 0).exists()
    assert second.communicate(timeout=60)[0].split() == [b"1"]
