"""Recorded telemetry in a directory: what was once asked or scraped is the answer, whoever asks again.

Every `*.jsonl` file of the directory holds records, one on a line, of three forms:

* `{"source": "kubernetes", "query": "describe pod cart-1 -n shop", "time": T, "outcome": "ok", "text": "…"}`: an
  answer, with `table` if it has one; the outcome is `ok` unless given. `*` in the query stands for anything.
* `{"source": "metrics", "query": "up", "series": [{"labels": {…}, "start": T, "step": 60, "values": […]}]}`: values
  of a query, of which those in the span that is asked for count; null is a gap.
* `{"source": "logs", "labels": {…}, "start": T, "lines": [[0.5, "…"], …]}`: lines of a stream, each with the seconds
  since `start`.

Times are UTC in ISO 8601. A query of which there is no recording is an error, never `empty`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..outcomes import Answer, Outcome, answer_of_text, failed
from .interface import iso, seconds
from .log_query import answer_of_lines, parse_log_query
from .series import Series, answer_of_series

MEMORY = 900.0
"""Seconds before the asked span from which an answer still counts, as state that nobody changed since."""


MOST_BYTES = 64_000_000
"""Of a recording, which is held in memory as a whole."""


class RecordingError(ValueError):
    """A directory holds no readable recording; the message names the file and line."""


@dataclass
class Recording:
    """All records of a directory, by form."""

    answers: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    patterns: list[tuple[str, re.Pattern[str], dict[str, Any]]] = field(default_factory=list)
    series: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    streams: list[dict[str, Any]] = field(default_factory=list)

    def add(self, record: dict[str, Any]) -> None:
        """Sort a record in. Raises KeyError or TypeError if it has no known form."""
        source = record["source"]
        if "lines" in record:
            record["from"] = seconds(record["start"])
            self.streams.append(record)
        elif "series" in record:
            self.series.setdefault((source, normal(record["query"])), []).extend(record["series"])
        elif "*" in record["query"]:
            parts = (re.escape(part) for part in normal(record["query"]).split("*"))
            self.patterns.append((source, re.compile(".*".join(parts), re.DOTALL), record))
        else:
            self.answers.setdefault((source, normal(record["query"])), []).append(record)

    def answers_to(self, source: str, query: str) -> Iterator[dict[str, Any]]:
        """Recorded answers: those to exactly this query, then those whose pattern it fits."""
        yield from self.answers.get((source, query), ())
        for of_source, pattern, record in self.patterns:
            if of_source == source and pattern.fullmatch(query):
                yield record


class Replay:
    """The recording in a directory."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def query(self, source: str, query: str, start: str, end: str, deadline: float) -> Answer:
        """What was recorded, see `interface.py`."""
        try:
            recording = load(self.directory, _state(Path(self.directory)))
            first, last = seconds(start), seconds(end)
            wanted = normal(query)
            if (source, wanted) in recording.series:
                return answer_of_series([_cut(s, first, last) for s in recording.series[source, wanted]])
            found = list(recording.answers_to(source, wanted))
            if found:
                return _newest(found, first, last, query)
            if source == "logs":
                return _lines(recording, query, first, last)
        except (RecordingError, ValueError, OSError) as error:
            return failed(str(error))
        return failed(f"there is no recording of {query!r} from {source}")


def normal(query: str) -> str:
    """A query with every run of white space as one space."""
    return " ".join(query.split())


@lru_cache(maxsize=4)
def load(directory: str, state: tuple[object, ...]) -> Recording:
    """Everything in `directory`; `state` changes when its files do. Raises RecordingError."""
    recording = Recording()
    files = sorted(Path(directory).glob("*.jsonl"))
    if not files:
        raise RecordingError(f"there is no recording in {directory}: it holds no *.jsonl file")
    check_size(directory, files)
    for file in files:
        for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
            if not line.strip():
                continue
            try:
                recording.add(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise RecordingError(f"{file.name}:{number} is no record: {type(error).__name__}: {error}") from None
    return recording


def check_size(directory: str, files: list[Path]) -> None:
    """Raise RecordingError for more than `MOST_BYTES`."""
    size = sum(file.stat().st_size for file in files)
    if size > MOST_BYTES:
        raise RecordingError(f"the recording in {directory} has {size} bytes, more than {MOST_BYTES}: divide it")


def _state(directory: Path) -> tuple[object, ...]:
    return tuple((f.name, f.stat().st_mtime_ns, f.stat().st_size) for f in sorted(directory.glob("*.jsonl")))


def _newest(records: list[dict[str, Any]], first: float, last: float, query: str) -> Answer:
    in_time = [r for r in records if "time" not in r or first - MEMORY <= seconds(r["time"]) <= last]
    if not in_time:
        return failed(f"{query!r} was not recorded between {iso(first)} and {iso(last)}")
    record = max(in_time, key=lambda r: r.get("time", ""))
    outcome, time = Outcome(record.get("outcome", "ok")), record.get("time", "")
    if outcome in (Outcome.OK, Outcome.EMPTY) and record.get("text", "").strip():
        answer = answer_of_text(record["text"], record.get("table"), time)
        return Answer(outcome, answer.text, answer.table, answer.time)
    return Answer(Outcome.EMPTY if outcome == Outcome.OK else outcome, record.get("text", ""), {}, time)


def _cut(series: dict[str, Any], first: float, last: float) -> Series:
    begin, step = seconds(series["start"]), float(series["step"])
    points = [(begin + i * step, float(v)) for i, v in enumerate(series["values"]) if v is not None]
    return Series(series.get("labels", {}), [(t, v) for t, v in points if first <= t <= last])


def _lines(recording: Recording, query: str, first: float, last: float) -> Answer:
    wanted = parse_log_query(query)
    streams = [s for s in recording.streams if wanted.labels.items() <= s["labels"].items()]
    if not streams:
        return failed(f"there is no recording of logs with {query.partition('|')[0].strip()!r}")
    times = ((s["from"] + after, line) for s in streams for after, line in s["lines"])
    return answer_of_lines([(t, line) for t, line in times if first <= t <= last and wanted.matches(line)])
