"""A run as bars over time: rows of calls, steps of engines, and KV tokens; all positions in percent of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..ir.core import Op
from .explain_text import seconds
from .measurement import MeasuredCall, MeasuredHost, Measurement, Step
from .names import CallName

MOST_BARS = 1500
"""Bars of calls; what begins later is left out and counted."""
MOST_STEPS = 600
"""Marks of steps; where there are more, neighbours are drawn as one."""
CHART_HEIGHT = 100.0


@dataclass(frozen=True)
class Bar:
    """One execution. `wait`: the share of its width, in percent, before its first token."""

    left: float
    width: float
    wait: float
    identifiers: tuple[str, ...]
    label: str
    tip: str
    failed: bool


@dataclass
class Lane:
    """Bars that do not overlap. `title` of the first lane of a call site or host; empty for the others."""

    title: str
    kind: str
    identifiers: tuple[str, ...]
    bars: list[Bar] = field(default_factory=list)
    end: float = 0.0


@dataclass(frozen=True)
class Tick:
    """A mark of the time axis."""

    left: float
    label: str


@dataclass(frozen=True)
class StepMark:
    """A step of an engine, or several."""

    left: float
    width: float
    strength: float
    tip: str


@dataclass
class Timeline:
    """Everything that is drawn over time. `area`: a path over the KV tokens in a box of 100 by 100."""

    total: str
    ticks: list[Tick]
    lanes: list[Lane]
    left_out: int
    steps: list[StepMark]
    area: str
    scale: int
    peak: int
    predicted_peak: int
    predicted_height: float | None


def timeline(measured: Measurement, names: Mapping[Op, CallName]) -> Timeline:
    """The drawing of a run."""
    total = measured.seconds or 1.0
    calls = measured.calls[:MOST_BARS]
    lanes = _call_lanes(calls, names, total) + _host_lanes(measured.hosts[:MOST_BARS], total)
    peak = max([measured.stats.peak_kv_tokens, *(step.kv_tokens for step in measured.steps)], default=0)
    predicted = measured.stats.predicted_peak_kv_tokens
    scale = max(peak, predicted if predicted <= 3 * peak else 0, 1)
    height = 100.0 * (1 - predicted / scale) if 0 < predicted <= scale else None
    return Timeline(seconds(total), ticks(total), lanes, len(measured.calls) - len(calls),
                    _steps(measured.steps, total), _area(measured.steps, total, scale), scale, peak, predicted, height)


def ticks(total: float) -> list[Tick]:
    """Four to eight round times from 0 to `total`."""
    magnitude = 1.0
    while magnitude * 10 <= total:
        magnitude *= 10
    while magnitude > total:
        magnitude /= 10
    step = next(s for s in (magnitude / 5, magnitude / 2, magnitude, 2 * magnitude) if total / s <= 8)
    return [Tick(100 * n * step / total, seconds(n * step)) for n in range(int(0.93 * total / step) + 1)]


def _call_lanes(calls: Sequence[MeasuredCall], names: Mapping[Op, CallName], total: float) -> list[Lane]:
    by_op: dict[Op, list[MeasuredCall]] = {}
    for call in calls:
        by_op.setdefault(call.op, []).append(call)
    lanes: list[Lane] = []
    for op, group in by_op.items():
        name = names[op]
        title = f"{name.function or name.output}{f' × {len(group)}' if len(group) > 1 else ''}"
        own: list[Lane] = []
        for number, call in enumerate(group, 1):
            lane = _free(own, call.start, Lane("" if own else title, "call", name.identifiers))
            lane.bars.append(_bar(call, name, number, len(group), total))
            lane.end = call.end
        lanes += own
    return lanes


def _host_lanes(hosts: Sequence[MeasuredHost], total: float) -> list[Lane]:
    by_name: dict[str, list[Lane]] = {}
    for host in hosts:
        own = by_name.setdefault(host.op.symbol, [])
        lane = _free(own, host.start, Lane("" if own else host.op.symbol, "host", ()))
        tip = f"{host.op.symbol}, a Python function\n{_from_to(host.start, host.end)}"
        tip += f"\nfailed: {host.error}" if host.error else ""
        lane.bars.append(Bar(*_place(host.start, host.end, total), 0.0, (), host.op.symbol, tip, bool(host.error)))
        lane.end = host.end
    return [lane for own in by_name.values() for lane in own]


def _free(lanes: list[Lane], start: float, new: Lane) -> Lane:
    """The first lane that is free at `start`; `new` where there is none."""
    found = next((lane for lane in lanes if lane.end <= start), None)
    if found is None:
        lanes.append(new)
        found = new
    return found


def _bar(call: MeasuredCall, name: CallName, number: int, count: int, total: float) -> Bar:
    first = call.end if call.first_token is None else call.first_token
    length = max(call.end - call.start, 1e-9)
    lines = [f"{name.title}{f', {number} of {count}' if count > 1 else ''}", _from_to(call.start, call.end),
             f"prompt: {call.prompt_tokens} tokens, {call.shared_tokens} of them there already",
             f"answer: {call.generated_tokens} tokens ({ENDS.get(call.finish_reason, call.finish_reason)})"]
    if call.first_token is not None:
        lines.insert(2, f"first token after {seconds(first - call.start)}")
    return Bar(*_place(call.start, call.end, total), 100 * min(1.0, max(0.0, (first - call.start) / length)),
               name.identifiers, name.title, "\n".join(lines), call.finish_reason == "failed")


ENDS = {"eos": "the model ended it", "stop": "ended at a stop text", "length": "as long as allowed",
        "words": "as many words as allowed", "complete": "complete", "failed": "failed"}


def _place(start: float, end: float, total: float) -> tuple[float, float]:
    return round(100 * start / total, 3), round(max(100 * (end - start) / total, 0.15), 3)


def _from_to(start: float, end: float) -> str:
    return f"{seconds(start)} → {seconds(end)}, took {seconds(end - start)}"


def _steps(steps: Sequence[Step], total: float) -> list[StepMark]:
    size = max(1, -(-len(steps) // MOST_STEPS))
    most = max((step.rows for step in steps), default=1)
    marks = []
    for first in range(0, len(steps), size):
        part = steps[first : first + size]
        start, end = part[0].start, max(step.end for step in part)
        rows, tokens = max(step.rows for step in part), sum(step.tokens for step in part)
        title = f"step {first + 1}" if len(part) == 1 else f"steps {first + 1} to {first + len(part)}"
        tip = (f"{title}: {seconds(end - start)}\n{rows} contexts at once, {tokens} tokens computed\n"
               f"{part[-1].kv_tokens} tokens in KV memory")
        marks.append(StepMark(*_place(start, end, total), round(0.25 + 0.75 * rows / most, 2), tip))
    return marks


def _area(steps: Sequence[Step], total: float, scale: int) -> str:
    """Stairs over the KV tokens of all engines together."""
    if not steps:
        return ""
    now: dict[int, int] = {}
    size = max(1, len(steps) // 2000)
    points = ["M0 100"]
    height = 100.0
    for step in steps[::size]:
        x = 100 * min(step.end, total) / total
        points.append(f"L{x:.2f} {height:.2f}")
        now[step.engine] = step.kv_tokens
        height = 100 * (1 - sum(now.values()) / scale)
        points.append(f"L{x:.2f} {height:.2f}")
    return " ".join([*points, f"L100 {height:.2f}", "L100 100", "Z"])
