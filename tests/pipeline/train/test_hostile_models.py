"""Facts about classifiers from strangers: whatever their files say, they are read or refused, quickly."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.train.checkpoint import Checkpoint, CheckpointError
from tests.small_model import small_classifier

Place = tuple[str | int, ...]
GONE = object()
WRONG = (GONE, None, "../../etc/passwd", -1, 10**12, 1e308, [], {}, [None])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    small_classifier().checkpoint.save(tmp_path / "model")
    return tmp_path / "model"


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Every place in nested JSON; of a list, the first two."""
    if place:
        yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*place, key))


def changed(description: dict[str, Any], place: Place, value: object) -> str:
    found: Any = copy.deepcopy(description)
    section = found
    for key in place[:-1]:
        section = section[key]
    if value is GONE:
        del section[place[-1]]
    else:
        section[place[-1]] = value
    return json.dumps(found)


def test_a_description_that_is_wrong_anywhere_is_read_or_refused(model: Path) -> None:
    description = json.loads((model / "model.json").read_text())
    n_refused = 0
    for place in places(description):
        for value in WRONG:
            (model / "model.json").write_text(changed(description, place, value))
            try:
                Checkpoint.load(model).networks()
            except CheckpointError:
                n_refused += 1
    assert n_refused > 500


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("n_members",), 10**12, "n_members is 1000000000000, the weights are of 1 members"),
        (("temperature",), 0.0, r"temperature is 0\.0, expected a positive number"),
        (("vector",), {"scale": [1, 1, 1], "shift": [0, 0, 0]}, "3 scales, expected one for each of 2 classes"),
        (("vector",), {"scale": [1, -1], "shift": [0, 0]}, r"scale is \(1\.0, -1\.0\), expected a positive number"),
        (("vector",), {"scale": [1, 1], "shift": [0, float("nan")]}, r"shift is \(0\.0, nan\), expected finite"),
        (("weights_sha256",), GONE, "no 'weights_sha256'"),
        (("novelty",), None, "does not describe a classifier of this snflow"),
    ],
)
def test_what_is_wrong_is_told(model: Path, place: Place, value: object, message: str) -> None:
    description = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(changed(description, place, value))
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.load(model)


def test_settings_that_the_weights_do_not_fit_are_refused(model: Path) -> None:
    description = json.loads((model / "model.json").read_text())
    sizes = ("experiment", "model", "hidden_sizes")
    (model / "model.json").write_text(changed(description, sizes, [10**6, 10**6]))
    with pytest.raises(CheckpointError, match="its weights and its settings do not belong together"):
        Checkpoint.load(model).networks()


@pytest.mark.parametrize("content", [b"[]", b"\xff\xfe", b"[" * 200_000, b"{"])
def test_a_file_that_is_no_description_is_damaged(model: Path, content: bytes) -> None:
    (model / "model.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.json is damaged"):
        Checkpoint.load(model)
