"""One token from one row of logits. A row's result depends on that row only, never on its batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .engine import SamplingOptions

Logits = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class TokenChoice:
    """How one token is to be chosen: what `choose_token` takes besides the logits."""

    options: SamplingOptions
    uniform: float
    mask: Mask | None


def choose_token(logits: Logits, options: SamplingOptions, uniform: float, mask: Mask | None = None) -> int:
    """The next token id, from float32 logits [vocabulary].

    Greedy at temperature 0: the largest logit, the lowest id among equals. Otherwise mask, temperature, top-k,
    top-p, min-p in this order, each on what the one before left, then the inverse of the cumulative distribution
    in order of ids at `uniform` (float in [0, 1)). `mask`: allowed ids, at least one.
    """
    if mask is not None:
        logits = np.where(mask, logits, np.float32(-np.inf))
    if options.temperature == 0:
        return int(np.argmax(logits))
    probabilities = _probabilities(logits, options)
    cumulative = np.cumsum(probabilities)
    index = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    return min(index, int(np.flatnonzero(probabilities)[-1]))


def _probabilities(logits: Logits, options: SamplingOptions) -> NDArray[np.float64]:
    """Float64 weights [vocabulary], not normalised, 0 where filtered."""
    scaled = (logits.astype(np.float64) - float(logits.max())) / options.temperature
    weights = np.exp(scaled)
    if 0 < options.top_k < len(weights):
        order = np.lexsort((np.arange(len(weights)), -weights))
        weights[order[options.top_k :]] = 0.0
    if options.top_p < 1.0:
        order = np.lexsort((np.arange(len(weights)), -weights))
        cumulative = np.cumsum(weights[order])
        # Keep the fewest most probable tokens whose sum reaches top_p; the most probable one always stays.
        kept = int(np.searchsorted(cumulative, options.top_p * cumulative[-1], side="left")) + 1
        weights[order[kept:]] = 0.0
    if options.min_p > 0.0:
        weights[weights < options.min_p * weights.max()] = 0.0
    return weights


def log_probabilities(logits: Logits) -> NDArray[np.float64]:
    """Natural log-probabilities [vocabulary] of the model itself: before masks, temperature and filters."""
    shifted = logits.astype(np.float64) - float(logits.max())
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return result


def most_probable(log_probabilities: NDArray[np.float64], count: int) -> list[int]:
    """The `count` most probable ids, most probable first, lower ids first among equals."""
    if count <= 0:
        return []
    count = min(count, len(log_probabilities))
    threshold = np.partition(log_probabilities, -count)[-count]
    candidates = np.flatnonzero(log_probabilities >= threshold)
    order = np.lexsort((candidates, -log_probabilities[candidates]))
    return [int(i) for i in candidates[order[:count]]]
