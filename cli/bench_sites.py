"""Fresh engines for one run of a workload, simulated or real, and compiling its programs for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..ir.diagnostics import InputError
from ..ir.target import Target, Tokenizer, TokenizerError
from .loading import load_unit, remaining_passes
from .models import model_error
from .options import USAGE
from .pipelines import checked, default_reproducer_options
from .simulation import device

if TYPE_CHECKING:
    from ..backend.engine import Engine
    from ..backend.workloads.measure import Measurement
    from ..backend.workloads.sides import Side
    from ..backend.workloads.timeline import Timeline
    from ..backend.workloads.workload import Workload
    from ..ir.core import Module

SIMULATED_CONTEXT = 16_384
SIMULATED_KV_SLOTS = 1 << 17
"""Slots that the simulated pool has at most; larger devices are taken to have so many."""


@dataclass(frozen=True)
class BenchEngines:
    """What a benchmark runs on. `kind`: simulate, torch or reference; `costs`: the simulated device."""

    kind: str
    model: str | None
    device: str
    costs: str
    count: int

    @property
    def is_simulated(self) -> bool:
        """Whether time is virtual."""
        return self.kind == "simulate"

    def describe(self) -> str:
        """One line for people."""
        number = f"{self.count} × " if self.count > 1 else ""
        if self.is_simulated:
            return f"simulate, {number}{device(self.costs).name} (from data sheets, not measured)"
        return f"{self.kind}, {number}{self.model or 'the embedded model'} on {self.device}"

    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the model."""
        from ..backend.embedded import embedded_tokenizer_directory
        from ..backend.tokenizer import load_tokenizer
        from ..backend.torch_engine.errors import ModelLoadError
        from ..backend.torch_engine.model_directory import model_directory

        try:
            return load_tokenizer(embedded_tokenizer_directory() if self.model is None else model_directory(self.model))
        except (ModelLoadError, TokenizerError) as error:
            raise model_error("", error) from None

    def make(self, side: Side) -> tuple[list[Engine], Timeline]:
        """Fresh engines and the time that they keep."""
        from ..backend.workloads.timeline import RealTime

        if self.is_simulated:
            return self._simulated(side)
        return [self._real(side) for _ in range(self.count)], RealTime()

    def _simulated(self, side: Side) -> tuple[list[Engine], Timeline]:
        from ..backend.reference import reference_runner
        from ..backend.simulate.engine import SimulatedEngine
        from ..backend.simulate.virtual_clock import VirtualClock

        tokenizer, simulated, clock = self.tokenizer(), device(self.costs), VirtualClock()
        engines: list[Engine] = [
            SimulatedEngine(reference_runner(tokenizer, SIMULATED_CONTEXT), tokenizer, clock, simulated.costs,
                            kv_slots=min(simulated.kv_slots, SIMULATED_KV_SLOTS), prefix_cache=side.prefix_cache,
                            reads_shared_once=side.tree_attention)
            for _ in range(self.count)]
        return engines, clock

    def _real(self, side: Side) -> Engine:
        if self.kind == "reference":
            from ..backend.reference import reference_engine
            from ..backend.torch_engine.model_directory import model_directory

            return reference_engine(self.model and model_directory(self.model), prefix_cache=side.prefix_cache)
        from ..backend.torch_engine.engine import torch_engine
        from ..backend.torch_engine.errors import ModelLoadError

        try:
            return torch_engine(self.model, self.device, prefix_cache=side.prefix_cache)
        except (ImportError, ModelLoadError, TokenizerError) as error:
            raise model_error("", error) from None


def compile_programs(workload: Workload, engine: Engine, kind: str) -> dict[str, Module]:
    """The programs of a workload at -O2 for `engine`, by name."""
    from ..passes.manager import run_pipeline
    from .engines import target_of_engine

    target = Target({"": target_of_engine(engine)}, kind)
    modules = {}
    for program in dict.fromkeys(application.program for application in workload.applications):
        unit = load_unit(str(workload.path), program)
        passes = remaining_passes(unit.module, unit.root, 2)
        run_pipeline(unit.module, checked(passes), target, default_reproducer_options(str(workload.path)))
        modules[program] = unit.module
    return modules


def run_side(workload: Workload, side: Side, site: BenchEngines, round_trip: float) -> Measurement:
    """One run of a workload on fresh engines. Raises InputError when it cannot be run to its end."""
    from ..backend.engine import EngineError
    from ..backend.workloads.measure import WorkloadError, run_programs, run_requests

    engines, timeline = site.make(side)
    whole = _grouped(engines) if side.compiled else None
    try:
        if whole is not None:
            modules = compile_programs(workload, whole, site.kind)
            return run_programs(workload, modules, whole, engines, timeline, round_trip=round_trip)
        return run_requests(workload, engines, timeline, round_trip=round_trip)
    except (EngineError, WorkloadError) as error:
        raise InputError.of(USAGE, f"the workload does not run on this engine: {error}",
                            fix="make it smaller with --scale") from None
    finally:
        for engine in [whole] if whole is not None else engines:
            engine.close()


def _grouped(engines: Sequence[Engine]) -> Engine:
    from ..backend.engine_group import EngineGroup

    return engines[0] if len(engines) == 1 else EngineGroup(engines, costs=getattr(engines[0], "costs", None))
