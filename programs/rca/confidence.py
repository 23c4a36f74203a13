"""The host function of confidence.sem: what its scores mean."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from .calibrate import Calibration, CalibrationError, read_calibration


def probability_of_scores(sufficient: float, rating: float, calibration: str) -> float:
    """The probability that a cause is right by the map in a file; the product of both scores where there is no file.

    The product is no probability: it only orders causes. Raises CalibrationError.
    """
    if not calibration:
        return sufficient * rating
    path = Path(calibration)
    try:
        return _calibration(calibration, path.stat().st_mtime_ns).probability((sufficient, rating))
    except OSError as error:
        raise CalibrationError(f"the calibration {calibration} cannot be read: {error.strerror}; fit one with "
                               "python -m semlang.programs.rca.fit_confidence") from None


@lru_cache(maxsize=4)
def _calibration(path: str, changed: int) -> Calibration:
    try:
        return read_calibration(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise CalibrationError(f"the calibration {path} cannot be read: it is not UTF-8") from None
