"""What the evaluation of one classifier on one sample finds, type by type; undefined numbers are NaN."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.evaluate.curves import Number, PurityCompletenessCurve, ReliabilityBin, RocCurve
from pipeline.evaluate.metrics import Estimate

__all__ = [
    "Abstention",
    "BrierParts",
    "ClassMix",
    "Contamination",
    "Counts",
    "Evaluation",
    "ExpectedSelection",
    "MetricBin",
    "OperatingPoint",
    "SelectionCounts",
    "WithoutProbability",
]


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
