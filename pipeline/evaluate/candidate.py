"""Whether a newly trained classifier may take the place of the current one: a paired comparison, and a rule."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from pipeline.classify.predict import Classifier
from pipeline.evaluate.comparison import compare
from pipeline.evaluate.evaluation import evaluate
from pipeline.evaluate.evaluation_run import METRICS_FILE, write_findings
from pipeline.evaluate.findings import Comparison, Difference, Evaluation, Findings
from pipeline.evaluate.metrics import LOWER_IS_BETTER
from pipeline.files import write_atomically
from pipeline.prepare.frozen import FrozenTest
from pipeline.settings import FrozenConfig
from pipeline.store import Store

__all__ = [
    "Decision",
    "PromotionRule",
    "compare_classifiers",
    "decide",
    "objections",
    "probability_of_better",
    "write_candidate",
]

TEST_SET: Final = "frozen test set"
DECISION_FILE: Final = "decision.json"

Ruling = Literal["accuracy", "auc", "average_precision", "balanced_accuracy", "brier", "figure_of_merit", "log_loss"]

MARGINS: Final[dict[Ruling, float]] = {"accuracy": 0.01, "auc": 0.005, "figure_of_merit": 0.02, "log_loss": 0.01}


class PromotionRule(FrozenConfig):
    """When a candidate takes the place of the current classifier without anybody being asked."""

    metric: Ruling = "log_loss"
    """What must be better; one, chosen beforehand: the best of several would be better by chance more often."""
    probability: float = Field(default=0.95, gt=0.5, lt=1)
    """That it is better, at least, by the paired bootstrap over the objects of the test set."""
    margins: dict[Ruling, Annotated[float, Field(ge=0)]] = Field(default_factory=lambda: dict(MARGINS))
    """By how much each metric may be worse."""
    min_objects: int = Field(default=100, ge=2)
    """Objects of the test set that both classify, at least."""
    max_unanswered: float = Field(default=0.01, ge=0, le=1)
    """Share of these that the current classifier gives a probability and the candidate does not, at most."""
    n_resamples: int = Field(default=2000, ge=100)
    """Of the bootstrap."""
    seed: int = Field(default=0, ge=0)
    """Of the bootstrap."""


@dataclass(frozen=True)
class Decision:
    """What is to become of a candidate, and why.

    Attributes:
        candidate: its name, `experiment@digest`.
        current: version it was compared with; None for the first of its name.
        test_set: hash and number of objects of the frozen test set.
        is_promoted: whether it takes the place of the current one.
        reasons: why not; of one that is promoted, none.
        metrics: of both, by metric: `candidate`, `current`, `difference`, `low` and `high` (95 % interval of the
            difference), `p_better`; None where undefined.
    """

    candidate: str
    current: str | None
    test_set: dict[str, Any]
    is_promoted: bool
    reasons: tuple[str, ...]
    metrics: dict[str, dict[str, float | None]]

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON holds it."""
        return asdict(self) | {"reasons": list(self.reasons)}

    def write(self, folder: Path) -> None:
        """Write `decision.json`, before anything is promoted by it."""
        write_atomically(folder / DECISION_FILE, json.dumps(self.to_dict(), indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Decision | None:
        """Read what `write` wrote; None where there is nothing."""
        path = folder / DECISION_FILE
        if not path.exists():
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(**content | {"reasons": tuple(content["reasons"])})

    def numbers(self, shown: Collection[str]) -> str:
        """Tell metrics in a sentence, for the history of the registry."""
        told = [_tell(name, self.metrics[name]) for name in shown if name in self.metrics]
        return f"{'; '.join(told)}; {self.test_set['n_objects']} frozen objects, {self.test_set['hash']}"


def decide(
    store: Store,
    test: FrozenTest,
    candidate: Path,
    current: tuple[str, Path] | None,
    rule: PromotionRule | None,
    earlier: Collection[str] = (),
) -> tuple[Decision, Evaluation]:
    """Compare a candidate with the current classifier on a frozen test set, and judge it by a rule.

    The same classifiers, objects and rule give the same decision.

    Args:
        store: has the light curves and the classes.
        test: objects that neither has learnt from, which is not checked here.
        candidate: its checkpoint folder.
        current: version and checkpoint folder of the current one; None for the first of its name.
        rule: None leaves the decision to a person.
        earlier: versions that were current once; by rule, none becomes current again.

    Returns:
        The decision, and the evaluation of the candidate.

    Raises:
        KeyError: if an object of the test set is not in the store.
        CheckpointError: if either cannot be read.
        ContractError: if either does not know a band of the light curves.
    """
    classifier = Classifier.load(candidate)
    comparison, evaluation = compare_classifiers(store, test, classifier, current, rule or PromotionRule())
    digest = classifier.name.rpartition("@")[2]
    against = [] if comparison is None or rule is None else objections(comparison, rule)
    if rule is None:
        against.append("the decision is left to you")
    elif any(version.partition("-")[0] == digest for version in earlier):
        against.append(f"version {digest} was current before, and was replaced or rolled back from")
    decision = Decision(
        candidate=classifier.name,
        current=None if current is None else current[0],
        test_set=test.to_dict(),
        is_promoted=not against,
        reasons=tuple(against),
        metrics=_first_metrics(evaluation) if comparison is None else _compared_metrics(comparison),
    )
    return decision, evaluation


def compare_classifiers(
    store: Store, test: FrozenTest, candidate: Classifier, current: tuple[str, Path] | None, rule: PromotionRule
) -> tuple[Comparison | None, Evaluation]:
    """Classify a frozen test set by both; return their comparison, if there are two, and the candidate's evaluation."""
    light_curves, truth = store.light_curves(test.snids), store.truth()
    ours = candidate.predict(light_curves)
    evaluation = evaluate(ours, truth, name=TEST_SET, thresholds=candidate.checkpoint.thresholds)
    if current is None:
        return None, evaluation
    theirs = Classifier.load(current[1]).predict(light_curves)
    return compare(ours, theirs, truth, current[0], rule.seed, rule.n_resamples), evaluation


def write_candidate(folder: Path, decision: Decision, evaluation: Evaluation) -> None:
    """Write `metrics.json` and, last, `decision.json` into the run folder of a candidate."""
    write_findings(Findings((evaluation,)), folder / METRICS_FILE)
    decision.write(folder)


def probability_of_better(difference: Difference) -> float:
    """Return the share of the paired bootstrap in which ours is better than theirs; NaN where undefined.

    >>> probability_of_better(Difference("auc", 0.9, 0.8, 0.1, 0.02, 0.18, p_value=0.02))
    0.99
    >>> probability_of_better(Difference("log_loss", 0.9, 0.8, 0.1, 0.02, 0.18, p_value=0.02))
    0.01
    """
    return 1 - difference.p_value / 2 if _gain(difference) >= 0 else difference.p_value / 2


def _gain(difference: Difference) -> float:
    """By how much ours is better; negative where it is worse, NaN where undefined."""
    return -difference.difference if difference.metric in LOWER_IS_BETTER else difference.difference


def objections(comparison: Comparison, rule: PromotionRule) -> list[str]:
    """Say what a rule has against a candidate; nothing if it may be promoted."""
    found = {difference.metric: difference for difference in comparison.differences}
    n_answered = comparison.n_common + comparison.n_only_theirs
    against = []
    if comparison.n_common < rule.min_objects:
        against.append(f"{comparison.n_common} objects are compared, expected at least {rule.min_objects}")
    if comparison.n_only_theirs > rule.max_unanswered * n_answered:
        against.append(
            f"{comparison.n_only_theirs} of {n_answered} objects have a probability from the current one alone, "
            f"expected at most {rule.max_unanswered:.1%}"
        )
    if not (probability := probability_of_better(found[rule.metric])) >= rule.probability:
        against.append(
            f"{_tell_difference(found[rule.metric])}: expected better with P ≥ {rule.probability:g}, "
            f"came P = {probability:.4f}"
        )
    against += [
        f"{_tell_difference(found[name])}: expected worse by at most {margin:g}"
        for name, margin in rule.margins.items()
        if not _gain(found[name]) >= -margin
    ]
    return against


def _tell_difference(difference: Difference) -> str:
    return f"{difference.metric} {difference.theirs:.4f} → {difference.ours:.4f}"


def _tell(name: str, found: dict[str, float | None]) -> str:
    value = {key: math.nan if number is None else number for key, number in found.items()}
    if "current" not in value:
        return f"{name} {value['candidate']:.4f}"
    return (
        f"{name} {value['current']:.4f} → {value['candidate']:.4f} ({value['difference']:+.4f}, 95 % "
        f"{value['low']:+.4f} … {value['high']:+.4f}, P(better) {value['p_better']:.4f})"
    )


def _compared_metrics(comparison: Comparison) -> dict[str, dict[str, float | None]]:
    return {
        difference.metric: {
            "candidate": _known(difference.ours),
            "current": _known(difference.theirs),
            "difference": _known(difference.difference),
            "low": _known(difference.low),
            "high": _known(difference.high),
            "p_better": _known(probability_of_better(difference)),
        }
        for difference in comparison.differences
    }


def _first_metrics(evaluation: Evaluation) -> dict[str, dict[str, float | None]]:
    return {name: {"candidate": _known(found.value)} for name, found in evaluation.metrics.items()}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
