"""A file with many incidents, as batch.sem reads it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .incident import AlertError, read_alert


def read_lines(incidents: str) -> list[dict[str, Any]]:
    """`Line` of batch.sem for each line that is not blank; a line about an incident that an earlier one told of is
    only counted there. A line is a JSON object or list, a JSON text, or an alert in words."""
    lines: list[dict[str, Any]] = []
    known: dict[str, dict[str, Any]] = {}
    for number, written in enumerate(incidents.split("\n"), 1):
        if not written.strip():
            continue
        line: dict[str, Any] = {"number": number, "alert": _alert_of(written), "problem": "", "repeated": 0}
        try:
            identifiers = [incident.id for incident in read_alert(line["alert"])]
        except AlertError as error:
            line["problem"], identifiers = str(error), []
        key = json.dumps(identifiers)
        if identifiers and key in known:
            known[key]["repeated"] += 1
            continue
        known[key] = line
        lines.append(line)
    return lines


def _alert_of(written: str) -> str:
    """A JSON text is what it says; everything else is the alert as it stands."""
    try:
        data = json.loads(written)
    except (ValueError, RecursionError):
        return written
    return data if isinstance(data, str) else written


def first_positions(texts: Sequence[str]) -> list[int]:
    """For each text the position of the first that is equal to it."""
    first: dict[str, int] = {}
    return [first.setdefault(text, position) for position, text in enumerate(texts)]
