"""Logits of trained networks for many objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from models import LightCurveClassifier
from pipeline.prepare.batches import equal_length_batches
from pipeline.prepare.extinction import correct_extinction
from pipeline.prepare.normalise import Normaliser
from pipeline.prepare.resample import Grid, Resampled, ResamplerConfig, completions, group_epochs
from pipeline.prepare.window import in_window, keep_steps
from pipeline.schema import LightCurves
from pipeline.train.experiment import Experiment

__all__ = [
    "Preparation",
    "choose_device",
    "choose_precision",
    "ensemble_logits",
    "group_photometry",
    "prepare_photometry",
    "steps_read",
    "threads",
]


@dataclass(frozen=True)
class Preparation:
    """What stands between grouped photometry and a network."""

    resampler: ResamplerConfig
    normaliser: Normaliser


def prepare_photometry(light_curves: LightCurves, experiment: Experiment) -> Resampled:
    """Group epochs into steps, and keep those that the networks read."""
    resampled = group_photometry(light_curves, experiment)
    return keep_steps(resampled, steps_read(resampled, experiment))


def group_photometry(light_curves: LightCurves, experiment: Experiment) -> Resampled:
    """Correct extinction if asked, and group epochs into steps."""
    corrected = correct_extinction(light_curves) if experiment.deredden else light_curves
    return group_epochs(corrected, experiment.bands, experiment.resampler.gap_days)


def steps_read(resampled: Resampled, experiment: Experiment) -> npt.NDArray[np.bool_]:
    """(n_steps,) whether a step is in the window of the experiment; all are where it has none."""
    window = None if isinstance(experiment.resampler, Grid) else experiment.resampler.window_days
    return np.ones(len(resampled.days), dtype=bool) if window is None else in_window(resampled, *window)


def ensemble_logits(
    networks: Sequence[LightCurveClassifier],
    resampled: Resampled,
    preparation: Preparation,
    device: torch.device,
    progress: Callable[[int], None] = lambda done: None,
    batch_size: int = 256,
) -> npt.NDArray[np.float32]:
    """Run networks over all objects in batches of exactly equal length, so that nobody's company changes an answer.

    Returns:
        (n_networks × n_completions, n_objects, n_classes) logits; NaN for objects without a step.

    Raises:
        ValueError: if no object has a step.
    """
    logits: npt.NDArray[np.float32] | None = None
    done = 0
    for network in networks:
        network.eval()
    with threads(1), torch.inference_mode():  # more gain little, and lose much where the cores are busy
        for rows in equal_length_batches(resampled.lengths, batch_size):
            features = [
                preparation.normaliser(filled).to(device)
                for filled in completions(resampled.batch(rows), preparation.resampler)
            ]
            values = torch.stack([network(batch) for network in networks for batch in features]).float().cpu().numpy()
            if logits is None:
                logits = np.full((len(values), len(resampled), values.shape[2]), np.nan, dtype=np.float32)
            logits[:, rows] = values
            done += len(rows)
            progress(done)
    if logits is None:
        raise ValueError("no object has a step in the model's bands")
    return logits


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_device(name: str) -> torch.device:
    """Resolve `auto` to the accelerator if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Resolve `auto` to bfloat16 where the device multiplies matrices in it faster than in float32."""
    if name != "auto":
        return torch.bfloat16 if name == "bfloat16" else torch.float32
    if device.type == "cuda":
        is_fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # not in torch 2.6
        is_fast = bool(capabilities.get("amx_bf16"))  # avx512_bf16 alone multiplies at half the rate of float32
    return torch.bfloat16 if is_fast else torch.float32
