from __future__ import annotations

import numpy as np
import pytest

from pipeline.ingest.readers import READERS, Reader, ReadOptions, ReadResult, SourceFile
from pipeline.ingest.reading import content_hash
from pipeline.schema import LIGHT_CURVE_SCHEMA, TRUTH_SCHEMA, LightCurves, Truth
from tests.pipeline.ingest.snana_files import EXAMPLES

FILES = {"snana_text": sorted(EXAMPLES.iterdir())}
"""Example files of every reader of one object a file: a new one brings its own; for tables see test_tables."""
SINGLE = {name: reader for name, reader in READERS.items() if isinstance(reader, Reader)}


def load(name: str) -> list[SourceFile]:
    contents = [(path.name, path.read_bytes()) for path in FILES[name]]
    return [SourceFile(file, data, content_hash(data)) for file, data in contents]


@pytest.fixture(params=sorted(SINGLE))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def result(name: str) -> ReadResult:
    return SINGLE[name].read(load(name), ReadOptions())


def test_every_reader_has_example_files_and_no_others_are_claimed():
    assert FILES.keys() == SINGLE.keys()


def test_a_reader_recognises_its_files_and_no_prose(name: str):
    assert all(SINGLE[name].recognises(file.data) for file in load(name))
    assert not SINGLE[name].recognises(b"This archive holds light curves.\nSee the README.\n")
    assert not SINGLE[name].recognises(b"")


def test_a_reader_gives_one_valid_light_curve_and_one_truth_per_file(name: str, result: ReadResult):
    assert result.light_curves.schema.equals(LIGHT_CURVE_SCHEMA)
    assert result.truth.schema.equals(TRUTH_SCHEMA)
    light_curves, truth = LightCurves.from_arrow(result.light_curves), Truth(result.truth.to_pandas())
    assert len(light_curves) == len(truth) == len(load(name))
    assert light_curves.objects["SNID"].tolist() == truth.table["SNID"].tolist()
    assert light_curves.objects["SOURCE"].tolist() == [file.name for file in load(name)]
    assert light_curves.objects["SOURCE_HASH"].tolist() == [file.digest for file in load(name)]


def test_no_simulated_truth_reaches_the_light_curves(result: ReadResult):
    assert not [column for column in result.light_curves.column_names if column.startswith("SIM")]


def test_reading_files_together_or_alone_or_reversed_gives_the_same(name: str, result: ReadResult):
    together = LightCurves.from_arrow(result.light_curves)
    for files in ([file] for file in load(name)):
        alone = LightCurves.from_arrow(SINGLE[name].read(files, ReadOptions()).light_curves)
        same = together.select(alone.objects["SNID"])
        assert alone.to_arrow().equals(same.to_arrow())
    backwards = SINGLE[name].read(load(name)[::-1], ReadOptions()).light_curves
    assert LightCurves.from_arrow(backwards).select(together.objects["SNID"]).to_arrow().equals(together.to_arrow())


def test_a_reader_given_nothing_gives_empty_tables(name: str):
    nothing = SINGLE[name].read([], ReadOptions())
    assert (len(nothing.light_curves), len(nothing.truth), nothing.rejections) == (0, 0, [])


def test_half_a_file_is_rejected_with_a_reason_and_spoils_no_other(name: str, result: ReadResult):
    whole = load(name)
    for number, file in enumerate(whole):
        half = file._replace(data=file.data[: len(file.data) // 2])
        mixed = SINGLE[name].read([*whole[:number], half, *whole[number + 1 :]], ReadOptions())
        assert [rejection.file for rejection in mixed.rejections] == [file.name]
        assert ":" in mixed.rejections[0].reason
        kept = np.arange(len(whole)) != number
        assert mixed.light_curves.equals(result.light_curves.filter(kept))
