"""Queries for logs that mean the same everywhere: `name=value … | pattern`, and lines as evidence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..outcomes import Answer, Outcome, answer_of_text
from .interface import iso

MAXIMUM_LINES = 500
"""The newest lines that one query gives."""


@dataclass(frozen=True)
class LogQuery:
    """Lines of all streams that have the labels; with a pattern only lines in which it is found, in any case."""

    labels: dict[str, str]
    pattern: str

    def matches(self, line: str) -> bool:
        """Whether a line is wanted."""
        return not self.pattern or re.search(self.pattern, line, re.IGNORECASE) is not None


def parse_log_query(query: str) -> LogQuery:
    """Read `namespace=shop app=cart | timeout|refused`. Raises ValueError with one line."""
    selector, _, pattern = query.partition("|")
    labels: dict[str, str] = {}
    for part in selector.split():
        name, separator, value = part.partition("=")
        if not separator or not re.fullmatch(r"[A-Za-z_]\w*", name) or not value:
            raise ValueError(f"{part!r} is not of the form name=value; logs are asked for by `name=value … | pattern`")
        labels[name] = value
    if not labels:
        raise ValueError("a query for logs names at least one label: `name=value … | pattern`")
    pattern = pattern.strip()
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"the pattern {pattern!r} is not a regular expression: {error}") from None
    return LogQuery(labels, pattern)


def answer_of_lines(lines: Sequence[tuple[float, str]], notes: Sequence[str] = ()) -> Answer:
    """Evidence from lines, each with its time in seconds since 1970: oldest first, the newest if there are too many.

    The table holds `lines`, `from` and `to`. Notes, and that there may be more lines, stand above them.
    """
    if not lines:
        return Answer(Outcome.EMPTY, "\n".join(notes))
    ordered = sorted(lines, key=lambda line: line[0])
    shown = ordered[-MAXIMUM_LINES:]
    table = {"lines": str(len(ordered)), "from": iso(ordered[0][0]), "to": iso(ordered[-1][0])}
    if len(ordered) >= MAXIMUM_LINES:
        notes = [*notes, f"[only the newest {MAXIMUM_LINES} lines are here]"]
    text = [*notes, *(f"{iso(time)} {line.rstrip()}" for time, line in shown)]
    return answer_of_text("\n".join(text), table, iso(ordered[-1][0]))
