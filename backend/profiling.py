"""Measures what the steps of an engine cost: a few synthetic loads on the real engine, and what calls cost beside."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, pairwise
from statistics import fmean, median

import numpy as np

from ..ir.diagnostics import InputError
from ..ir.parser import parse_module
from ..ir.source import SourceFile
from ..passes.cost_model import CostModel, limited
from .cost_fit import Fit, Sample, fit_cost_model
from .engine import ROOT, Callbacks, EngineError, EngineEvent, Generation, SamplingOptions
from .executor import run_module
from .step_engine import StepEngine

NOT_MEASURED = "E1120"
DECODED_TOKENS = 12
"""Tokens that each row of a load decodes."""
REPEATS = 3
CALLS = 24
"""Calls of the program that shows what a call costs beside its steps."""

PROGRAM = '''
sem.program(@Profile) |%xs: list<text>| {
  %ys = flow.for(%xs) |%i: int, %x: text| {
    %0 = engine.fill(engine.root, "Profile: ", %x) : ctx
    %y, %1 = engine.generate(%0) {output = "y", max_tokens = 2} : text, ctx
    engine.free(%0, %1)
    flow.yield(%y)
  } : list<text>
  sem.return(%ys) {names = ["ys"]}
}'''


@dataclass(frozen=True)
class Load:
    """`rows` calls over `prompt` tokens each, or all over the same ones if `shared`."""

    rows: int
    prompt: int
    shared: bool = False

    def __str__(self) -> str:
        prompts = f"a prompt of {self.prompt} tokens" if self.shared or self.rows == 1 else f"prompts of {self.prompt}"
        return f"{self.rows} calls on {prompts}" if self.rows > 1 else f"one call on {prompts}"

    @property
    def slots(self) -> int:
        """KV slots that it takes, with some room for pages that are not full."""
        prompts = self.prompt + 16 * self.rows if self.shared else (self.prompt + 16) * self.rows
        return prompts + (DECODED_TOKENS + 16) * self.rows


def loads(max_step_tokens: int, max_batch: int) -> list[Load]:
    """The loads of a profile, small ones first."""
    chosen = [Load(1, 8), Load(1, 32), Load(1, 128), Load(4, 32), Load(16, 16), Load(1, max_step_tokens),
              Load(32, 64), Load(8, 256), Load(64, 16), Load(1, 2 * max_step_tokens), Load(32, 512, shared=True),
              Load(1, 4 * max_step_tokens), Load(8, 1024), Load(128, 32), Load(256, 64, shared=True)]
    return [load for load in chosen if load.rows <= max_batch]


def profile_engine(engine: StepEngine, *, seconds: float = 15.0) -> Fit:
    """The cost model of `engine`, which must trace and have neither a prefix cache nor anything else to do.

    Stops taking up loads after `seconds`; each load that does not fit the engine's memory is left out. Raises
    InputError when nothing could be measured.
    """
    bench = _Bench(engine)
    samples: list[Sample] = []
    end = time.perf_counter() + seconds
    fitting = [load for load in loads(engine.max_step_tokens, engine.max_batch) if load.slots <= engine.kv_slots
               and load.prompt + DECODED_TOKENS < engine.context_length]
    for load in fitting[:4]:
        bench.run(load)  # what is made on first use
    for load in fitting:
        if time.perf_counter() < end:
            samples += bench.measure(load, end)
    if not samples:
        raise InputError.of(NOT_MEASURED, "nothing could be measured: the engine's KV memory or context is too small")
    fit = fit_cost_model(samples)
    model = replace(limited(fit.model, engine.max_batch, engine.max_step_tokens), call=0.0)
    return Fit(replace(model, call=call_seconds(engine, model)), fit.samples)


def call_seconds(engine: StepEngine, model: CostModel) -> float:
    """What a call costs beside its steps: the time of a small program less that of its steps, for each call."""
    module = parse_module(SourceFile("profile.sir", PROGRAM))
    over: list[float] = []
    for repeat in range(REPEATS + 2):
        engine.drain_events()
        texts = [f"{repeat} and {number}" for number in range(CALLS)]
        began = time.perf_counter()
        run_module(module, {"": engine}, {"xs": texts})
        taken = time.perf_counter() - began
        steps = sum(model.step_seconds(*_size(event)) for event in engine.drain_events() if event.kind == "step")
        over.append(max(0.0, taken - steps) / CALLS)
    return median(over[1:])


class _Bench:
    """Runs loads on an engine and reads its steps from its trace."""

    def __init__(self, engine: StepEngine) -> None:
        self._engine = engine
        self._identifiers = count(1)
        self._random = np.random.default_rng(0)
        piece = engine.tokenizer.encode_piece("a few words to fill prompts with, again and again", first=True)
        self._tokens = np.array(piece, dtype=np.int64)

    def measure(self, load: Load, end: float) -> list[Sample]:
        """A sample of each kind of step in `load`, the median over several runs; at least one before `end`."""
        kinds: dict[tuple[int, int, int], list[tuple[int, float]]] = defaultdict(list)
        for repeat in range(REPEATS):
            if repeat == 0 or time.perf_counter() < end:
                for event, seconds in self.run(load):
                    prefill, rows, read, attended = _size(event)
                    # Steps that only decode differ little: one sample for all of them.
                    kinds[prefill, rows, attended].append((read, seconds))
        return [Sample(str(load), prefill, rows, fmean(read for read, _ in steps), attended,
                       median(seconds for _, seconds in steps))
                for (prefill, rows, attended), steps in kinds.items()]

    def run(self, load: Load) -> Iterator[tuple[EngineEvent, float]]:
        """Run a load; its steps, each with the seconds until the next began."""
        engine, ended = self._engine, threading.Semaphore(0)
        failures: list[EngineError] = []

        def finish(_: Generation) -> None:
            ended.release()

        def fail(error: EngineError) -> None:
            failures.append(error)
            ended.release()

        engine.drain_events()
        contexts: list[int] = []
        sampling = SamplingOptions(DECODED_TOKENS, ignore_eos=True)
        with engine.hold():
            shared = self._fill(load.prompt, ROOT, contexts) if load.shared else None
            for _ in range(load.rows):
                parent = self._fill(1 if load.shared else load.prompt, ROOT if shared is None else shared, contexts)
                contexts.append(next(self._identifiers))
                engine.generate(sampling, contexts[-1], parent, Callbacks(finish, fail))
        for _ in range(load.rows):
            ended.acquire()
        for context in contexts:
            engine.free_context(context)
        if failures:
            raise InputError.of(NOT_MEASURED, f"the engine failed while it was measured: {failures[0]}")
        steps = [event for event in engine.drain_events() if event.kind == "step"]
        return ((event, later.start - event.start) for event, later in pairwise(steps))

    def _fill(self, tokens: int, parent: int, contexts: list[int]) -> int:
        contexts.append(next(self._identifiers))
        self._engine.fill(self._random.choice(self._tokens, tokens).tolist(), contexts[-1], parent)
        return contexts[-1]


def _size(event: EngineEvent) -> tuple[int, int, int, int]:
    """Prompt tokens, rows, KV tokens read and attended pairs of a step."""
    names = ("prefill_tokens", "decode_rows", "kv_read", "attended")
    values = [event.arguments[name] for name in names]
    assert all(isinstance(value, int) for value in values)
    return tuple(values)  # type: ignore[return-value]

