"""The history of an investigation: which past incidents are like this one, and the new one joins them."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from .paths import kept
from .prediction import Candidate, find_candidates, known_categories, remember

SAMPLES = Path(__file__).parent / "samples" / "history.jsonl"
"""The history of the samples, which is used when nothing else is asked for."""

UNSEEN = "Unseen incident"
"""What option A is called."""


def ask_history(history: str, incident: Mapping[str, Any], diagnosis: str, k: int) -> dict[str, Any]:
    """`Past` of investigate.sem. Whatever goes wrong is told in `problem`, and nothing is known then.

    `history` is the file of a store, "" for that of the samples.
    """
    from .embedding import EmbeddingError
    from .store import StoreError

    store, candidates, known, problem = history, list[Candidate](), list[str](), ""
    time = incident["time"] or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        store = history or str(sample_store())
        candidates = find_candidates(store, incident["id"], time, incident["kind"], diagnosis, k)
        known = known_categories(store, time)
    except ImportError as error:
        problem = f"{error.name} is not installed: pip install 'semlang[rca]'"
    except (EmbeddingError, StoreError, ValueError, OSError, sqlite3.Error) as error:
        problem = str(error)
    return {"store": store, "candidates": candidates, "known": known, "problem": problem}


def elect(ballots: Sequence[str], preferred: str) -> str:
    """The letter of most ballots; of equal ones, and without ballots, `preferred`, then the first."""
    counts = Counter(ballots)
    return max(counts, key=lambda letter: (counts[letter], letter == preferred), default=preferred)


def tally_of(ballots: Sequence[str], candidates: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Ballots by category, those with most first."""
    names = {candidate["letter"]: candidate["category"] for candidate in candidates} | {"A": UNSEEN}
    return dict(Counter(names[letter] for letter in ballots).most_common())


def remember_incident(learn: bool, history: str, collected: Mapping[str, Any], summary: str,
                      report: Mapping[str, Any]) -> None:
    """Add an incident that was looked into, with the category of its cause or with none."""
    incident = collected["incident"]
    if not learn or not history or not collected["evidence"]:
        return
    time = incident["time"] or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    cause = report["cause"]
    remember(history, incident["id"], time, incident["kind"], collected["diagnosis"], summary,
             cause["category"] if cause else "", tuple(kept(step) for step in collected["steps"] if step["evidence"]))


@lru_cache(maxsize=1)
def sample_store() -> Path:
    """The store with the history of the samples, which is made when it is first used (about a second)."""
    from ...backend.embedded import build_once

    digest = sha256(SAMPLES.read_bytes()).hexdigest()[:12]
    return build_once(f"rca-samples-{digest}", _build) / "history.db"


def _build(directory: Path) -> None:
    from .history import read_entries
    from .store import Store

    with Store(directory / "history.db") as store:
        store.add(read_entries(SAMPLES.read_text(encoding="utf-8").split("\n"), SAMPLES.name))
        store.train("tfidf", 0.0)
