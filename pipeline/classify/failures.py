"""What to do when classifying raises: find the object to blame, classify the others, keep the traceback."""

from __future__ import annotations

import hashlib
import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.schema import LightCurves

__all__ = ["Failures", "bisect"]

logger = logging.getLogger(__name__)

Integers = npt.NDArray[np.int64]
Work = Callable[[LightCurves], pd.DataFrame]


@dataclass
class Failures:
    """The failures of one classification.

    Attributes:
        most: above so many failed objects the error is no matter of single objects, and is raised.
        reasons: of each failed object, in order.
    """

    most: int
    reasons: list[str] = field(default_factory=list)
    _logged: set[str] = field(default_factory=set)

    def note(self, error: Exception) -> str:
        """Log a traceback, once, and return the reason that names it.

        Raises:
            Exception: the error itself, if there were too many.
        """
        if len(self.reasons) >= self.most:
            raise error
        text = "".join(traceback.format_exception(error))
        name = hashlib.sha256(text.encode()).hexdigest()[:8]
        if name not in self._logged:
            self._logged.add(name)
            logger.error("traceback %s\n%s", name, text)
        self.reasons.append(f"{type(error).__name__}: traceback {name} in the log")
        return self.reasons[-1]


def bisect(work: Work, failed: Callable[[LightCurves, str], pd.DataFrame], failures: Failures) -> Work:
    """Return work that does not raise for one bad object: halves are tried until that object stands alone.

    Args:
        work: makes one row per object; its rows do not depend on the company.
        failed: makes the row of an object that failed, and of its reason.
        failures: takes note.
    """

    def attempt(light_curves: LightCurves) -> pd.DataFrame:
        try:
            return work(light_curves)
        except Exception as error:
            if len(light_curves) == 1:
                return failed(light_curves, failures.note(error))
            if not len(light_curves):
                raise
        rows, middle = np.arange(len(light_curves)), len(light_curves) // 2
        halves = [attempt(light_curves.take(part)) for part in (rows[:middle], rows[middle:])]
        return pd.concat(halves, ignore_index=True)

    return attempt
