"""Calls that need ten times the KV that there is: none is lost, and what the small pool costs.

Calls of three kinds (own prompts, a prefix in common, a three-level tree) with mixed objectives arrive at once at an
engine whose pool is a tenth of what all of them hold together. In a second run some steps fail, and the client sends
again what failed, as an executor does. Compared with a pool that holds everything: calls that never ended, outputs
that differ, tokens computed again, and the makespan. Engines are batch-invariant, so that outputs have to be equal
token for token. Medians of `--repeats` runs.

    python benchmarks/oversubscription.py [--calls 96] [--factor 10] [--repeats 3]
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from numpy.typing import NDArray
from semlang.backend.engine import (
    ROOT,
    Callbacks,
    EngineError,
    EngineFailure,
    EngineStats,
    Generation,
    Priority,
    SamplingOptions,
)
from semlang.backend.model_runner import StepBatch
from semlang.backend.step_engine import StepEngine
from semlang.backend.torch_engine.engine import torch_engine

OUTPUT = 24
WAIT = 50.0
"""Seconds without news after which calls count as lost; so do those that are refused."""
OBJECTIVES = ("throughput", "latency", "ttft", "deadline(5)")


@dataclass(frozen=True)
class Request:
    """A context and its output: `parent` is another request's number, whose prompt it goes on from, or None."""

    parent: int | None
    tokens: tuple[int, ...]
    priority: Priority


def requests(count: int, seed: int = 0) -> list[Request]:
    """A third each: own prompts, prompts below one prefix, prompts below those."""
    generator = random.Random(seed)

    def tokens(low: int, high: int) -> tuple[int, ...]:
        return tuple(generator.randrange(300, 1700) for _ in range(generator.randint(low, high)))

    made: list[Request] = []
    for number in range(count):
        parent = None if number % 3 == 0 else 0 if number % 3 == 1 else number - 1
        priority = Priority(None, number % 4, OBJECTIVES[number % 4], number % 2)
        made.append(Request(parent, tokens(40, 160), priority))
    return made


def kv_tokens(asked: Sequence[Request]) -> int:
    """What all contexts hold when none shares with another but as `parent` says."""
    return sum(len(one.tokens) + OUTPUT for one in asked)


@dataclass(frozen=True)
class Outcome:
    """One run. `outputs`: tokens by request; `failures`: answers that were errors, each sent again."""

    seconds: float
    outputs: dict[int, tuple[int, ...]]
    failures: int
    stats: EngineStats


class InjectedFailure(RuntimeError):
    """A step that fails for no reason."""


def run(engine: StepEngine, asked: Sequence[Request], failing_steps: Sequence[int] = ()) -> Outcome:
    """Send all requests at once; the engine is closed then. The steps of these numbers fail, counted from 1."""
    outputs: dict[int, tuple[int, ...]] = {}
    failed: list[int] = []
    refused: list[int] = []
    changed = threading.Condition()
    compute, steps = engine._runner.run, 0

    def failing(batch: StepBatch) -> NDArray[np.float32]:
        nonlocal steps
        steps += 1
        if steps in failing_steps:
            raise InjectedFailure("injected")
        return compute(batch)

    def callbacks(number: int) -> Callbacks:
        def finish(generation: Generation) -> None:
            with changed:
                outputs[number] = generation.sampled_ids
                changed.notify_all()

        def fail(error: EngineError) -> None:
            with changed:
                (failed if isinstance(error, EngineFailure) else refused).append(number)
                changed.notify_all()

        return Callbacks(finish, fail)

    engine._runner.run = failing  # type: ignore[method-assign]
    options = SamplingOptions(max_tokens=OUTPUT, ignore_eos=True)
    fresh = 2 * len(asked) + 2
    began, failures, sent = time.perf_counter(), 0, len(asked)
    try:
        with engine.hold():
            for number, request in enumerate(asked):
                engine.fill(request.tokens, 1 + number, ROOT if request.parent is None else 1 + request.parent)
                engine.generate(options, 1 + len(asked) + number, 1 + number, callbacks(number),
                                priority=request.priority)
        while True:
            with changed:
                changed.wait_for(lambda: len(outputs) + len(refused) == sent or bool(failed), WAIT)
                if not failed:
                    break
                again, failed[:] = list(failed), []
            failures += len(again)
            for number in again:
                fresh += 1
                engine.generate(options, fresh, 1 + number, callbacks(number), priority=asked[number].priority)
        seconds = time.perf_counter() - began
        engine.check_integrity()
        return Outcome(seconds, dict(outputs), failures, engine.stats())
    finally:
        engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=96)
    parser.add_argument("--factor", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    asked = requests(given.calls)
    need = kv_tokens(asked)
    small = int(need / given.factor)
    rows: dict[str, list[Outcome]] = {}
    for _ in range(given.repeats):
        for name, slots, failing in (("large pool", 2 * need, ()), (f"1/{given.factor:g} pool", small, ()),
                                     (f"1/{given.factor:g} pool, failing steps", small, (5, 30, 31, 80))):
            engine = torch_engine(kv_slots=slots, speculative_fills=False, batch_invariant=True)
            rows.setdefault(name, []).append(run(engine, asked, failing))
    usual = rows["large pool"]
    baseline = statistics.median(outcome.seconds for outcome in usual)
    kernels, bytes_per_token = usual[0].stats.kernels, usual[0].stats.kv_bytes_per_token
    print(f"{given.calls} calls, {need} KV tokens without the prefixes counted twice, pool of {small}; "
          f"{bytes_per_token} bytes per KV token; {kernels}\n")
    print("| pool | lost calls | outputs that differ | failed and sent again | filled | computed again | preemptions | "
          "evicted | peak KV tokens | peak KV slots | makespan | ratio |\n|---|" + "---:|" * 11)
    for name, outcomes in rows.items():
        stats = outcomes[0].stats
        lost = max(given.calls - len(outcome.outputs) for outcome in outcomes)
        differ = max(sum(outcome.outputs.get(number) != tokens for number, tokens in usual[0].outputs.items())
                     for outcome in outcomes)
        seconds = statistics.median(outcome.seconds for outcome in outcomes)
        print(f"| {name} | {lost} | {differ} | {outcomes[0].failures} | {stats.filled_tokens} | "
              f"{stats.refilled_tokens} | {stats.preemptions} | {stats.evicted_tokens} | {stats.peak_kv_tokens} | "
              f"{stats.peak_kv_slots} | {seconds:.2f} s | {seconds / baseline:.2f} |")


if __name__ == "__main__":
    main()
