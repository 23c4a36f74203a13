"""The host functions of predict.sem: cleaning, retrieval, names of categories, the history."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TypedDict

from .clean import MOST_KEPT_WORDS, clean, clean_masked, cut_words, without_secrets
from .quoting import visible
from .store import Entry, Steps, Store

LETTERS = "BCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Of the candidates; A is `Unseen incident`."""
SUMMARY_WORDS = 140


class Candidate(TypedDict):
    """`Candidate` of predict.sem."""

    letter: str
    id: str
    category: str
    summary: str
    similarity: float


def prepare(text: str) -> str:
    """The text without markup, secrets, identifiers and numbers, at most 300 words in one line."""
    return visible(clean_masked(text))


def find_candidates(store: str, id: str, time: str, kind: str, text: str, k: int) -> list[Candidate]:
    """The most similar incidents of distinct categories up to `time`, as options B, C, …

    With a `kind`, alert types that are spelled otherwise count less.
    """
    if not 1 <= k <= len(LETTERS):
        raise ValueError(f"k is {k}; there are letters for 1 to {len(LETTERS)} options")
    with Store(store, read_only=True) as history:
        found = history.nearest(clean_masked(text, MOST_KEPT_WORDS), time, id=id, k=k, kind=kind or None)
        candidates: list[Candidate] = []
        for letter, neighbour in zip(LETTERS, found, strict=False):
            entry = history.entry(neighbour.id)
            assert entry is not None
            candidates.append({"letter": letter, "id": entry.id, "category": one_line(entry.category),
                               "summary": shown(entry.summary or entry.text), "similarity": neighbour.similarity})
    return candidates


def shown(text: str) -> str:
    """A summary as it stands among options: one line of at most 140 words."""
    return visible(cut_words(without_secrets(text), SUMMARY_WORDS))


def one_line(category: str) -> str:
    """A name of a category as it stands in a prompt."""
    return visible(" ".join(without_secrets(category).split()))


def known_categories(store: str, time: str) -> list[str]:
    """All categories up to `time`, the most frequent first."""
    with Store(store, read_only=True) as history:
        return list(dict.fromkeys(map(one_line, history.categories(time))))


def settle_name(proposed: str, known: Sequence[str]) -> str:
    """The known category that a proposed name means, else the name in one line.

    Case, punctuation, plural and the order of words do not tell names apart. `unnamed` where nothing is left of it.
    """
    name = " ".join(re.sub(r"[^\w\s/&+-]", " ", proposed).split())
    key = _key(name)
    return next((category for category in known if key and _key(category) == key), name or "unnamed")


def _key(name: str) -> tuple[str, ...]:
    words = re.findall(r"\w+", name.casefold())
    return tuple(sorted(word.removesuffix("s") if len(word) > 3 else word for word in words))


def remember(store: str, id: str, time: str, kind: str, text: str, summary: str, category: str,
             steps: Steps = ()) -> bool:
    """Add an incident with a category that nobody has confirmed yet; whether it was new."""
    with Store(store) as history:
        entry = Entry(id, time, category, clean_masked(text, MOST_KEPT_WORDS), kind, summary, False, steps)
        return history.add([entry]) == 1


def unsummarised(store: str) -> list[dict[str, str]]:
    """Identifier and text of each incident that has no summary."""
    with Store(store, read_only=True) as history:
        return [{"id": entry.id, "text": clean(entry.text)} for entry in history.entries() if not entry.summary]


def keep_summaries(store: str, ids: Sequence[str], summaries: Sequence[str]) -> int:
    """Keep summaries; how many."""
    with Store(store) as history:
        history.set_summaries(dict(zip(ids, summaries, strict=True)))
    return len(ids)


def share_of(letter: str, letters: Sequence[str], logprob: float, tokens: Sequence[str],
             logprobs: Sequence[float]) -> float:
    """How much of what the model gives to all `letters` it gives to the chosen one.

    `logprob` is that of the chosen letter; `tokens` and their `logprobs` are the most probable ones in its place, where
    a letter that is missing counts as impossible.
    """
    masses = dict.fromkeys(letters, 0.0)
    for token, value in zip(tokens, logprobs, strict=True):
        if token.strip() in masses:
            masses[token.strip()] += probability_of(value)
    masses[letter] = max(masses[letter], probability_of(logprob))
    total = sum(masses.values())
    return min(masses[letter] / total, 1.0) if total > 0 else 1 / len(letters)


def probability_of(logprob: float) -> float:
    """The probability behind a natural logarithm, at most 1."""
    return math.exp(min(logprob, 0.0))
