"""The agent's two steps into the past: titles of similar incidents first, then all of one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from .clean import MOST_KEPT_WORDS, clean_masked, cut_words
from .labelled import day_of
from .outcomes import Outcome
from .past import sample_store
from .store import Store, StoreError

MOST_HITS = 5
TITLE_WORDS = 14


def search_past(store: str, query: str, id: str, time: str) -> dict[str, Any]:
    """`Hits` of react_tools.sem: number, day, category and beginning of each similar incident up to `time`."""
    evidence: dict[str, Any] = {"id": "", "source": "history", "query": f"search {query}", "time": "", "table": {}}
    try:
        with _opened(store) as history:
            found = history.nearest(clean_masked(query, MOST_KEPT_WORDS), _moment(time), id=id, k=MOST_HITS,
                                    distinct=False)
            entries = [entry for neighbour in found if (entry := history.entry(neighbour.id)) is not None]
    except (StoreError, ValueError, ImportError) as error:
        return {"evidence": evidence | {"outcome": str(Outcome.ERROR), "text": str(error)}, "ids": []}
    lines = [f"{entry.id} {entry.time[:10]} {entry.category}: {cut_words(entry.summary or entry.text, TITLE_WORDS)}"
             for entry in entries]
    outcome = Outcome.OK if lines else Outcome.EMPTY
    return {"evidence": evidence | {"outcome": str(outcome), "text": "\n".join(lines)},
            "ids": [entry.id for entry in entries]}


def read_past(store: str, id: str, time: str) -> dict[str, Any]:
    """All that is known of one past incident, as evidence."""
    evidence: dict[str, Any] = {"id": "", "source": "history", "query": f"incident {id}", "time": "", "table": {}}
    try:
        with _opened(store) as history:
            entry = history.entry(id)
    except (StoreError, ValueError, ImportError) as error:
        return evidence | {"outcome": str(Outcome.ERROR), "text": str(error)}
    if entry is None or day_of(entry.time) > day_of(_moment(time)):
        return evidence | {"outcome": str(Outcome.ERROR), "text": "there is no such incident"}
    table = {"category": entry.category, "confirmed": "yes" if entry.confirmed else "no", "kind": entry.kind}
    text = entry.text if not entry.summary else f"{entry.summary}\n{entry.text}"
    return evidence | {"outcome": str(Outcome.OK), "text": text, "time": entry.time, "table": table}


def _opened(store: str) -> Store:
    """The history in a file, that of the samples for ""."""
    return Store(store or sample_store(), read_only=True)


def _moment(time: str) -> str:
    return time or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
