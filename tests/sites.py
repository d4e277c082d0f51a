"""Small sites for the tests of what is done every night."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.ingest.simulate import SimulationSettings, simulate_survey
from tests.small_model import small_classifier

__all__ = ["NOTIFY", "UNJUDGED", "add_bad_files", "make_drift", "make_site", "write_site"]

SITE = """
sources = ["inbox"]
store = "catalogue"
model = "model"
out = "."
publish = ["predictions.parquet", "predictions.csv"]
"""
UNJUDGED = "[guard]\nmin_objects = 1000\n"
"""Section of a site whose nights are not judged: the small classifier has learnt from other light curves."""
NOTIFY = """
[guard]
min_objects = 20
[notify]
webhook_env = "SNFLOW_TEST_WEBHOOK"
"""
"""Sections of a site whose nights are judged, and told of."""


def make_site(folder: Path, n_objects: int = 30, sections: str = "[guard]\nmin_objects = 20\n") -> Path:
    """Make an inbox of simulated light curves, a small classifier, and a site file; return the file."""
    simulate_survey(folder / "inbox", SimulationSettings(n_objects=n_objects, seed=1))
    small_classifier().checkpoint.save(folder / "model")
    return write_site(folder, sections)


def write_site(folder: Path, sections: str) -> Path:
    """Write a site file, and return it."""
    path = folder / "site.toml"
    path.write_text(SITE + sections)
    return path


def make_drift(folder: Path, n_objects: int = 30) -> None:
    """Change the reddening of objects of the inbox, so that the next night is red."""
    for path in sorted((folder / "inbox").rglob("*.DAT"))[:n_objects]:
        path.write_text(re.sub(r"(?m)^MWEBV:.*$", "MWEBV: 0.321", path.read_text()))


def add_bad_files(folder: Path, n_files: int) -> None:
    """Put files into the inbox that cannot be read."""
    for number in range(n_files):
        (folder / "inbox" / f"bad{number}.DAT").write_text("SNID: 7\n")
