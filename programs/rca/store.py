"""The history of incidents on disk: an SQLite database, many readers beside one writer, scored exactly in NumPy."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

import numpy as np

from .embedding import Embedding, make_embedding
from .labelled import day_of
from .similarity import Neighbour, Past, fit_alpha, nearest

SCHEMA = 1
"""Version of the tables; a store of another version is refused."""
APPLICATION = 0x53454D48
"""Marks the file as a history (`SEMH`)."""
TABLES = """
CREATE TABLE incidents (
  position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, time TEXT NOT NULL, day REAL NOT NULL,
  kind TEXT NOT NULL, category TEXT NOT NULL, confirmed INTEGER NOT NULL, text TEXT NOT NULL, summary TEXT NOT NULL);
CREATE INDEX incidents_by_day ON incidents (day);
CREATE TABLE embeddings (
  number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, data BLOB NOT NULL, trained_on INTEGER NOT NULL,
  alpha REAL NOT NULL);
CREATE TABLE vectors (
  embedding INTEGER NOT NULL REFERENCES embeddings, position INTEGER NOT NULL REFERENCES incidents,
  vector BLOB NOT NULL, PRIMARY KEY (embedding, position)) WITHOUT ROWID;
CREATE TABLE names (old TEXT PRIMARY KEY, new TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE identity (value TEXT NOT NULL);
"""
MOST_LOADED = 2
_loaded: dict[tuple[str, int], Embedding] = {}
"""Embeddings of this process, by identity of the store and number: reading one again takes most of a second."""
_lock = threading.Lock()


PATHS = """
CREATE TABLE IF NOT EXISTS steps (
  incident TEXT NOT NULL, number INTEGER NOT NULL, check_made TEXT NOT NULL, result TEXT NOT NULL,
  PRIMARY KEY (incident, number)) WITHOUT ROWID"""
"""What an investigation looked at; a history without this table is one without paths."""


class StoreError(Exception):
    """A history cannot be opened or used; one line with the remedy."""


Steps = tuple[tuple[str, str], ...]
"""Checks and their results."""


@dataclass(frozen=True)
class Entry:
    """An incident of the history. `text` is what it is found by; an empty `category` is not known yet; `confirmed`:
    a person said so; `summary` may be empty; `steps`: what was looked at, and what it showed."""

    id: str
    time: str
    category: str
    text: str
    kind: str = ""
    summary: str = ""
    confirmed: bool = False
    steps: Steps = ()


class Store:
    """A history in a file. Each thread opens its own; a reader sees a state between two writes, never half of one."""

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        self.path = Path(path)
        if read_only and not self.path.exists():
            raise StoreError(f"there is no history {path}; make one with: "
                             f"python -m semlang.programs.rca.history incidents.jsonl --store {path}")
        try:
            self._database = sqlite3.connect(self.path, timeout=30.0, isolation_level=None)
            self._prepare(read_only)
        except sqlite3.OperationalError as error:  # no folder, no right to write, locked for long, full
            raise StoreError(f"the history {path} cannot be used: {error}") from None
        except sqlite3.Error as error:
            raise StoreError(f"{path} is no history: {error}") from None
        self._cached: tuple[tuple[int, int], Past] | None = None

    def _prepare(self, read_only: bool) -> None:
        if self._is_empty():
            if read_only:
                raise StoreError(f"{self.path} is empty; import incidents into it first")
            self._create()
        application = self._database.execute("PRAGMA application_id").fetchone()[0]
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if application != APPLICATION:
            raise StoreError(f"{self.path} is a database of something else, not a history")
        elif version != SCHEMA:
            raise StoreError(f"{self.path} has version {version}, this program reads version {SCHEMA}: "
                             "export it with the program that wrote it (`history list --json`) and import it again")
        if not read_only:
            with suppress(sqlite3.OperationalError):  # while others use the file; the next to open it changes it
                self._database.execute("PRAGMA journal_mode = WAL")
            if not self._knows_paths():
                with self._writing():
                    self._database.execute(PATHS)
        self._identity = str(self._database.execute("SELECT value FROM identity").fetchone()[0])
        if read_only:
            self._database.execute("PRAGMA query_only = ON")

    def _is_empty(self) -> bool:
        marks = [self._database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        return marks == [0, 0] and not self._database.execute("SELECT 1 FROM sqlite_master").fetchone()

    def _create(self) -> None:
        with self._writing():
            if self._is_empty():  # no other process was quicker
                for statement in TABLES.split(";"):
                    self._database.execute(statement)
                self._database.execute("INSERT INTO identity VALUES (?)", (str(uuid4()),))
                self._database.execute(f"PRAGMA application_id = {APPLICATION}")
                self._database.execute(f"PRAGMA user_version = {SCHEMA}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """All or nothing; waits for another writer."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def add(self, entries: Iterable[Entry]) -> int:
        """Add incidents, each with its vector if there is an embedding; how many were new.

        An identifier that is there already is replaced only where it was not confirmed and now is.
        """
        entries = list(entries)
        days = [day_of(entry.time) for entry in entries]
        current = self._current()
        added = 0
        with self._writing():
            for entry, day in zip(entries, days, strict=True):
                values = (entry.id, entry.time, day, entry.kind, self.current_name(entry.category), entry.confirmed,
                          entry.text, entry.summary)
                cursor = self._database.execute(
                    "INSERT INTO incidents (id, time, day, kind, category, confirmed, text, summary) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING", values)
                if cursor.rowcount == 0:
                    if entry.confirmed:
                        self._database.execute("UPDATE incidents SET category = ?, confirmed = 1 "
                                               "WHERE id = ? AND confirmed = 0", (values[4], entry.id))
                    continue
                added += 1
                self._database.executemany("INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?)", [
                    (entry.id, number, *step) for number, step in enumerate(entry.steps)])
                if current is not None:
                    vector = current[1].vectors([entry.text])[0]
                    self._database.execute("INSERT INTO vectors VALUES (?, ?, ?)",
                                           (current[0], cursor.lastrowid, vector.astype("<f4").tobytes()))
        return added

    def confirm(self, id: str, category: str) -> None:
        """A person says what the category of an incident is. Raises StoreError for an unknown one."""
        with self._writing():
            changed = self._database.execute("UPDATE incidents SET category = ?, confirmed = 1 WHERE id = ?",
                                             (self.current_name(category), id)).rowcount
        if not changed:
            raise StoreError(f"the history {self.path} has no incident `{id}`")

    def rename(self, old: str, new: str) -> int:
        """Give a category another name, or merge it into one that exists; later uses of the old name mean the new one.

        How many incidents changed. Raises StoreError where neither incidents nor earlier names know `old`.
        """
        with self._writing():
            known = self._database.execute("SELECT 1 FROM names WHERE old = ?", (old,)).fetchone()
            changed = self._database.execute("UPDATE incidents SET category = ? WHERE category = ?",
                                             (new, old)).rowcount
            if not changed and not known:
                raise StoreError(f"the history {self.path} has no category `{old}`")
            self._database.execute("UPDATE names SET new = ? WHERE new = ?", (new, old))
            self._database.execute("INSERT OR REPLACE INTO names VALUES (?, ?)", (old, new))
            self._database.execute("DELETE FROM names WHERE old = new OR old = ?", (new,))
        return changed

    def current_name(self, category: str) -> str:
        """What a category is called today."""
        row = self._database.execute("SELECT new FROM names WHERE old = ?", (category,)).fetchone()
        return str(row[0]) if row else category

    def categories(self, before: str | None = None) -> dict[str, int]:
        """How many incidents each known category has, the most frequent first; only those until `before`, a time."""
        until = day_of(before) if before else float("inf")
        rows = self._database.execute("SELECT category, count(*) AS n FROM incidents WHERE category != '' AND day <= ? "
                                      "GROUP BY category ORDER BY n DESC, category", (until,))
        return {str(category): int(count) for category, count in rows}

    def entries(self) -> list[Entry]:
        """All incidents in the order of time."""
        rows = self._database.execute(
            "SELECT id, time, category, text, kind, summary, confirmed FROM incidents ORDER BY day, position")
        steps = self._steps()
        return [_entry(row, steps.get(row[0], ())) for row in rows]

    def entry(self, id: str) -> Entry | None:
        """One incident."""
        row = self._database.execute("SELECT id, time, category, text, kind, summary, confirmed FROM incidents "
                                     "WHERE id = ?", (id,)).fetchone()
        return _entry(row, self._steps(id).get(id, ())) if row else None

    def paths(self, until: str | None, id: str, categories: list[str]) -> dict[str, dict[str, Steps]]:
        """What incidents of each of the categories looked at, by category and identifier, the newest first; without
        that of the incident `id`, and only until a time."""
        last, steps = day_of(until) if until else float("inf"), self._steps()
        found: dict[str, dict[str, Steps]] = {}
        for other, category in self._database.execute(
                "SELECT id, category FROM incidents WHERE day <= ? AND id != ? ORDER BY day DESC, position DESC",
                (last, id)):
            if category in categories and other in steps:
                found.setdefault(category, {})[other] = steps[other]
        return found

    def _knows_paths(self) -> bool:
        return bool(self._database.execute("SELECT 1 FROM sqlite_master WHERE name = 'steps'").fetchone())

    def _steps(self, id: str | None = None) -> dict[str, Steps]:
        if not self._knows_paths():
            return {}
        found: dict[str, Steps] = {}
        for incident, check, result in self._database.execute(
                "SELECT incident, check_made, result FROM steps WHERE ? IN (incident, '') ORDER BY incident, number",
                (id or "",)):
            found[incident] = (*found.get(incident, ()), (check, result))
        return found

    def set_summaries(self, summaries: dict[str, str]) -> None:
        """Keep summaries by incident, so that each is made once."""
        with self._writing():
            self._database.executemany("UPDATE incidents SET summary = ? WHERE id = ?",
                                       [(summary, id) for id, summary in summaries.items()])

    def train(self, name: str, alpha: float | None = None) -> float:
        """Train an embedding on all incidents with a category and give each its vector; the decay rate, per day.

        Without `alpha` it is fitted: an embedding that learnt from the first 60 % of the past judges the rest.
        """
        known = [entry for entry in self.entries() if entry.category]
        if not known:
            raise StoreError(f"the history {self.path} has no incident with a category; import some first")
        alpha = fitted_alpha(name, known) if alpha is None else alpha
        embedding = make_embedding(name)
        embedding.fit([entry.text for entry in known], [entry.category for entry in known])
        with self._writing():  # incidents that came meanwhile get a vector too
            rows = self._database.execute("SELECT position, text FROM incidents ORDER BY position").fetchall()
            vectors = embedding.vectors([text for _, text in rows])
            self._database.execute("DELETE FROM vectors")
            self._database.execute("DELETE FROM embeddings")
            number = self._database.execute(
                "INSERT INTO embeddings (name, data, trained_on, alpha) VALUES (?, ?, ?, ?)",
                (embedding.name, embedding.to_bytes(), len(known), alpha)).lastrowid
            self._database.executemany("INSERT INTO vectors VALUES (?, ?, ?)", [
                (number, position, vector.astype("<f4").tobytes())
                for (position, _), vector in zip(rows, vectors, strict=True)])
        return alpha

    def embedding(self) -> tuple[str, int, float] | None:
        """Name of the embedding, how many incidents it learnt from, and the decay rate."""
        row = self._database.execute("SELECT name, trained_on, alpha FROM embeddings").fetchone()
        return (str(row[0]), int(row[1]), float(row[2])) if row else None

    def _current(self) -> tuple[int, Embedding] | None:
        row = self._database.execute("SELECT number, name FROM embeddings").fetchone()
        if row is None:
            return None
        key = (self._identity, int(row[0]))
        with _lock:
            if key not in _loaded:
                data = self._database.execute("SELECT data FROM embeddings WHERE number = ?", (row[0],)).fetchone()[0]
                while len(_loaded) >= MOST_LOADED:
                    del _loaded[next(iter(_loaded))]
                _loaded[key] = make_embedding(row[1]).load(data)
            return key[1], _loaded[key]

    def past(self) -> Past:
        """All incidents with a category and a vector, read again only after a change."""
        state = (self._database.execute("PRAGMA data_version").fetchone()[0], self._database.total_changes)
        if self._cached is not None and self._cached[0] == state:
            return self._cached[1]
        rows = self._database.execute(
            "SELECT id, category, day, kind, vector FROM incidents JOIN vectors USING (position) "
            "WHERE category != '' ORDER BY position").fetchall()
        vectors = np.array([np.frombuffer(row[4], "<f4") for row in rows], np.float32).reshape(len(rows), -1)
        past = Past([row[0] for row in rows], [row[1] for row in rows], vectors,
                    np.array([row[2] for row in rows], np.float64), [row[3] for row in rows])
        self._cached = state, past
        return past

    def nearest(self, text: str, time: str, *, id: str = "", k: int = 5, alpha: float | None = None,
                distinct: bool = True, kind: str | None = None) -> list[Neighbour]:
        """The most similar incidents up to `time`; see `similarity.nearest`. `alpha`: the store's own unless given."""
        described = self.embedding()
        current = self._current()
        if current is None or described is None:
            return []
        vector = current[1].vectors([text])[0]
        return nearest(self.past(), vector, day_of(time), k=k, alpha=described[2] if alpha is None else alpha,
                       distinct=distinct, id=id, kind=kind)


def _entry(row: tuple[str, str, str, str, str, str, int], steps: Steps) -> Entry:
    return Entry(row[0], row[1], row[2], row[3], row[4], row[5], bool(row[6]), steps)


def fitted_alpha(name: str, known: list[Entry]) -> float:
    """The decay rate that suits a past in the order of time; 0 where it is too short to tell (under 20 incidents)."""
    if len(known) < 20:
        return 0.0
    first = len(known) * 3 // 5
    embedding = make_embedding(name)
    embedding.fit([entry.text for entry in known[:first]], [entry.category for entry in known[:first]])
    vectors = embedding.vectors([entry.text for entry in known])
    days = np.array([day_of(entry.time) for entry in known])
    past = Past([entry.id for entry in known], [entry.category for entry in known], vectors, days)
    return fit_alpha(past, first)[0]
