"""A small trained classifier for the tests of what is done with one."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

from pipeline.classify.predict import Classifier
from pipeline.train.experiment import Experiment
from pipeline.train.fit import train_classifier
from tests.builders import make_survey


@lru_cache
def small_classifier(resampler: str = "nightly", classes: str = "ia") -> Classifier:
    """Train on the toy survey; once per session and choice."""
    values = {
        "name": "small",
        "classes": classes,
        "model": {"hidden_sizes": [6, 5], "embedding_size": 4},
        "fit": {"epochs": 3, "members": 1, "learning_rate": 0.02},
        "resampler": {"kind": resampler},
    }
    with tempfile.TemporaryDirectory(prefix="snflow-test-") as folder:
        trained = train_classifier(*make_survey(60), Experiment.model_validate(values), Path(folder))
    return Classifier(trained.checkpoint)
