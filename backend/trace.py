"""A run as a Chrome trace: what ran when, on which engine, for chrome://tracing and ui.perfetto.dev."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ir.core import Op
from .engine import EngineEvent, Generation

if TYPE_CHECKING:
    from .contexts import EngineBinding
    from .generation import Call

PROGRAM = 1
"""The process of the trace that shows the program's own calls; engines follow."""


@dataclass(frozen=True)
class Span:
    """Something that took from `start` to `end`, in seconds of the run's time. `kind` names its rows.

    `op`: the operation that it executed, where the program's own side recorded it.
    """

    process: int
    kind: str
    name: str
    start: float
    end: float
    arguments: dict[str, Any]
    op: Op | None = None


@dataclass
class TraceRecorder:
    """Collects spans while a run goes on. `began`: the zero of the trace's time.

    `processes`: names of the program and, after `collect`, of the engines; `fills`: the operation that made each
    context, by its identifier.
    """

    began: float = field(default_factory=time.perf_counter)
    spans: list[Span] = field(default_factory=list)
    processes: dict[int, str] = field(default_factory=lambda: {PROGRAM: "program"})
    fills: dict[int, Op] = field(default_factory=dict)

    def call(self, call: Call, result: Generation | None) -> None:
        """A generate has ended; None where it failed."""
        attributes = call.op.attributes
        arguments: dict[str, Any] = {
            "site": str(call.op.location), "stream": str(attributes.get("stream") or ""),
            "indices": list(call.request.indices), "sample": call.sample, "prompt_tokens": call.prompt_tokens,
            "engine": call.binding.engine.name, "context": call.identifier, "parent": call.parent_identifier,
        }
        if result is None:
            arguments["failed"] = True
        else:
            arguments |= {"generated_tokens": len(result.sampled_ids), "finish_reason": result.finish_reason}
        self._add("generate", str(attributes["output"]), call.started, call.request.task.run.now(), arguments,
                  call.op)

    def host(self, op: Op, start: float, end: float, attempts: int, error: str | None) -> None:
        """A host call has ended."""
        arguments: dict[str, Any] = {"site": str(op.location), "attempts": attempts}
        if error is not None:
            arguments["error"] = error
        self._add("host", op.symbol, start, end, arguments, op)

    def fill(self, op: Op, context: int) -> None:
        """A fill has made a context."""
        self.fills[context] = op

    def _add(self, kind: str, name: str, start: float, end: float, arguments: dict[str, Any], op: Op) -> None:
        self.spans.append(Span(PROGRAM, kind, name, start, end, arguments, op))

    def collect(self, bindings: Sequence[EngineBinding]) -> None:
        """Take over what the engines recorded since the run began."""
        engines = [engine for binding in bindings for engine in getattr(binding.engine, "members", (binding.engine,))]
        for process, engine in enumerate(engines, PROGRAM + 1):
            self.processes[process] = f"engine {engine.name}"
            spans = [_engine_span(process, event) for event in engine.drain_events()]
            self.spans += [span for span in spans if span.end >= self.began]

    def write(self, path: str | Path) -> None:
        """Write what was collected as JSON. OSError where that is not possible."""
        events = chrome_events(self.processes, self.spans, self.began)
        text = json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, ensure_ascii=False, default=str)
        Path(path).write_text(text + "\n", encoding="utf-8")


def _engine_span(process: int, event: EngineEvent) -> Span:
    return Span(process, event.kind, event.name, event.start, event.end, event.arguments)


def chrome_events(names: dict[int, str], spans: Sequence[Span], began: float) -> list[dict[str, Any]]:
    """Events of the Chrome trace format, microseconds since `began`.

    Spans of one process and kind are laid out in as few rows (threads) as keep those of a row from overlapping.
    """
    events: list[dict[str, Any]] = [_name("process_name", process, 0, name) for process, name in names.items()]
    rows: dict[tuple[int, str], list[tuple[float, int]]] = {}
    threads = 0
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        lanes = rows.setdefault((span.process, span.kind), [])
        lane = next((i for i, (end, _) in enumerate(lanes) if end <= span.start), len(lanes))
        if lane == len(lanes):
            threads += 1
            lanes.append((0.0, threads))
            events.append(_name("thread_name", span.process, threads, f"{span.kind} {lane + 1}"))
        thread = lanes[lane][1]
        lanes[lane] = (span.end, thread)
        events.append({"ph": "X", "name": span.name, "cat": span.kind, "pid": span.process, "tid": thread,
                       "ts": (span.start - began) * 1e6, "dur": (span.end - span.start) * 1e6, "args": span.arguments})
    return events


def _name(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": process, "tid": thread, "args": {"name": name}}
