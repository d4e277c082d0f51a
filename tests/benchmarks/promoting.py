"""How often the promotion rule is right: `python -m tests.benchmarks.promoting [PAIRS]`.

Pairs of classifiers see the same made-up objects, each with noise of its own on its logits. Of two that are equally
good, the rule should promote the candidate in 5 % of the pairs; of one that is better, in many; of one that is worse,
in none.
"""

from __future__ import annotations

import sys
from typing import Final

import numpy as np

from pipeline.evaluate.candidate import PromotionRule, objections
from pipeline.evaluate.comparison import compare_scores
from pipeline.evaluate.findings import Comparison
from pipeline.evaluate.metrics import Scores, measure

SIZES: Final = (200, 500, 1000)
NOISE: Final = 0.8
CANDIDATES: Final = {"worse": 1.0, "equally good": 0.8, "little better": 0.6, "better": 0.4}
"""Noise of the candidate; the current one has NOISE."""

RESAMPLES: Final = 500


def draw_pair(rng: np.random.Generator, n_objects: int, noise: float) -> tuple[Scores, Scores]:
    """What a candidate and the current classifier say of n objects, 30 % of them Ia."""
    targets = (rng.random(n_objects) > 0.3).astype(np.int64)
    signal = np.where(targets == 0, 1.6, -1.6) + rng.normal(0, 1.2, n_objects)
    p_ia = [1 / (1 + np.exp(-1.6 * (signal + rng.normal(0, own, n_objects)))) for own in (noise, NOISE)]
    first, second = (Scores(np.column_stack([p, 1 - p]), targets) for p in p_ia)
    return first, second


def share_promoted(n_objects: int, noise: float, n_pairs: int, rule: PromotionRule) -> tuple[float, float]:
    """Return the share of pairs in which the candidate is promoted, and the mean gain of its log-loss."""
    rng = np.random.default_rng([n_objects, round(100 * noise)])
    promoted, gains = 0, []
    for seed in range(n_pairs):
        candidate, current = draw_pair(rng, n_objects, noise)
        differences = compare_scores(candidate, current, seed, RESAMPLES)
        promoted += not objections(Comparison("current", n_objects, 0, 0, 0, 0, 0, differences), rule)
        gains.append(measure(current)["log_loss"] - measure(candidate)["log_loss"])
    return promoted / n_pairs, float(np.mean(gains))


def main(n_pairs: int) -> None:
    """Print the table."""
    sys.stdout.write(f"{n_pairs} pairs each\n| candidate | gain in log-loss | promoted, of {SIZES} frozen objects |\n")
    for name, noise in CANDIDATES.items():
        found = [share_promoted(size, noise, n_pairs, PromotionRule()) for size in SIZES]
        shares = ", ".join(f"{share:.1%}" for share, _ in found)
        sys.stdout.write(f"| {name} | {found[-1][1]:+.4f} | {shares} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
