from __future__ import annotations

import math
import tracemalloc
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.readers import READERS, ReadOptions, ReadResult, TableReader
from pipeline.ingest.readers.assembly import stable_order
from pipeline.ingest.readers.many_objects import split_evenly
from pipeline.schema import LIGHT_CURVE_SCHEMA, TRUTH_SCHEMA, LightCurves, Truth
from tests.pipeline.ingest.table_files import (
    LAYOUTS,
    Curve,
    long_frame,
    object_table,
    read_damaged,
    read_paths,
    write_fits,
)

ROWS = ((56000.0, "g", 10.0, 1.0), (56000.5, "r", 20.0, 2.0), (56007.0, "g", 30.0, 3.0))
CURVES = (Curve("007", ROWS), Curve("12", ROWS[:2], photoz=-9.0), Curve("a b", ROWS[1:], ra=-9.0))

finite = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))
epochs = st.tuples(
    st.floats(50000, 60000).map(lambda value: round(value, 4)), st.sampled_from("ugrizy"), finite, st.floats(0.001, 1e4)
)
names = st.text("abcXYZ0123456789-_", min_size=1, max_size=12).filter(lambda word: word not in ("NA", "-9"))
many_curves = st.lists(
    st.builds(Curve, names, st.lists(epochs, min_size=1, max_size=6).map(tuple), st.floats(0, 3)),
    min_size=1,
    max_size=8,
    unique_by=lambda curve: curve.snid,
)


def read_layout(layout: str, curves: list[Curve] | tuple[Curve, ...]) -> ReadResult:
    with TemporaryDirectory() as folder:
        return read_paths(LAYOUTS[layout][1](Path(folder), curves))


def photometry(result: ReadResult) -> dict[str, list[tuple[float, str, float, float]]]:
    columns = [result.light_curves[name].to_pylist() for name in ("MJD", "BAND", "FLUXCAL", "FLUXCALERR")]
    rows = (sorted(zip(*lists, strict=True)) for lists in zip(*columns, strict=True))
    return dict(zip(result.light_curves["SNID"].to_pylist(), rows, strict=True))


def reasons(result: ReadResult) -> list[tuple[str | None, str, str]]:
    return [(item.snid, item.scope, item.reason) for item in result.rejections]


@pytest.fixture(params=sorted(LAYOUTS))
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_reader_of_tables_has_a_layout_and_recognises_its_files_alone(tmp_path: Path):
    assert {form for form, _ in LAYOUTS.values()} == {
        name for name, reader in READERS.items() if isinstance(reader, TableReader)
    }
    for form, write in LAYOUTS.values():
        for path in write(tmp_path, CURVES):
            claimed = [name for name, reader in READERS.items() if reader.recognises(path.read_bytes())]
            assert claimed == [form]


@pytest.mark.parametrize("form", sorted(READERS))
@pytest.mark.parametrize("prose", [b"", b"This archive holds light curves.\nSee the README.\n", b"a,b\n1,2\n"])
def test_no_reader_recognises_prose_or_another_table(form: str, prose: bytes):
    assert not READERS[form].recognises(prose)


def test_what_is_written_in_any_layout_is_a_valid_catalogue(layout: str):
    result = read_layout(layout, CURVES)
    assert result.light_curves.schema.equals(LIGHT_CURVE_SCHEMA)
    assert result.truth.schema.equals(TRUTH_SCHEMA)
    curves, truth = LightCurves.from_arrow(result.light_curves), Truth(result.truth.to_pandas())
    assert curves.objects["SNID"].tolist() == truth.table["SNID"].tolist() == ["007", "12", "a b"]
    assert curves.objects["PHOTOZ"].fillna(-1).tolist() == [0.25, -1, 0.25]
    assert curves.objects["RA"].tolist() == [10.5, 10.5, -9.0]
    assert curves.objects["SPECZ"].isna().all()
    assert photometry(result) == {curve.snid: list(curve.rows) for curve in CURVES}
    assert result.rejections == []


@settings(max_examples=8, deadline=None)
@given(curves=many_curves)
def test_random_light_curves_come_back_equal_from_every_layout(curves: list[Curve]):
    for layout in LAYOUTS:
        result = read_layout(layout, curves)
        assert photometry(result) == {curve.snid: sorted(curve.rows) for curve in curves}, layout
        assert result.rejections == []


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"plasticc"}))
def test_one_bad_object_costs_itself_alone_and_a_bad_measurement_itself(layout: str):
    nan = math.nan
    bad = (
        Curve("dark", tuple((mjd, band, nan, error) for mjd, band, _, error in ROWS)),
        Curve("once", ((56000.0, "g", 1.0, 0.0), *ROWS)),
    )
    result = read_layout(layout, (CURVES[0], *bad, CURVES[1]))
    assert result.light_curves["SNID"].to_pylist() == result.truth["SNID"].to_pylist() == ["007", "once", "12"]
    assert sorted(reasons(result)) == [
        ("dark", "object", "no usable measurement: all 3 rows are bad, first: FLUXCAL is not finite: nan"),
        ("once", "epoch", "FLUXCALERR is not positive: 0.0"),
    ]
    assert all(item.line is not None and item.file and item.digest for item in result.rejections)


@pytest.mark.parametrize("layout", ["snana_fits", "parquet_lists", "parquet_struct", "arrow_file"])
def test_an_object_that_stands_twice_is_kept_once_and_its_second_row_named(layout: str):
    result = read_layout(layout, (*CURVES, Curve("12", ROWS)))
    assert result.light_curves["SNID"].to_pylist() == ["007", "12", "a b"]
    assert reasons(result) == [("12", "object", "duplicate SNID: 12 is already that of an earlier row")]
    assert [item.line for item in result.rejections] == [4]


@pytest.mark.parametrize("layout", ["snana_fits", "parquet_lists", "arrow_stream", "parquet_structs"])
def test_an_object_without_rows_is_rejected_alone(layout: str):
    result = read_layout(layout, (CURVES[0], Curve("empty", ()), CURVES[1]))
    assert reasons(result) == [("empty", "object", "no measurements: the object has no row")]
    assert result.light_curves["SNID"].to_pylist() == ["007", "12"]


def test_a_band_that_may_not_occur_rejects_its_object(tmp_path: Path):
    odd = Curve("odd", (*ROWS, (56009.0, "Y", 1.0, 1.0)))
    result = read_paths(write_fits(tmp_path, (CURVES[0], odd), FILTERS="griz"))
    assert reasons(result) == [("odd", "object", "unknown band: Y; known are g i r z")]
    assert result.light_curves["SNID"].to_pylist() == ["007"]


def test_bands_with_the_survey_in_their_name_are_those_announced_and_can_be_renamed(tmp_path: Path):
    named = Curve("1", tuple((mjd, f"DES-{band}", flux, error) for mjd, band, flux, error in ROWS))
    paths = write_fits(tmp_path, [named], FILTERS="griz")
    assert photometry(read_paths(paths))["1"][0][1] == "DES-g"
    renamed = read_paths(paths, ReadOptions({"DES-g": "g", "DES-r": "r"}))
    assert photometry(renamed)["1"] == list(ROWS)


def test_fluxes_at_another_zeropoint_are_brought_to_ours(tmp_path: Path):
    result = read_paths(write_fits(tmp_path, CURVES[:1], **{"HIERARCH ZP_FLUXCAL": 30.0}))
    assert result.light_curves["FLUXCAL"].to_pylist()[0] == pytest.approx([1.0, 2.0, 3.0])
    frame = long_frame(CURVES[:1]).assign(ZP_FLUXCAL=32.5)
    frame.to_csv(tmp_path / "zp.csv", index=False)
    result = read_paths([tmp_path / "zp.csv"])
    assert result.light_curves["FLUXCALERR"].to_pylist()[0] == pytest.approx([0.01, 0.02, 0.03])


def test_fluxes_that_are_corrected_for_the_milky_way_have_no_extinction_left(tmp_path: Path):
    head, phot = write_fits(tmp_path, CURVES[:1], **{"HIERARCH MWEBV_APPLYFLAG": 1})
    assert read_paths([head, phot]).light_curves["MWEBV"].to_pylist() == [0.0]


def test_what_a_simulation_tells_is_truth_and_type_plus_100_is_no_spectral_type():
    fits_truth = read_layout("snana_fits", CURVES).truth.to_pylist()[0]
    assert (fits_truth["SUBCLASS"], fits_truth["CLASS"], fits_truth["SPECTYPE"]) == ("IIL", "II", None)
    assert fits_truth["PEAKMJD"] == 56010.0
    of_csv = read_layout("supernnova", CURVES).truth.to_pylist()[0]
    assert (of_csv["SUBCLASS"], of_csv["REDSHIFT"], of_csv["SPECTYPE"]) == ("IIL", 0.3, None)
    assert read_layout("plasticc", CURVES).truth["CLASS"].to_pylist() == ["II"] * 3


def test_columns_of_any_name_are_found_by_a_map(tmp_path: Path):
    theirs = {"SNID": "who", "MJD": "time", "BAND": "filter", "FLUXCAL": "f", "FLUXCALERR": "df", "PHOTOZ": "zp"}
    frame = long_frame(CURVES).rename(columns={**theirs, "HOSTGAL_PHOTOZ": "zp"})
    frame.to_csv(tmp_path / "mine.csv", index=False)
    result = read_paths([tmp_path / "mine.csv"], ReadOptions(columns=theirs))
    assert photometry(result) == {curve.snid: list(curve.rows) for curve in CURVES}
    assert result.light_curves["PHOTOZ"].to_pylist() == [0.25, None, 0.25]


def test_rows_in_any_order_give_the_same_tables(tmp_path: Path):
    frame = long_frame(CURVES)
    frame.sample(frac=1, random_state=1).to_csv(tmp_path / "mixed.csv", index=False)
    frame.to_csv(tmp_path / "sorted.csv", index=False)
    mixed, ordered = (read_paths([tmp_path / f"{name}.csv"]) for name in ("mixed", "sorted"))
    assert photometry(mixed) == photometry(ordered)
    hashes = [sorted(result.light_curves["PHOTOMETRY_HASH"].to_pylist()) for result in (mixed, ordered)]
    assert hashes[0] == hashes[1]


def test_large_tables_stream_and_an_object_across_two_batches_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    curves = [Curve(str(number), ROWS) for number in range(40)]
    pq.write_table(pa.Table.from_pandas(long_frame(curves)), tmp_path / "long.parquet")
    monkeypatch.setattr("pipeline.ingest.readers.long_tables.SMALL_BYTES", 0)
    monkeypatch.setattr("pipeline.ingest.readers.columnar._LONG_ROWS", 7)
    result = read_paths([tmp_path / "long.parquet"])
    assert photometry(result) == {curve.snid: list(ROWS) for curve in curves}
    shuffled = long_frame(curves).sample(frac=1, random_state=2)
    pq.write_table(pa.Table.from_pandas(shuffled), tmp_path / "shuffled.parquet")
    assert photometry(read_paths([tmp_path / "shuffled.parquet"])) == photometry(result)


def test_floats_of_a_parquet_table_that_is_in_order_are_not_copied():
    table = object_table(CURVES, "lists")
    from pipeline.ingest.readers.columnar import _flattened

    found = {name: name for name in ("MJD", "BAND", "FLUXCAL", "FLUXCALERR")}
    flat = _flattened(table, {"SNID": "SNID", **found}, pa.compute.list_value_length(table["MJD"]).to_numpy())
    address = table["FLUXCAL"].chunk(0).values.buffers()[1].address
    assert flat["FLUXCAL"].chunk(0).buffers()[1].address == address


@pytest.mark.parametrize("layout", ["lists", "struct", "structs", "long"])
@pytest.mark.parametrize("limit", [1 << 20, 500], ids=["all words in the dictionary", "some words outside it"])
def test_bands_may_be_stored_as_a_dictionary_or_not(
    layout: str, limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pipeline.ingest.readers.columnar._FEW_ROWS", 0)
    monkeypatch.setattr("pipeline.ingest.readers.columnar._LIST_ROWS", 8)
    bands = [f"band {number}" for number in range(200)]
    curves = [Curve(str(n), tuple((mjd, bands[(7 * n) % 200], f, e) for mjd, _, f, e in ROWS)) for n in range(300)]
    table = pa.Table.from_pandas(long_frame(curves)) if layout == "long" else object_table(curves, layout)
    pages = {"data_page_size": 256, "write_batch_size": 8, "dictionary_pagesize_limit": limit}
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=len(table) // 3, **pages)
    result = read_paths([tmp_path / "t.parquet"])
    assert photometry(result) == {curve.snid: list(curve.rows) for curve in curves}
    assert result.rejections == []


@given(st.lists(st.integers(0, 1 << 40), max_size=30).map(lambda numbers: [*numbers, *numbers[:9], 3, 3]))
def test_integers_are_ordered_as_by_a_stable_sort(numbers: list[int]):
    assert stable_order(np.array(numbers)).tolist() == np.argsort(numbers, kind="stable").tolist()


@settings(max_examples=60, deadline=None)
@given(layout=st.sampled_from(sorted(LAYOUTS)), changes=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6))))
def test_damaged_bytes_are_read_or_rejected_and_never_crash_a_reader(layout: str, changes: list[tuple[float, bytes]]):
    with TemporaryDirectory() as folder:
        paths = LAYOUTS[layout][1](Path(folder), CURVES)
        for path in paths:
            data = bytearray(path.read_bytes())
            for share, change in changes:
                at = int(share * len(data))
                data[at : at + len(change)] = change
            path.write_bytes(bytes(data))
        for result in read_damaged(paths):
            assert result.light_curves.schema.equals(LIGHT_CURVE_SCHEMA)
            assert all(":" in item.reason for item in result.rejections)


def test_a_chunk_has_no_more_than_it_may():
    assert split_evenly([10] * 45_000) == [(0, 20_000), (20_000, 40_000), (40_000, 45_000)]
    assert split_evenly([3_000_000, 1]) == [(0, 1), (1, 2)]
    assert split_evenly([]) == []


def read_tables(*tables: pa.Table) -> list[ReadResult]:
    """Read Arrow tables as files of their own; damage is a rejection."""
    with TemporaryDirectory() as folder:
        path, results = Path(folder) / "odd.arrow", []
        for table in tables:
            with pa.ipc.new_file(str(path), table.schema) as writer:
                writer.write_table(table)
            parts = zip(*read_damaged([path]), strict=True)
            light_curves, truth, rejections = (list(part) for part in parts)
            listed = list(chain.from_iterable(rejections))
            results.append(ReadResult(pa.concat_tables(light_curves), pa.concat_tables(truth), listed))
        return results


def test_a_simulated_type_may_be_missing():
    types = pa.array([None, "SNIa", ""])
    for layout in ("lists", "struct", "structs"):
        (result,) = read_tables(object_table(CURVES, layout).append_column("SIM_TYPE_NAME", types))
        assert result.truth["SUBCLASS"].to_pylist() == [None, "Ia", None]


@pytest.mark.parametrize("layout", ["long", "lists", "struct", "structs"])
def test_encoded_columns_are_read_as_plain_ones(layout: str):
    table = pa.Table.from_pandas(long_frame(CURVES)) if layout == "long" else object_table(CURVES, layout)
    survey = pa.DictionaryArray.from_arrays(pa.array([0] * len(table), pa.int8()), pa.array(["TEST", None]))
    encoded = table.set_column(0, "SNID", table["SNID"].dictionary_encode()).append_column("SURVEY", survey)
    (result,) = read_tables(encoded)
    assert photometry(result) == {curve.snid: list(curve.rows) for curve in CURVES}
    assert result.light_curves["SURVEY"].to_pylist()[0] == "TEST"


def test_a_missing_band_beside_one_that_is_called_a_question_mark_is_read():
    frame = long_frame(CURVES[:1]).assign(BAND=["?", None, "g"])
    (result,) = read_tables(pa.Table.from_pandas(frame))
    assert result.light_curves["BAND"].to_pylist() == [["?", "?", "g"]]


def test_columns_that_are_neither_numbers_nor_words_are_refused_or_left_alone():
    table = object_table(CURVES, "lists")
    times = pa.array([[0] * len(curve.rows) for curve in CURVES], pa.list_(pa.timestamp("s")))
    odd = pa.array([{"a": 1}] * 3)
    refused = table.set_column(table.column_names.index("MJD"), "MJD", times)
    left_alone = table.set_column(table.column_names.index("RA"), "RA", odd)
    results = read_tables(refused, left_alone)
    assert reasons(results[0])[0][2] == ("unusable column: MJD is of type timestamp[s], expected numbers or words")
    assert photometry(results[1]) == {curve.snid: list(curve.rows) for curve in CURVES}
    assert results[1].light_curves["RA"].to_pylist() == [None] * 3


def test_repeated_columns_and_lists_beside_single_values_are_refused():
    nested, lists = object_table(CURVES, "struct"), object_table(CURVES, "lists")
    twice = lists.append_column("RA", lists["RA"])
    flat = lists.set_column(lists.column_names.index("BAND"), "BAND", pa.array(["g"] * 3))
    named_by_lists = lists.set_column(0, "SNID", pa.array([["7"]] * 3))
    nameless = nested.set_column(0, "SNID", pa.array([["7"]] * 3))
    told = [reasons(result)[0][2].partition(":")[0] for result in read_tables(twice, flat, named_by_lists, nameless)]
    assert told == ["duplicated column", "mixed layout", "mixed layout", "missing columns"]


def test_a_column_of_lists_that_are_no_measurements_leaves_those_that_are_alone():
    other = pa.array([{"weights": [1.0]}] * 3)
    for layout in ("lists", "struct"):
        (result,) = read_tables(object_table(CURVES, layout).append_column("host", other))
        assert photometry(result) == {curve.snid: list(curve.rows) for curve in CURVES}


def test_what_can_be_no_zeropoint_or_flag_makes_no_flux_and_no_flag(tmp_path: Path):
    frame = long_frame(CURVES[:1]).assign(ZP_FLUXCAL=[27.5, -9.0, -1e9], PHOTFLAG=[1e300, 4096, 0])
    (result,) = read_tables(pa.Table.from_pandas(frame))
    assert result.light_curves["FLUXCAL"].to_pylist() == [[10.0]]
    assert result.light_curves["PHOTFLAG"].to_pylist() == [[0]]
    assert {item.reason for item in result.rejections} == {"FLUXCAL is not finite: nan"}
    for zeropoint, told in ((-1e9, "not a zeropoint"), ("high", "not a number")):
        (result,) = read_damaged(write_fits(tmp_path, CURVES, **{"HIERARCH ZP_FLUXCAL": zeropoint}))
        assert [item.reason.partition(":")[0] for item in result.rejections] == [told]


@pytest.mark.parametrize(
    ("part", "old", "new", "told"),
    [
        ("HEAD", "TFORM8", "TFORM8  = 'E'", "PTROBS_MAX of HEAD is not one value a row, or of another type"),
        ("HEAD", "TFORM6", "TFORM6  = '2I'", "NOBS of HEAD is not one value a row, or of another type"),
        ("PHOT", "GCOUNT", "TZERO1  = 'x'", "TZERO1 of the FITS file is 'x'"),
        ("PHOT", "NAXIS2", "NAXIS2  = \u00b2", "NAXIS2 of the FITS file is '\u00b2'"),
    ],
)
def test_fits_columns_of_another_type_and_cards_that_are_no_numbers_are_refused(
    part: str, old: str, new: str, told: str, tmp_path: Path
):
    paths = write_fits(tmp_path, CURVES)
    path = tmp_path / f"S_{part}.FITS"
    data = path.read_bytes()
    start = data.index(old.encode())
    path.write_bytes(data[:start] + new.encode("latin-1").ljust(80) + data[start + 80 :])
    (result,) = read_damaged(paths)
    assert [item.reason for item in result.rejections] == [f"damaged: {told}"]


def test_rows_that_phot_only_announces_take_no_memory(tmp_path: Path):
    paths = write_fits(tmp_path, CURVES)
    with fits.open(paths[0], mode="update") as head:
        head[1].data["PTROBS_MAX"][-1] = 2**31 - 1
    paths[0].write_bytes(paths[0].read_bytes().replace(b"'NOBS", b"'N   "))
    data = paths[1].read_bytes()
    start = data.index(b"NAXIS2")
    paths[1].write_bytes(data[:start] + b"NAXIS2  = 2147483647".ljust(80) + data[start + 80 :])
    tracemalloc.start()
    (result,) = read_damaged(paths)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.light_curves["SNID"].to_pylist() == ["007", "12"]
    assert [item.reason.partition(":")[0] for item in result.rejections] == ["truncated"]
    assert peak < 100 << 20


def test_an_object_that_stands_twice_and_has_its_rows_nowhere_is_rejected_once(tmp_path: Path):
    paths = write_fits(tmp_path, (*CURVES, Curve("12", ROWS)))
    with fits.open(paths[0], mode="update") as head:
        head[1].data["PTROBS_MIN"][-1] = -(2**31)
    first, last = read_damaged(paths)
    assert first.light_curves["SNID"].to_pylist() == ["007", "12", "a b"]
    assert reasons(last) == [("12", "object", "duplicate SNID: 12 is already that of an earlier row")]
