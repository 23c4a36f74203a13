"""The sides of the comparison: one run of a workload, compiled or request by request, on a fresh engine."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from client import Client
from semlang.backend.executor import RunOptions, run_module_async
from semlang.backend.results import RunResult
from semlang.backend.step_engine import StepEngine
from semlang.backend.tokenizer import PieceTokenizer
from semlang.backend.torch_engine.runner import TorchRunner
from semlang.frontend.compile import compile_file
from semlang.ir.core import Module
from semlang.ir.target import ModelTarget, StepCosts, Target
from semlang.passes.inline import Inline
from semlang.passes.manager import run_pipeline
from semlang.passes.pipelines import pipeline
from sources import FOLDER, prompts_of, read_source
from workloads import Request, Workload

KV_SLOTS = 24_576
STEP_TOKENS = 512

Calls = list[tuple[tuple[int, ...], tuple[int, ...]]]


@dataclass(frozen=True)
class Side:
    """`compiled`: whole programs by the executor, else request by request; `cache`: whether the engine shares."""

    name: str
    compiled: bool
    cache: bool


COMPILED = Side("compiled", True, True)
REQUESTS = Side("requests", False, True)
NAIVE = Side("naive", False, False)


@dataclass
class Outcome:
    """What one run gave. `seconds`: from the arrival to the answer of each request; `wall`: of the whole run."""

    outputs: list[Any]
    seconds: list[float]
    wall: float
    filled: int
    generated: int
    steps: int
    peak_kv: int
    calls: Calls = field(default_factory=list)
    results: list[RunResult] = field(default_factory=list)


class Bench:
    """Runs workloads on engines around one loaded model."""

    def __init__(self, model: Any, tokenizer: PieceTokenizer, costs: StepCosts | None = None) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self.costs = costs

    def engine(self, *, cache: bool, trace: bool = False) -> StepEngine:
        """A fresh engine with an empty cache."""
        return StepEngine(TorchRunner(self._model), self._tokenizer, name="torch", kv_slots=KV_SLOTS,
                          max_step_tokens=STEP_TOKENS, prefix_cache=cache, trace=trace)

    def compile(self, workload: Workload, level: int = 2) -> dict[str, Module]:
        """The programs of a workload, compiled."""
        target = Target({"": ModelTarget(self._tokenizer, 16_384, KV_SLOTS, 256, self.costs)}, "torch")
        modules = {}
        for name in dict.fromkeys(request.program for request in workload.requests):
            unit = compile_file(str(FOLDER / workload.source), program=name, read=read_source)
            passes = [replace(p, program=unit.root) if isinstance(p, Inline) else p for p in pipeline(level)]
            run_pipeline(unit.module, passes, target)
            modules[name] = unit.module
        return modules

    def run(self, workload: Workload, side: Side, modules: dict[str, Module], round_trip: float, *,
            record: bool = False, engine: StepEngine | None = None) -> Outcome:
        """One run of all requests of a workload."""
        own = engine is None
        engine = engine or self.engine(cache=side.cache)
        try:
            return asyncio.run(_run(workload, side, engine, modules, round_trip, record))
        finally:
            if own:
                engine.close()


async def _run(workload: Workload, side: Side, engine: StepEngine, modules: dict[str, Module], round_trip: float,
               record: bool) -> Outcome:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(len(workload.requests) + 1))
    client = Client(engine, prompts_of(workload.source), round_trip)
    results: list[RunResult] = []
    began = time.perf_counter()

    async def one(request: Request) -> tuple[Any, float]:
        await asyncio.sleep(began + request.arrival - time.perf_counter())
        start = time.perf_counter()
        if side.compiled:
            await asyncio.sleep(round_trip)
            result = await run_module_async(modules[request.program], {"": engine}, request.arguments,
                                            RunOptions(record_calls=record))
            assert result.ok, result.errors
            results.append(result)
            (output,) = result.outputs.values()
        else:
            output = await request.application(client, **request.arguments)
        return output, time.perf_counter() - start

    answers = await asyncio.gather(*map(one, workload.requests))
    wall = time.perf_counter() - began
    stats = engine.stats()
    calls = client.calls or [(call.prompt_ids, call.output_ids) for result in results for call in result.calls]
    return Outcome([output for output, _ in answers], [seconds for _, seconds in answers], wall, stats.filled_tokens,
                   stats.generated_tokens, stats.engine_steps, stats.peak_kv_tokens, calls, results)
