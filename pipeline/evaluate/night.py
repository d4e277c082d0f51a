"""What a night has changed in a catalogue, and whether it looks like what a classifier has learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.classify.catalogue import as_classified
from pipeline.classify.contract import check_contract
from pipeline.classify.incremental import Renewal, choose_new
from pipeline.classify.predict import with_redshift
from pipeline.classify.settings import ClassifySettings
from pipeline.evaluate.guard import GuardSettings, NightVerdict, guard_night
from pipeline.store import Store
from pipeline.train.checkpoint import Checkpoint
from pipeline.train.reference import Unlike
from pipeline.train.unlike import unlike_supernovae

__all__ = ["Night", "judge_night", "told_unlike"]

MAX_JUDGED: Final = 3000
"""Objects of a night that are looked at, drawn at random; differences that matter show in as many."""


@dataclass(frozen=True)
class Night:
    """What a night has changed.

    Attributes:
        photometry: hashes of the changed light curves, by SNID.
        verdict: of the drift guard.
        notes: on what the classifier accepts though it differs from its training data.
    """

    photometry: dict[str, str]
    verdict: NightVerdict
    notes: tuple[str, ...] = ()


def judge_night(
    store: Store,
    model: Path,
    settings: ClassifySettings,
    guard: GuardSettings,
    seed: int = 0,
    also: Mapping[str, str] | None = None,
) -> Night:
    """Judge the objects of a store whose present photometry has no prediction by this classifier yet.

    Args:
        store: the catalogue.
        model: checkpoint folder.
        settings: how they will be classified.
        guard: thresholds.
        seed: of the draws.
        also: photometry hashes by SNID that belong to the night though they have predictions: it was interrupted.

    Raises:
        ContractError: if the classifier does not accept them.
    """
    asked = choose_new(store, model, settings, Renewal())
    hashes = dict(zip(asked.present["SNID"].to_pylist(), asked.present["PHOTOMETRY_HASH"].to_pylist(), strict=True))
    begun = {snid for snid, digest in (also or {}).items() if hashes.get(snid) == digest}
    photometry = {snid: hashes[snid] for snid in hashes if snid in begun.union(asked.snids)}
    if not photometry:
        return Night({}, NightVerdict("unknown", 0, note="nothing has changed"))
    snids = np.array(list(photometry))
    drawn = snids[np.sort(np.random.default_rng(seed).permutation(len(snids))[:MAX_JUDGED])]
    seen = with_redshift(as_classified(store.light_curves(snids=drawn.tolist()), settings), settings.redshift)
    checkpoint = Checkpoint.load(model)
    notes = check_contract(seen, checkpoint, settings.redshift)
    unlike = told_unlike(checkpoint)
    verdict = guard_night(seen, checkpoint.reference, checkpoint.experiment.bands, guard, seed, unlike)
    return Night(photometry, verdict, tuple(notes))


def told_unlike(checkpoint: Checkpoint) -> Unlike | None:
    """Return what tells which light curves are no supernovae; None where the classifier has no novelty score."""
    if checkpoint.novelty is None:
        return None
    return partial(unlike_supernovae, experiment=checkpoint.experiment, score=checkpoint.novelty)
