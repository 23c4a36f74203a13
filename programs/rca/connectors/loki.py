"""Logs over the HTTP API of Loki."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..outcomes import Answer, failed
from .http import fetch_json, place
from .interface import seconds
from .log_query import MAXIMUM_LINES, LogQuery, answer_of_lines, parse_log_query


class Loki:
    """A server at `url`, such as `http://loki:3100`; headers may hold credentials and `X-Scope-OrgID`."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None,
                 labels: Mapping[str, str] | None = None) -> None:
        self.url = url.rstrip("/")
        self.headers = headers or {}
        self.labels = labels or {}
        """What the labels of queries are called on this server."""

    def query(self, source: str, query: str, start: str, end: str, deadline: float) -> Answer:
        """Lines of logs, see `interface.py`."""
        try:
            wanted = parse_log_query(query)
        except ValueError as error:
            return failed(str(error))
        reply = fetch_json("GET", f"{self.url}/loki/api/v1/query_range", deadline=deadline, headers=self.headers,
                           parameters={"query": self.translate(wanted), "start": str(int(seconds(start) * 1e9)),
                                       "end": str(int(seconds(end) * 1e9)), "limit": str(MAXIMUM_LINES),
                                       "direction": "backward"})
        if reply.answer is not None:
            return reply.answer
        try:
            streams = reply.data["data"]["result"]
            return answer_of_lines([(int(time) / 1e9, str(line)) for s in streams for time, line, *_ in s["values"]])
        except (KeyError, TypeError, ValueError):
            return failed(f"{place(self.url)} gave JSON that is no answer of Loki")

    def translate(self, query: LogQuery) -> str:
        """The query in LogQL."""
        labels = ", ".join(f"{self.labels.get(name, name)}={json.dumps(v)}" for name, v in query.labels.items())
        return f"{{{labels}}}" + (f" |~ {json.dumps('(?i)' + query.pattern)}" if query.pattern else "")
