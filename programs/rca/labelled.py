"""Labelled incidents to evaluate on, in the order of time, and what of each a method may see.

One JSON object a line: `id`, `time`, `category`, and `parts`, texts by name (such as alert, diagnostics, actions,
summary); `kind` is the alert type. Two public sets are read as they are: cloud post-mortems and GAIA.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

Json = Any


class DataError(ValueError):
    """A file of incidents cannot be used; one line with place and remedy."""


@dataclass(frozen=True)
class Labelled:
    """An incident whose category is known. `day`: days since 1970, UTC; `split`: train, test or nothing."""

    id: str
    day: float
    category: str
    parts: dict[str, str]
    kind: str = ""
    split: str = ""


@dataclass(frozen=True)
class DataSet:
    """Incidents in the order of time; `views` name the parts that are seen together."""

    incidents: tuple[Labelled, ...]
    views: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def texts(self, view: str) -> list[str]:
        """What a view shows of each incident: a view of the set, `all`, or part names joined by `+`."""
        names = self.parts_of(view)
        return ["\n".join(incident.parts.get(name, "") for name in names).strip() for incident in self.incidents]

    def parts_of(self, view: str) -> tuple[str, ...]:
        """The parts of a view. Raises DataError for an unknown one."""
        if view in self.views:
            return self.views[view]
        names = self.part_names if view == "all" else tuple(view.split("+"))
        if unknown := [name for name in names if name not in self.part_names]:
            raise DataError(f"no incident has a part `{unknown[0]}`; there are {', '.join(self.part_names)}"
                            + (f", and the views {', '.join(self.views)}" if self.views else ""))
        return names

    @property
    def part_names(self) -> tuple[str, ...]:
        """Names of all parts, in the order of their first occurrence."""
        return tuple(dict.fromkeys(name for incident in self.incidents for name in incident.parts))

    def ablations(self) -> list[str]:
        """Every combination of the parts that a pipeline sees anyway, as views."""
        hidden = {name for view in self.views if view == "truth" for name in self.views[view]}
        names = [name for name in self.part_names if name not in hidden]
        return ["+".join(chosen) for size in range(1, len(names) + 1) for chosen in combinations(names, size)]


def read_labelled(path: str) -> DataSet:
    """Read and sort a file. Raises DataError with the line."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    rows: list[tuple[int, dict[str, Json]]] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}:{number}: no JSON: {error}") from None
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number}: a line is a JSON object")
            rows.append((number, row))
    if not rows:
        raise DataError(f"{path} holds no incident")
    read, views = _reader(rows[0][1])
    incidents = []
    for number, row in rows:
        try:
            incidents.append(read(row))
        except (KeyError, TypeError, ValueError) as error:
            what = f"lacks `{error.args[0]}`" if isinstance(error, KeyError) else str(error)
            raise DataError(f"{path}:{number}: the incident {what}") from None
    order = sorted(range(len(incidents)), key=lambda i: incidents[i].day)  # stable: equal times keep their order
    return DataSet(tuple(incidents[i] for i in order), views)


def _reader(row: dict[str, Json]) -> tuple[Any, dict[str, tuple[str, ...]]]:
    if "LEAKY_details" in row:
        return read_postmortem, {"symptom": ("symptom",), "report": ("symptom", "details"), "truth": ("cause",)}
    if "metric_alerts" in row:
        return read_gaia, {"report": ("metrics", "traces", "logs")}
    return read_plain, {}


def read_plain(row: dict[str, Json]) -> Labelled:
    """The format of this module."""
    parts = row.get("parts")
    if not isinstance(parts, dict) or not all(isinstance(text, str) for text in parts.values()):
        raise TypeError("needs `parts`: an object of texts")
    return Labelled(str(row["id"]), day_of(row["time"]), str(row["category"]), dict(parts), str(row.get("kind", "")),
                    str(row.get("split", "")))


def read_postmortem(row: dict[str, Json]) -> Labelled:
    """Post-mortems of cloud providers. `details` tell the cause now and then; `cause` is the cause as written."""
    lists = (", ".join(row[name]) for name in ("services", "impact_symptoms", "manifestation"))
    parts = {"symptom": "\n".join([row["title"], row["summary"], *lists]), "details": row["LEAKY_details"],
             "cause": row["TRUTH_root_cause"]}
    return Labelled(row["id"], day_of(row["time"]), row["LABEL_category"], parts, row["provider"])


def read_gaia(row: dict[str, Json]) -> Labelled:
    """Alerts of metrics and traces and log templates of injected faults, one a line."""
    names = {"metrics": "metric_alerts", "traces": "trace_alerts", "logs": "log_templates"}
    parts = {part: "\n".join(" ".join(map(str, alert)) for alert in row[name]) for part, name in names.items()}
    return Labelled(row["id"], day_of(row["start"]), row["LABEL_category"], parts, split=row["split"])


def day_of(time: str) -> float:
    """Days since 1970 of an ISO 8601 time; UTC unless it says otherwise. Raises ValueError."""
    moment = datetime.fromisoformat(time)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() / 86_400


def first_occurrences(categories: Sequence[str]) -> list[bool]:
    """Whether each category is the first of its kind."""
    seen: set[str] = set()
    return [not (category in seen or seen.add(category)) for category in categories]  # type: ignore[func-returns-value]
