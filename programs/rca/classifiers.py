"""The baselines: methods that learn from labelled texts, each behind the same two functions."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .embedding import FastTextEmbedding, needed
from .similarity import Past, Vectors, nearest
from .word_weights import tfidf_of

Answer = tuple[str, float]
"""A category and how sure the method is, from 0 to 1."""


class Method(Protocol):
    """Learns from a past, answers for texts that came later."""

    def fit(self, texts: Sequence[str], categories: Sequence[str], days: NDArray[np.float64]) -> None:
        """Forget everything and learn; at least one text."""

    def extend(self, text: str, category: str, day: float) -> None:
        """One more incident joins the past, without training where that is expensive."""

    def predict(self, text: str, day: float) -> Answer:
        """The category of one incident."""


class Majority:
    """The most frequent category so far, the earliest of equals."""

    def fit(self, texts: Sequence[str], categories: Sequence[str], days: NDArray[np.float64]) -> None:
        self._counts = Counter(categories)

    def extend(self, text: str, category: str, day: float) -> None:
        self._counts[category] += 1

    def predict(self, text: str, day: float) -> Answer:
        category, count = self._counts.most_common(1)[0]
        return category, count / self._counts.total()


class _Tfidf:
    """TF-IDF over the whole past."""

    def fit(self, texts: Sequence[str], categories: Sequence[str], days: NDArray[np.float64]) -> None:
        self._weights, self._matrix = tfidf_of(tuple(texts))
        self._categories = list(categories)

    def extend(self, text: str, category: str, day: float) -> None:
        """The past is learnt anew before the next prediction: see `fit`."""

    def _row(self, text: str) -> Any:
        return self._weights.row(text)


class TfidfNeighbours(_Tfidf):
    """The category with the largest sum of cosines among the `k` nearest."""

    def __init__(self, k: int) -> None:
        self.k = k

    def predict(self, text: str, day: float) -> Answer:
        cosines = (self._matrix @ self._row(text).T).toarray().ravel()
        return vote([(self._categories[i], float(cosines[i])) for i in np.argsort(-cosines, kind="stable")[:self.k]])


class TfidfVectorMachine(_Tfidf):
    """A linear support vector machine, all categories of equal weight; its confidence is the softmax of its margins."""

    def fit(self, texts: Sequence[str], categories: Sequence[str], days: NDArray[np.float64]) -> None:
        super().fit(texts, categories, days)
        self._machine = needed("sklearn.svm", "the SVM").LinearSVC(class_weight="balanced")
        self._one = categories[0] if len(set(categories)) == 1 else None
        if self._one is None:
            with warnings.catch_warnings():  # many categories and few incidents are to be expected
                warnings.filterwarnings("ignore", "The number of unique classes")
                self._machine.fit(self._matrix, self._categories)

    def predict(self, text: str, day: float) -> Answer:
        if self._one is not None:
            return self._one, 1.0
        margins = self._machine.decision_function(self._row(text)).ravel()
        if len(margins) == 1:
            margins = np.array([-margins[0], margins[0]])
        weights = np.exp(margins - margins.max())
        best = int(np.argmax(weights))
        return str(self._machine.classes_[best]), float(weights[best] / weights.sum())


class BoostedTrees(_Tfidf):
    """XGBoost over TF-IDF."""

    def fit(self, texts: Sequence[str], categories: Sequence[str], days: NDArray[np.float64]) -> None:
        super().fit(texts, categories, days)
        self._names = sorted(set(categories))
        if len(self._names) > 1:
            codes = [self._names.index(category) for category in categories]
            self._trees = needed("xgboost", "XGBoost").XGBClassifier(
                n_estimators=100, max_depth=6, n_jobs=1, tree_method="hist", verbosity=0, random_state=0)
            self._trees.fit(self._matrix, codes)

    def predict(self, text: str, day: float) -> Answer:
        if len(self._names) == 1:
            return self._names[0], 1.0
        shares = self._trees.predict_proba(self._row(text))[0]
        best = int(np.argmax(shares))
        return self._names[best], float(shares[best])


class FastTextClassifier:
    """FastText's own answer."""

    def fit(self, texts: Sequence[str], categories: Sequence[str], days: NDArray[np.float64]) -> None:
        self.embedding = FastTextEmbedding()
        self.embedding.fit(texts, categories)

    def extend(self, text: str, category: str, day: float) -> None:
        """Nothing: FastText is trained when it is told to."""

    def predict(self, text: str, day: float) -> Answer:
        shares = self.embedding.probabilities([text])[0]
        best = int(np.argmax(shares))
        return self.embedding.categories[best], float(shares[best])


@dataclass
class FastTextRetrieval:
    """The category of the nearest incidents by FastText vectors and time decay; votes are similarities."""

    k: int = 1
    alpha: float = 0.0

    def fit(self, texts: Sequence[str], categories: Sequence[str], days: NDArray[np.float64]) -> None:
        self._embedding = FastTextEmbedding()
        self._embedding.fit(texts, categories)
        self._vectors: Vectors = self._embedding.vectors(texts)
        self._categories, self._days = list(categories), days

    def extend(self, text: str, category: str, day: float) -> None:
        self._vectors = np.vstack([self._vectors, self._embedding.vectors([text])])
        self._categories.append(category)
        self._days = np.append(self._days, day)

    def predict(self, text: str, day: float) -> Answer:
        vector = self._embedding.vectors([text])[0]
        past = Past([""] * len(self._categories), self._categories, self._vectors, self._days)
        found = nearest(past, vector, day, k=self.k, alpha=self.alpha, distinct=False, id="-")
        return vote([(n.category, n.similarity) for n in found])


def vote(neighbours: Sequence[Answer]) -> Answer:
    """The category with the largest sum of weights, of equals the nearest; its share is the confidence."""
    sums: dict[str, float] = {}
    for category, weight in neighbours:
        sums[category] = sums.get(category, 0.0) + weight
    best = max(sums, key=lambda category: sums[category])
    total = sum(sums.values())
    return best, sums[best] / total if total > 0 else 1 / len(sums)


@dataclass(frozen=True)
class Baseline:
    """A method and after how many incidents it is trained again by default."""

    make: Callable[[], Method]
    refit_every: int = 1


BASELINES: dict[str, Baseline] = {
    "majority": Baseline(Majority, 0),
    "TF-IDF 1-NN": Baseline(lambda: TfidfNeighbours(1)),
    "TF-IDF 5-NN": Baseline(lambda: TfidfNeighbours(5)),
    "TF-IDF linear SVM": Baseline(TfidfVectorMachine),
    "XGBoost": Baseline(BoostedTrees, 25),
    "FastText classifier": Baseline(FastTextClassifier, 10),
    "retrieval only (FastText 1-NN)": Baseline(FastTextRetrieval, 10),
}
"""By name; `refit_every` 0: trained once, then extended."""
