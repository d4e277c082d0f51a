from __future__ import annotations

from pathlib import Path

import pytest

from models import MODELS, PRESETS
from models.phased import PhasedConfig
from models.recurrent import RecurrentConfig
from models.transformer import TransformerConfig
from models.window import WindowConfig
from pipeline.prepare.normalise import GlobalScale
from pipeline.prepare.resample import Nightly, RandomFill
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
    assert isinstance(experiment.model, RecurrentConfig)
    assert (experiment.fit.epochs, experiment.model.cell, experiment.resampler.kind) == (3, "gru", "random_fill")


@pytest.mark.parametrize("kind", MODELS)
def test_every_architecture_is_one_word_away_from_any_experiment(kind: str) -> None:
    for file in EXPERIMENTS.glob("*.toml"):
        experiment = load_experiment(file.stem, EXPERIMENTS, [f"model.kind={kind}"])
        assert experiment.model.kind == kind


def test_another_kind_takes_the_place_of_the_section_and_the_same_kind_changes_nothing() -> None:
    words = ["model.dropout=0.3", "model.kind=transformer"]
    assert load_experiment("demo", EXPERIMENTS, words).model == TransformerConfig(dropout=0.3)
    assert load_experiment("demo", EXPERIMENTS, ["model.kind=recurrent"]) == load_experiment("demo", EXPERIMENTS)
    nightly = load_experiment("charnock17", EXPERIMENTS, ["resampler.kind=nightly"])
    assert nightly.resampler == Nightly()
    assert load_experiment("charnock17", EXPERIMENTS, ["model.preset=moss18"]).model == PRESETS["moss18"]


def test_a_key_of_another_kind_is_answered_with_one_of_this_kind() -> None:
    with pytest.raises(SettingsError, match=r"unknown key model\.head_size; the nearest valid key is model\.hidden_si"):
        load_experiment("demo", EXPERIMENTS, ["model.kind=window", "model.head_size=4"])
    with pytest.raises(
        SettingsError, match=r"unknown key model\.hiden_sizes; the nearest valid key is model\.hidden_s"
    ):
        load_experiment("demo", EXPERIMENTS, ["model.hiden_sizes=[3]"])
    with pytest.raises(SettingsError, match=r"model: .*'nonsense'.*'recurrent', 'phased'"):
        load_experiment("demo", EXPERIMENTS, ["model.kind=nonsense"])


def test_a_window_shorter_than_the_grid_is_refused() -> None:
    words = ["model.kind=window", "resampler.kind=grid"]
    assert load_experiment("demo", EXPERIMENTS, words).model == WindowConfig()
    with pytest.raises(SettingsError, match=r"the grid has 60 points: set model\.steps=60"):
        load_experiment("demo", EXPERIMENTS, [*words, "model.steps=40"])


def test_a_word_without_equals_sign_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"expected section\.key=value"):
        override({}, ["fit.epochs"])
    with pytest.raises(SettingsError, match="is a value, not a section"):
        override({"name": "x"}, ["name.first=y"])


def test_an_unknown_experiment_lists_those_there_are() -> None:
    with pytest.raises(
        SettingsError, match=r"there are best, charnock17, demo, few, moller20, moss18, quick, sky, spcc"
    ):
        load_experiment("nonsense", EXPERIMENTS)


def test_a_missing_or_broken_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no settings file"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("a = = 3")
    with pytest.raises(SettingsError, match="is not a TOML file"):
        read_toml(tmp_path / "broken.toml")


def test_a_preset_is_a_model_that_further_keys_change() -> None:
    experiment = Experiment.model_validate({"name": "x", "model": {"preset": "charnock17", "dropout": 0.1}})
    assert isinstance(experiment.model, RecurrentConfig)
    assert experiment.model.hidden_sizes == (16, 16)
    assert experiment.model.dropout == 0.1
    with pytest.raises(ValueError, match=r"unknown model\.preset"):
        Experiment.model_validate({"name": "x", "model": {"preset": "nonsense"}})


def test_both_published_sizes_of_charnock_and_moss_are_presets() -> None:
    small, large = PRESETS["charnock17-4"], PRESETS["charnock17"]
    assert isinstance(small, RecurrentConfig)
    assert isinstance(large, RecurrentConfig)
    assert small.hidden_sizes == (4,)
    assert not large.bidirectional
    assert large.dropout == 0.5


def test_moss_2018_reads_raw_fluxes_without_errors_by_two_phased_layers() -> None:
    experiment = load_experiment("moss18", EXPERIMENTS)
    assert isinstance(experiment.model, PhasedConfig)
    assert (experiment.model.hidden_sizes, experiment.model.pooling) == ((128, 128), "last")
    assert experiment.normaliser == GlobalScale(scale="none", include_errors=False, include_observed=False)
    assert experiment.resampler.kind == "random_fill"


def test_moeller_and_de_boissiere_2020_is_the_baseline_of_supernnova() -> None:
    experiment = load_experiment("moller20", EXPERIMENTS)
    assert isinstance(experiment.model, RecurrentConfig)
    assert (experiment.model.hidden_sizes, experiment.model.pooling, experiment.model.dropout) == (
        (32, 32),
        "mean",
        0.05,
    )
    assert (experiment.resampler.gap_days, experiment.fit.batch_size) == (pytest.approx(8 / 24), 128)
    assert experiment.normaliser == GlobalScale(time="gaps")


def write_experiments(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)
    return folder


def test_an_experiment_extends_another_key_by_key(tmp_path: Path) -> None:
    folder = write_experiments(
        tmp_path,
        base='description = "b"\nclasses = "types"\n[model]\npreset = "moller20"\n[fit]\nepochs = 7\nseed = 3',
        middle='extends = "base"\n[model]\ndropout = 0.3\n[fit]\nepochs = 9',
        last=f'extends = "{tmp_path / "middle.toml"}"\n'
        '[model]\nkind = "transformer"\n[resampler]\nkind = "random_fill"',
    )
    middle, last = (load_experiment(name, folder, ["fit.batch_size=5"]) for name in ("middle", "last"))
    assert (middle.name, middle.description, middle.classes) == ("middle", "", "types")
    assert (middle.fit.epochs, middle.fit.seed, middle.fit.batch_size) == (9, 3, 5)
    assert middle.model == PRESETS["moller20"].model_copy(update={"dropout": 0.3})
    assert (last.model, last.resampler) == (TransformerConfig(), RandomFill())
    assert last.fit == middle.fit
    assert middle.model_fields_set == {"name", "classes", "model", "fit"}, "a student takes the others over"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "b"', r"extend each other: a\.toml extends b\.toml extends a\.toml"),
        ('extends = "none"', "no experiment named 'none'; there are a, b"),
        ('extends = "none.toml"', "no settings file at none.toml"),
        ("extends = 3", "extends is the name or file of one experiment, came 3"),
    ],
)
def test_an_experiment_that_extends_nothing_or_itself_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        load_experiment("a", write_experiments(tmp_path, a=text, b='extends = "a"'))
