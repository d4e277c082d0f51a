"""The state of a training run on disk: one safetensors file, replaced atomically at the end of each epoch."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

__all__ = ["StateError", "TrainingState", "optimizer_from_state", "optimizer_to_state"]


class StateError(ValueError):
    """A training state that cannot be resumed; the message says why and what to do."""


@dataclass
class TrainingState:
    """Everything a member needs to go on after its last finished epoch as if nothing had happened.

    The random numbers of an epoch are a function of (seed, member, epoch), so no generator needs saving.

    Attributes:
        tensors: `model.*`, `average.*`, `best.*` and `optimizer.<parameter>.<name>`.
        numbers: optimiser groups and schedule, as JSON holds them.
        history: one row per finished epoch.
        fingerprint: of the settings and data; another one cannot be resumed.
    """

    tensors: dict[str, Tensor]
    numbers: dict[str, Any]
    fingerprint: str
    history: list[dict[str, float]] = field(default_factory=list)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors under a prefix, without it."""
        return {key[len(prefix) + 1 :]: value for key, value in self.tensors.items() if key.startswith(f"{prefix}.")}

    def save(self, path: Path) -> None:
        """Replace the file atomically: a crash leaves the old state or the new one, whole."""
        rest = {"numbers": self.numbers, "history": self.history, "fingerprint": self.fingerprint}
        temporary = path.with_suffix(".partial")
        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in self.tensors.items()}
        save_file(tensors, temporary, metadata={"state": json.dumps(rest)})
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: Path, fingerprint: str) -> TrainingState | None:
        """Read the state of an earlier run; None where there is none.

        Raises:
            StateError: if the file is damaged, or was written with other settings or data.
        """
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                rest = json.loads(file.metadata()["state"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise StateError(f"{path} is damaged ({error}); delete it to train from the start") from error
        if rest["fingerprint"] != fingerprint:
            raise StateError(
                f"{path} was written with other settings or data, or by a snflow that trained otherwise; give another "
                "--out, or delete it to train anew"
            )
        return cls(tensors, rest["numbers"], fingerprint, rest["history"])


def optimizer_to_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Split an optimiser's state into tensors and numbers."""
    state = optimizer.state_dict()
    tensors = {
        f"optimizer.{index}.{name}": torch.as_tensor(value)
        for index, values in state["state"].items()
        for name, value in values.items()
    }
    return tensors, state["param_groups"]


def optimizer_from_state(optimizer: torch.optim.Optimizer, state: TrainingState) -> None:
    """Give an optimiser back what `optimizer_to_state` took."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in state.part("optimizer").items():
        index, _, name = key.partition(".")
        moments.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": moments, "param_groups": state.numbers["optimizer"]})
