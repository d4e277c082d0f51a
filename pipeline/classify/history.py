"""What was said of objects, by time and model: long, and one model beside another."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.store import Store

__all__ = ["history", "merged"]

BESIDE = ("STATUS", "NOVELTY", "N_EPOCHS", "LAST_MJD")
"""Columns, beside the probabilities, that a merged view has of each model."""


def history(store: Store, snid: str | None = None, model: str | None = None) -> pd.DataFrame:
    """List predictions by object, time and model.

    Args:
        store: where they are.
        snid: of this object; None for all.
        model: of this model; None for all.

    Returns:
        The columns of `Store.predictions`, and after SETTINGS_HASH a boolean PRESENT: whether the row is of the present
        photometry. Columns of classes that none of these models has are left out.

    Raises:
        ValueError: if there is no such object, or no prediction of it or of the model.
    """
    table = store.predictions(model, None if snid is None else [snid])
    present = store.photometry_hashes()
    if not len(table):
        if snid is not None and snid not in set(present["SNID"].to_pylist()):
            raise ValueError(f"no object with SNID {snid} in {store.path}")
        models = ", ".join(store.prediction_table.models()) or "none"
        asked = "".join([f" of {snid}" if snid else "", f" by {model}" if model else ""])
        raise ValueError(
            f"no prediction{asked} in {store.path}; models with predictions: {models}; `snflow classify` makes them"
        )
    is_present = table["PHOTOMETRY_HASH"].isin(set(present["PHOTOMETRY_HASH"].to_pylist()))
    table.insert(list(table.columns).index("SETTINGS_HASH") + 1, "PRESENT", is_present)
    return table


def merged(store: Store, models: Sequence[str] | None = None) -> pd.DataFrame:
    """Put the predictions of several models side by side.

    Args:
        store: where they are.
        models: which, in this order, each `name@digest` or `name`; None for all, in order of name.

    Returns:
        One row for every object of the store, in its order: SNID, and for each model its probabilities, STATUS,
        NOVELTY, N_EPOCHS and LAST_MJD of the present photometry, as in `P_Ia:spcc@1a2b3c4d`; empty where there is none.
        A model that was used with several settings (or calibrations) appears once for each, as in
        `P_Ia:spcc@1a2b3c4d/redshift=none`, or with the digest of the settings where these words are the same.

    Raises:
        ValueError: if a model has no prediction here.
    """
    present = store.photometry_hashes().to_pandas()
    view: pd.DataFrame = present[["SNID"]]
    asked = models if models is not None else store.prediction_table.models()
    for table in (history(store, model=model) for model in asked):
        table = table[table["PRESENT"]]
        pairs = table[["MODEL", "SETTINGS", "SETTINGS_HASH"]].drop_duplicates()
        for row in pairs.sort_values(["MODEL", "SETTINGS", "SETTINGS_HASH"]).itertuples(index=False):
            chosen = table[(table["MODEL"] == row.MODEL) & (table["SETTINGS_HASH"] == row.SETTINGS_HASH)]
            names = [name for name in chosen.columns if name.startswith("P_") and chosen[name].notna().any()]
            columns = chosen.set_index("SNID")[[*names, *BESIDE]]
            label = _label(row, pairs)
            columns.columns = pd.Index([f"{name}:{label}" for name in columns.columns])
            view = view.join(columns, on="SNID")
    return view


def _label(row: object, pairs: pd.DataFrame) -> str:
    """Name a model, with its settings where it has several."""
    model, settings, digest = (str(getattr(row, name)) for name in ("MODEL", "SETTINGS", "SETTINGS_HASH"))
    alike = pairs[pairs["MODEL"] == model]
    if len(alike) == 1:
        return model
    if (alike["SETTINGS"] == settings).sum() > 1:
        return f"{model}/{digest}"
    words = settings.strip("{}").replace('"', "").replace(": ", "=")
    return f"{model}/{words or 'default'}"
