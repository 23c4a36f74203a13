"""Scores that a model gives become a probability of being right, by what turned out on labelled incidents.

Two scores an incident, after PACE-LM (FSE '24): the share of judgements that the evidence suffices, and the mean rating
of the cause. The map grows with both: a logistic model orders the incidents, isotonic regression makes probabilities.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import exp

from .embedding import needed

VERSION = 1
FEWEST = 10
"""Labelled incidents that a map is fitted to at least."""

Scores = tuple[float, float]
"""Evidence suffices, cause is right: each from 0 to 1."""


class CalibrationError(ValueError):
    """No map can be fitted or read; one line."""


@dataclass(frozen=True)
class Calibration:
    """A map from scores to probabilities: `weights` of both scores, and the steps of a curve that never falls."""

    weights: tuple[float, float]
    bias: float
    positions: tuple[float, ...]
    probabilities: tuple[float, ...]

    def probability(self, scores: Scores) -> float:
        """That the cause is right, from 0 to 1; linear between steps, level outside."""
        at = _order(scores, self.weights, self.bias)
        row = bisect_right(self.positions, at)
        if row == 0:
            return self.probabilities[0]
        if row == len(self.positions):
            return self.probabilities[-1]
        (low, high), (before, after) = self.positions[row - 1:row + 1], self.probabilities[row - 1:row + 1]
        return before + (after - before) * (at - low) / (high - low)

    def to_json(self) -> str:
        """What `read_calibration` reads."""
        return json.dumps({"version": VERSION, **asdict(self)})


def fit_calibration(scores: Sequence[Scores], right: Sequence[bool]) -> Calibration:
    """Fit to incidents whose causes are known. Raises CalibrationError for fewer than ten."""
    if len(scores) != len(right):
        raise CalibrationError(f"{len(scores)} scores for {len(right)} known outcomes")
    if len(scores) < FEWEST:
        raise CalibrationError(f"{len(scores)} labelled incidents are too few to calibrate; {FEWEST} are needed")
    share = sum(right) / len(right)
    if share in (0.0, 1.0):  # nothing to tell apart: the share with one outcome of either kind added
        level = (sum(right) + 1) / (len(right) + 2)
        return Calibration((0.0, 0.0), 0.0, (0.5,), (level,))
    model = needed("sklearn.linear_model", "calibration").LogisticRegression().fit(scores, right)
    weights = max(float(model.coef_[0][0]), 0.0), max(float(model.coef_[0][1]), 0.0)
    bias = float(model.intercept_[0])
    ordered = [_order(one, weights, bias) for one in scores]
    curve = needed("sklearn.isotonic", "calibration").IsotonicRegression(out_of_bounds="clip").fit(
        ordered, [float(one) for one in right])
    # One outcome of either kind is added, so that no step claims certainty that the data cannot give.
    strength = len(scores) / (len(scores) + 2)
    steps = [float(value) * strength + (1 - strength) / 2 for value in curve.y_thresholds_]
    return Calibration(weights, bias, tuple(float(x) for x in curve.X_thresholds_), tuple(steps))


def read_calibration(text: str) -> Calibration:
    """What `Calibration.to_json` wrote. Raises CalibrationError."""
    try:
        read = json.loads(text)
        if read["version"] != VERSION:
            raise CalibrationError(f"the calibration has version {read['version']}, this program reads {VERSION}")
        first, second = read["weights"]
        found = Calibration((float(first), float(second)), float(read["bias"]), tuple(map(float, read["positions"])),
                            tuple(map(float, read["probabilities"])))
    except (KeyError, TypeError, ValueError) as error:
        raise error if isinstance(error, CalibrationError) else CalibrationError(f"no calibration: {error}") from None
    rising = all(a < b for a, b in pairwise(found.positions)) and all(a <= b for a, b in pairwise(found.probabilities))
    if not found.positions or len(found.positions) != len(found.probabilities) or not rising:
        raise CalibrationError("no calibration: the steps do not rise")
    return found


def _order(scores: Scores, weights: tuple[float, float], bias: float) -> float:
    return 1.0 / (1.0 + exp(-(weights[0] * scores[0] + weights[1] * scores[1] + bias)))
