"""Logs over the search API of Elasticsearch, and of servers that speak it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..outcomes import Answer, failed
from .http import fetch_json, place
from .interface import seconds
from .log_query import MAXIMUM_LINES, LogQuery, answer_of_lines, parse_log_query

FIELDS = {
    "namespace": "kubernetes.namespace", "pod": "kubernetes.pod.name", "app": "service.name",
    "node": "kubernetes.node.name", "container": "kubernetes.container.name", "host": "host.name",
}
"""Fields of the Elastic Common Schema for the labels of queries."""

WORDS = re.compile(r"[\w .-]+(?:\|[\w .-]+)*")
"""Patterns that the server can look for itself; others are looked for here."""


class Elasticsearch:
    """A server at `url`, such as `http://elasticsearch:9200`, with logs in the indices that `index` matches."""

    def __init__(self, url: str, index: str = "logs-*", headers: Mapping[str, str] | None = None,
                 fields: Mapping[str, str] | None = None, time_field: str = "@timestamp",
                 message_field: str = "message") -> None:
        self.url, self.index, self.headers = url.rstrip("/"), index, headers or {}
        self.fields = FIELDS | dict(fields or {})
        self.time_field, self.message_field = time_field, message_field

    def query(self, source: str, query: str, start: str, end: str, deadline: float) -> Answer:
        """Lines of logs, see `interface.py`."""
        try:
            wanted = parse_log_query(query)
        except ValueError as error:
            return failed(str(error))
        reply = fetch_json("POST", f"{self.url}/{self.index}/_search", deadline=deadline, headers=self.headers,
                           body=self.translate(wanted, start, end, deadline))
        if reply.answer is not None:
            return reply.answer
        try:
            hits, shards = reply.data["hits"]["hits"], reply.data.get("_shards") or {}
            partial = bool(reply.data.get("timed_out") or shards.get("failed"))
            if partial and not hits:
                return failed(f"{place(self.url)} ran out of time, or parts of its index failed")
            found = [self._line(hit) for hit in hits]
            notes = ["[partial: the server ran out of time, or parts of its index failed]"] if partial else []
            return answer_of_lines([(time, line) for time, line in found if wanted.matches(line)], notes)
        except (KeyError, TypeError, ValueError, AttributeError):
            return failed(f"{place(self.url)} gave JSON that is no answer of Elasticsearch")

    def translate(self, query: LogQuery, start: str, end: str, deadline: float) -> dict[str, Any]:
        """The body of the search."""
        conditions: list[dict[str, Any]] = [{"range": {self.time_field: {"gte": start, "lte": end}}}]
        conditions += [{"term": {self.fields.get(name, name): value}} for name, value in query.labels.items()]
        if query.pattern and WORDS.fullmatch(query.pattern):
            phrases = [{"match_phrase": {self.message_field: part.strip()}} for part in query.pattern.split("|")]
            conditions.append({"bool": {"should": phrases, "minimum_should_match": 1}})
        return {
            "size": MAXIMUM_LINES, "timeout": f"{max(1, int(deadline * 1000))}ms",
            "sort": [{self.time_field: {"order": "desc"}}], "query": {"bool": {"filter": conditions}},
        }

    def _line(self, hit: Any) -> tuple[float, str]:
        document = hit["_source"]
        time = _field(document, self.time_field)
        at = time / 1000 if isinstance(time, int | float) else seconds(str(time))  # numbers are milliseconds
        return at, str(_field(document, self.message_field))


def _field(document: Any, path: str) -> Any:
    """A field by its dotted path, whether the document nests it or not."""
    if path in document:
        return document[path]
    for part in path.split("."):
        document = document[part]
    return document
