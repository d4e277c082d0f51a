"""An experiment: everything that decides what a trained classifier is, in one TOML file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from models import PRESETS, ModelConfig
from models.window import WindowConfig
from pipeline.prepare.augment import AugmentConfig
from pipeline.prepare.normalise import NormaliserConfig, ObjectScale
from pipeline.prepare.resample import Grid, Nightly, ResamplerConfig
from pipeline.prepare.selection import SelectionSettings
from pipeline.prepare.split import SplitSettings
from pipeline.settings import FrozenConfig, SettingsError, load_settings, override, read_toml
from pipeline.taxonomy import ClassSet
from pipeline.train.calibration import CalibrationKind
from pipeline.train.kinds import Learns

__all__ = ["Experiment", "FitSettings", "check_window", "load_experiment"]


class FitSettings(FrozenConfig):
    """How networks are trained."""

    epochs: int = Field(default=40, ge=1)
    batch_size: int = Field(default=64, ge=1)
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    learning_rate: float = Field(default=3e-3, gt=0)
    """Of AdamW; the highest of the one-cycle schedule."""
    warmup: float = Field(default=0.3, gt=0, lt=1)
    """Share of the steps in which the one-cycle schedule rises to it."""
    weight_decay: float = Field(default=0.01, ge=0)
    averaging: float = Field(default=0.995, ge=0, lt=1)
    """Decay of the running average of the weights, per step; the average is what validation sees and what is kept."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    patience: int = Field(default=15, ge=1)
    """Training ends when the validation loss has not improved for so many epochs; the best epoch is kept."""
    keep: Literal["best", "last"] = "best"
    """Which epoch's averaged weights the classifier gets: of the lowest validation loss, or, without an early end, the
    last. Overconfidence, which calibration undoes, raises the loss while the order of objects still improves."""
    class_weight: Literal["none", "balanced"] = "none"
    learns: Learns = "classes"
    """What networks learn to tell apart where the truth says it: classes, subtypes, or the templates that were
    simulated. A class is then as probable as its subtypes or templates together."""
    teacher: str = ""
    """Classifier whose probabilities the networks learn beside the true classes: a folder, that of a run, NAME or
    NAME@VERSION; empty: none. What the experiment does not say of data and preparation is taken over from it."""
    teacher_weight: float = Field(default=0.7, gt=0, le=1)
    """Share of the teacher's probabilities in the loss; the true classes have the rest."""
    members: int = Field(default=1, ge=1)
    """Networks of the ensemble, each from its own seed, trained side by side on the cores there are."""
    dropout_samples: int = Field(default=0, ge=0, le=100)
    """Members that each trained network answers as, each without the units that a dropout of its own drops (Monte Carlo
    dropout, Gal & Ghahramani 2016, arXiv:1506.02142); 0: it answers as itself. No weight depends on it."""
    trees: float = Field(default=0.0, ge=0, lt=1)
    """Share of boosted trees on light-curve features in every answer; 0: there are none. They know much from few
    objects, and little that networks miss where there are many. No weight of a network depends on them."""
    calibration: CalibrationKind = "temperature"
    """What makes the probabilities honest, fitted on the validation part: one temperature, a scale and a shift of each
    class (`vector`), or nothing. No weight depends on it."""
    seed: int = 1
    threads: int = Field(default=1, ge=1)
    """Threads of each network; only 1 repeats bit for bit."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """In which training multiplies matrices. bfloat16 is about twice as fast on processors with AMX and accelerators
    made for it, where `auto` takes it, and slower on others; weights, validation, answers are float32 with either."""
    device: Literal["auto", "cpu", "cuda"] = "auto"


class Experiment(FrozenConfig):
    """Data choices, preparation, network and training."""

    name: str
    description: str = ""
    protocol: str | None = None
    """Published protocol whose numbers stand beside ours in the report, such as P1."""
    bands: tuple[str, ...] = ("g", "r", "i", "z")
    """Bands of the network, in its order."""
    classes: ClassSet = "ia"
    """What to tell apart: Ia from the rest, the three types, or the subtypes."""
    deredden: bool = False
    """Undo Milky Way extinction with MWEBV before anything else."""
    selection: SelectionSettings = SelectionSettings()
    split: SplitSettings = SplitSettings()
    resampler: ResamplerConfig = Nightly()
    normaliser: NormaliserConfig = ObjectScale()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = PRESETS["default"]
    fit: FitSettings = FitSettings()

    @model_validator(mode="before")
    @classmethod
    def expand_preset(cls, values: Any) -> Any:
        """Let `model.preset` name one of models.PRESETS, which the other keys of the section then change."""
        return with_whole_model(values) if isinstance(values, Mapping) else values

    @model_validator(mode="before")
    @classmethod
    def assume_kinds(cls, values: Any) -> Any:
        """Let a section that names no kind be of the default one, so that one key of it can be changed."""
        if not isinstance(values, Mapping):
            return values
        kinds = {name: field.default.kind for name, field in cls.model_fields.items() if hasattr(field.default, "kind")}
        sections = {name: values[name] for name in kinds if isinstance(values.get(name), Mapping)}
        plain = {name: section for name, section in sections.items() if "preset" not in section}
        return {**values, **{name: {"kind": kinds[name], **section} for name, section in plain.items()}}

    @model_validator(mode="after")
    def samples_differ(self) -> Experiment:
        """Refuse samples of a dropout that drops nothing, or everything."""
        samples, share = self.fit.dropout_samples, self.model.dropout
        if samples and not 0 < share < 1:
            raise SettingsError(
                f"fit.dropout_samples is {samples} and model.dropout is {share:g}, so that the samples would all be "
                "the same: train with dropout, such as model.dropout=0.1, or set fit.dropout_samples=0 (fit.members "
                "makes an ensemble of networks)"
            )
        return self

    @model_validator(mode="after")
    def window_holds_the_grid(self) -> Experiment:
        """Refuse a window that would leave points of the grid unread."""
        check_window(self)
        return self


def check_window(experiment: Experiment) -> None:
    """Make sure that the network reads all that the resampler gives.

    Raises:
        SettingsError: if it is a window that is shorter than the grid.
    """
    model, resampler = experiment.model, experiment.resampler
    if isinstance(model, WindowConfig) and isinstance(resampler, Grid) and model.steps < resampler.n_steps:
        points = resampler.n_steps
        raise SettingsError(f"model.steps is {model.steps}, the grid has {points} points: set model.steps={points}")


def with_whole_model(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return settings whose section `model` says its kind, and all that its preset says if it has one.

    Raises:
        SettingsError: if there is no such preset.
    """
    model = values.get("model", {})
    if not isinstance(model, Mapping):
        return values
    name = model.get("preset")
    if name is None:
        return {**values, "model": {"kind": PRESETS["default"].kind, **model}} if model else values
    if name not in PRESETS:
        raise SettingsError(f"unknown model.preset {name!r}; there are {', '.join(PRESETS)}")
    changes = {key: value for key, value in model.items() if key != "preset"}
    return {**values, "model": {**PRESETS[name].model_dump(), **changes}}


def load_experiment(name_or_file: str, folder: Path, words: Iterable[str] = ()) -> Experiment:
    """Load an experiment by name from a folder of TOML files, or from a file of its own, and apply `key=value` words.

    Raises:
        SettingsError: if there is none of that name, it extends itself, or it has an unknown key or a wrong value.
    """
    path = find_experiment(name_or_file, folder)
    values = override(read_experiment(path, folder), words)
    return load_settings(Experiment, {"name": path.stem, **values}, str(path))


def find_experiment(name_or_file: str, folder: Path) -> Path:
    """Return the file of an experiment.

    Raises:
        SettingsError: if there is none of that name.
    """
    path = Path(name_or_file)
    if path.suffix == ".toml":
        return path
    path = folder / f"{name_or_file}.toml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.toml")))
        raise SettingsError(f"no experiment named {name_or_file!r}; there are {known}, or give a .toml file")
    return path


def read_experiment(path: Path, folder: Path, extended_by: tuple[Path, ...] = ()) -> Mapping[str, Any]:
    """Read the settings of an experiment, on top of those of the one that its `extends` names, if it names one.

    Name and description are its own. A section that says another kind, or a preset, takes the place of the whole
    section; other keys take the place of their likes.

    Args:
        path: its file.
        folder: of experiments by name.
        extended_by: files that have led here.

    Raises:
        SettingsError: if a file is missing or no TOML, or experiments extend each other in a circle.
    """
    way = (*extended_by, path.resolve())
    if path.resolve() in extended_by:
        raise SettingsError(f"experiments extend each other: {' extends '.join(file.name for file in way)}")
    values = dict(read_toml(path))
    if "extends" not in values:
        return with_whole_model(values)
    base = values.pop("extends")
    if not isinstance(base, str):
        raise SettingsError(f"{path}: extends is the name or file of one experiment, came {base!r}")
    known = read_experiment(find_experiment(base, folder), folder, way)
    inherited = {key: value for key, value in known.items() if key not in ("name", "description")}
    return with_whole_model(
        {**inherited, **{key: extended(inherited.get(key), value) for key, value in values.items()}}
    )


def extended(base: Any, value: Any) -> Any:
    """Return a section with the keys of the one it extends, unless it says another kind or a preset; else the value."""
    if not isinstance(base, Mapping) or not isinstance(value, Mapping) or "preset" in value:
        return value
    return {**base, **value} if value.get("kind", base.get("kind")) == base.get("kind") else value
