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

from pipeline.evaluate.curves import Number, PurityCompletenessCurve, ReliabilityBin, RocCurve
from pipeline.evaluate.json_schema import describe
from pipeline.evaluate.metrics import Estimate

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
class Counts:
    """Where every input went: n_objects = n_evaluated + n_without_truth + n_without_probability.

    Attributes:
        n_objects: rows of the predictions.
        n_by_status: rows by STATUS.
        n_without_truth: rows with a probability whose class is unknown, or is none of the classifier's.
        n_without_probability: rows rejected or failed, whatever is known of their class.
        n_evaluated: rows behind the metrics.
        n_by_class: evaluated rows by true class.
        n_by_prediction: rows with a probability by most probable class, truth known or not.
    """

    n_objects: int
    n_by_status: dict[str, int]
    n_without_truth: int
    n_without_probability: int
    n_evaluated: int
    n_by_class: dict[str, int]
    n_by_prediction: dict[str, int]


@dataclass(frozen=True)
class WithoutProbability:
    """One input that got no probability, and why."""

    snid: str
    status: str
    reason: str


@dataclass(frozen=True)
class MetricBin:
    """Metrics of the evaluated objects with a quantity from `low` up to, not including, `high`."""

    low: Number
    high: Number
    count: int
    count_ia: int
    metrics: dict[str, Estimate]


@dataclass(frozen=True)
class Contamination:
    """How the objects of one true subclass, or of one simulated template, are called.

    Attributes:
        name: subclass or template, "unknown" where the truth does not say.
        target: true class, among the classifier's classes.
        count: evaluated objects.
        called_ia: those with P(Ia) > 0.5: right for Ia, contaminants for the rest.
        mean_p_ia: their mean P(Ia).
        contaminant_share: called_ia over all contaminants; NaN for Ia, and without contaminants.
    """

    name: str
    target: str
    count: int
    called_ia: int
    mean_p_ia: Number
    contaminant_share: Number


@dataclass(frozen=True)
class OperatingPoint:
    """The sample that a threshold on P(Ia) selects.

    Attributes:
        name: "default", a purpose stored in the model such as "purity95", or what was asked of these very objects, as
            "completeness 90 %", "purity 95 %", "best figure of merit".
        threshold: P(Ia) must exceed it; NaN where no threshold does what is asked.
        called_ia: objects above it.
        metrics: purity, completeness, figure_of_merit.
        is_optimistic: whether the threshold was chosen on the labels that it is judged by.
    """

    name: str
    threshold: Number
    called_ia: int
    metrics: dict[str, Estimate]
    is_optimistic: bool = False


@dataclass(frozen=True)
class SelectionCounts:
    """How many objects have P(Ia) above each threshold of a regular grid, 0 to 1 in steps of 0.001.

    From these alone follow purity, completeness, figure of merit and the two-by-two confusion matrix at any of them.

    Attributes:
        threshold: (1001,) the grid.
        ia: (1001,) true Ia with P(Ia) > threshold.
        others: (1001,) other objects with P(Ia) > threshold.
        n_ia: all true Ia.
        n_others: all other evaluated objects.
    """

    threshold: tuple[float, ...] = ()
    ia: tuple[int, ...] = ()
    others: tuple[int, ...] = ()
    n_ia: int = 0
    n_others: int = 0


@dataclass(frozen=True)
class ClassMix:
    """The metrics as they would be were the classes mixed otherwise.

    Attributes:
        name: "natural", "balanced", or "prior" for one that the user gives.
        shares: share of each class, summing to 1.
        metrics: METRICS by name, each class weighted to its share; under "prior" the probabilities, too, are turned
            from the natural to the given mix (Saerens et al. 2002, Neural Computation 14, 21).
    """

    name: str
    shares: dict[str, float]
    metrics: dict[str, Estimate]


@dataclass(frozen=True)
class BrierParts:
    """Brier score of P(Ia) taken apart over the reliability bins (Murphy 1973, J. Appl. Meteor. 12, 595).

    reliability − resolution + uncertainty + within_bins is the Brier score exactly; within_bins is what the finite
    width of the bins leaves over (Stephenson et al. 2008, Weather and Forecasting 23, 752).
    """

    reliability: Number
    resolution: Number
    uncertainty: Number
    within_bins: Number


@dataclass(frozen=True)
class ExpectedSelection:
    """Purity and completeness that the probabilities promise, beside the true ones.

    Expected purity is the mean P(Ia) of the objects above the threshold, expected completeness their summed P(Ia) over
    the sum of all: no truth is needed for either (Karpenka et al. 2013, MNRAS 429, 1278). All arrays have the
    length of `threshold`.
    """

    threshold: tuple[Number, ...] = ()
    expected_purity: tuple[Number, ...] = ()
    true_purity: tuple[Number, ...] = ()
    expected_completeness: tuple[Number, ...] = ()
    true_completeness: tuple[Number, ...] = ()


@dataclass(frozen=True)
class Abstention:
    """What is gained by leaving the least certain objects without a class.

    Attributes:
        coverage: share of the objects that keep a class, falling.
        confidence: probability of the most probable class that they have at least.
        accuracy: of those that keep a class.
        purity: of those among them that are called Ia (Ia most probable).
        completeness: share of all true Ia that keep a class and are called Ia.
    """

    coverage: tuple[Number, ...] = ()
    confidence: tuple[Number, ...] = ()
    accuracy: tuple[Number, ...] = ()
    purity: tuple[Number, ...] = ()
    completeness: tuple[Number, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """One classifier on one sample.

    Attributes:
        name: what was evaluated, for a reader.
        classes: the classifier's classes, in the order of its columns.
        counts: where every input went.
        metrics: METRICS by name, and completeness_all_inputs; NaN where undefined.
        confusion: objects of a true class (row) by most probable class (column), in the order of `classes`.
        roc: ROC curve of P(Ia).
        purity_completeness: what purity is to be had at what completeness.
        reliability: share of Ia in bins of P(Ia).
        by_redshift: metrics in bins of true redshift of width 0.1, empty bins left out.
        n_without_redshift: evaluated objects in none of these bins.
        by_subclass: who is called Ia, by true subclass.
        by_template: the same by simulated template.
        operating_points: threshold 0.5, those handed in, and those chosen on these very labels (marked).
        without_probability: inputs without a probability, at most 1000 of them.
        seed: of the bootstrap.
        n_resamples: of the bootstrap.
        by_snr: metrics in bins of the best S/N of any measurement; empty where the photometry was not at hand.
        by_n_epochs: metrics in bins of N_EPOCHS, the measurements that the classifier used.
        mixes: metrics at the natural mix, balanced, and under a prior where one is given.
        selection: counts above each threshold of a fine grid.
        brier_parts: where the Brier score comes from.
        expected: what the probabilities promise, beside what is true.
        abstention: what is gained by abstaining.
    """

    name: str
    classes: tuple[str, ...]
    counts: Counts
    metrics: dict[str, Estimate]
    confusion: tuple[tuple[int, ...], ...]
    roc: RocCurve
    purity_completeness: PurityCompletenessCurve
    reliability: tuple[ReliabilityBin, ...]
    by_redshift: tuple[MetricBin, ...]
    n_without_redshift: int
    by_subclass: tuple[Contamination, ...]
    by_template: tuple[Contamination, ...]
    operating_points: tuple[OperatingPoint, ...]
    without_probability: tuple[WithoutProbability, ...]
    seed: int
    n_resamples: int
    by_snr: tuple[MetricBin, ...] = ()
    by_n_epochs: tuple[MetricBin, ...] = ()
    mixes: tuple[ClassMix, ...] = ()
    selection: SelectionCounts = SelectionCounts()
    brier_parts: BrierParts | None = None
    expected: ExpectedSelection = ExpectedSelection()
    abstention: Abstention = Abstention()


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
