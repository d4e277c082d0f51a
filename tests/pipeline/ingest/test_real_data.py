from __future__ import annotations

import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import sncosmo

from pipeline.schema import LightCurves
from pipeline.store import IngestSummary, Store, ingest
from tests.pipeline.ingest.snana_files import read_texts


@pytest.fixture(scope="module")
def spcc(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, IngestSummary]:
    store = Store.create(tmp_path_factory.mktemp("spcc") / "store")
    return store, ingest([shared_data / "spcc" / "SIMGEN_PUBLIC_DES.tar.gz"], store)


@pytest.fixture(scope="module")
def spcc_samples(shared_data: Path) -> dict[str, bytes]:
    """The first light curves of the archive."""
    samples: dict[str, bytes] = {}
    with tarfile.open(shared_data / "spcc" / "SIMGEN_PUBLIC_DES.tar.gz") as archive:
        for info in archive:
            handle = archive.extractfile(info) if info.name.endswith(".DAT") else None
            if handle is not None:
                samples[Path(info.name).name] = handle.read()
            if len(samples) == 8:
                return samples
    return samples


def check_against_sncosmo(data: bytes, path: Path) -> None:
    """Compare with sncosmo's reader; it cuts header values at the first word, so photometry and SNID only."""
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        meta, tables = sncosmo.read_snana_ascii(str(path), default_tablename="OBS")
    theirs = tables["OBS"].to_pandas().sort_values(["MJD", "FLT"], kind="stable")
    curves = LightCurves.from_arrow(read_texts(data).light_curves)
    ours = curves.epochs.astype({"BAND": "str"}).sort_values(["MJD", "BAND"], kind="stable")
    assert str(meta["SNID"]) == curves.objects["SNID"][0]
    assert ours["BAND"].tolist() == theirs["FLT"].tolist()
    for name in ("MJD", "FLUXCAL", "FLUXCALERR"):
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_every_file_of_the_spcc_is_accounted_for(spcc: tuple[Store, IngestSummary]):
    store, summary = spcc
    assert summary.n_files == summary.n_ingested + summary.n_quarantined
    assert summary.n_ingested == len(store.snids()) == 16_987
    assert (summary.n_quarantined, summary.n_epochs_dropped, summary.n_epochs) == (0, 0, 1_637_065)
    assert summary.n_ignored == 12  # README, four filters, seven notes
    assert store.version() == 1


def test_the_spcc_has_its_classes_bands_and_spectroscopic_sample(spcc: tuple[Store, IngestSummary]):
    truth = spcc[0].truth().table
    assert truth["CLASS"].value_counts().to_dict() == {"II": 10_724, "Ia": 4_070, "Ibc": 2_193}
    assert set(truth["SUBCLASS"]) == {"Ia", "II", "IIn", "IIP", "IIL", "Ib", "Ic", "Ibc"}
    assert truth["SPECTYPE"].notna().sum() == 904
    assert truth[["REDSHIFT", "PEAKMJD"]].notna().all(axis=None)


def test_an_spcc_object_has_a_host_photoz_and_a_specz_only_from_a_spectrum(spcc: tuple[Store, IngestSummary]):
    curves, truth = spcc[0].light_curves(), spcc[0].truth()
    assert curves.bands == ("g", "i", "r", "z")
    assert curves.objects[["RA", "DEC", "MWEBV", "PHOTOZ", "PHOTOZ_ERR"]].notna().all(axis=None)
    has_specz = curves.objects["SPECZ"].notna()
    assert has_specz.equals(truth.select(curves.objects["SNID"]).table["SPECTYPE"].notna())
    off = (curves.objects["SPECZ"] - truth.select(curves.objects["SNID"]).table["REDSHIFT"]).abs()
    assert off[has_specz].max() < 0.05


def test_the_early_epoch_mark_of_the_spcc_lies_inside_the_light_curve(spcc: tuple[Store, IngestSummary]):
    curves = spcc[0].light_curves()
    mark = curves.objects["DETECTION_MJD"].to_numpy()
    first, last = (curves.epochs["MJD"].to_numpy()[rows] for rows in (curves.offsets[:-1], curves.offsets[1:] - 1))
    is_marked = ~np.isnan(mark)
    assert is_marked.sum() == 14_509
    assert ((mark >= first) & (mark <= last))[is_marked].all()


def test_ingesting_the_spcc_again_changes_nothing(spcc: tuple[Store, IngestSummary]):
    store, first = spcc
    versions = store.versions()
    again = ingest([Path(source) for source in first.sources], store)
    assert (again.n_unchanged, again.n_ingested) == (16_987, 0)
    assert store.versions() == versions


def test_every_file_of_snls_is_accounted_for(shared_data: Path, tmp_path: Path):
    store = Store.create(tmp_path / "store")
    summary = ingest([shared_data / "snls"], store)
    assert (summary.n_files, summary.n_ingested, summary.n_ignored, summary.n_epochs) == (239, 239, 3, 21_206)
    curves = store.light_curves()
    assert curves.bands == ("g", "i", "r", "z")
    assert curves.objects["SPECZ"].between(0.1, 1.1).all()
    assert curves.objects["PHOTOZ"].isna().all()
    assert store.truth().table["CLASS"].isna().all()


def test_spcc_photometry_agrees_with_sncosmo(spcc_samples: dict[str, bytes], tmp_path: Path):
    for name, data in spcc_samples.items():
        check_against_sncosmo(data, tmp_path / name)


def test_snls_photometry_agrees_with_sncosmo(shared_data: Path, tmp_path: Path):
    for path in sorted((shared_data / "snls").glob("*.dat"))[:8]:
        check_against_sncosmo(path.read_bytes(), tmp_path / path.name)


def test_the_objects_of_a_snana_fits_pair_are_those_that_sncosmo_reads(shared_data: Path, tmp_path: Path):
    head, phot = sorted((shared_data / "snana_fits").glob("*.gz"))
    summary = ingest([shared_data / "snana_fits"], Store.create(tmp_path / "store"))
    assert (summary.n_files, summary.n_objects_ingested, summary.n_epochs) == (2, 620, 41_990)
    assert (summary.n_quarantined, summary.n_epochs_dropped) == (0, 0)
    store = Store.open(tmp_path / "store")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = sncosmo.read_snana_fits(str(head), str(phot))
    assert len(theirs) == 620
    for table in theirs[::20]:
        ours = store.light_curves([table.meta["SNID"].decode()])
        frame = table.to_pandas().sort_values(["MJD", "BAND"], kind="stable")
        epochs = ours.epochs.astype({"BAND": "str"}).sort_values(["MJD", "BAND"], kind="stable")
        for name in ("MJD", "FLUXCAL", "FLUXCALERR"):
            np.testing.assert_array_equal(epochs[name], frame[name])
        assert ours.objects["SPECZ"][0] == pytest.approx(table.meta["HOSTGAL_SPECZ"])
    assert store.truth().table["CLASS"].eq("Ia").all()


def test_the_csv_tables_of_other_classifiers_are_read(shared_data: Path, tmp_path: Path):
    store = Store.create(tmp_path / "store")
    summary = ingest([shared_data / "csv"], store)
    assert (summary.n_files, summary.n_objects_ingested, summary.n_epochs) == (3, 4, 512)
    assert store.light_curves(["1186139"]).objects["SPECZ"][0] == pytest.approx(0.44326216)
    assert store.truth().select(["1186139"]).table["CLASS"][0] == "Ia"
    assert store.light_curves(["229855"]).bands == tuple(sorted("ugrizy"))
