"""A small run to report on: light curves, truth, predictions, and everything else the page shows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluate.evaluation import evaluate
from pipeline.report.inputs import HISTORY_COLUMNS, ReportInputs, choose_gallery
from pipeline.schema import (
    EPOCH_COLUMNS,
    OBJECT_COLUMNS,
    QUARANTINE_SCHEMA,
    LightCurves,
    Predictions,
    Truth,
    prediction_columns,
)

N_OBJECTS = 120
HOSTILE = '<script>alert("x")</script>&\'"><img src=http://example.org/x onerror=alert(1)>'


def make_light_curves(snids, n_epochs=12) -> LightCurves:
    rng = np.random.default_rng(3)
    objects = pd.DataFrame({name: [np.nan] * len(snids) for name in OBJECT_COLUMNS}).astype(object)
    objects["SNID"] = snids
    epochs = pd.DataFrame(
        {
            "MJD": np.tile(56200.0 + 5 * np.arange(n_epochs), len(snids)),
            "BAND": pd.Categorical(np.tile(["g", "r", "i", "z"], len(snids) * n_epochs // 4)),
            "FLUXCAL": rng.normal(20, 10, len(snids) * n_epochs),
            "FLUXCALERR": 3.0,
            "PHOTFLAG": 0,
        }
    )[list(EPOCH_COLUMNS)]
    return LightCurves(objects, epochs, np.arange(len(snids) + 1) * n_epochs)


@pytest.fixture(scope="session")
def light_curves() -> LightCurves:
    return make_light_curves([f"DES{i}" for i in range(N_OBJECTS)])


@pytest.fixture(scope="session")
def truth(light_curves) -> Truth:
    subclasses = np.tile(["Ia", "IIP", "IIn", "Ibc"], N_OBJECTS // 4)
    return Truth(
        pd.DataFrame(
            {
                "SNID": light_curves.objects["SNID"],
                "CLASS": np.tile(["Ia", "II", "II", "Ibc"], N_OBJECTS // 4),
                "SUBCLASS": subclasses,
                "TEMPLATE": [f"{name}-{i % 3}" for i, name in enumerate(subclasses)],
                "SPECTYPE": None,
                "REDSHIFT": np.linspace(0.1, 0.9, N_OBJECTS),
                "PEAKMJD": 56230.0,
            }
        )
    )


def make_predictions(snids, p_ia) -> Predictions:
    has_probability = np.isfinite(p_ia)
    table = pd.DataFrame({"SNID": snids, "P_Ia": p_ia, "P_nonIa": 1 - p_ia})
    table["STATUS"] = np.where(has_probability, "classified", "rejected")
    table["REASON"] = np.where(has_probability, "", "fewer than 3 epochs")
    return Predictions(table.reindex(columns=prediction_columns(("Ia", "nonIa"))), ("Ia", "nonIa"))


@pytest.fixture(scope="session")
def predictions(light_curves, truth) -> Predictions:
    rng = np.random.default_rng(0)
    p_ia = 1 / (1 + np.exp(-rng.normal(np.where(truth.table["CLASS"] == "Ia", 2, -2), 1.6)))
    p_ia[:2] = np.nan
    return make_predictions(light_curves.objects["SNID"], p_ia)


@pytest.fixture(scope="session")
def inputs(light_curves, predictions, truth) -> ReportInputs:
    history = pd.DataFrame(
        [(m, e, 0.5 / e, 0.6 / e, 1 - 0.3 / e, 1e-3, 2.0) for m in (0, 1) for e in (1, 2, 3)],
        columns=list(HISTORY_COLUMNS),
    )
    quarantine = pd.DataFrame(
        [("run", f"bad{i}.DAT", i or None, None, "file", "expected 10 fields, came 7", "ab") for i in range(205)],
        columns=QUARANTINE_SCHEMA.names,
    )
    return ReportInputs(
        title="Small run",
        is_simulated=False,
        model="an ensemble of two",
        data="a folder",
        ingest={"sources": ["run"], "n_files": 325, "n_ingested": 120, "n_quarantined": 205, "seconds": 1.25},
        cuts=[("fewer than 3 epochs", 7)],
        split={"train": 80, "validation": 10, "test": 120},
        class_mix={"train": {"Ia": 20, "nonIa": 60}, "test": {"Ia": 30, "nonIa": 90}},
        redshifts={"train": truth.table["REDSHIFT"].to_numpy(), "test": truth.table["REDSHIFT"].to_numpy()},
        history=history,
        evaluations=[
            evaluate(predictions, truth, name="ensemble", thresholds={"pure": 0.8}, n_resamples=20),
            evaluate(predictions, truth, name="control: header and cadence only", n_resamples=20),
        ],
        uncalibrated=evaluate(predictions, truth, name="uncalibrated", n_resamples=5),
        gallery=choose_gallery(light_curves, predictions, truth, 2),
        quarantine=quarantine,
        configuration={"fit": {"epochs": 3}},
        provenance={"data hash": "abc123", "seed": "7"},
        command="snflow run FOLDER --experiment p1 --out runs/p1",
        protocol="P1",
    )
