"""TF-IDF of a growing past is that of scikit-learn."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from semlang.programs.rca.word_weights import tfidf_of

library = pytest.importorskip("sklearn.feature_extraction.text")

WORDS = ["disk", "Disk", "full", "dns", "a", "lookup failed", "node-17"]
TEXT = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)


@settings(deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=30), TEXT)
def test_cosines_are_those_of_scikit_learn(texts: list[str], query: str) -> None:
    assume(any(len(word) > 1 for text in texts for word in text.split()))
    vectorizer = library.TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2 if len(texts) >= 20 else 1)
    try:
        expected = vectorizer.fit_transform(texts)
    except ValueError:  # nothing occurs twice
        assume(False)
    weights, matrix = tfidf_of(tuple(texts))
    rows = [row for row, text in enumerate(texts) if any(len(word) > 1 for word in text.split())]
    assert np.allclose((matrix @ matrix.T).toarray()[np.ix_(rows, rows)],
                       (expected @ expected.T).toarray()[np.ix_(rows, rows)])
    assert np.allclose((matrix @ weights.row(query).T).toarray()[rows],
                       (expected @ vectorizer.transform([query]).T).toarray()[rows])


def test_later_texts_leave_no_trace() -> None:
    past = tuple(f"word{n} common" for n in range(5))
    before = tfidf_of(past)[1].toarray()
    tfidf_of((*past, "word1 later", "later still"))
    assert np.array_equal(tfidf_of(past)[1].toarray(), before)


def test_no_words() -> None:
    weights, matrix = tfidf_of(("", "1"))
    assert matrix.shape[0] == 2 and weights.row("x y").shape[0] == 1
