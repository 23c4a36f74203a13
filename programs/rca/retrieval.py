"""Retrieval over time: distances of each judged incident to all before it, and what K and α make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .classifiers import vote
from .embedding import FastTextEmbedding
from .labelled import Labelled, first_occurrences
from .metrics import Prediction
from .similarity import ALPHAS
from .word_weights import tfidf_of

NEIGHBOURS = (1, 3, 5, 7, 9)
WITNESSES = 5
"""Neighbours that tell how sure an answer is, even where only the nearest decides."""


@dataclass(frozen=True)
class Distances:
    """For each judged incident: its row, Euclidean distances to the rows before it, days since these."""

    row: int
    distances: NDArray[np.float64]
    days: NDArray[np.float64]

    def similarities(self, alpha: float) -> NDArray[np.float64]:
        """`1/(1+distance) · e^(−α·days)`."""
        similar: NDArray[np.float64] = np.exp(-alpha * self.days) / (1.0 + self.distances)
        return similar

    def order(self, alpha: float) -> list[int]:
        """Rows before this one, the most similar first; of equal ones the earliest."""
        return [int(row) for row in np.argsort(-self.similarities(alpha), kind="stable")]


def tfidf_distances(texts: Sequence[str], incidents: Sequence[Labelled], first: int) -> list[Distances]:
    """By TF-IDF that knows only the texts before each incident."""
    days = np.array([incident.day for incident in incidents])
    found = []
    for row in range(first, len(texts)):
        weights, matrix = tfidf_of(tuple(texts[:row]))
        cosines = (matrix @ weights.row(texts[row]).T).toarray().ravel()
        distances = np.sqrt(np.maximum(2.0 - 2.0 * cosines, 0.0))  # without words: like none
        found.append(Distances(row, distances, days[row] - days[:row]))
    return found


def fasttext_distances(texts: Sequence[str], incidents: Sequence[Labelled], first: int,
                       refit_every: int = 10) -> list[Distances]:
    """By FastText trained on the incidents before, anew after every `refit_every`."""
    days = np.array([incident.day for incident in incidents])
    found = []
    for begin in range(first, len(texts), refit_every):
        embedding = FastTextEmbedding()
        embedding.fit(texts[:begin], [incident.category for incident in incidents[:begin]])
        end = min(begin + refit_every, len(texts))
        vectors = embedding.vectors(texts[:end]).astype(np.float64)
        found += [Distances(row, np.linalg.norm(vectors[:row] - vectors[row], axis=1), days[row] - days[:row])
                  for row in range(begin, end)]
    return found


def distinct_rows(order: Sequence[int], categories: Sequence[str], k: int) -> list[int]:
    """The first row of each category in `order`, `k` at most."""
    found: dict[str, int] = {}
    for row in order:
        found.setdefault(categories[row], row)
        if len(found) == k:
            break
    return list(found.values())


def ceilings(distances: Sequence[Distances], categories: Sequence[str], k: int = 5,
             alpha: float = 0.0) -> tuple[float, float]:
    """How often the true category is among the `k` nearest, and among the nearest of `k` distinct categories."""
    plain = distinct = 0
    for one in distances:
        order = one.order(alpha)
        truth = categories[one.row]
        plain += truth in {categories[row] for row in order[:k]}
        distinct += truth in {categories[row] for row in distinct_rows(order, categories, k)}
    return plain / len(distances), distinct / len(distances)


def retrieve(distances: Sequence[Distances], categories: Sequence[str], k: int, alpha: float) -> list[Prediction]:
    """Vote of the `k` nearest with their similarities."""
    new = first_occurrences(categories)
    return [Prediction(categories[one.row], *_vote(one, categories, k, alpha), new[one.row]) for one in distances]


def fitted_alphas(distances: Sequence[Distances], categories: Sequence[str], k: int = 1,
                  alphas: Sequence[float] = ALPHAS) -> list[float]:
    """For each judged incident the α that was right most often for those judged before it, the smallest of equals."""
    right = dict.fromkeys(alphas, 0)
    chosen = []
    for one in distances:
        chosen.append(min(alphas, key=lambda alpha: (-right[alpha], alpha)))
        for alpha in alphas:
            right[alpha] += _vote(one, categories, k, alpha)[0] == categories[one.row]
    return chosen


def retrieve_fitted(distances: Sequence[Distances], categories: Sequence[str], k: int = 1) -> list[Prediction]:
    """As `retrieve`, with `fitted_alphas`."""
    new = first_occurrences(categories)
    return [Prediction(categories[one.row], *_vote(one, categories, k, alpha), new[one.row])
            for one, alpha in zip(distances, fitted_alphas(distances, categories, k), strict=True)]


def _vote(one: Distances, categories: Sequence[str], k: int, alpha: float) -> tuple[str, float]:
    """The answer of the `k` nearest; how sure: its share among the similarities of at least five."""
    similar = one.similarities(alpha)
    nearest = [(categories[row], float(similar[row])) for row in one.order(alpha)[:max(k, WITNESSES)]]
    answer, _ = vote(nearest[:k])
    total = sum(weight for _, weight in nearest)
    return answer, sum(weight for category, weight in nearest if category == answer) / total if total > 0 else 0.0
