"""Series of numbers as evidence: a table of what they come to, and one line for each series."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..outcomes import Answer, Outcome, answer_of_text
from ..readings import SHOWN_POINTS
from .interface import iso

SHOWN_SERIES = 20


@dataclass(frozen=True)
class Series:
    """Values of one metric: its labels and points of (seconds since 1970, value), in order of time."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


def answer_of_series(series: Sequence[Series], notes: Sequence[str] = ()) -> Answer:
    """Evidence from series; points that are no finite numbers do not count.

    The table holds `series`, `points`, `min` and `max` over all, and of the first and last value of each series the
    greatest as `first` and `last`.
    """
    series = [Series(s.labels, [(t, v) for t, v in s.points if math.isfinite(v)]) for s in series]
    series = [s for s in series if s.points]
    if not series:
        return Answer(Outcome.EMPTY, "\n".join(notes))
    values = [value for s in series for _, value in s.points]
    table = {
        "series": str(len(series)), "points": str(len(values)), "min": number(min(values)), "max": number(max(values)),
        "first": number(max(s.points[0][1] for s in series)), "last": number(max(s.points[-1][1] for s in series)),
    }
    ordered = sorted(series, key=lambda s: -max(abs(value) for _, value in s.points))
    text = [_line(s) for s in ordered[:SHOWN_SERIES]]
    if len(series) > SHOWN_SERIES:
        text.append(f"[{len(series) - SHOWN_SERIES} series with smaller values are not shown]")
    return answer_of_text("\n".join([*text, *notes]), table, iso(max(s.points[-1][0] for s in series)))


def number(value: float) -> str:
    """At most six digits that count."""
    return f"{value:.6g}"


def _line(series: Series) -> str:
    labels = ", ".join(f"{name}={value}" for name, value in sorted(series.labels.items()))
    step = max(1, math.ceil(len(series.points) / SHOWN_POINTS))
    shown = list(series.points[::step])
    if shown[-1] != series.points[-1]:
        shown.append(series.points[-1])
    values = " ".join(number(value) for _, value in shown)
    return f"{{{labels}}} from {iso(series.points[0][0])} to {iso(series.points[-1][0])}: {values}"
