from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import sncosmo
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from pipeline.ingest import simulate
from pipeline.ingest.readers import ReadOptions, SourceFile
from pipeline.ingest.readers.snana_text import read
from pipeline.ingest.simulate import SURVEY, SimulationSettings, SimulationSummary, simulate_survey
from pipeline.ingest.supernovae import BAND_EDGES, POPULATIONS, bandpass, distance_modulus, observe
from pipeline.taxonomy import SNANA_TYPE_CODES, class_of

BANDS = "griz"


class Survey(NamedTuple):
    summary: SimulationSummary
    texts: list[str]
    headers: pd.DataFrame
    epochs: pd.DataFrame


class TypicalGenerator:
    """Stands for a random generator that draws every mean and no diversity."""

    def normal(self, mean: float, spread: float) -> float:
        return 0.0 * spread + mean

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2

    def random(self) -> float:
        return 0.5


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    out = tmp_path_factory.mktemp("simulated") / "survey"
    summary = simulate_survey(out, SimulationSettings(n_objects=800))
    texts = [path.read_text() for path in sorted(out.iterdir())]
    epochs = [line.split()[1:] for text in texts for line in re.findall(r"^OBS: .*", text, re.MULTILINE)]
    names = ["MJD", "FLT", "FIELD", "FLUXCAL", "FLUXCALERR", "SNR", "MAG", "MAGERR", "SIM_MAG"]
    table = pd.DataFrame(epochs, columns=names)
    numbers = [name for name in names if name not in ("FLT", "FIELD")]
    table[numbers] = table[numbers].astype(float)
    table["object"] = np.repeat(np.arange(len(texts)), [text.count("\nOBS:") for text in texts])
    return Survey(summary, texts, pd.DataFrame([read_header(text) for text in texts]), table)


def read_header(text: str) -> dict[str, str | float]:
    pairs = dict(re.findall(r"^([\w-]+):[ ]*(.*)$", text.split("NOBS:")[0], re.MULTILINE))
    first_words = {key: value.split()[0] for key, value in pairs.items()}
    photoz, photoz_err = (float(word) for word in pairs["HOST_GALAXY_PHOTO-Z"].split("+-"))
    return {
        "snid": first_words["SNID"],
        "sntype": int(first_words["SNTYPE"]),
        "subclass": re.findall(r"SN Type = (\w+) , MODEL = snflow-\1", pairs["SIM_COMMENT"])[0],
        "redshift": float(first_words["SIM_REDSHIFT"]),
        "specz": float(first_words["REDSHIFT_SPEC"]),
        "mwebv": float(first_words["MWEBV"]),
        "photoz": photoz,
        "photoz_err": photoz_err,
    }


def read_folder(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def flat_surface(phase: np.ndarray, wavelength: np.ndarray) -> np.ndarray:
    return np.full((len(phase), len(wavelength)), 10 ** (-0.4 * -19.0))


def observed_mags(surface, redshift: float, days: float, host_ebv: float = 0.0, mwebv: float = 0.0) -> np.ndarray:
    bands = np.array(list(BANDS))
    flux = observe(surface, redshift, np.full(4, days), bands, host_ebv, mwebv)
    return 27.5 - 2.5 * np.log10(flux)


def test_the_same_settings_give_the_same_bytes_and_another_seed_gives_others(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate_survey(tmp_path / name, SimulationSettings(n_objects=8, seed=seed))
    assert read_folder(tmp_path / "a") == read_folder(tmp_path / "b")
    assert read_folder(tmp_path / "a") != read_folder(tmp_path / "c")


def test_an_object_does_not_depend_on_how_many_others_are_simulated(tmp_path):
    simulate_survey(tmp_path / "few", SimulationSettings(n_objects=4))
    simulate_survey(tmp_path / "many", SimulationSettings(n_objects=9))
    assert read_folder(tmp_path / "few").items() <= read_folder(tmp_path / "many").items()


def test_an_archive_holds_the_bytes_of_the_folder_and_no_trace_of_when_or_where_it_was_made(tmp_path):
    settings = SimulationSettings(n_objects=5)
    for place in ("one", "two"):
        simulate_survey(tmp_path / place / "sim.tar.gz", settings)
    simulate_survey(tmp_path / "sim", settings)
    packed = (tmp_path / "one/sim.tar.gz").read_bytes()
    assert packed == (tmp_path / "two/sim.tar.gz").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    assert read_folder(tmp_path / "unpacked/sim") == read_folder(tmp_path / "sim")


def test_every_file_says_that_snflow_simulated_it(survey):
    assert all(text.startswith(f"SURVEY: {SURVEY}\n# Simulated by snflow") for text in survey.texts)


def test_sncosmo_reads_the_photometry_that_was_written(tmp_path, survey):
    path = tmp_path / "object.DAT"
    path.write_text(survey.texts[0].replace("DETECTION:", "#DETECTION:"))  # sncosmo would read it as photometry
    _, tables = sncosmo.read_snana_ascii(str(path), default_tablename="OBS")
    expected = survey.epochs[survey.epochs["object"] == 0]
    np.testing.assert_array_equal(tables["OBS"]["FLUXCAL"], expected["FLUXCAL"])
    assert [str(band) for band in tables["OBS"]["FLT"]] == expected["FLT"].tolist()


def test_our_reader_rejects_nothing_and_finds_the_truth_that_was_written(survey):
    files = [SourceFile(f"{n}.DAT", text.encode(), str(n)) for n, text in enumerate(survey.texts)]
    result = read(files, ReadOptions())
    objects, truth = result.light_curves.to_pandas(), result.truth.to_pandas()
    assert not result.rejections
    assert truth["SUBCLASS"].tolist() == survey.headers["subclass"].tolist()
    np.testing.assert_allclose(truth["REDSHIFT"], survey.headers["redshift"])
    np.testing.assert_allclose(objects["PHOTOZ_ERR"], survey.headers["photoz_err"])
    np.testing.assert_array_equal(np.concatenate(objects["FLUXCAL"]), survey.epochs["FLUXCAL"])
    assert set(objects["SURVEY"]) == {SURVEY}


def test_the_summary_counts_what_is_in_the_files(survey):
    summary, headers = survey.summary, survey.headers
    assert summary.subclasses == headers["subclass"].value_counts().sort_index().to_dict()
    assert summary.n_objects == len(headers) == 800
    assert summary.n_epochs == len(survey.epochs)
    assert summary.n_spectroscopic == (headers["sntype"] > 0).sum()
    assert summary.n_drawn > summary.n_objects
    declared = [int(re.findall(r"^NOBS: (\d+)$", text, re.MULTILINE)[0]) for text in survey.texts]
    assert declared == survey.epochs.groupby("object").size().tolist()


def test_the_class_mix_is_that_of_the_challenge(survey):
    shares = survey.headers["subclass"].map(class_of).value_counts(normalize=True)
    assert sum(population.share for population in POPULATIONS.values()) == pytest.approx(1)
    assert shares["Ia"] == pytest.approx(0.24, abs=0.05)
    assert shares["II"] == pytest.approx(0.63, abs=0.06)
    assert shares["Ibc"] == pytest.approx(0.13, abs=0.04)


def test_every_object_is_detected_three_times_and_in_two_bands(survey):
    seen = survey.epochs[survey.epochs["SNR"] >= 5].groupby("object")["FLT"]
    assert len(seen) == len(survey.headers)
    assert (seen.size() >= 3).all()
    assert (seen.nunique() >= 2).all()


def test_the_detection_mark_ends_the_night_of_the_sixth_observation_above_four_sigma(survey):
    rows = [re.findall(r"^(OBS|DETECTION): +([\d.]+).*", text, re.MULTILINE) for text in survey.texts]
    marks = [next((i for i, (key, _) in enumerate(lines) if key == "DETECTION"), None) for lines in rows]
    for number, mark in enumerate(marks):
        epochs = survey.epochs[survey.epochs["object"] == number]
        snr = epochs["FLUXCAL"] / epochs["FLUXCALERR"]
        if ((snr - 4).abs() < 0.01).any():
            continue  # the written digits do not tell on which side of 4 it was
        above = snr > 4
        if mark is None:
            assert above.sum() < 6
            continue
        sixth_night = np.floor(epochs["MJD"][above].iloc[5] + 0.5)
        assert np.floor(epochs["MJD"].iloc[mark - 1] + 0.5) == sixth_night
        assert mark == len(epochs) or np.floor(epochs["MJD"].iloc[mark] + 0.5) > sixth_night
    assert 0.8 < np.mean([mark is not None for mark in marks]) < 1


def test_fluxes_scatter_about_the_truth_by_their_errors(survey):
    true_flux = 10 ** (-0.4 * (survey.epochs["SIM_MAG"] - 27.5))
    pull = (survey.epochs["FLUXCAL"] - true_flux) / survey.epochs["FLUXCALERR"]
    for _, of_band in pull.groupby(survey.epochs["FLT"]):
        assert of_band.mean() == pytest.approx(0, abs=0.05)
        assert of_band.std() == pytest.approx(1, abs=0.03)
    n_sigma = ((pull**2).sum() - len(pull)) / np.sqrt(2 * len(pull))
    assert abs(n_sigma) < 5


def test_photo_redshifts_scatter_by_their_errors_but_for_a_few_outliers(survey):
    headers = survey.headers
    pull = (headers["photoz"] - headers["redshift"]) / headers["photoz_err"]
    assert np.subtract(*np.quantile(pull, [0.84, 0.16])) == pytest.approx(2, abs=0.25)
    assert 0 < (pull.abs() > 5).mean() < 0.05
    assert (headers["photoz"] > 0).all()


def test_a_spectrum_is_taken_of_few_objects_and_tells_type_and_redshift(survey):
    headers = survey.headers
    has_spectrum = headers["sntype"] > 0
    assert 0.02 < has_spectrum.mean() < 0.12
    assert (has_spectrum == (headers["specz"] > 0)).all()
    assert (headers["sntype"][has_spectrum].map(SNANA_TYPE_CODES) == headers["subclass"][has_spectrum]).all()
    assert (headers["specz"] - headers["redshift"])[has_spectrum].abs().max() < 0.025


def test_only_sim_keys_name_the_class_or_the_true_redshift(survey):
    for text, header in zip(survey.texts, survey.headers.to_dict("records"), strict=True):
        public = "\n".join(line for line in text.splitlines() if not line.startswith("SIM_"))
        assert not re.search(rf"\b{header['subclass']}\b", public)
        assert "REDSHIFT_SPEC:    -9.00000" in public or header["sntype"] > 0


def test_header_and_cadence_hardly_tell_the_class(survey):
    times = survey.epochs.groupby("object")["MJD"]
    features = survey.headers[["photoz", "photoz_err", "mwebv"]].assign(
        first=times.min(), last=times.max(), n_epochs=times.size()
    )
    is_ia = (survey.headers["subclass"] == "Ia").to_numpy()
    classifier = HistGradientBoostingClassifier(max_iter=15, min_samples_leaf=40, random_state=0)
    score = cross_val_predict(classifier, features.to_numpy(), is_ia, cv=4, method="predict_proba")[:, 1]
    assert 0.4 < roc_auc_score(is_ia, score) < 0.7


def test_a_flat_spectrum_has_the_same_magnitude_in_every_band_dimmed_by_distance_and_stretched_in_frequency():
    redshift = 0.5
    expected = -19.0 + distance_modulus(redshift) - 2.5 * np.log10(1 + redshift)
    np.testing.assert_allclose(observed_mags(flat_surface, redshift, 0.0), expected, atol=1e-9)
    assert distance_modulus(redshift) == pytest.approx(42.26, abs=0.01)  # H0 = 70, Ωm = 0.3


def test_a_nearby_ia_peaks_at_its_absolute_magnitude_plus_distance_modulus():
    surface = POPULATIONS["Ia"].draw(TypicalGenerator(), -19.3)
    g, r, _, _ = observed_mags(surface, 0.03, 0.0)
    assert (g + r) / 2 == pytest.approx(-19.3 + distance_modulus(0.03), abs=0.15)


@pytest.mark.parametrize("redshift", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("phase", [-10.0, 0.0, 30.0])
def test_an_ia_has_the_fluxes_that_sncosmo_computes_for_it(redshift, phase):
    days = phase * (1 + redshift)
    surface = POPULATIONS["Ia"].draw(TypicalGenerator(), -19.25)
    dust = {"effects": [sncosmo.F99Dust(), sncosmo.F99Dust()], "effect_names": ["host", "mw"]}
    model = sncosmo.Model("hsiao-subsampled", effect_frames=["rest", "obs"], **dust)
    source = sncosmo.get_source("hsiao-subsampled")
    peak_mag = -19.25 + distance_modulus(redshift) - source.peakmag("bessellb", "ab")
    model.set(z=redshift, t0=0, amplitude=10 ** (-0.4 * peak_mag), hostebv=0.15, mwebv=0.05)
    expected = [model.bandmag(bandpass(band), "ab", days) for band in BANDS]
    np.testing.assert_allclose(observed_mags(surface, redshift, days, 0.15, 0.05), expected, atol=0.02)


def test_dust_dims_blue_bands_more():
    dimming = observed_mags(flat_surface, 0.1, 0.0, mwebv=0.1) - observed_mags(flat_surface, 0.1, 0.0)
    assert (np.diff(dimming) < 0).all()
    assert dimming[0] == pytest.approx(0.35, abs=0.04)  # A_g about 3.5 E(B−V)


def test_no_supernova_shines_before_it_explodes_or_brightens_after_its_peak():
    wavelength, phase = np.array([5500.0]), np.arange(0.0, 200.0, 5.0)
    for population in POPULATIONS.values():
        surface = population.draw(TypicalGenerator(), -18.0)
        light = surface(phase, wavelength)[:, 0]
        assert surface(np.array([-300.0]), wavelength)[0, 0] == 0
        assert light.argmax() == 0
        assert (light > 0).all()


def test_a_plateau_outlasts_a_radioactive_bump_and_then_falls_off_a_cliff():
    fading = {}
    for subclass in ("Ia", "IIP", "Ib", "Ic"):
        surface = POPULATIONS[subclass].draw(TypicalGenerator(), -18.0)
        light = surface(np.array([0.0, 60.0, 110.0]), np.array([6500.0]))[:, 0]
        fading[subclass] = 2.5 * np.log10(light[0] / light[1:])
    assert fading["IIP"][0] < 1 < 1.5 < min(fading[other][0] for other in ("Ia", "Ib", "Ic"))
    assert fading["IIP"][1] - fading["IIP"][0] > 1.5


def test_bands_are_half_open_at_their_edges_and_closed_outside():
    for band, (low, high) in BAND_EDGES.items():
        transmission = bandpass(band)(np.array([low - 199, low, (low + high) / 2, high, high + 199]))
        np.testing.assert_allclose(transmission, [0, 0.5, 1, 0.5, 0], atol=0.01)


@pytest.mark.parametrize("name", ["sim", "sim.tar.gz"])
def test_a_crash_leaves_no_half_survey_and_the_next_run_is_whole(tmp_path, monkeypatch, name):
    settings = SimulationSettings(n_objects=4)
    write_text = simulate._snana_text

    def crash(number, *rest):
        if number == 3:
            raise OSError("disk full")
        return write_text(number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(simulate, "_snana_text", crash)
        with pytest.raises(OSError, match="disk full"):
            simulate_survey(tmp_path / name, settings)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / f".{name}.partial").mkdir()  # as kill -9 would leave it
    assert simulate_survey(tmp_path / name, settings).n_objects == 4
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_existing_place_is_never_overwritten(tmp_path):
    with pytest.raises(FileExistsError, match="exists already"):
        simulate_survey(tmp_path, SimulationSettings(n_objects=1))


def test_a_survey_that_can_detect_nothing_is_an_error_and_not_an_endless_search(tmp_path):
    with pytest.raises(RuntimeError, match="was detected"):
        simulate_survey(tmp_path / "blind", SimulationSettings(n_objects=1, noise_scale=1e6))
