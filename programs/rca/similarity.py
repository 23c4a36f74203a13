"""Which past incidents are like a new one: near in text, recent, of distinct categories, and never from its future."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ALPHAS = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3)
"""Decay rates that `fit_alpha` tries, per day."""

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Past:
    """Incidents with known categories. `vectors`: float32 (n, d); `days`: float64 (n), days since any fixed moment."""

    ids: Sequence[str]
    categories: Sequence[str]
    vectors: Vectors
    days: NDArray[np.float64]
    kinds: Sequence[str] = ()


@dataclass(frozen=True)
class Neighbour:
    """A past incident: its row, identifier and category, and how like the new incident it is, from 0 to 1."""

    row: int
    id: str
    category: str
    similarity: float


def similarities(vectors: Vectors, vector: Vectors, days: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """`1/(1+‖a−b‖₂) · e^(−α·|Δdays|)` (RCACopilot, EuroSys '24). vectors (n, d), vector (d), days apart (n)."""
    distances = np.linalg.norm(vectors.astype(np.float64) - vector.astype(np.float64), axis=1)
    decayed: NDArray[np.float64] = np.exp(-alpha * np.abs(days)) / (1.0 + distances)
    return decayed


def nearest(past: Past, vector: Vectors, day: float, *, k: int = 5, alpha: float = 0.0, distinct: bool = True,
            id: str = "", kind: str | None = None) -> list[Neighbour]:
    """The `k` most similar incidents before `day`, the best first; with `distinct` the best one of each category.

    The incident `id` itself and all that began after `day` are left out. `kind` multiplies by how alike the alert
    types are spelled (0 to 1). Equal ones: the later first, then the later row.
    """
    if not len(past.ids):
        return []
    scores = similarities(past.vectors, vector, past.days - day, alpha)
    if kind is not None:
        scores = scores * kind_factors(past.kinds, kind)
    allowed = np.flatnonzero(past.days <= day)
    order = allowed[np.lexsort((-allowed, -past.days[allowed], -scores[allowed]))]
    found: list[Neighbour] = []
    categories: set[str] = set()
    for row in order.tolist():
        if past.ids[row] == id or (distinct and past.categories[row] in categories):
            continue
        categories.add(past.categories[row])
        found.append(Neighbour(row, past.ids[row], past.categories[row], float(scores[row])))
        if len(found) == k:
            break
    return found


def kind_factors(kinds: Sequence[str], kind: str) -> NDArray[np.float64]:
    """How alike each alert type is to `kind`, 0 to 1, by matching blocks of characters."""
    from difflib import SequenceMatcher

    matcher = SequenceMatcher(b=kind.lower(), autojunk=False)
    ratios: dict[str, float] = {}
    for other in kinds:
        if other not in ratios:
            matcher.set_seq1(other.lower())
            ratios[other] = matcher.ratio()
    return np.array([ratios[other] for other in kinds], np.float64)


def fit_alpha(past: Past, first: int, alphas: Sequence[float] = ALPHAS) -> tuple[float, dict[float, float]]:
    """The decay rate whose nearest earlier incident has the right category most often, and the share for each rate.

    Only rows from `first` on are judged: the embedding must not have been trained on their categories. Rows are in
    the order of time. Of equally good rates the smallest is taken, so an uninformative past gives no decay.
    """
    n = len(past.ids)
    categories = np.array(past.categories)
    hits = dict.fromkeys(alphas, 0)
    for row in range(max(first, 1), n):
        for alpha in alphas:
            scores = similarities(past.vectors[:row], past.vectors[row], past.days[:row] - past.days[row], alpha)
            best = row - 1 - int(np.argmax(scores[::-1]))
            hits[alpha] += bool(categories[best] == categories[row])
    judged = max(n - max(first, 1), 0)
    shares = {alpha: hits[alpha] / judged if judged else 0.0 for alpha in alphas}
    return min(alphas, key=lambda alpha: (-shares[alpha], alpha)), shares
