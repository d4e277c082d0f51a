from __future__ import annotations

from pathlib import Path

import pytest

from models import PRESETS
from pipeline.settings import SettingsError, override, read_toml
from pipeline.train.experiment import Experiment, load_experiment

EXPERIMENTS = Path(__file__).parents[2] / "flows" / "experiments"


@pytest.mark.parametrize("name", sorted(file.stem for file in EXPERIMENTS.glob("*.toml")))
def test_every_experiment_of_the_project_loads(name: str) -> None:
    assert load_experiment(name, EXPERIMENTS).name == name


def test_an_unknown_key_is_an_error_that_names_the_nearest_valid_one() -> None:
    with pytest.raises(SettingsError, match=r"unknown key fit\.epoch; the nearest valid key is fit\.epochs"):
        load_experiment("demo", EXPERIMENTS, ["fit.epoch=3"])
    with pytest.raises(SettingsError, match=r"unknown key splitt; the nearest valid key is split"):
        load_experiment("demo", EXPERIMENTS, ["splitt=3"])


def test_a_wrong_value_says_what_was_expected_and_what_came() -> None:
    with pytest.raises(SettingsError, match=r"fit\.epochs: .*greater than or equal to 1 \(came 0\)"):
        load_experiment("demo", EXPERIMENTS, ["fit.epochs=0"])


def test_words_change_settings_and_may_be_strings_without_quotes() -> None:
    experiment = load_experiment("demo", EXPERIMENTS, ["fit.epochs=3", "model.cell=gru", "resampler.kind=random_fill"])
    assert (experiment.fit.epochs, experiment.model.cell, experiment.resampler.kind) == (3, "gru", "random_fill")


def test_a_word_without_equals_sign_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"expected section\.key=value"):
        override({}, ["fit.epochs"])
    with pytest.raises(SettingsError, match="is a value, not a section"):
        override({"name": "x"}, ["name.first=y"])


def test_an_unknown_experiment_lists_those_there_are() -> None:
    with pytest.raises(SettingsError, match=r"there are charnock17, demo, spcc"):
        load_experiment("nonsense", EXPERIMENTS)


def test_a_missing_or_broken_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no settings file"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("a = = 3")
    with pytest.raises(SettingsError, match="is not a TOML file"):
        read_toml(tmp_path / "broken.toml")


def test_a_preset_is_a_model_that_further_keys_change() -> None:
    experiment = Experiment.model_validate({"name": "x", "model": {"preset": "charnock17", "dropout": 0.1}})
    assert experiment.model.hidden_sizes == PRESETS["charnock17"].hidden_sizes == (16, 16)
    assert experiment.model.dropout == 0.1
    with pytest.raises(ValueError, match=r"unknown model\.preset"):
        Experiment.model_validate({"name": "x", "model": {"preset": "nonsense"}})


def test_both_published_sizes_of_charnock_and_moss_are_presets() -> None:
    assert PRESETS["charnock17-4"].hidden_sizes == (4,)
    assert not PRESETS["charnock17"].bidirectional
    assert PRESETS["charnock17"].dropout == 0.5
