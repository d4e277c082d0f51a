"""The short version of `python -m tests.fuzz`."""

from __future__ import annotations

import random
from collections import deque

import pytest

from pipeline.ingest.readers import READERS, ReadOptions, SourceFile, snana_text
from tests.fuzz import harness
from tests.fuzz.harness import BATCH, check_inputs, fuzz, fuzz_in_processes
from tests.fuzz.mutations import Files, mutate
from tests.fuzz.promises import read_and_check
from tests.fuzz.targets import FUZZED, Target, seeds_of, stored_inputs

INPUTS = {"snana_text": 250 * BATCH, "containers": 20 * BATCH}
"""Of readers that take tables, fewer: each takes milliseconds."""


def test_every_reader_is_fuzzed():
    assert FUZZED.keys() == {*READERS, "containers"}


@pytest.mark.parametrize("name", FUZZED)
def test_damaged_files_give_light_curves_or_reasons_and_nothing_else(name: str):
    (report,) = deque(fuzz(name, INPUTS.get(name, 8 * BATCH), seed=20), maxlen=1)
    assert [finding.fault for finding in report.findings] == []
    assert report.objects > report.inputs / 20
    assert report.growth < 100


@pytest.mark.parametrize(("name", "inputs"), [(name, stored_inputs(name)) for name in FUZZED])
def test_inputs_that_once_broke_a_reader_no_longer_do(name: str, inputs: list[Files]):
    for target in FUZZED[name]:
        assert [finding.fault for finding in check_inputs(target, inputs).findings] == []


def test_a_broken_promise_is_found_with_the_one_input_that_breaks_it(monkeypatch: pytest.MonkeyPatch):
    def break_at(inputs: list[Files], options: ReadOptions) -> object:
        if ("7.dat", b"") in [file for files in inputs for file in files]:
            raise RuntimeError("seven")
        return read_and_check(inputs, options)

    monkeypatch.setattr(harness, "read_and_check", break_at)
    report = check_inputs(Target(()), [((f"{number}.dat", b""),) for number in range(20)])
    assert [(finding.files, finding.fault) for finding in report.findings] == [
        ((("7.dat", b""),), "RuntimeError: seven")
    ]
    assert (report.inputs, report.reasons) == (20, {"empty": 19})


def test_a_process_of_its_own_gives_the_same_account():
    (here,), (there,) = (deque(run("ecsv", BATCH, seed=3), maxlen=1) for run in (fuzz, fuzz_in_processes))
    assert (here.inputs, here.objects, here.reasons) == (there.inputs, there.objects, there.reasons)


def test_damaged_snana_text_is_read_by_columns_as_line_by_line(monkeypatch: pytest.MonkeyPatch):
    rng, seeds = random.Random(7), seeds_of("snana_text")
    files = [SourceFile(f"{number}.dat", mutate(rng, seeds), "") for number in range(2000)]
    by_columns = snana_text.read(files, ReadOptions())
    monkeypatch.setattr(snana_text, "_cut", lambda index, data, options: None)
    line_by_line = snana_text.read(files, ReadOptions())
    assert by_columns.rejections == line_by_line.rejections
    assert by_columns.truth.equals(line_by_line.truth)
    assert by_columns.light_curves.equals(line_by_line.light_curves)
