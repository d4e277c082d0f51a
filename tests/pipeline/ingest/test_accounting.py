"""n_files = n_ingested + n_unchanged + n_quarantined, and every file can be found again."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.duplicates import DuplicatePolicy
from pipeline.ingest.reading import base_name
from pipeline.store import IngestSettings, IngestSummary, Store, TooManyBadFilesError, ingest
from tests.pipeline.ingest.snana_files import ROWS, Written, write_survey

GOOD = ROWS
DROPPED = (*ROWS[:2], (56007.0, "g", 30.0, 0.0))
OTHER = ((56001.0, "g", 1.0, 1.0),)
KINDS = ("good", "dropped", "other", "truncated", "empty", "binary", "companion", "packed")


def content(kind: str, snid: str) -> tuple[str, bytes]:
    """Return how the file's name ends, and its bytes."""
    rows = {"good": GOOD, "dropped": DROPPED, "other": OTHER}.get(kind, GOOD)
    text = Written(snid, rows).text().encode()
    return {
        "truncated": (".dat", text[:150]),
        "empty": (".dat", b""),
        "binary": (".dat", b"\0" + text),
        "companion": (".README", b"a note"),
        "packed": (".gz", b"\x1f\x8b"),
    }.get(kind, (".dat", text))


def check_account(summary: IngestSummary, store: Store, files: set[str]) -> None:
    """Every file is in the account once, and in the store, in the quarantine, or among the ignored."""
    assert summary.n_files == summary.n_ingested + summary.n_unchanged + summary.n_quarantined
    assert summary.n_files + summary.n_ignored == len(files)
    in_store = {base_name(item.file) for item in (*store.stored_files(), *store.stored_parts())}
    quarantine = store.quarantine()
    in_quarantine = set(quarantine.loc[quarantine["SCOPE"] == "file", "FILE"].map(base_name))
    ignored = {base_name(name) for name in summary.ignored}
    assert {base_name(file) for file in files} <= in_store | in_quarantine | ignored
    assert summary.n_epochs_dropped == 0 or (quarantine["SCOPE"] == "epoch").any()
    assert not in_quarantine & ignored


Files = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 4)), min_size=1, max_size=9)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    first=Files, second=Files, policy=st.sampled_from(("quarantine", "newest", "merge")), per_commit=st.integers(1, 9)
)
def test_every_file_is_accounted_for_once_and_can_be_found(
    first: list[tuple[str, int]], second: list[tuple[str, int]], policy: DuplicatePolicy, per_commit: int
):
    """The second round keeps, changes, repairs, damages and adds files of the first."""
    chosen = IngestSettings(max_bad_fraction=1, workers=1, duplicates=policy, objects_per_commit=per_commit)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "survey"
        folder.mkdir()
        (folder / "anchor.dat").write_text(Written("anchor").text())
        store = Store.create(Path(name) / "store")
        for round_ in (first, second, second):
            for number, (kind, snid) in enumerate(round_):
                suffix, data = content(kind, str(snid))
                for old in folder.glob(f"{number}.*"):
                    old.unlink()
                (folder / f"{number}{suffix}").write_bytes(data)
            files = {path.name for path in folder.iterdir()}
            summary = ingest([folder], store, chosen)
            check_account(summary, store, files)
            if round_ is first:
                assert summary.n_quarantined == (store.quarantine()["SCOPE"] == "file").sum()
        assert summary.n_ingested == 0


@pytest.mark.parametrize(
    ("n_bad", "fraction", "fails"),
    [
        (0, 0.0, False),
        (1, 0.0, True),
        (1, 0.1, False),
        (1, 0.0999, True),
        (3, 0.3, False),
        (10, 1.0, False),
        (10, 0.999, True),
    ],
)
def test_a_run_fails_above_the_allowed_fraction_and_not_at_it(n_bad: int, fraction: float, fails: bool, tmp_path: Path):
    folder = write_survey(tmp_path / "survey", 10, **{f"sn{number:02d}": "" for number in range(n_bad)})
    store = Store.create(tmp_path / "store")
    chosen = IngestSettings(max_bad_fraction=fraction)
    if fails:
        with pytest.raises(TooManyBadFilesError, match=f"{n_bad} of 10 files were quarantined"):
            ingest([folder], store, chosen)
    else:
        assert ingest([folder], store, chosen).n_quarantined == n_bad
    assert len(store.snids()) == 10 - n_bad


def test_conflicts_are_no_bad_files(tmp_path: Path):
    folder = write_survey(tmp_path / "survey", 2)
    for number in range(5):
        (folder / f"x{number}.dat").write_text(Written("100", ((56000.0, "g", float(number), 1.0),)).text())
    summary = ingest([folder], Store.create(tmp_path / "store"), IngestSettings(max_bad_fraction=0, duplicates="merge"))
    assert (summary.n_files, summary.n_ingested, summary.n_quarantined, summary.n_conflicts) == (7, 7, 0, 10)
    assert summary.reasons == {}
