"""An experiment: everything that decides what a trained classifier is, in one TOML file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from models import PRESETS, ModelConfig
from pipeline.prepare.augment import AugmentConfig
from pipeline.prepare.normalise import NormaliserConfig, ObjectScale
from pipeline.prepare.resample import Nightly, ResamplerConfig
from pipeline.prepare.selection import SelectionSettings
from pipeline.prepare.split import SplitSettings
from pipeline.settings import FrozenConfig, SettingsError, load_settings, override, read_toml
from pipeline.taxonomy import ClassSet

__all__ = ["Experiment", "FitSettings", "load_experiment"]


class FitSettings(FrozenConfig):
    """How networks are trained."""

    epochs: int = Field(default=40, ge=1)
    batch_size: int = Field(default=64, ge=1)
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    learning_rate: float = Field(default=3e-3, gt=0)
    """Of AdamW; the highest of the one-cycle schedule."""
    weight_decay: float = Field(default=0.01, ge=0)
    averaging: float = Field(default=0.995, ge=0, lt=1)
    """Decay of the running average of the weights, per step; the average is what validation sees and what is kept."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    patience: int = Field(default=15, ge=1)
    """Training ends when the validation loss has not improved for so many epochs; the best epoch is kept."""
    class_weight: Literal["none", "balanced"] = "none"
    teacher: str = ""
    """Classifier whose probabilities the networks learn beside the true classes: a folder, that of a run, NAME or
    NAME@VERSION; empty: none. What the experiment does not say of data and preparation is taken over from it."""
    teacher_weight: float = Field(default=0.7, gt=0, le=1)
    """Share of the teacher's probabilities in the loss; the true classes have the rest."""
    members: int = Field(default=1, ge=1)
    """Networks of the ensemble, each from its own seed, trained side by side on the cores there are."""
    seed: int = 1
    threads: int = Field(default=1, ge=1)
    """Threads of each network; only 1 repeats bit for bit."""
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
        model = values.get("model") if isinstance(values, Mapping) else None
        if not isinstance(model, Mapping) or "preset" not in model:
            return values
        preset = PRESETS.get(model["preset"])
        if preset is None:
            raise ValueError(f"unknown model.preset {model['preset']!r}; there are {', '.join(PRESETS)}")
        changes = {key: value for key, value in model.items() if key != "preset"}
        return {**values, "model": {**preset.model_dump(), **changes}}

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


def load_experiment(name_or_file: str, folder: Path, words: Iterable[str] = ()) -> Experiment:
    """Load an experiment by name from a folder of TOML files, or from a file of its own, and apply `key=value` words.

    Raises:
        SettingsError: if there is none of that name, or it has an unknown key or a wrong value.
    """
    path = Path(name_or_file)
    if path.suffix != ".toml":
        path = folder / f"{name_or_file}.toml"
        if not path.exists():
            known = ", ".join(sorted(file.stem for file in folder.glob("*.toml")))
            raise SettingsError(f"no experiment named {name_or_file!r}; there are {known}, or give a .toml file")
    values = override(read_toml(path), words)
    return load_settings(Experiment, {"name": path.stem, **values}, str(path))
