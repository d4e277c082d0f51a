"""Classifiers by name: those that ship with snflow, and the user's own in versions, of which one is current.

    <folder>/<name>/<version>/     checkpoint folder; the version is the one in the predictions' MODEL, name@version
    <folder>/<name>/current.json   which version is current, since when, why, which was before, and all that ever were

A version is put in its place before current.json names it, and either appears whole: a crash leaves what was.
"""

from __future__ import annotations

import difflib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
from filelock import FileLock
from platformdirs import user_data_path
from pydantic import Field

from pipeline.files import replace_folder, write_atomically, write_parquet
from pipeline.settings import FrozenConfig, SettingsError
from pipeline.train.errors import CheckpointError

if TYPE_CHECKING:
    from pipeline.train.checkpoint import Checkpoint

__all__ = ["Entry", "Registered", "Registry", "RegistrySettings", "UnknownModelError", "find_model"]

CURRENT: Final = "current.json"
MODEL_FILE: Final = "model.json"
STAGING: Final = ".promoting-"
OBJECTS: Final = "objects.parquet"
"""Beside a classifier that was promoted from a run: SNID and PART of the objects it has learnt from."""


class UnknownModelError(SettingsError):
    """No classifier of that name or version; the message lists those there are."""


def own_folder() -> Path:
    """Return the folder in SNFLOW_MODELS, else the user's data folder for snflow."""
    return Path(os.environ.get("SNFLOW_MODELS") or user_data_path("snflow") / "models")


def shipped_folder() -> Path:
    """Return the folder of the classifiers that came with snflow."""
    return Path(__file__).parents[2] / "data" / "pretrained"


class RegistrySettings(FrozenConfig):
    """Where classifiers are kept."""

    folder: Path = Field(default_factory=own_folder)
    """The user's own; the default is in SNFLOW_MODELS, or the user's data folder."""
    shipped: Path = Field(default_factory=shipped_folder)
    """Those that came with snflow, one folder each."""


@dataclass(frozen=True)
class Entry:
    """One change of which version is current.

    Attributes:
        version: current from then on.
        when: ISO 8601, UTC.
        why: in the words of whoever promoted it.
        previous: version that was current before; None for the first.
    """

    version: str
    when: str
    why: str
    previous: str | None = None


@dataclass(frozen=True)
class Registered:
    """A version of a classifier.

    Attributes:
        name, version: `name@version` finds it.
        folder: its checkpoint.
        is_current: whether the name alone finds it.
        origin: `own` or `shipped`.
    """

    name: str
    version: str
    folder: Path
    is_current: bool
    origin: str

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON holds it."""
        return asdict(self) | {"folder": str(self.folder)}


class Registry:
    """Classifiers by name."""

    def __init__(self, settings: RegistrySettings | None = None) -> None:
        settings = settings or RegistrySettings()
        self.folder, self.shipped = settings.folder, settings.shipped

    def names(self) -> list[str]:
        """Return the names that have a current version, in order."""
        found = [*self.folder.glob(f"*/{CURRENT}"), *self.shipped.glob(f"*/{MODEL_FILE}")]
        return sorted({path.parent.name for path in found if not path.parent.name.startswith(".")})

    def versions(self, name: str) -> list[Registered]:
        """Return all versions of a name, the current one first, then the newest.

        Raises:
            UnknownModelError: if there is none of that name.
        """
        found = {version: (path, "shipped") for path, version in self._shipped(name)}
        found |= {version: (path, "own") for path, version in self._own(name)}
        current = self.current_version(name)
        if current not in found:
            raise self._unknown(name)
        ordered = sorted(found, key=lambda version: (version != current, -found[version][0].stat().st_mtime))
        return [
            Registered(name, version, found[version][0], version == current, found[version][1]) for version in ordered
        ]

    def find(self, word: str) -> Registered:
        """Find `NAME`, its current version, or `NAME@VERSION`.

        Raises:
            UnknownModelError: if there is none; the message lists those there are, the nearest first.
        """
        name, _, version = word.partition("@")
        known = self.versions(name)
        if not version:
            return known[0]
        chosen = [one for one in known if one.version == version]
        if not chosen:
            listed = ", ".join(one.version for one in known)
            raise UnknownModelError(f"{name} has no version {version!r}; there are {listed}")
        return chosen[0]

    def current_version(self, name: str) -> str | None:
        """Return the current version of a name: what was promoted last, else what was shipped."""
        history = self.history(name)
        return history[-1].version if history else next((version for _, version in self._shipped(name)), None)

    def history(self, name: str) -> list[Entry]:
        """Return every change of the current version, the oldest first.

        Raises:
            CheckpointError: if the file cannot be read.
        """
        path = self.folder / name / CURRENT
        try:
            return [Entry(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))["history"]]
        except FileNotFoundError:
            return []
        except (json.JSONDecodeError, TypeError, KeyError) as error:
            raise CheckpointError(f"{path} is damaged: {error}; promote a version again after removing it") from None

    def promote(
        self,
        name: str,
        source: Path,
        why: str = "",
        extra: dict[str, Any] | None = None,
        instead_of: str | None = None,
    ) -> Registered:
        """Copy a classifier into the registry, and make it the current one of a name.

        Args:
            name: letters, digits, `-`, `_` and `.`; predictions carry it from then on.
            source: checkpoint folder, or the folder of a run.
            why: for the history.
            extra: entries to add to its card.
            instead_of: version that must still be current.

        Raises:
            SettingsError: if the name is none.
            CheckpointError: if the classifier cannot be read, or another version is current by now.
        """
        checkpoint = load_renamed(source, name, extra)
        with self._locked(name):
            current = self.current_version(name)
            if instead_of is not None and current != instead_of:
                raise CheckpointError(f"{name}@{current} is current by now, not {instead_of}: run the command again")
            version = self._store(name, checkpoint, source)
            self._set_current(name, version, why or f"promoted from {source}", current)
        return self.find(f"{name}@{version}")

    def rollback(self, name: str, why: str = "") -> Registered:
        """Make the version current that was so before the current one was promoted; nothing is deleted.

        Raises:
            UnknownModelError: if there is none of that name.
            SettingsError: if there was none before.
        """
        current = self.find(name)
        with self._locked(name):
            history = self.history(name)
            previous = history[-1].previous if history else None
            if previous is None:
                raise SettingsError(f"{name}@{current.version} is the first version of its name: nothing to go back to")
            target = self.find(f"{name}@{previous}")
            before = next((entry.previous for entry in reversed(history) if entry.version == previous), None)
            self._set_current(name, previous, why or f"rolled back from {current.version}", before)
        return replace(target, is_current=True)

    def ship(self, name: str, source: Path, extra: dict[str, Any], max_bytes: int) -> Path:
        """Put a classifier among those that ship with snflow, in the place of an older one of that name.

        Raises:
            CheckpointError: if it is larger than max_bytes, or cannot be read.
        """
        checkpoint = load_renamed(source, name, extra)
        self.shipped.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=self.shipped) as folder:
            staged = Path(folder) / name
            save_with_objects(checkpoint, staged, source)
            size = sum(path.stat().st_size for path in staged.iterdir())
            if size > max_bytes:
                raise CheckpointError(f"{source}: {size:,} bytes, but what ships has at most {max_bytes:,}")
            replace_folder(staged, self.shipped / name)
        return self.shipped / name

    def _own(self, name: str) -> Iterator[tuple[Path, str]]:
        for path in (self.folder / name).glob(f"*/{MODEL_FILE}"):
            if not path.parent.name.startswith("."):
                yield path.parent, path.parent.name

    def _shipped(self, name: str) -> Iterator[tuple[Path, str]]:
        path = self.shipped / name / MODEL_FILE
        if name and path.exists():
            yield path.parent, json.loads(path.read_text(encoding="utf-8"))["name"].rpartition("@")[2]

    def _store(self, name: str, checkpoint: Checkpoint, source: Path) -> str:
        """Save a version; the same again changes nothing, other settings of the same weights are a version apart."""
        folder = self.folder / name
        for left_by_a_crash in folder.glob(f"{STAGING}*"):
            shutil.rmtree(left_by_a_crash)
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=folder) as staging:
            staged = Path(staging) / "model"
            save_with_objects(checkpoint, staged, source)
            content, weights = (staged / MODEL_FILE).read_bytes(), checkpoint.name.rpartition("@")[2]
            for number in range(1, 10_000):
                version = weights if number == 1 else f"{weights}-{number}"
                place = folder / version / MODEL_FILE
                if not place.exists():
                    replace_folder(staged, folder / version)
                    return version
                if place.read_bytes() == content:
                    return version
        raise CheckpointError(f"{folder} has too many versions of the weights {weights}")

    def _set_current(self, name: str, version: str, why: str, previous: str | None) -> None:
        history = self.history(name)
        if history and history[-1].version == version:
            return
        entry = Entry(version, datetime.now(UTC).isoformat(timespec="seconds"), why, previous)
        content = asdict(entry) | {"history": [asdict(one) for one in (*history, entry)]}
        write_atomically(self.folder / name / CURRENT, json.dumps(content, indent=2) + "\n")

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / name / ".lock"):
            yield

    def _unknown(self, name: str) -> UnknownModelError:
        names = self.names()
        nearest = difflib.get_close_matches(name, names, 1, 0.4)
        meant = f" (did you mean {nearest[0]}?)" if nearest else ""
        listed = ", ".join(names) or "none yet: snflow models promote NAME RUN adds one"
        return UnknownModelError(f"no model named {name!r}{meant}; known: {listed}; or give a checkpoint folder")


def find_model(word: str | Path, registry: Registry | None = None) -> Path:
    """Return the checkpoint folder that a word means: a folder, that of a run, NAME, or NAME@VERSION.

    Raises:
        UnknownModelError: if it is none of these.
    """
    folder = checkpoint_folder(Path(word))
    if (folder / MODEL_FILE).exists() or len(Path(word).parts) != 1:
        return folder
    return (registry or Registry()).find(str(word)).folder


def checkpoint_folder(path: Path) -> Path:
    """Return the checkpoint of a run's folder, or the folder itself."""
    return path / "model" if not (path / MODEL_FILE).exists() and (path / "model" / MODEL_FILE).exists() else path


def save_with_objects(checkpoint: Checkpoint, folder: Path, source: Path) -> None:
    """Save a classifier, and who was in which part of its sample where its run tells; test objects are left out."""
    checkpoint.save(folder)
    split = source / "split.parquet"
    if split.exists():
        table = pd.read_parquet(split)
        write_parquet(table[table["PART"] != "test"].reset_index(drop=True), folder / OBJECTS)


def check_name(name: str) -> str:
    """Return a name that can be a folder and stand before an @.

    Raises:
        SettingsError: if it is none.
    """
    if not name or name.startswith(".") or not all(sign.isalnum() or sign in "-_." for sign in name):
        raise SettingsError(f"{name!r} is no name for a model: expected letters, digits, - and _, such as spcc-ia")
    return name


def load_renamed(source: Path, name: str, extra: dict[str, Any] | None) -> Checkpoint:
    """Load a classifier with the name that its predictions carry, more on its card, and answers to verify it by."""
    from pipeline.train.checkpoint import Checkpoint  # finding a classifier needs no torch
    from pipeline.train.verify import with_answers

    checkpoint = Checkpoint.load(checkpoint_folder(source))
    name = check_name(name)
    card = checkpoint.card | (extra or {})
    experiment = checkpoint.experiment.model_copy(update={"name": name})
    named = replace(checkpoint, experiment=experiment, card=card)
    return named if named.answers is not None else with_answers(named)
