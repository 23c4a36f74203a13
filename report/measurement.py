"""What a run took, from what it recorded: every call with its tokens and times, every engine step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, TypeAlias

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


Key: TypeAlias = tuple[int, int]
"""A context on an engine: a context of a group of engines may be on several of them."""


def measure(recorder: TraceRecorder, stats: RunStats, errors: Iterable[tuple[str, str]] = ()) -> Measurement:
    """What `recorder` holds of a run that has ended."""
    zero = recorder.began
    own = [span for span in recorder.spans if span.process == PROGRAM]
    engines = [span for span in recorder.spans if span.process != PROGRAM]
    spans = sorted((s for s in own if s.kind == "generate" and s.op is not None), key=lambda s: (s.start, s.end))
    generates = {span.arguments["context"]: span for span in engines if span.kind == "generate"}
    contexts = _Contexts(spans, engines, generates, recorder.fills)
    calls = [_call(span, zero, generates.get(span.arguments["context"]), contexts) for span in spans]
    hosts = [MeasuredHost(span.op, span.start - zero, span.end - zero, span.arguments.get("error"))
             for span in own if span.kind == "host" and span.op is not None]
    steps = [Step(_engine(span), span.start - zero, span.end - zero, span.arguments["rows"],
                  span.arguments["decode_rows"], span.arguments["tokens"], span.arguments["kv_tokens"])
             for span in engines if span.kind == "step"]
    names = {_engine(span): recorder.processes[span.process] for span in engines}
    return Measurement(stats, names, calls, hosts, sorted(steps, key=lambda step: step.start), dict(errors),
                       contexts.fills())


def _engine(span: Span) -> int:
    """A number for the engine of an event, which may be one of a group."""
    return span.process * 65536 + int(span.arguments.get("engine", 0))


def _call(span: Span, zero: float, generate: Span | None, contexts: _Contexts) -> MeasuredCall:
    arguments = span.arguments
    first = generate.arguments.get("first_token") if generate is not None else None
    assert span.op is not None
    return MeasuredCall(
        span.op, tuple(arguments["indices"]), arguments["sample"], _engine(generate) if generate is not None else 0,
        span.start - zero, span.end - zero, None if first is None else first - zero, arguments["prompt_tokens"],
        contexts.filled.get(arguments["context"], 0), arguments.get("generated_tokens", 0),
        "failed" if arguments.get("failed") else arguments.get("finish_reason", ""))


class _Contexts:
    """The tree of contexts of a run, as its engines recorded it."""

    def __init__(self, calls: list[Span], engines: list[Span], generates: Mapping[int, Span],
                 operations: Mapping[int, Op]) -> None:
        self._operations = operations
        self._parents: dict[Key, Key] = {}
        self._computed: dict[Key, int] = {}
        self._tokens: dict[Op, list[int]] = {}
        for span in engines:
            if span.kind not in ("fill", "generate"):
                continue
            engine, arguments = _engine(span), span.arguments
            key = engine, arguments["context"]
            self._parents[key] = engine, arguments["parent"]
            if span.kind == "fill":
                self._computed[key] = arguments["tokens"] - arguments["shared_tokens"]
                if key[1] in operations:
                    self._tokens.setdefault(operations[key[1]], []).append(arguments["tokens"])
        self._prompts = [(span.arguments["context"], self._parents[_engine(generate), span.arguments["context"]])
                         for span in calls if (generate := generates.get(span.arguments["context"])) is not None]
        self.filled = self._filled()
        """Prompt tokens computed for each call, by its context: those of fills that no earlier call needed."""

    def _filled(self) -> dict[int, int]:
        claimed: set[Key] = set()
        filled: dict[int, int] = {}
        for call, key in self._prompts:
            total = 0
            while key in self._parents and key not in claimed:
                claimed.add(key)
                total += self._computed.get(key, 0)
                key = self._parents[key]
            filled[call] = total
        return filled

    def fills(self) -> dict[Op, MeasuredFill]:
        """Every fill that a call began with; uses are counted for the first calls of a long run."""
        uses: dict[Op, int] = {}
        budget = MOST_LINKS
        for _, key in self._prompts:
            found: set[Op] = set()
            while key in self._parents and budget > 0:
                budget -= 1
                if key[1] in self._operations:
                    found.add(self._operations[key[1]])
                key = self._parents[key]
            for op in found:
                uses[op] = uses.get(op, 0) + 1
        return {op: MeasuredFill(len(self._tokens[op]), fmean(self._tokens[op]), count)
                for op, count in uses.items() if op in self._tokens}
