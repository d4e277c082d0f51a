"""Training of one network, epoch by epoch, resumable bit for bit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models import LightCurveBatch, LightCurveClassifier, MergedClassifier, build_model
from pipeline.prepare.augment import Mixture, augment, mix
from pipeline.prepare.batches import PhotometryBatch, shuffled_batches, shuffled_pools
from pipeline.prepare.normalise import Normaliser
from pipeline.prepare.resample import Resampled, complete
from pipeline.train.experiment import Experiment, FitSettings
from pipeline.train.inference import Preparation, choose_device, choose_precision, ensemble_logits, threads
from pipeline.train.kinds import Kinds
from pipeline.train.state import TrainingState, optimizer_from_state, optimizer_to_state
from pipeline.train.teacher import Teacher

__all__ = ["LabelledObjects", "MemberRun", "TrainingData", "train_member"]

Row = dict[str, float]
INITIAL_WEIGHTS = 1_000_000
"""Stands for an epoch number where the initial weights are drawn."""
POOL: Final = 16
"""Objects of so many batches are changed at random together, and then sorted by length, so that little is padding."""


@dataclass(frozen=True)
class LabelledObjects:
    """Resampled objects with what they are.

    Attributes:
        resampled: their photometry.
        labels: (n_objects) index of the true class.
        kinds: (n_objects) index of the true kind, -1 where the truth does not say it.
    """

    resampled: Resampled
    labels: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.int64]


@dataclass(frozen=True)
class TrainingData:
    """What a member trains on; the normaliser was fitted on the training part, by the teacher if there is one."""

    train: LabelledObjects
    validation: LabelledObjects
    normaliser: Normaliser
    n_classes: int
    fingerprint: str
    teacher: Teacher | None = None
    kinds: Kinds = ()


def train_member(
    data: TrainingData, experiment: Experiment, member: int, state_file: Path, report: Callable[[Row], None]
) -> TrainingState:
    """Train one network, from where an earlier run of it stopped if there was one.

    Whoever else trains the same member at the same time is waited for.

    Args:
        data: training and validation objects.
        experiment: settings.
        member: which network of the ensemble, from 0; with `fit.seed` and the epoch it decides every random number.
        state_file: written at the end of each epoch.
        report: called with the history row of each finished epoch, also of those before a resume.

    Raises:
        StateError: if the state file is damaged or belongs to other settings or data.
    """
    fit = experiment.fit
    with FileLock(state_file.with_suffix(".lock")), threads(fit.threads):
        run = MemberRun(data, experiment, member)
        state = TrainingState.load(state_file, data.fingerprint)
        if state is not None:
            run.restore(state)
        for row in run.history:
            report(row)
        while not run.is_finished:
            run.train_epoch()
            state = run.state()
            state.save(state_file)
            report(run.history[-1])
    if state is None:
        raise RuntimeError("a training run has at least one epoch")
    return state


class MemberRun:
    """One network with its optimiser, schedule and running average, between two epochs."""

    def __init__(self, data: TrainingData, experiment: Experiment, member: int) -> None:
        self.data, self.experiment, self.member = data, experiment, member
        self.device = choose_device(experiment.fit.device)
        self.uses_bfloat16 = choose_precision(experiment.fit.precision, self.device) == torch.bfloat16
        with self.randomness(INITIAL_WEIGHTS):
            classes = [label for label, _ in data.kinds]
            model = build_model(experiment.model, data.normaliser.inputs, data.n_classes, classes)
        self.model = model.to(self.device)
        fit = experiment.fit
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(fit.averaging))  # type: ignore[no-untyped-call]
        self.optimizer = torch.optim.AdamW(self.model.parameters(), fit.learning_rate, weight_decay=fit.weight_decay)
        self.schedule = make_schedule(self.optimizer, fit, len(data.train.labels))
        self.class_weights = class_weights(data.train.labels, data.n_classes, fit).to(self.device)
        self.taught: Callable[[LightCurveBatch], Tensor] | None = None
        if data.teacher is not None:
            self.taught = data.teacher.answering(self.device, data.kinds, self.uses_bfloat16)
        self.best = {key: value.clone() for key, value in self.average.module.state_dict().items()}
        self.history: list[Row] = []

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are done, or validation has not improved for long enough."""
        fit, losses = self.experiment.fit, [row["VALID_LOSS"] for row in self.history]
        if not losses or len(losses) >= fit.epochs:
            return bool(losses)
        return fit.keep == "best" and len(losses) - 1 - int(np.argmin(losses)) >= fit.patience

    @contextmanager
    def randomness(self, epoch: int) -> Iterator[tuple[np.random.Generator, torch.Generator]]:
        """Draw everything random of an epoch, dropout too, from (seed, member, epoch), and leave no trace outside."""
        rng = np.random.default_rng([self.experiment.fit.seed, self.member, epoch])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        with torch.random.fork_rng():
            torch.manual_seed(int(rng.integers(2**62)))
            yield rng, generator

    def train_epoch(self) -> None:
        """Train for one epoch, validate, and keep the averaged weights if they are the best so far, or the last."""
        started = time.perf_counter()
        with self.randomness(len(self.history)) as (rng, generator):
            loss = self.optimise(rng, generator)
        validation = self.data.validation
        average = cast("LightCurveClassifier", self.average.module)
        preparation = Preparation(self.experiment.resampler, self.data.normaliser)
        logits = ensemble_logits([average], validation.resampled, preparation, self.device).mean(axis=0)
        targets = torch.from_numpy(validation.labels)
        row = {
            "MEMBER": self.member,
            "EPOCH": len(self.history) + 1,
            "TRAIN_LOSS": loss,
            "VALID_LOSS": float(F.cross_entropy(torch.from_numpy(logits), targets)),
            "VALID_ACCURACY": float((logits.argmax(axis=1) == validation.labels).mean()),
            "LEARNING_RATE": float(self.schedule.get_last_lr()[0]),
            "SECONDS": time.perf_counter() - started,
        }
        lowest = min((past["VALID_LOSS"] for past in self.history), default=np.inf)
        if self.experiment.fit.keep == "last" or row["VALID_LOSS"] <= lowest:
            self.best = {key: value.clone() for key, value in average.state_dict().items()}
        self.history.append(row)

    def optimise(self, rng: np.random.Generator, generator: torch.Generator) -> float:
        """Take one step per batch; return the mean training loss."""
        self.model.train()
        train, experiment = self.data.train, self.experiment
        total = 0.0
        for rows, photometry in self.batches(rng, generator):
            batch = self.data.normaliser(complete(photometry, experiment.resampler, generator)).to(self.device)
            mixture = None
            if experiment.augment.mix:
                batch, mixture = mix(batch, experiment.augment.mix, rng)
            targets, kinds = (torch.from_numpy(of[rows]).to(self.device) for of in (train.labels, train.kinds))
            loss = self.loss(batch, targets, kinds, mixture)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.model.parameters(), experiment.fit.clip)
            self.optimizer.step()
            self.schedule.step()
            self.average.update_parameters(self.model)
            total += loss.item() * len(rows)
        return total / len(train.labels)

    def batches(
        self, rng: np.random.Generator, generator: torch.Generator
    ) -> Iterator[tuple[npt.NDArray[np.int64], PhotometryBatch]]:
        """Change all objects at random, pool by pool, and yield them in batches of similar length, with their rows."""
        train, experiment = self.data.train.resampled, self.experiment
        size = experiment.fit.batch_size
        for members in shuffled_pools(len(train), POOL * size, rng):
            pool = augment(train.batch(members), experiment.augment, generator)
            for rows in shuffled_batches(pool.mask.sum(dim=1).numpy(), size, rng):
                yield members[rows], pool.take(rows)

    def loss(self, batch: LightCurveBatch, targets: Tensor, kinds: Tensor, mixture: Mixture | None = None) -> Tensor:
        """Cross-entropy with what is true, and with a teacher's probabilities of the very same batch."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.uses_bfloat16):
            logits, finer = self.logits(batch)
        losses = losses_with(targets, kinds, logits, finer)
        if mixture is not None:
            losses_of_partner = losses_with(targets[mixture.partner], kinds[mixture.partner], logits, finer)
            losses = mixture.of(losses, losses_of_partner)
        weights = self.class_weights[targets]
        loss = (weights * losses).sum() / weights.sum()
        if self.taught is None:
            return loss
        weight, taught = self.experiment.fit.teacher_weight, self.taught(batch)
        answers = finer if finer is not None and finer.shape == taught.shape else logits
        return (1 - weight) * loss + weight * F.cross_entropy(answers, taught)

    def logits(self, batch: LightCurveBatch) -> tuple[Tensor, Tensor | None]:
        """Return logits of the classes, and of the kinds where the network tells them apart."""
        if not isinstance(self.model, MergedClassifier):
            return self.model(batch).float(), None
        finer = self.model.network(batch).float()
        return self.model.merged(finer), finer

    def state(self) -> TrainingState:
        """Return everything needed to go on from here."""
        moments, groups = optimizer_to_state(self.optimizer)
        networks = {"model": self.model.state_dict(), "average": self.average.state_dict(), "best": self.best}
        tensors = {f"{name}.{key}": value for name, values in networks.items() for key, value in values.items()}
        numbers = {"optimizer": groups, "schedule": schedule_numbers(self.schedule)}
        return TrainingState({**tensors, **moments}, numbers, self.data.fingerprint, self.history)

    def restore(self, state: TrainingState) -> None:
        """Go on from a saved state."""
        self.model.load_state_dict(state.part("model"))
        self.average.load_state_dict(state.part("average"))
        self.best = state.part("best")
        optimizer_from_state(self.optimizer, state)
        self.schedule.load_state_dict(dict(state.numbers["schedule"]))
        self.history = list(state.history)


def losses_with(targets: Tensor, kinds: Tensor, logits: Tensor, finer: Tensor | None) -> Tensor:
    """(batch,) cross-entropy with the true kinds, or with the true classes where those are unknown or not learnt."""
    losses = F.cross_entropy(logits, targets, reduction="none")
    if finer is None:
        return losses
    exact = F.cross_entropy(finer, kinds.clamp(min=0), reduction="none")
    return torch.where(kinds >= 0, exact, losses)


def make_schedule(
    optimizer: torch.optim.Optimizer, fit: FitSettings, n_objects: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Build the learning-rate schedule, which steps once a batch."""
    if fit.schedule == "constant":
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    steps = fit.epochs * -(-n_objects // fit.batch_size)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, fit.learning_rate, total_steps=steps + 1, pct_start=fit.warmup
    )


def schedule_numbers(schedule: torch.optim.lr_scheduler.LRScheduler) -> dict[str, Any]:
    """Return the numbers of a schedule's state, which is all that changes."""
    return {key: value for key, value in schedule.state_dict().items() if isinstance(value, int | float | list)}


def class_weights(labels: npt.NDArray[np.int64], n_classes: int, fit: FitSettings) -> Tensor:
    """One weight a class: 1, or inversely proportional to its share of the training objects, with mean 1."""
    counts = np.bincount(labels, minlength=n_classes)
    if fit.class_weight == "none":
        return torch.ones(n_classes)
    return torch.tensor(len(labels) / (n_classes * np.maximum(counts, 1)), dtype=torch.float32)
