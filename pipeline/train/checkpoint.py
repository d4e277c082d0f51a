"""A trained classifier as a folder that explains itself: weights, everything that feeds them, and a card. No pickle."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load, save
from torch import Tensor

from models import LightCurveClassifier, build_model, thin_out
from pipeline.files import replace_folder
from pipeline.prepare.normalise import Normaliser, build_normaliser
from pipeline.schema import ZP_INTERNAL, LightCurves
from pipeline.settings import FrozenConfig
from pipeline.taxonomy import CLASS_SETS
from pipeline.train.answers import KnownAnswers
from pipeline.train.calibration import Calibration, Opinion
from pipeline.train.errors import CheckpointError
from pipeline.train.experiment import Experiment
from pipeline.train.kinds import Kinds
from pipeline.train.novelty import NoveltyScore
from pipeline.train.reference import Reference
from pipeline.train.trees import BoostedTrees, features_of

__all__ = ["Accepts", "Checkpoint", "CheckpointError"]

FORMAT_VERSION: Final = 2
READABLE_VERSIONS: Final = (1, 2)
"""A classifier of version 1 has no novelty score and no reference of its training data."""

COMPANIONS: Final[dict[str, Any]] = {
    "trees": BoostedTrees,
    "novelty": NoveltyScore,
    "reference": Reference,
    "answers": KnownAnswers,
}
"""What stands beside the weights: each has a part of model.json and a file of its own, <name>.safetensors."""

WRONG_CONTENT: Final = (SafetensorError, LookupError, TypeError, ValueError, AttributeError)
"""What reading raises where a file is whole and says something that no classifier is."""

Card = dict[str, Any]


class Accepts(FrozenConfig):
    """What a classifier was trained on, written then; of it, contract.py compares survey and redshift with new data."""

    zeropoint: float = ZP_INTERNAL
    """Of FLUXCAL [mag AB]."""
    redshift: str = "photoz"
    """Redshift column it reads, or `none`."""
    surveys: tuple[str, ...] = ()
    """Surveys it was trained on."""
    epochs: tuple[int, int] = (1, 1)
    """Fewest and most measurements of a training object."""
    best_snr: tuple[float, float] = (0.0, 0.0)
    """1st and 99th percentile of the best S/N of the training objects."""
    photoz: tuple[float, float] | None = None
    """Lowest and highest photo-z of the training objects; none where no training object had one."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained classifier.

    Attributes:
        experiment: the settings it was trained with; they name its bands, classes, resampler and network.
        normaliser: fitted on the training objects.
        weights: one state dictionary a trained network.
        calibration: of the logits, those of the trees in them, fitted on validation objects.
        thresholds: on P(Ia), chosen on validation objects, by purpose.
        accepts: what data it accepts.
        card: provenance and metrics, as JSON holds them.
        novelty: says how little a light curve resembles a supernova; None in a classifier of format version 1.
        reference: what the training objects were like; None likewise.
        trees: that have a share in the answers, `experiment.fit.trees`; None where there are none.
        kinds: what the networks tell apart inside, by class; empty where it is the classes.
        answers: made-up light curves and what it said of them; None in one that was made before there were any.
    """

    experiment: Experiment
    normaliser: Normaliser
    weights: list[dict[str, Tensor]]
    calibration: Calibration
    thresholds: dict[str, float]
    accepts: Accepts
    card: Card
    novelty: NoveltyScore | None = None
    reference: Reference | None = None
    answers: KnownAnswers | None = None
    kinds: Kinds = ()
    trees: BoostedTrees | None = None

    def __post_init__(self) -> None:
        """Check that the trees are there if they have a share, and are of the classes."""
        if (self.trees is not None) != (self.experiment.fit.trees > 0):
            raise ValueError(
                f"fit.trees is {self.experiment.fit.trees:g}, and there are {'' if self.trees else 'no '}trees"
            )
        if self.trees is not None and self.trees.n_classes != len(self.classes):
            raise ValueError(f"the trees tell {self.trees.n_classes} classes apart, the networks {len(self.classes)}")

    @property
    def novelty_threshold(self) -> float:
        """NOVELTY above which an object is called novel; NaN without a novelty score."""
        return math.nan if self.novelty is None else self.novelty.threshold

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the network's outputs."""
        return CLASS_SETS[self.experiment.classes]

    @property
    def name(self) -> str:
        """Name of the experiment, and 8 digits that change with any weight, and with any number of the trees."""
        digits = self.weights_sha256
        if self.trees is not None:
            digits = hashlib.sha256(digits.encode() + save_arrays(self.trees.tensors)).hexdigest()
        return f"{self.experiment.name}@{digits[:8]}"

    @property
    def weights_sha256(self) -> str:
        """Checksum of the weights, as in model.json."""
        return hashlib.sha256(self._weight_bytes()).hexdigest()

    def opinion(self, light_curves: LightCurves) -> Opinion | None:
        """Ask the trees about light curves; None where there are none."""
        if self.trees is None:
            return None
        return Opinion(
            self.trees.log_probabilities(features_of(light_curves, self.experiment)), self.experiment.fit.trees
        )

    def networks(self, device: torch.device | str = "cpu") -> list[LightCurveClassifier]:
        """Build the members of the ensemble: the trained networks, or so many thinned out ones of each as settings say.

        Raises:
            CheckpointError: if the weights are not those of such a network.
        """
        try:
            return [
                network.to(device).eval() for place in range(len(self.weights)) for network in self._answering(place)
            ]
        except (RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{self.name}: its weights and its settings do not belong together: {error}"
            ) from None

    def _answering(self, place: int) -> list[LightCurveClassifier]:
        """Build what a trained network answers as; which units a sample does without depends on the seeds alone."""
        fit = self.experiment.fit
        samples = [self._network(self.weights[place]) for _ in range(max(fit.dropout_samples, 1))]
        for sample, network in enumerate(samples[: fit.dropout_samples]):
            thin_out(network, int(np.random.SeedSequence([fit.seed, place, sample]).generate_state(1)[0]))
        return samples

    def _network(self, weights: Mapping[str, Tensor]) -> LightCurveClassifier:
        with torch.device("meta"):  # draws no initial weights
            experiment = self.experiment
            network = build_model(
                experiment.model, self.normaliser.inputs, len(self.classes), [label for label, _ in self.kinds]
            )
        network.load_state_dict(weights, assign=True)
        return network

    def save(self, folder: Path) -> None:
        """Write the folder so that a crash leaves the old one or the new one, whole."""
        weight_bytes = self._weight_bytes()
        companions = {name: found for name in COMPANIONS if (found := getattr(self, name)) is not None}
        companion_bytes = {name: save_arrays(found.tensors) for name, found in companions.items()}
        description = {
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "bands": self.experiment.bands,
            "classes": self.classes,
            **({"kinds": self.kinds} if self.kinds else {}),
            "feature_names": self.normaliser.feature_names,
            "context_names": self.normaliser.context_names,
            "normaliser_state": self.normaliser.state(),
            **self.calibration.description(),
            "thresholds": self.thresholds,
            "accepts": self.accepts.model_dump(),
            "n_members": len(self.weights),
            "weights_sha256": hashlib.sha256(weight_bytes).hexdigest(),
            **{
                name: {**found.description(), "sha256": hashlib.sha256(companion_bytes[name]).hexdigest()}
                for name, found in companions.items()
            },
            "experiment": self.experiment.model_dump(),
        }
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (partial / "weights.safetensors").write_bytes(weight_bytes)
        for name, content in companion_bytes.items():
            (partial / f"{name}.safetensors").write_bytes(content)
        (partial / "model.json").write_text(json.dumps(description, indent=2), encoding="utf-8")
        (partial / "card.json").write_text(json.dumps(self.card, indent=2), encoding="utf-8")
        (partial / "card.md").write_text(card_text(self), encoding="utf-8")
        replace_folder(partial, folder)

    @classmethod
    def load(cls, folder: Path) -> Checkpoint:
        """Read a checkpoint folder.

        Raises:
            CheckpointError: if a file is missing, damaged, or written by a newer version.
        """
        description = _read_json(folder / "model.json")
        version = description.get("format_version")
        if version not in READABLE_VERSIONS:
            known = f"up to {FORMAT_VERSION}"
            raise CheckpointError(f"{folder}: format version {version}; this snflow reads {known}: update it")
        try:
            weight_bytes = _read_bytes(folder / "weights.safetensors", description["weights_sha256"])
            return cls(
                **_described(description),
                weights=_members(load(weight_bytes), description["n_members"]),
                card=_read_json(folder / "card.json"),
                **{
                    name: _read_companion(folder, name, description[name]) for name in COMPANIONS if name in description
                },
            )
        except CheckpointError:
            raise
        except WRONG_CONTENT as error:
            told = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise CheckpointError(
                f"{folder}/model.json does not describe a classifier of this snflow: {told}"
            ) from None

    def _weight_bytes(self) -> bytes:
        named = {f"{member}.{key}": value for member, one in enumerate(self.weights) for key, value in one.items()}
        return save({key: value.detach().cpu().contiguous().clone() for key, value in named.items()})


def card_text(checkpoint: Checkpoint) -> str:
    """Write the card for people."""
    experiment = checkpoint.experiment
    lines = [
        f"# {checkpoint.name}",
        "",
        experiment.description or "A snflow classifier.",
        "",
        f"- Tells apart: {', '.join(checkpoint.classes)}" + _inside(checkpoint.kinds),
        f"- Bands, in order: {', '.join(experiment.bands)}; FLUXCAL at {checkpoint.accepts.zeropoint:g} mag AB",
        f"- Redshift it reads: {checkpoint.accepts.redshift}; objects without one are accepted",
        f"- Networks: {len(checkpoint.weights)} × {experiment.model.kind}" + _sampled(experiment.fit.dropout_samples),
        *([] if checkpoint.trees is None else [f"- Boosted trees: have a share of {experiment.fit.trees:g}"]),
        calibration_text(checkpoint),
        *(f"- Threshold on P(Ia) for {name}: {value:.4f}" for name, value in checkpoint.thresholds.items()),
        *([] if checkpoint.novelty is None else [f"- Called novel: NOVELTY above {checkpoint.novelty_threshold:.4f}"]),
        "",
        "## Provenance",
        "",
        *_nested(checkpoint.card),
    ]
    return "\n".join(lines) + "\n"


def _inside(kinds: Kinds) -> str:
    return f"; inside, {len(kinds)} kinds: {', '.join(name for _, name in kinds)}" if kinds else ""


def _sampled(samples: int) -> str:
    return f", each as {samples} members thinned out by dropout" if samples else ""


def calibration_text(checkpoint: Checkpoint) -> str:
    """Say in one line by what the logits are calibrated."""
    calibration = checkpoint.calibration
    if not calibration.scale:
        return f"- Temperature: {calibration.temperature:.4f}"
    numbers = zip(checkpoint.classes, calibration.scale, calibration.shift, strict=True)
    told = ", ".join(f"{name} × {scale:.4f} {shift:+.4f}" for name, scale, shift in numbers)
    return f"- Calibration of the logits: {told}"


def _nested(values: Mapping[str, Any], indent: str = "") -> list[str]:
    """List items with their values, those of a mapping of mappings below them."""
    lines = []
    for key, value in values.items():
        is_deep = isinstance(value, Mapping) and any(isinstance(inner, Mapping) for inner in value.values())
        if is_deep:
            lines += [f"{indent}- {key}:", *_nested(value, indent + "  ")]
        elif isinstance(value, Mapping):
            lines.append(
                f"{indent}- {key}: " + (", ".join(f"{name} {inner}" for name, inner in value.items()) or "none")
            )
        else:
            lines.append(f"{indent}- {key}: {value}")
    return lines


def _described(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return what model.json alone says of a classifier, by the name of its attribute."""
    experiment = Experiment.model_validate(description["experiment"])
    normaliser = build_normaliser(experiment.bands, experiment.normaliser)
    normaliser.load_state(description["normaliser_state"])
    thresholds = dict(description["thresholds"])
    return {
        "experiment": experiment,
        "kinds": tuple((int(label), str(name)) for label, name in description.get("kinds", ())),
        "accepts": Accepts.model_validate(description["accepts"]),
        "normaliser": normaliser,
        "calibration": Calibration.restore(description, len(CLASS_SETS[experiment.classes])),
        "thresholds": {str(name): float(value) for name, value in thresholds.items()},
    }


def _members(tensors: Mapping[str, Tensor], n_members: int) -> list[dict[str, Tensor]]:
    """Take the weights of the members apart, by the number that their names begin with."""
    weights: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        member, _, key = name.partition(".")
        weights.setdefault(member, {})[key] = value
    if sorted(weights) != sorted(str(member) for member in range(len(weights))) or len(weights) != n_members:
        raise ValueError(f"n_members is {n_members!r}, the weights are of {len(weights)} members")
    return [weights[str(member)] for member in range(len(weights))]


def _read_companion(folder: Path, name: str, description: Mapping[str, Any]) -> Any:
    content = _read_bytes(folder / f"{name}.safetensors", description["sha256"])
    return COMPANIONS[name].restore(load_arrays(content), description)


def _read_bytes(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path.parent}: cannot read {path.name} ({error})") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointError(f"{path} is damaged: its checksum is not the one in model.json")
    return content


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"no checkpoint in {path.parent}: cannot read {path.name} ({error})") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is damaged: expected an object of JSON, came {type(content).__name__}")
    return content
