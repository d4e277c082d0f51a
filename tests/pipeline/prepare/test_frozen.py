from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.prepare.frozen import FrozenTest, FrozenTestError, freeze_objects, read_frozen

SNIDS = [str(number) for number in range(100)]


def test_a_draw_depends_on_who_there_is_and_not_on_the_order(tmp_path: Path) -> None:
    first = freeze_objects(tmp_path / "a.json", 30, SNIDS, SNIDS[:20], seed=1)
    second = freeze_objects(tmp_path / "b.json", 30, SNIDS[::-1], SNIDS[:20], seed=1)
    assert first == second == read_frozen(tmp_path / "a.json") == read_frozen(tmp_path / "b.json", 30)
    assert len(set(first.snids)) == 30
    assert set(first.snids).isdisjoint(SNIDS[:20])
    assert first != freeze_objects(tmp_path / "c.json", 30, SNIDS, SNIDS[:20], seed=2)


def test_what_leaves_nothing_to_learn_from_is_not_drawn(tmp_path: Path) -> None:
    with pytest.raises(FrozenTestError, match="cannot freeze 80 of 80 objects: 100 have a known class"):
        freeze_objects(tmp_path / "a.json", 80, SNIDS, SNIDS[:20], seed=1)
    assert not (tmp_path / "a.json").exists()


def test_names_that_look_like_several_have_a_hash_of_their_own() -> None:
    assert FrozenTest(("a\nb",)).hash != FrozenTest(("a", "b")).hash


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[]", b'{"format": "snflow frozen test set", "version": 2}', b'{"format": "other"}']
)
def test_a_file_that_is_no_test_set_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(FrozenTestError, match="is no frozen test set"):
        read_frozen(tmp_path / "a.json")


@pytest.mark.parametrize("snids", [None, [1], ["a", "a"]])
def test_a_list_that_is_none_is_told(tmp_path: Path, snids: object) -> None:
    FrozenTest(("a",)).write(tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(content | {"snids": snids}))
    with pytest.raises(FrozenTestError, match="has no list of SNIDs, each once"):
        read_frozen(tmp_path / "a.json")
