"""Embeddings: trained on labelled texts, written and read again."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from semlang.programs.rca.embedding import EmbeddingError, FastTextEmbedding, TfidfEmbedding, make_embedding

TEXTS = ["disk full on node", "volume out of space", "dns lookup failed", "name resolution timed out"] * 3
CATEGORIES = ["disk", "disk", "name service", "name service"] * 3


def small_fasttext() -> FastTextEmbedding:
    pytest.importorskip("floret")
    return FastTextEmbedding(epochs=60, dimension=8, buckets=500)


def test_fasttext_learns_the_categories_and_can_be_repeated() -> None:
    one, two = small_fasttext(), small_fasttext()
    for embedding in (one, two):
        embedding.fit(TEXTS, CATEGORIES)
    assert np.array_equal(one.vectors(TEXTS), two.vectors(TEXTS))
    shares = one.probabilities(["disk out of space", "dns timed out"])
    assert shares.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert [one.categories[best] for best in shares.argmax(axis=1)] == ["disk", "name service"]
    near, far = one.vectors(["volume full"])[0], one.vectors(["dns lookup"])[0]
    disk = one.vectors(["disk full"])[0]
    assert np.linalg.norm(disk - near) < np.linalg.norm(disk - far)


def test_fasttext_is_read_again() -> None:
    embedding = small_fasttext()
    embedding.fit(TEXTS, CATEGORIES)
    read = FastTextEmbedding().load(embedding.to_bytes())
    assert np.array_equal(read.vectors(TEXTS), embedding.vectors(TEXTS))
    assert np.array_equal(read.probabilities(TEXTS), embedding.probabilities(TEXTS))


def test_tfidf_is_read_again_and_has_rows_of_length_one() -> None:
    pytest.importorskip("sklearn")
    embedding = TfidfEmbedding(64)
    embedding.fit(TEXTS, CATEGORIES)
    vectors = embedding.vectors([*TEXTS, "words never seen"])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(TEXTS) + 1), abs=1e-6)
    assert vectors[-1] @ vectors[:-1].T == pytest.approx(np.zeros(len(TEXTS)))
    assert np.array_equal(TfidfEmbedding().load(embedding.to_bytes()).vectors(TEXTS), vectors[:-1])


@pytest.mark.parametrize("name", ["tfidf", "fasttext"])
def test_texts_without_words_have_vectors(name: str) -> None:
    pytest.importorskip("floret")
    pytest.importorskip("sklearn")
    embedding = make_embedding(name) if name == "tfidf" else small_fasttext()
    embedding.fit(["", "1 2"], ["a", "b"])
    assert np.isfinite(embedding.vectors(["", "3"])).all()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EmbeddingError, match="no embedding `word2vec`; there are fasttext, tfidf"):
        make_embedding("word2vec")
    monkeypatch.setitem(sys.modules, "floret", None)
    with pytest.raises(EmbeddingError, match="FastText needs floret; install it with"):
        FastTextEmbedding().fit(TEXTS, CATEGORIES)


@pytest.mark.skipif(os.environ.get("HYPOTHESIS_PROFILE") != "nightly", reason="only in the nightly run")
def test_a_sentence_model_from_a_directory(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "disk", "full", "dns"]))
    torch.manual_seed(0)
    configuration = transformers.BertConfig(vocab_size=7, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                                            intermediate_size=8, max_position_embeddings=16)
    transformers.BertModel(configuration).save_pretrained(tmp_path)
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    vectors = make_embedding(f"sentence:{tmp_path}").vectors(["disk full", "dns", "disk " * 100])
    assert vectors.shape == (3, 8)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert not np.allclose(vectors[0], vectors[1])
    with pytest.raises(EmbeddingError, match="no sentence model at /nowhere"):
        make_embedding("sentence:/nowhere").vectors(["a"])
