"""The sides of the comparison: one run of a workload, compiled or request by request, on a fresh engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from processor_time import ProcessorTimeEngine
from recorder import Recorder
from semlang.backend.reference import reference_runner
from semlang.backend.simulate.engine import SimulatedEngine
from semlang.backend.simulate.virtual_clock import VirtualClock
from semlang.backend.step_engine import StepEngine
from semlang.backend.tokenizer import PieceTokenizer
from semlang.backend.torch_engine.runner import TorchRunner
from semlang.backend.workloads.measure import Measurement, run_programs, run_requests
from semlang.backend.workloads.sides import COMPILED, NAIVE, REQUESTS, Side
from semlang.backend.workloads.timeline import RealTime, Timeline
from semlang.backend.workloads.workload import Workload
from semlang.frontend.compile import compile_file
from semlang.ir.core import Module
from semlang.ir.target import ModelTarget, Target
from semlang.passes.cost_model import CostModel
from semlang.passes.inline import Inline
from semlang.passes.manager import run_pipeline
from semlang.passes.pipelines import pipeline
from sources import read_source

PACED = Side("paced", "request by request, on an engine that keeps every request's pace: few rows in a step")
SIDES = (COMPILED, REQUESTS, PACED, NAIVE)
PACED_ROWS = 4
"""Parrot's latency-centric baseline: memory for 4,096 tokens, about as many prompts as this."""
KV_SLOTS = 24_576
CONTEXT = 16_384
STEP_TOKENS = 512
MAX_BATCH = 256


@dataclass(frozen=True)
class Bench:
    """Runs workloads on engines around one loaded model, or on simulated ones (`model` None) with the same `costs`.

    `processor_time`: the clock is the processor's time, not that of the wall.
    """

    model: Any
    tokenizer: PieceTokenizer
    costs: CostModel
    processor_time: bool = False

    def engine(self, side: Side) -> tuple[StepEngine, Timeline]:
        """A fresh engine with an empty cache, and the time that it keeps."""
        options: dict[str, Any] = {"kv_slots": KV_SLOTS, "max_step_tokens": STEP_TOKENS,
                                   "prefix_cache": side.prefix_cache,
                                   "max_batch": PACED_ROWS if side is PACED else MAX_BATCH}
        if self.model is None:
            clock = VirtualClock()
            return SimulatedEngine(reference_runner(self.tokenizer, CONTEXT), self.tokenizer, clock, self.costs,
                                   **options), clock
        if self.processor_time:
            clock = VirtualClock()
            return ProcessorTimeEngine(TorchRunner(self.model), self.tokenizer, clock, self.costs, **options), clock
        engine = StepEngine(TorchRunner(self.model), self.tokenizer, name="torch", **options)
        engine.costs = self.costs
        return engine, RealTime()

    def compile(self, workload: Workload) -> dict[str, Module]:
        """The programs of a workload, compiled."""
        return compile_programs(workload, self.tokenizer, self.costs, workload.source)

    def run(self, workload: Workload, side: Side, modules: dict[str, Module], round_trip: float = 0.0,
            record: Recorder | None = None) -> Measurement:
        """One run of all applications of a workload; `record` gets the calls."""
        engine, timeline = self.engine(side)
        used: Any = engine
        if record is not None:
            record.use(engine)
            used = record
        try:
            if side.compiled:
                return run_programs(workload, modules, used, [engine], timeline, round_trip=round_trip)
            return run_requests(workload, [used], timeline, round_trip=round_trip)
        finally:
            engine.close()


def compile_programs(workload: Workload, tokenizer: PieceTokenizer, costs: CostModel | None,
                     path: str) -> dict[str, Module]:
    """The programs of a workload at -O2, by name; `path` is its source."""
    target = Target({"": ModelTarget(
        tokenizer, CONTEXT, kv_slots=KV_SLOTS, max_batch=MAX_BATCH, max_step_tokens=STEP_TOKENS, costs=costs)}, "torch")
    modules = {}
    for name in dict.fromkeys(application.program for application in workload.applications):
        unit = compile_file(path, program=name, read=read_source)
        passes = [replace(p, program=unit.root) if isinstance(p, Inline) else p for p in pipeline(2)]
        run_pipeline(unit.module, passes, target)
        modules[name] = unit.module
    return modules
