"""Metrics over the HTTP API of Prometheus, and of servers that speak it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..outcomes import Answer, failed
from .http import fetch_json, place
from .interface import seconds
from .series import Series, answer_of_series

POINTS = 120
"""About so many points of each series are asked for."""


class Prometheus:
    """A server at `url`, such as `http://prometheus:9090`; headers may hold credentials."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.url = url.rstrip("/")
        self.headers = headers or {}

    def query(self, source: str, query: str, start: str, end: str, deadline: float) -> Answer:
        """The series of a query in PromQL, see `interface.py`."""
        first, last = seconds(start), seconds(end)
        step = max(1, round((last - first) / POINTS))
        parameters = {"query": query, "start": f"{first:.3f}", "end": f"{last:.3f}", "step": str(step),
                      "timeout": f"{max(1, int(deadline))}s"}
        reply = fetch_json("GET", f"{self.url}/api/v1/query_range", deadline=deadline, headers=self.headers,
                           parameters=parameters)
        if reply.answer is not None:
            return reply.answer
        try:
            if reply.data["status"] != "success":
                return failed(f"{place(self.url)} refused the query: {reply.data.get('error', 'no reason given')}")
            warnings = [f"[warning: {warning}]" for warning in reply.data.get("warnings") or []]
            return answer_of_series(read_result(reply.data["data"]), warnings)
        except (KeyError, TypeError, ValueError, AttributeError):
            return failed(f"{place(self.url)} gave JSON that is no answer of Prometheus")


def read_result(data: Any) -> list[Series]:
    """The series in `data` of an answer. Raises KeyError, TypeError or ValueError for what is none."""
    kind, result = data["resultType"], data["result"]
    if kind == "matrix":
        return [Series(s["metric"], [(float(t), float(v)) for t, v in s["values"]]) for s in result]
    if kind == "vector":
        return [Series(s["metric"], [(float(s["value"][0]), float(s["value"][1]))]) for s in result]
    if kind == "scalar":
        return [Series({}, [(float(result[0]), float(result[1]))])]
    raise ValueError(kind)
