"""Small sites for the tests of what is done every night."""

from __future__ import annotations

from pathlib import Path

from pipeline.ingest.simulate import SimulationSettings, simulate_survey
from tests.small_model import small_classifier

SITE = """
sources = ["inbox"]
store = "catalogue"
model = "model"
out = "."
publish = ["predictions.parquet", "predictions.csv"]

[guard]
{guard}
"""


def site_file(folder: Path, guard: str = "min_objects = 1000") -> Path:
    """Write site.toml; by default no night is judged, for the small classifier has learnt from other light curves."""
    path = folder / "site.toml"
    path.write_text(SITE.format(guard=guard))
    return path


def make_site(folder: Path, n_objects: int = 20, seed: int = 1) -> Path:
    """Simulate an inbox, put a small classifier beside it, and return the site file."""
    simulate_survey(folder / "inbox", SimulationSettings(n_objects=n_objects, seed=seed))
    small_classifier().checkpoint.save(folder / "model")
    return site_file(folder)
