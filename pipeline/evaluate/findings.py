"""What evaluations find: the content of metrics.json, type by type. Undefined numbers are NaN here and null in JSON.

`Findings` is the whole file. Every type is frozen and made of plain values: `to_dict` and `from_dict` are exact
inverses, and the page can be drawn from the file alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, cast

from pydantic import TypeAdapter

from pipeline.evaluate.curves import Number
from pipeline.evaluate.json_schema import describe
from pipeline.evaluate.metrics import Estimate
from pipeline.evaluate.sample_findings import (
    Abstention,
    BrierParts,
    ClassMix,
    Contamination,
    Counts,
    Evaluation,
    ExpectedSelection,
    MetricBin,
    OperatingPoint,
    SelectionCounts,
    WithoutProbability,
)

__all__ = [
    "Abstention",
    "BrierParts",
    "ClassMix",
    "Comparison",
    "Contamination",
    "Counts",
    "Difference",
    "Drift",
    "EarlyClassification",
    "EarlyPoint",
    "Evaluation",
    "ExpectedSelection",
    "FeatureDrift",
    "Findings",
    "MetricBin",
    "NoveltyTest",
    "OperatingPoint",
    "SelectionCounts",
    "Sensitivity",
    "TimeToClass",
    "Trust",
    "WithoutProbability",
    "json_schema",
    "to_json",
]

FORMAT_VERSION: Final = 2


@dataclass(frozen=True)
class EarlyPoint:
    """How well the light curves are told apart when they end early.

    Attributes:
        since: what days are counted from: the first detection, the true peak; "sixth" is the SPCC rule of the first six
            observations with S/N > 4 and the rest of that night; "whole" is all there is.
        days: up to which measurements are kept [d]; NaN for "sixth" and "whole".
        n_objects: evaluated objects of known class for which the moment is defined.
        n_without: those of them that have no probability yet.
        metrics: accuracy, purity, completeness, auc over those with a probability, and completeness_all_inputs.
    """

    since: Literal["detection", "peak", "sixth", "whole"]
    days: Number
    n_objects: int
    n_without: int
    metrics: dict[str, Estimate]


@dataclass(frozen=True)
class TimeToClass:
    """How long it takes until the right class is most probable with confidence, and stays so to the end.

    Attributes:
        confidence: probability that the right class must exceed.
        days: edges since first detection [d], rising.
        share: share of the objects of each true class that are there by each of `days`, by class.
        median_days: by class [d]; NaN where fewer than half ever get there.
    """

    confidence: float
    days: tuple[float, ...]
    share: dict[str, tuple[Number, ...]]
    median_days: dict[str, Number]


@dataclass(frozen=True)
class EarlyClassification:
    """Classification before the light curve is complete; `n_objects` of a sample when the whole is large."""

    points: tuple[EarlyPoint, ...]
    time_to_class: TimeToClass | None
    n_objects: int
    n_available: int


@dataclass(frozen=True)
class FeatureDrift:
    """One property of the light curves, in the training data and in the survey classified.

    Attributes:
        name: such as "best S/N", "days between nights", "g − r at maximum", "photo-z".
        psi: population stability index over the deciles of the training data; above 0.25 is usually called a shift.
        ks: largest difference of the cumulative distributions (Kolmogorov & Smirnov).
        p_value: of the KS test.
        edges: of the histogram, in units of the property.
        training: share of the training objects in each bin.
        survey: share of the survey's objects in each bin.
        median_training: median there; NaN without one.
        median_survey: median here.
        missing_training: share of objects that have no such property.
        missing_survey: the same here.
        unit: for the axis, "" without one.
    """

    name: str
    psi: Number
    ks: Number
    p_value: Number
    edges: tuple[Number, ...]
    training: tuple[Number, ...]
    survey: tuple[Number, ...]
    median_training: Number
    median_survey: Number
    missing_training: Number
    missing_survey: Number
    unit: str = ""


@dataclass(frozen=True)
class Drift:
    """How much the survey differs from what the classifier learnt from.

    Attributes:
        n_training: objects of the reference, a sample of the training data kept in the model.
        n_survey: objects compared.
        features: property by property, the most shifted first.
        domain_auc: how well a classifier tells survey from training by these properties, cross-validated; 0.5: not.
        training_prior: share of each class in the training data.
        estimated_prior: share of each class in the survey, from the probabilities alone (Saerens et al. 2002).
        true_prior: the same where the truth is known; empty where not.
    """

    n_training: int
    n_survey: int
    features: tuple[FeatureDrift, ...]
    domain_auc: Estimate
    training_prior: dict[str, Number]
    estimated_prior: dict[str, Number]
    true_prior: dict[str, Number]


@dataclass(frozen=True)
class NoveltyTest:
    """What the classifier says of curves that are no supernovae.

    Attributes:
        name: "random", "reversed", "shuffled", "sinusoidal" or "constant".
        n_objects: how many were made.
        auroc: how well NOVELTY tells them from the real ones.
        share_confident: of them with any P(class) > 0.9.
        share_called_ia: of them with P(Ia) > 0.5.
        share_novel: of them above the novelty threshold of the model.
    """

    name: str
    n_objects: int
    auroc: Number
    share_confident: Number
    share_called_ia: Number
    share_novel: Number


@dataclass(frozen=True)
class Sensitivity:
    """What a small change of the data does to the answers.

    Attributes:
        name: such as "zeropoint of g + 0.02 mag", "photo-z + 0.02 (1 + z)".
        changed_share: objects whose most probable class changes.
        mean_change: mean |ΔP(Ia)|.
        metrics: accuracy, auc, purity, completeness, figure_of_merit after the change; empty without truth.
        differences: the same minus those without the change.
    """

    name: str
    changed_share: Number
    mean_change: Number
    metrics: dict[str, Number]
    differences: dict[str, Number]


@dataclass(frozen=True)
class Trust:
    """Whether the classifier knows what it does not know, and how much it leans on calibration and redshift.

    Attributes:
        novelty_threshold: NOVELTY above which the model calls an object novel.
        share_novel: of the survey's objects above it.
        novelty_tests: curves that are no supernovae.
        sensitivities: small changes, the unchanged data left out.
        n_objects: of the sample that both were measured on.
    """

    novelty_threshold: Number
    share_novel: Number
    novelty_tests: tuple[NoveltyTest, ...]
    sensitivities: tuple[Sensitivity, ...]
    n_objects: int


@dataclass(frozen=True)
class Difference:
    """One metric of two classifications of the same objects.

    Attributes:
        metric: its name in METRICS.
        ours: value here.
        theirs: value there.
        difference: ours − theirs.
        low: lower end of the 95 % interval of the difference (percentiles of the paired bootstrap).
        high: its upper end.
        p_value: two-sided, that the difference is none, from the same bootstrap.
    """

    metric: str
    ours: Number
    theirs: Number
    difference: Number
    low: Number
    high: Number
    p_value: Number


@dataclass(frozen=True)
class Comparison:
    """Two classifications of the same objects, resampled together.

    Attributes:
        other: name of the other run.
        n_common: objects with a probability in both and a known class; the differences are over these.
        n_only_ours: evaluated here and not there.
        n_only_theirs: evaluated there and not here.
        n_changed: objects in common whose most probable class differs.
        n_gained: of these, right here and wrong there.
        n_lost: of these, wrong here and right there.
        differences: metric by metric.
    """

    other: str
    n_common: int
    n_only_ours: int
    n_only_theirs: int
    n_changed: int
    n_gained: int
    n_lost: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Findings:
    """Everything in metrics.json.

    Attributes:
        evaluations: the headline first.
        early: of the headline's classifier; None where it was not measured.
        drift: the same.
        trust: the same.
    """

    evaluations: tuple[Evaluation, ...] = ()
    early: EarlyClassification | None = None
    drift: Drift | None = None
    trust: Trust | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, undefined numbers as null."""
        return {"format_version": FORMAT_VERSION, **to_json(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Findings:
        """Read `to_dict` back, null as NaN; a file of format version 1 has evaluations only.

        Raises:
            pydantic.ValidationError: if the values are not those of findings; it says which, and why.
        """
        return _FINDINGS.validate_python({name: value for name, value in values.items() if name != "format_version"})


_FINDINGS: Final = TypeAdapter(Findings)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of metrics.json, as `Findings.to_dict` writes it."""
    found = describe(Findings, "metrics.json of snflow")
    version = {"const": FORMAT_VERSION, "description": "of this schema; 1 had evaluations only, and fewer fields."}
    return found | {"properties": {"format_version": version, **found["properties"]}}


def to_json(value: Any) -> Any:
    """Return the fields of a dataclass as plain JSON values, undefined numbers as null."""
    return cast("dict[str, Any]", _plain(asdict(value)))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
