"""What a run took, from what it recorded: every call with its tokens and times, every engine step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from ..backend.results import RunStats
from ..backend.trace import PROGRAM, Span, TraceRecorder
from ..ir.core import Op

MOST_LINKS = 500_000
"""Links of the tree of contexts that are followed to count who shares what."""


@dataclass(frozen=True)
class MeasuredCall:
    """One generate as it ran. Times are seconds since the run began; `first_token` None where there was none.

    `filled_tokens`: prompt tokens that were computed for it; those computed earlier, for another call, are the rest.
    """

    op: Op
    indices: tuple[int, ...]
    sample: int
    engine: int
    start: float
    end: float
    first_token: float | None
    prompt_tokens: int
    filled_tokens: int
    generated_tokens: int
    finish_reason: str
    context: int

    @property
    def shared_tokens(self) -> int:
        """Prompt tokens that were there already."""
        return max(0, self.prompt_tokens - self.filled_tokens)


@dataclass(frozen=True)
class MeasuredHost:
    """One host call as it ran."""

    op: Op
    start: float
    end: float
    error: str | None


@dataclass(frozen=True)
class MeasuredFill:
    """All executions of one fill: how many, their tokens on average, and the calls whose prompts hold them."""

    count: int
    tokens: float
    calls: int


@dataclass(frozen=True)
class Step:
    """One step of an engine."""

    engine: int
    start: float
    end: float
    rows: int
    decode_rows: int
    tokens: int
    kv_tokens: int


@dataclass
class Measurement:
    """A run. `engines`: names by number; `calls` in the order in which they began."""

    stats: RunStats
    engines: dict[int, str] = field(default_factory=dict)
    calls: list[MeasuredCall] = field(default_factory=list)
    hosts: list[MeasuredHost] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    fills: dict[Op, MeasuredFill] = field(default_factory=dict)
    """Of the fill operations that calls began with."""

    def __post_init__(self) -> None:
        self.by_op: dict[Op, list[MeasuredCall]] = {}
        for call in self.calls:
            self.by_op.setdefault(call.op, []).append(call)

    @property
    def seconds(self) -> float:
        """When the last thing ended."""
        return max([self.stats.makespan_s, *(call.end for call in self.calls), *(step.end for step in self.steps)])

    def call_json(self, op: Op) -> dict[str, Any] | None:
        """Means over the executions of a call site; None where it did not run."""
        calls = self.by_op.get(op)
        if not calls:
            return None
        return {"runs": len(calls), "prompt_tokens": round(fmean(c.prompt_tokens for c in calls), 1),
                "shared_tokens": round(fmean(c.shared_tokens for c in calls), 1),
                "generated_tokens": round(fmean(c.generated_tokens for c in calls), 1),
                "seconds": fmean(c.end - c.start for c in calls)}

    def to_json(self) -> dict[str, Any]:
        """The counters of the run."""
        return self.stats.to_json()


def measure(recorder: TraceRecorder, stats: RunStats, errors: Iterable[tuple[str, str]] = ()) -> Measurement:
    """What `recorder` holds of a run that has ended."""
    zero = recorder.began
    own = [span for span in recorder.spans if span.process == PROGRAM]
    engines = [span for span in recorder.spans if span.process != PROGRAM]
    first_tokens = {span.arguments["context"]: span.arguments.get("first_token")
                    for span in engines if span.kind == "generate"}
    where = {span.arguments["context"]: span.process for span in engines if span.kind == "generate"}
    spans = sorted((span for span in own if span.kind == "generate"), key=lambda span: (span.start, span.end))
    filled = _filled_tokens(spans, engines)
    calls = [_call(span, zero, first_tokens, where, filled) for span in spans if span.op is not None]
    hosts = [MeasuredHost(span.op, span.start - zero, span.end - zero, span.arguments.get("error"))
             for span in own if span.kind == "host" and span.op is not None]
    steps = [Step(span.process, span.start - zero, span.end - zero, span.arguments["rows"],
                  span.arguments["decode_rows"], span.arguments["tokens"], span.arguments["kv_tokens"])
             for span in engines if span.kind == "step"]
    names = {number: name for number, name in recorder.processes.items() if number != PROGRAM}
    return Measurement(stats, names, calls, hosts, sorted(steps, key=lambda step: step.start), dict(errors),
                       _fills(spans, engines, recorder.fills))


def _call(span: Span, zero: float, first_tokens: dict[int, float | None], engines: dict[int, int],
          filled: dict[int, int]) -> MeasuredCall:
    arguments = span.arguments
    first = first_tokens.get(arguments["context"])
    assert span.op is not None
    return MeasuredCall(
        span.op, tuple(arguments["indices"]), arguments["sample"], engines.get(arguments["context"], PROGRAM + 1),
        span.start - zero, span.end - zero, None if first is None else first - zero, arguments["prompt_tokens"],
        filled.get(arguments["context"], 0), arguments.get("generated_tokens", 0),
        "failed" if arguments.get("failed") else arguments.get("finish_reason", ""), arguments["context"])


def _filled_tokens(calls: list[Span], engines: list[Span]) -> dict[int, int]:
    """Prompt tokens computed for each call, by its context: those of fills that no earlier call needed."""
    parents: dict[int, int] = {}
    computed: dict[int, int] = {}
    for span in engines:
        if span.kind == "fill":
            arguments = span.arguments
            parents[arguments["context"]] = arguments["parent"]
            computed[arguments["context"]] = arguments["tokens"] - arguments["shared_tokens"]
    for span in calls:
        parents[span.arguments["context"]] = span.arguments["parent"]
    claimed: set[int] = set()
    filled: dict[int, int] = {}
    for span in calls:
        total, context = 0, span.arguments["parent"]
        while context in parents and context not in claimed:
            claimed.add(context)
            total += computed.get(context, 0)
            context = parents[context]
        filled[span.arguments["context"]] = total
    return filled


def _fills(calls: list[Span], engines: list[Span], operations: dict[int, Op]) -> dict[Op, MeasuredFill]:
    """Every fill that a call began with; uses are counted for the first calls of a long run."""
    parents: dict[int, int] = {}
    tokens: dict[Op, list[int]] = {}
    for span in engines:
        if span.kind == "fill":
            context = span.arguments["context"]
            parents[context] = span.arguments["parent"]
            if context in operations:
                tokens.setdefault(operations[context], []).append(span.arguments["tokens"])
    parents |= {span.arguments["context"]: span.arguments["parent"] for span in calls}
    uses: dict[Op, int] = {}
    budget = MOST_LINKS
    for span in calls:
        context = span.arguments["parent"]
        found: set[Op] = set()
        while context in parents and budget > 0:
            budget -= 1
            if context in operations:
                found.add(operations[context])
            context = parents[context]
        for op in found:
            uses[op] = uses.get(op, 0) + 1
    return {op: MeasuredFill(len(tokens[op]), fmean(tokens[op]), count) for op, count in uses.items() if op in tokens}
