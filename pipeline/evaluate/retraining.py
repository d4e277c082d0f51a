"""Retraining: is there anything new to learn, where does the candidate train, and what becomes of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from pipeline.evaluate.candidate import Decision, PromotionRule, decide, write_candidate
from pipeline.evaluate.promotion import describe_run
from pipeline.prepare.frozen import FrozenTest, FrozenTestError, freeze_objects, read_frozen
from pipeline.provenance import read_record, write_record
from pipeline.settings import FrozenConfig
from pipeline.store import Store
from pipeline.train.checkpoint import Checkpoint
from pipeline.train.experiment import Experiment
from pipeline.train.fit import choose_sample, choose_task, fingerprint
from pipeline.train.registry import Registry, check_name
from pipeline.train.teacher import known_parts
from pipeline.train.training_run import read_split

__all__ = ["Plan", "RetrainSettings", "conclude", "decide_on_candidate", "plan_retraining"]

NAMED: Final = 5
"""SNIDs in a message."""

NEW_SERIES: Final = "another --name starts a new series, whose first version leaves its test set out"

TOLD: Final = ("log_loss", "auc", "accuracy", "figure_of_merit")
"""Metrics in the history of the registry."""


class RetrainSettings(FrozenConfig):
    """Which classifier is trained anew, and how a candidate is judged."""

    store: Path
    """Catalogue."""
    name: str
    """In the registry."""
    test: Path
    """File of the frozen test set."""
    out: Path
    """Each candidate has a folder of its own in it, named after what it learns from."""
    freeze: int | None = Field(default=None, ge=1)
    """Objects of the frozen test set, drawn where there is no file yet."""
    rule: PromotionRule | None = PromotionRule()
    """None: nothing is promoted, and the decision is a person's."""


@dataclass(frozen=True)
class Plan:
    """What a retraining is to do.

    Attributes:
        folder: run folder of the candidate.
        current: version that is current; None for none.
        is_due: whether a candidate is to be trained and judged.
        is_decided: whether an earlier run was killed between its decision and its last word.
    """

    folder: Path
    current: str | None
    is_due: bool
    is_decided: bool = False


def plan_retraining(settings: RetrainSettings, experiment: Experiment, registry: Registry | None = None) -> Plan:
    """Look what there is to learn; make the frozen test set if that is asked for and there is none.

    Raises:
        SettingsError: if the name is none.
        FrozenTestError: if the test set is missing, changed, or not one on which the current classifier can be judged.
        ValueError: if too few objects can be trained on.
        TeacherError: if the experiment's teacher has learnt from test objects.
    """
    check_name(settings.name)
    store = Store.open(settings.store)
    light_curves, truth = store.light_curves(), store.truth()
    incumbent = _find_incumbent(settings.name, registry or Registry())
    if settings.freeze is not None and not settings.test.exists():
        learnt = frozenset() if incumbent is None else incumbent.check_series(settings.test)
        usable = choose_sample(light_curves, truth, experiment).light_curves.objects["SNID"]
        freeze_objects(settings.test, settings.freeze, list(usable), learnt, experiment.split.seed)
    test = read_frozen(settings.test, settings.freeze)
    _check_present(test, store, settings.test)
    resolved, sample, teacher = choose_task(light_curves, truth, experiment, test.snids)
    mark = fingerprint(sample, resolved, teacher)
    folder = settings.out / mark[:12]
    if incumbent is None:
        return Plan(folder, None, is_due=True)
    incumbent.check_unseen(test, settings.test)
    if not incumbent.has_learnt_this(mark, experiment):
        return Plan(folder, incumbent.version, is_due=True)
    return Plan(folder, incumbent.version, is_due=False, is_decided=_is_untold(folder, incumbent.version))


def decide_on_candidate(settings: RetrainSettings, plan: Plan, registry: Registry | None = None) -> dict[str, Any]:
    """Judge the candidate in the plan's folder, and write `decision.json` there; nothing is promoted yet.

    Returns:
        The decision.

    Raises:
        FrozenTestError: if the candidate has learnt from the test set.
    """
    registry, test = registry or Registry(), read_frozen(settings.test)
    split = read_split(plan.folder)
    _refuse_seen(test, frozenset((*split.train, *split.validation)), "the candidate", "train it with this test set")
    current = None if plan.current is None else registry.find(f"{settings.name}@{plan.current}")
    pair = None if current is None else (current.version, current.folder)
    earlier = {entry.version for entry in registry.history(settings.name)}
    store = Store.open(settings.store)
    decision, evaluation = decide(store, test, plan.folder / "model", pair, settings.rule, earlier)
    write_candidate(plan.folder, decision, evaluation)
    return decision.to_dict()


def conclude(
    settings: RetrainSettings, plan: Plan, experiment: Experiment, command: str = "", registry: Registry | None = None
) -> dict[str, Any]:
    """Do what was decided, once, and write `retrain.json` into the candidate's folder and the one above.

    Returns:
        `outcome` (promoted, not promoted, unchanged), `model`, the current one from now on, `why`, `next`, and the
        decision where there is one.

    Raises:
        CheckpointError: if another version has become current since the comparison.
    """
    registry = registry or Registry()
    if not plan.is_due and not plan.is_decided:
        why = "neither light curves nor classes to learn from have changed since it was trained, nor the experiment"
        summary = {"outcome": "unchanged", "model": f"{settings.name}@{plan.current}", "why": why, "next": ""}
    else:
        summary = _carry_out(settings, plan, registry)
    configuration = {"settings": settings.model_dump(), "experiment": experiment.model_dump()}
    for folder in dict.fromkeys([*([plan.folder] if "decision" in summary else []), settings.out]):
        write_record(folder, "retrain", configuration, summary, command)
    return summary


def _carry_out(settings: RetrainSettings, plan: Plan, registry: Registry) -> dict[str, Any]:
    decision = Decision.read(plan.folder)
    if decision is None:
        raise ValueError(f"{plan.folder} has no decision.json: run the command again")
    numbers = decision.numbers(TOLD)
    told = {"folder": str(plan.folder), "decision": decision.to_dict()}
    if not decision.is_promoted:
        command = ["snflow", "models", "promote", settings.name, str(plan.folder), "--note", numbers]
        model = None if plan.current is None else f"{settings.name}@{plan.current}"
        why = f"{'; '.join(decision.reasons)} ({numbers})"
        return {"outcome": "not promoted", "model": model, "why": why, "next": shlex.join(command), **told}
    first = "the first of its name" if decision.current is None else f"better than {decision.current}"
    why = f"retrained, {first}: {numbers}"
    if not _is_version_of(registry.current_version(settings.name), decision):
        registry.promote(settings.name, plan.folder, why, describe_run(plan.folder), decision.current)
    model = f"{settings.name}@{registry.current_version(settings.name)}"
    undo = "" if decision.current is None else f"snflow models rollback {settings.name}"
    return {"outcome": "promoted", "model": model, "why": why, "next": undo, **told}


@dataclass(frozen=True)
class _Incumbent:
    """The current classifier of a name; `learnt` is whom it knows, None where nothing says it."""

    name: str
    version: str
    checkpoint: Checkpoint
    learnt: frozenset[str] | None

    @property
    def test_set(self) -> str | None:
        """Hash of the frozen test set on which it was judged; None for one that was not."""
        found: str | None = self.checkpoint.card.get("test_set", {}).get("hash")
        return found

    def check_series(self, path: Path) -> frozenset[str]:
        """Return whom it knows, if a test set may be drawn for it."""
        if self.test_set is not None:
            raise FrozenTestError(
                f"{self.name} was judged on the test set {self.test_set}, and there is none at {path}: give its file, "
                f"or restore it from a copy; {NEW_SERIES}"
            )
        if self.learnt is None:
            raise FrozenTestError(
                f"nothing says which objects {self.name} has learnt from, so no test set is known to be new to it: "
                f"promote it from the folder of its run; {NEW_SERIES}"
            )
        return self.learnt

    def check_unseen(self, test: FrozenTest, path: Path) -> None:
        """Make sure that it was judged on no other test set, and has not learnt from this one."""
        if self.test_set is None:
            _refuse_seen(test, self.check_series(path), self.name, f"freeze others; {NEW_SERIES}")
        elif self.test_set != test.hash:
            raise FrozenTestError(
                f"{self.name} was judged on the test set {self.test_set}, and {path} is {test.hash}: give the file of "
                f"then; {NEW_SERIES}"
            )
        else:
            _refuse_seen(test, self.learnt or frozenset(), self.name, NEW_SERIES)

    def has_learnt_this(self, mark: str, experiment: Experiment) -> bool:
        """Whether a training would give this very classifier."""
        own, asked = self.checkpoint.experiment.fit, experiment.fit
        has_same_weights = self.checkpoint.card.get("fingerprint") == mark
        has_same_members = len(self.checkpoint.weights) == asked.members
        says_the_same = all(
            getattr(own, name) == getattr(asked, name) for name in ("dropout_samples", "calibration", "trees")
        )
        has_same_classes = self.checkpoint.experiment.classes == experiment.classes
        return has_same_weights and has_same_members and says_the_same and has_same_classes


def _find_incumbent(name: str, registry: Registry) -> _Incumbent | None:
    if registry.current_version(name) is None:
        return None
    found = registry.find(name)
    checkpoint = Checkpoint.load(found.folder)
    parts = known_parts(found.folder, checkpoint)
    learnt = None if parts is None else parts["train"] | parts["validation"]
    return _Incumbent(f"{name}@{found.version}", found.version, checkpoint, learnt)


def _check_present(test: FrozenTest, store: Store, path: Path) -> None:
    missing = sorted(set(test.snids).difference(store.snids()))
    if missing:
        raise FrozenTestError(
            f"{len(missing)} objects of {path} are not in {store.path}: {_some(missing)}; give the catalogue they were "
            "drawn from"
        )


def _refuse_seen(test: FrozenTest, learnt: frozenset[str], name: str, advice: str) -> None:
    seen = sorted(set(test.snids).intersection(learnt))
    if seen:
        raise FrozenTestError(
            f"{name} has learnt from {len(seen)} of the {len(test.snids)} objects of the frozen test set, "
            f"{_some(seen)}: its numbers would be too good; {advice}"
        )


def _is_untold(folder: Path, version: str | None) -> bool:
    """Whether a promotion to the current version was decided here, and never recorded."""
    decision = Decision.read(folder)
    if decision is None or not decision.is_promoted or not _is_version_of(version, decision):
        return False
    told = read_record(folder, "retrain").get("summary", {})
    return bool(told.get("decision") != decision.to_dict())


def _is_version_of(version: str | None, decision: Decision) -> bool:
    """Whether a version of the registry is the candidate of a decision."""
    return version is not None and version.partition("-")[0] == decision.candidate.rpartition("@")[2]


def _some(snids: list[str]) -> str:
    return ", ".join(snids[:NAMED]) + (" …" if len(snids) > NAMED else "")
