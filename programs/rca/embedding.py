"""Texts become vectors: FastText trained on one's own labelled history, TF-IDF, or a sentence model.

Every embedding can be written as bytes and read again, without executing what was read. Libraries: floret (the
maintained FastText of the spaCy authors), scikit-learn, transformers; each is needed only where it is used.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from .clean import letters_only

Vectors = NDArray[np.float32]

EXTRAS = {"torch": "torch", "transformers": "torch", "xgboost": "rca-baselines"}
"""The extra that installs a library; `rca` for all others."""


class EmbeddingError(Exception):
    """An embedding cannot be made; one line with the remedy."""


class Embedding(Protocol):
    """Turns texts into vectors of one length."""

    name: str

    def fit(self, texts: Sequence[str], categories: Sequence[str]) -> None:
        """Train on labelled texts, at least one."""

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """float32 (n, d)."""

    def to_bytes(self) -> bytes:
        """What `read_embedding` reads again."""

    def load(self, data: bytes) -> Self:
        """The embedding that `to_bytes` wrote."""


class FastTextEmbedding:
    """The hidden layer of a FastText classifier; settings as in RCACopilot but for the buckets.

    `buckets` of word pairs: 2 million are the library's default and take 800 MB; a history of some thousand
    incidents has fewer pairs than a tenth of that.
    """

    name = "fasttext"

    def __init__(self, epochs: int = 200, rate: float = 0.9, dimension: int = 100, buckets: int = 200_000,
                 seed: int = 41) -> None:
        self.settings = {"epoch": epochs, "lr": rate, "dim": dimension, "bucket": buckets, "seed": seed}
        self._model: Any = None
        self._output: NDArray[np.float32] = np.zeros((0, 0), np.float32)

    def fit(self, texts: Sequence[str], categories: Sequence[str]) -> None:
        """One thread, so that a run can be repeated."""
        library = needed("floret", "FastText")
        self.categories = sorted(set(categories))
        numbers = {category: number for number, category in enumerate(self.categories)}
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "train.txt")
            lines = (f"__label__{numbers[c]} {letters_only(text)}\n" for text, c in zip(texts, categories, strict=True))
            path.write_text("".join(lines), encoding="utf-8")
            self._model = library.train_supervised(str(path), wordNgrams=2, thread=1, verbose=0, **self.settings)
        self._read_output()

    def _read_output(self) -> None:
        labels = [int(label.removeprefix("__label__")) for label in self._model.get_labels()]
        self._output = np.asarray(self._model.get_output_matrix(), np.float32)
        self._labels = np.array(labels)

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """float32 (n, dimension)."""
        found = [self._model.get_sentence_vector(letters_only(text)) for text in texts]
        return np.array(found, np.float32).reshape(len(texts), -1)

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """The classifier's own answer, float64 (n, categories): softmax of the output layer over the hidden one."""
        # The library's own `predict` does not work with NumPy 2.
        logits = self.vectors(texts).astype(np.float64) @ self._output.T.astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        weights = np.exp(logits)
        found = np.zeros((len(texts), len(self.categories)))
        found[:, self._labels] = weights / weights.sum(axis=1, keepdims=True)
        return found

    def to_bytes(self) -> bytes:
        """The names of the categories as JSON, a zero byte, the library's own format."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "model.bin")
            self._model.save_model(str(path))
            return json.dumps(self.categories).encode() + b"\0" + path.read_bytes()

    def load(self, data: bytes) -> Self:
        """See `Embedding`."""
        library = needed("floret", "FastText")
        names, _, model = data.partition(b"\0")
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "model.bin")
            path.write_bytes(model)
            self._model = library.load_model(str(path))
        self.categories = json.loads(names)
        self._read_output()
        return self


class TfidfEmbedding:
    """TF-IDF of words and pairs of words, rows of length 1, so that distances order as cosines do.

    The last column is 1 for a text without a known word: it is like others of its kind and unlike all the rest.
    """

    name = "tfidf"

    def __init__(self, features: int = 4096) -> None:
        self.features = features
        self._vectorizer: Any = None

    def _new(self, **settings: Any) -> Any:
        vectorizer = needed("sklearn.feature_extraction.text", "TF-IDF").TfidfVectorizer
        return vectorizer(sublinear_tf=True, ngram_range=(1, 2), dtype=np.float32, **settings)

    def fit(self, texts: Sequence[str], categories: Sequence[str]) -> None:
        """The categories are not looked at."""
        self._vectorizer = self._new(max_features=self.features)
        try:
            self._vectorizer.fit(texts)
        except ValueError:  # no text holds a word
            self._vectorizer = self._new(vocabulary={"": 0})
            self._vectorizer.idf_ = np.ones(1)

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """float32 (n, at most `features` + 1)."""
        known = np.asarray(self._vectorizer.transform(texts).toarray(), np.float32)
        return np.hstack([known, ~known.any(axis=1, keepdims=True)]).astype(np.float32)

    def to_bytes(self) -> bytes:
        """Vocabulary and inverse document frequencies as JSON."""
        words = sorted(self._vectorizer.vocabulary_, key=self._vectorizer.vocabulary_.get)
        return json.dumps({"words": words, "idf": [float(value) for value in self._vectorizer.idf_]}).encode()

    def load(self, data: bytes) -> Self:
        """See `Embedding`."""
        read = json.loads(data)
        self._vectorizer = self._new(vocabulary={word: column for column, word in enumerate(read["words"])})
        self._vectorizer.idf_ = np.array(read["idf"])
        return self


class SentenceEmbedding:
    """The mean of the last hidden states of an encoder in a local directory; nothing is trained."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.name = f"sentence:{directory}"
        self._loaded: tuple[Any, Any] | None = None

    def fit(self, texts: Sequence[str], categories: Sequence[str]) -> None:
        """Nothing."""

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            library = needed("transformers", "a sentence model")
            if not Path(self.directory).is_dir():
                raise EmbeddingError(f"there is no sentence model at {self.directory}; name a directory with one")
            self._loaded = (library.AutoTokenizer.from_pretrained(self.directory),
                            library.AutoModel.from_pretrained(self.directory).eval())
        return self._loaded

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """float32 (n, hidden size), rows of length 1."""
        torch = needed("torch", "a sentence model")
        tokenizer, model = self._load()
        rows = []
        with torch.inference_mode():
            for text in texts:
                encoded = tokenizer(text or " ", return_tensors="pt", truncation=True,
                                    max_length=min(512, getattr(model.config, "max_position_embeddings", 512)))
                row = model(**encoded).last_hidden_state[0].mean(0).float()
                rows.append((row / row.norm().clamp_min(1e-12)).numpy())
        return np.array(rows, np.float32).reshape(len(texts), -1)

    def to_bytes(self) -> bytes:
        """Nothing: the directory is the model."""
        return b""

    def load(self, data: bytes) -> Self:
        """See `Embedding`."""
        return self


EMBEDDINGS: dict[str, Callable[[], Embedding]] = {"fasttext": FastTextEmbedding, "tfidf": TfidfEmbedding}
"""Embeddings by name; add one's own here. `sentence:DIRECTORY` is a sentence model."""


def make_embedding(name: str) -> Embedding:
    """An untrained embedding. Raises EmbeddingError for an unknown name."""
    kind, _, rest = name.partition(":")
    if kind == "sentence" and rest:
        return SentenceEmbedding(rest)
    if name not in EMBEDDINGS:
        raise EmbeddingError(f"there is no embedding `{name}`; there are "
                             f"{', '.join(EMBEDDINGS)} and sentence:DIRECTORY")
    return EMBEDDINGS[name]()


def needed(module: str, what: str) -> Any:
    """An optional library. Raises EmbeddingError that says how to install it."""
    try:
        return import_module(module)
    except ImportError:
        library = module.partition(".")[0]
        extra = EXTRAS.get(library, "rca")
        raise EmbeddingError(f"{what} needs {library}; install it with: pip install 'semlang[{extra}]'") from None
