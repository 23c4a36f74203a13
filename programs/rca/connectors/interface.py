"""What every connector is: something that answers one query about a span of time within a deadline."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

from ..outcomes import Answer


class Connector(Protocol):
    """A source of telemetry. It only reads, and it never raises: what goes wrong is an outcome."""

    def query(self, source: str, query: str, start: str, end: str, deadline: float) -> Answer:
        """What `source` says to `query` about the time from `start` to `end`.

        `source` is `metrics` (a query in PromQL), `logs` (see `log_query.py`), `kubernetes` (arguments of kubectl), or
        another name that the configuration gives. Times are UTC in ISO 8601, `deadline` is in seconds from now.
        """
        ...


def seconds(time: str) -> float:
    """Seconds since 1970 of a time in ISO 8601. Raises ValueError."""
    moment = datetime.fromisoformat(time)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def iso(seconds: float) -> str:
    """A time in UTC, ISO 8601 with seconds; "" for what no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""
