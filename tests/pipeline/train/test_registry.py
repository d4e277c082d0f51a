from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.classify.predict import Classifier
from pipeline.settings import SettingsError
from pipeline.train import registry as registry_module
from pipeline.train.calibration import Calibration
from pipeline.train.checkpoint import Checkpoint, CheckpointError
from pipeline.train.registry import Registry, RegistrySettings, UnknownModelError, find_model
from tests.builders import make_survey
from tests.small_model import small_classifier


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(RegistrySettings(folder=tmp_path / "own", shipped=tmp_path / "shipped"))


def save(folder: Path, shift: float = 0.0, temperature: float = 1.0) -> Path:
    """A checkpoint whose weights differ by `shift`."""
    checkpoint = small_classifier().checkpoint
    weights = [{name: value + shift for name, value in one.items()} for one in checkpoint.weights]
    replace(checkpoint, weights=weights, calibration=Calibration(temperature), answers=None).save(folder)
    return folder


def test_a_promoted_model_is_found_by_name_by_version_and_by_folder(registry: Registry, tmp_path: Path) -> None:
    folder = save(tmp_path / "run" / "model")
    promoted = registry.promote("night", tmp_path / "run", "first")
    assert find_model("night", registry) == find_model(f"night@{promoted.version}", registry) == promoted.folder
    assert find_model(folder, registry) == find_model(tmp_path / "run", registry) == folder
    assert Checkpoint.load(promoted.folder).name == f"night@{promoted.version}"


def test_an_unknown_name_or_version_is_answered_with_those_there_are(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="none yet"):
        registry.find("night")
    promoted = registry.promote("spcc-ia", save(tmp_path / "model"))
    with pytest.raises(UnknownModelError, match=r"no model named 'spcc_ia' \(did you mean spcc-ia\?\); known: spcc-ia"):
        find_model("spcc_ia", registry)
    with pytest.raises(UnknownModelError, match=f"no version 'x'; there are {promoted.version}"):
        find_model("spcc-ia@x", registry)


def test_a_later_version_becomes_current_and_rollback_goes_back_step_by_step(
    registry: Registry, tmp_path: Path
) -> None:
    versions = [registry.promote("night", save(tmp_path / f"{step}", step)).version for step in (0.0, 0.5, 1.0)]
    assert [registry.rollback("night", why="worse").version for _ in range(2)] == [versions[1], versions[0]]
    with pytest.raises(SettingsError, match="nothing to go back to"):
        registry.rollback("night")
    history = registry.history("night")
    assert [entry.version for entry in history] == [*versions, versions[1], versions[0]]
    assert history[-1].why == "worse"
    assert {one.version for one in registry.versions("night")} == set(versions)
    assert registry.find("night").version == versions[0]


def test_promoting_the_same_twice_changes_nothing(registry: Registry, tmp_path: Path) -> None:
    folder = save(tmp_path / "model")
    assert registry.promote("night", folder) == registry.promote("night", folder)
    assert len(registry.history("night")) == 1


def test_the_same_weights_with_another_calibration_are_another_version(registry: Registry, tmp_path: Path) -> None:
    first = registry.promote("night", save(tmp_path / "a"))
    second = registry.promote("night", save(tmp_path / "b", temperature=2.0))
    assert second.version == f"{first.version}-2"
    assert Checkpoint.load(find_model("night", registry)).calibration.temperature == 2.0
    assert Checkpoint.load(first.folder).calibration.temperature == 1.0


@pytest.mark.parametrize("place", ["replace_folder", "write_atomically"])
def test_a_crash_while_promoting_leaves_the_old_version_current(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    old = registry.promote("night", save(tmp_path / "a"))

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    new = save(tmp_path / "b", 0.5)
    with monkeypatch.context() as patch:
        patch.setattr(registry_module, place, crash)
        with pytest.raises(KeyboardInterrupt):
            registry.promote("night", new)
    (registry.folder / "night" / ".promoting-killed").mkdir()  # as kill -9 leaves it
    assert registry.find("night") == old
    assert Checkpoint.load(old.folder).name == f"night@{old.version}"
    assert registry.promote("night", new).version != old.version
    assert not list((registry.folder / "night").glob(".promoting-*"))


def test_what_ships_is_found_overruled_by_a_promotion_and_found_again_after_rollback(
    registry: Registry, tmp_path: Path
) -> None:
    registry.ship("spcc-ia", save(tmp_path / "a"), {"leakage": "none"}, 10**6)
    shipped = registry.find("spcc-ia")
    assert (shipped.origin, Checkpoint.load(shipped.folder).card["leakage"]) == ("shipped", "none")
    assert registry.promote("spcc-ia", save(tmp_path / "b", 0.5)).origin == "own"
    assert registry.find("spcc-ia").origin == "own"
    assert registry.rollback("spcc-ia") == shipped
    assert registry.find("spcc-ia") == shipped


def test_what_is_too_large_is_not_shipped(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="but what ships has at most 1,000"):
        registry.ship("spcc-ia", save(tmp_path / "a"), {}, 1000)
    assert registry.names() == []
    assert os.listdir(registry.shipped) == []


@pytest.mark.parametrize("name", ["", "../x", "a@b", ".hidden", "a/b"])
def test_a_name_that_cannot_be_a_folder_is_refused(registry: Registry, tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="is no name for a model"):
        registry.promote(name, save(tmp_path / "a"))


def test_a_damaged_history_says_which_file(registry: Registry, tmp_path: Path) -> None:
    registry.promote("night", save(tmp_path / "a"))
    (registry.folder / "night" / "current.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"current\.json is damaged"):
        registry.find("night")


def test_classifiers_load_by_name_from_the_folder_in_snflow_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNFLOW_MODELS", str(tmp_path / "own"))
    promoted = Registry().promote("night", save(tmp_path / "a"))
    light_curves, _ = make_survey(3)
    table = Classifier.load("night").classify(light_curves).table
    assert set(table["MODEL"]) == {f"night@{promoted.version}"}
    current = json.loads((tmp_path / "own" / "night" / "current.json").read_text())
    assert (current["version"], current["previous"]) == (promoted.version, None)


def test_the_models_that_ship_say_what_they_said_when_they_were_made() -> None:
    from pipeline.train.verify import verify_checkpoint

    shipped = RegistrySettings().shipped
    assert shipped.is_dir()
    for path in shipped.glob("*/model.json"):
        assert verify_checkpoint(path.parent).is_same
