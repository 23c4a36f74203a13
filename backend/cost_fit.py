"""Fits a cost model to measured steps: least squares of relative errors, without negative costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

import numpy as np

from ..passes.cost_model import CostModel

PARAMETERS = ("step", "batch", "prefill_token", "decode_row", "kv_token", "attention")


@dataclass(frozen=True)
class Sample:
    """A kind of step as measured: what one computes and reads (see `CostModel`), and its seconds.

    `load`: what was run, for people.
    """

    load: str
    prefill_tokens: float
    decode_rows: float
    kv_read: float
    attended: float
    seconds: float

    @property
    def size(self) -> tuple[float, float, float, float]:
        """The arguments of `CostModel.step_seconds`."""
        return self.prefill_tokens, self.decode_rows, self.kv_read, self.attended

    @property
    def terms(self) -> tuple[float, ...]:
        """What the parameters of the model are multiplied with."""
        return 1.0, float(self.prefill_tokens + self.decode_rows > 1), *self.size


@dataclass(frozen=True)
class Fit:
    """A fitted model and how well it meets its samples."""

    model: CostModel
    samples: tuple[Sample, ...]

    def residuals(self) -> list[float]:
        """Relative error of each sample: predicted ÷ measured − 1."""
        return [self.model.step_seconds(*s.size) / s.seconds - 1 for s in self.samples]

    def by_load(self) -> dict[str, list[float]]:
        """The errors of each load."""
        errors: dict[str, list[float]] = {}
        for sample, error in zip(self.samples, self.residuals(), strict=True):
            errors.setdefault(sample.load, []).append(error)
        return errors

    @property
    def median_error(self) -> float:
        """The median of the errors' sizes."""
        return median(abs(error) for error in self.residuals())

    @property
    def worst_error(self) -> float:
        """The largest size of an error."""
        return max(abs(error) for error in self.residuals())


def fit_cost_model(samples: Sequence[Sample]) -> Fit:
    """The model with the least squares of relative errors over `samples`; no parameter is negative.

    All loads weigh the same, however many samples they have. Exact: with few parameters, least squares of every
    subset of them is tried. ValueError without samples.
    """
    if not samples or any(s.seconds <= 0 for s in samples):
        raise ValueError("a fit needs samples, each of which took some time")
    sizes = Counter(s.load for s in samples)
    weights = np.array([sizes[s.load] ** -0.5 for s in samples])
    terms = np.array([[term / s.seconds for term in s.terms] for s in samples]) * weights[:, None]
    best, least = np.zeros(len(PARAMETERS)), float((weights**2).sum())
    for size in range(1, len(PARAMETERS) + 1):
        for chosen in combinations(range(len(PARAMETERS)), size):
            part = terms[:, chosen]
            scale = np.linalg.norm(part, axis=0)
            if not scale.all():
                continue  # nothing was measured of one of them
            found = np.linalg.lstsq(part / scale, weights, rcond=None)[0] / scale
            error = float(((part @ found - weights) ** 2).sum())
            if (found >= 0).all() and error < least:
                best, least = np.zeros(len(PARAMETERS)), error
                best[list(chosen)] = found
    step, batch, prefill_token, decode_row, kv_token, attention = map(float, best)
    return Fit(CostModel(step, batch, prefill_token, decode_row, kv_token, attention), tuple(samples))
