"""Where the real data are, if they are here: SNFLOW_DATA, or `shared/data` beside the repository."""

from __future__ import annotations

import os
from pathlib import Path


def find_real_data() -> Path | None:
    """Return the folder that holds spcc/ and snls/, None where there is none."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folders = (Path(os.environ["SNFLOW_DATA"]),) if "SNFLOW_DATA" in os.environ else (beside,)
    return next((folder for folder in folders if (folder / "spcc").is_dir()), None)
