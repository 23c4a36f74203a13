"""The online protocol: history grows in the order of time, and a label joins it after its incident was predicted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .classifiers import Baseline, Method
from .labelled import Labelled, first_occurrences
from .metrics import Prediction


@dataclass(frozen=True)
class Outcome:
    """What a method answered from the first judged incident on, and the processor seconds of both halves."""

    predictions: list[Prediction]
    training_s: float
    predicting_s: float


def first_judged(incidents: Sequence[Labelled]) -> int:
    """The first incident to judge: the first of the test split where there is one, the 101st of 200 or more, else
    the one in the middle."""
    for row, incident in enumerate(incidents):
        if incident.split == "test":
            return row
    return 100 if len(incidents) >= 200 else len(incidents) // 2


def predict_online(baseline: Baseline, texts: Sequence[str], incidents: Sequence[Labelled], first: int) -> Outcome:
    """Predict each incident from those before it. The method never gets to see a later one.

    After `refit_every` incidents the method is trained anew; between, incidents are only added to its past.
    """
    return _predict(baseline.make, baseline.refit_every, texts, incidents, first)


def predict_offline(baseline: Baseline, texts: Sequence[str], incidents: Sequence[Labelled], first: int) -> Outcome:
    """Train once on what is before `first`; nothing is added after that."""
    return _predict(baseline.make, None, texts, incidents, first)


def _predict(make: Callable[[], Method], refit_every: int | None, texts: Sequence[str],
             incidents: Sequence[Labelled], first: int) -> Outcome:
    if not 0 < first < len(incidents):
        raise ValueError(f"of {len(incidents)} incidents those from number {first} on cannot be judged")
    categories = [incident.category for incident in incidents]
    days = np.array([incident.day for incident in incidents])
    new = first_occurrences(categories)
    method = make()
    predictions, training, predicting = [], 0.0, 0.0
    for row in range(first, len(incidents)):
        began = time.process_time()
        if row == first or (refit_every and (row - first) % refit_every == 0):
            method.fit(texts[:row], categories[:row], days[:row])
        elif refit_every is not None:
            method.extend(texts[row - 1], categories[row - 1], float(days[row - 1]))
        trained = time.process_time()
        answer, confidence = method.predict(texts[row], float(days[row]))
        predicting += time.process_time() - trained
        training += trained - began
        predictions.append(Prediction(categories[row], answer, confidence, new[row]))
    return Outcome(predictions, training, predicting)
