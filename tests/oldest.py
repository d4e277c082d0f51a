"""Save a small classifier, for `make test-oldest`: python -m tests.oldest FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.small_model import small_classifier

if __name__ == "__main__":
    small_classifier().checkpoint.save(Path(sys.argv[1]))
