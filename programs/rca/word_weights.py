"""TF-IDF of a growing past: what scikit-learn's `TfidfVectorizer` gives, without reading every text again each time.

Words of two characters or more, in lower case, and neighbouring pairs of them; sublinear counts, smoothed inverse
document frequencies, rows of length 1. Words that occur in one text only are left out of a past of 20 texts or more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .embedding import needed

FEW_TEXTS = 20
_numbers: dict[str, int] = {}
"""A number for each word or pair that any text held."""


@dataclass(frozen=True)
class WordWeights:
    """What a past says about words. `columns`: of each number, -1 for what the past does not know; `inverse`: inverse
    document frequency of each column."""

    columns: NDArray[np.int64]
    inverse: NDArray[np.float64]

    def row(self, text: str) -> Any:
        """A sparse matrix (1, columns); all zeros where no word is known."""
        return self.rows((text,))

    def rows(self, texts: tuple[str, ...]) -> Any:
        """A sparse matrix (texts, columns)."""
        counted = [_counted(text) for text in texts]
        numbers = np.concatenate([numbers for numbers, _ in counted])
        columns = np.where(numbers < len(self.columns), self.columns[np.minimum(numbers, len(self.columns) - 1)], -1)
        rows = np.repeat(np.arange(len(texts)), [len(numbers) for numbers, _ in counted])
        known = columns >= 0
        rows, columns = rows[known], columns[known]
        weights = np.concatenate([weights for _, weights in counted])[known] * self.inverse[columns]
        lengths = np.sqrt(np.bincount(rows, weights * weights, minlength=len(texts)))
        shape = (len(texts), len(self.inverse))
        return needed("scipy.sparse", "TF-IDF").csr_matrix((weights / lengths[rows], (rows, columns)), shape=shape)


@lru_cache(maxsize=1)
def tfidf_of(texts: tuple[str, ...]) -> tuple[WordWeights, Any]:
    """The weights that exactly these texts give, and the sparse matrix (texts, words and pairs) of them."""
    numbers = np.concatenate([_counted(text)[0] for text in texts])
    frequencies = np.bincount(numbers)
    kept = np.flatnonzero(frequencies >= (2 if len(texts) >= FEW_TEXTS else 1))
    if not len(kept):
        kept = np.flatnonzero(frequencies)
    columns = np.full(len(frequencies), -1)
    columns[kept] = np.arange(len(kept))
    inverse = np.log((1 + len(texts)) / (1 + frequencies[kept])) + 1
    weights = WordWeights(columns, inverse)
    return weights, weights.rows(texts)


@lru_cache(maxsize=8192)
def _counted(text: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Numbers of the words and pairs of a text, and 1 + ln(count) of each; the empty word where there is none."""
    counts = Counter(_analyzer()(text)) or Counter([""])
    numbers = [_numbers.setdefault(word, len(_numbers)) for word in counts]
    return np.array(numbers, np.int64), 1.0 + np.log(np.array(list(counts.values()), np.float64))


@lru_cache(maxsize=1)
def _analyzer() -> Any:
    library = needed("sklearn.feature_extraction.text", "TF-IDF")
    return library.CountVectorizer(ngram_range=(1, 2)).build_analyzer()
