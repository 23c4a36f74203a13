"""What predictions are worth: F1 under each convention for unseen categories, calibration, risk and coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

UNSEEN = "Unseen incident"
CONVENTIONS = ("scored", "dropped", "class")
"""What becomes of an incident whose category never occurred before. `scored`: its true label stands, so no method can
be right. `dropped`: it does not count (RCACopilot's own evaluation). `class`: `Unseen incident` is the right answer."""
SAMPLES = 1000
BINS = 10


@dataclass(frozen=True)
class Prediction:
    """One answer. `first`: whether the true category had not occurred before; `confidence` from 0 to 1."""

    truth: str
    answer: str
    confidence: float
    first: bool

    @property
    def right(self) -> bool:
        """Whether the answer is the true category."""
        return self.truth == self.answer


@dataclass(frozen=True)
class Score:
    """A number and the ends of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def under(predictions: Sequence[Prediction], convention: str) -> list[Prediction]:
    """The predictions as one of `CONVENTIONS` judges them."""
    if convention == "dropped":
        return [p for p in predictions if not p.first]
    if convention == "class":
        return [Prediction(UNSEEN, p.answer, p.confidence, p.first) if p.first else p for p in predictions]
    if convention == "scored":
        return list(predictions)
    raise ValueError(f"there is no convention `{convention}`; there are {', '.join(CONVENTIONS)}")


def f1_scores(predictions: Sequence[Prediction], seed: int = 0, samples: int = SAMPLES) -> dict[str, Score]:
    """Micro, macro and weighted F1; intervals by resampling incidents. As scikit-learn's: labels are those that occur
    in truths or answers, one that is never right counts as 0."""
    if not predictions:
        return {name: Score(0.0, 0.0, 0.0) for name in ("micro", "macro", "weighted")}
    names = sorted({p.truth for p in predictions} | {p.answer for p in predictions})
    code = {name: number for number, name in enumerate(names)}
    truths = np.array([code[p.truth] for p in predictions])
    answers = np.array([code[p.answer] for p in predictions])
    drawn = np.random.default_rng(seed).integers(0, len(predictions), (samples, len(predictions)))
    resampled = np.array([_f1(truths[rows], answers[rows], len(names)) for rows in drawn])
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    values = _f1(truths, answers, len(names))
    return {name: Score(float(values[i]), float(low[i]), float(high[i]))
            for i, name in enumerate(("micro", "macro", "weighted"))}


def _f1(truths: NDArray[np.int64], answers: NDArray[np.int64], labels: int) -> tuple[float, float, float]:
    """Micro, macro, weighted F1 of labels 0 … labels − 1."""
    support = np.bincount(truths, minlength=labels)
    said = np.bincount(answers, minlength=labels)
    hits = np.bincount(truths[truths == answers], minlength=labels)
    occurring = support + said
    f1 = np.divide(2 * hits, occurring, out=np.zeros(labels), where=occurring > 0)
    return (float(hits.sum() / len(truths)), float(f1[occurring > 0].mean()), float((f1 * support).sum() / len(truths)))


def reliability(predictions: Sequence[Prediction], bins: int = BINS) -> list[tuple[int, float, float]]:
    """For each equal-width bin of confidence that holds any: how many, mean confidence, share of right answers."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    confidences = np.array([p.confidence for p in predictions])
    right = np.array([p.right for p in predictions], float)
    rows = []
    for low, high in pairwise(edges.tolist()):
        inside = (confidences > low) & (confidences <= high) if low > 0 else confidences <= high
        if inside.any():
            rows.append((int(inside.sum()), float(confidences[inside].mean()), float(right[inside].mean())))
    return rows


def expected_calibration_error(predictions: Sequence[Prediction], bins: int = BINS) -> float:
    """Mean of |share of right answers − confidence| over bins, weighted by how many fall into each; 0 for none."""
    total = sum(count for count, _, _ in reliability(predictions, bins))
    return sum(count * abs(right - mean) for count, mean, right in reliability(predictions, bins)) / max(total, 1)


def risk_coverage(predictions: Sequence[Prediction]) -> list[tuple[float, float]]:
    """Coverage and share of wrong answers when only the most confident are given, after each distinct confidence."""
    ordered = sorted(predictions, key=lambda p: -p.confidence)
    points, wrong = [], 0
    for count, prediction in enumerate(ordered, 1):
        wrong += not prediction.right
        if count == len(ordered) or ordered[count].confidence < prediction.confidence:
            points.append((count / len(ordered), wrong / count))
    return points


def area_under_risk(predictions: Sequence[Prediction]) -> float:
    """The mean risk over all coverages, as a step function; what a useless confidence gives is the error rate."""
    area, before = 0.0, 0.0
    for coverage, risk in risk_coverage(predictions):
        area += (coverage - before) * risk
        before = coverage
    return area


def risk_at(predictions: Sequence[Prediction], coverage: float) -> float:
    """The share of wrong answers among at least the `coverage` most confident; 0 for none."""
    return next((risk for reached, risk in risk_coverage(predictions) if reached >= coverage - 1e-9), 0.0)
