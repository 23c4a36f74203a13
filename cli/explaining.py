"""Compiles a program pass by pass, runs it where asked to, and explains what came out: for `explain`, `view`, `run`."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import nullcontext, redirect_stdout
from typing import TYPE_CHECKING

from . import messages
from .models import ModelChoice, choose_models, target_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..backend.engine import Engine
    from ..backend.results import RunResult
    from ..backend.trace import TraceRecorder
    from ..frontend.compile import CompiledUnit
    from ..ir.core import Op
    from ..ir.values import RuntimeValue
    from ..report.explanation import Explanation
    from ..report.measurement import Measurement


def explain_program(unit: CompiledUnit, arguments: argparse.Namespace, began: float, *, run: bool,
                    keep_ir: bool = False) -> tuple[Explanation, RunResult | None]:
    """The explanation of a checked program under the flags of `semc run`; with `run`, also what a run gave.

    `began`: when reading the source began, in `time.perf_counter`. `keep_ir`: keep the IR after each pass.
    Without `run`, arguments may be missing, no weights are loaded and no host module is imported.
    """
    from .engines import EnginePool
    from .options import check_writable
    from .run import note_embedded

    program = unit.module.find("sem.program", unit.root)
    assert program is not None
    values = given_arguments(program, arguments, partial=not run)
    check_writable(arguments.trace)
    choice = choose_models(unit.module, unit.models, arguments, arguments.file)
    pool = EnginePool(prefix_cache=arguments.level > 0, trace=True) if run else nullcontext()
    with pool as opened:
        if opened is None:
            return _compile(unit, arguments, choice, None, values, keep_ir), None
        engines = opened.engines(choice)
        checked = time.perf_counter() - began
        explanation = _compile(unit, arguments, choice, engines, values, keep_ir)
        note_embedded(choice)
        result, recorder = _run(unit, arguments, engines, values)
        result.stats.compile_s = checked + sum(stage.seconds for stage in explanation.stages)
        explanation.measurement = _measured(recorder, result)
        return explanation, result


def given_arguments(program: Op, arguments: argparse.Namespace, *, partial: bool) -> dict[str, RuntimeValue]:
    """The arguments of the command line, checked; with `partial`, some may be missing. Raises InputError."""
    from ..backend.executor import prepare_arguments
    from ..ir.reading import from_json
    from .program_arguments import program_arguments

    values = program_arguments(program, arguments.arg, arguments.args)
    prepare_arguments(program, values, partial=partial)
    types = {p.name: p.type for p in program.regions[0].parameters}
    return {name: from_json(value, types[name]) for name, value in values.items()}


def _compile(unit: CompiledUnit, arguments: argparse.Namespace, choice: ModelChoice,
             engines: dict[str, Engine] | None, values: Mapping[str, RuntimeValue], keep_ir: bool) -> Explanation:
    from ..report.call_rows import functions_of
    from ..report.explanation import explain
    from ..report.prediction import Analysis, lowered
    from ..report.stages import run_stages
    from .engines import target_of_engines
    from .loading import remaining_passes
    from .pipelines import checked, default_reproducer_options
    from .results import placing

    target = target_of(choice) if engines is None else target_of_engines(choice, engines)
    functions = functions_of(unit.module)
    passes = checked(remaining_passes(unit.module, unit.root, arguments.level, arguments.allow))
    with placing(unit.sources):
        stages = run_stages(unit.module, passes, target, values, keep_ir=keep_ir,
                            options=default_reproducer_options(arguments.file, arguments.allow))
        lowered(unit.module, target)
    return explain(Analysis(unit.module, target, values), stages, functions, arguments.level)


def _run(unit: CompiledUnit, arguments: argparse.Namespace, engines: dict[str, Engine],
         values: Mapping[str, RuntimeValue]) -> tuple[RunResult, TraceRecorder]:
    from ..backend.executor import run_module
    from ..backend.trace import TraceRecorder
    from .results import Progress

    recorder = TraceRecorder()
    with redirect_stdout(sys.stderr):  # what hosts print is no result
        result = run_module(unit.module, engines, values, seed=arguments.seed, trace=arguments.trace,
                            timeout=arguments.timeout, recorder=recorder,
                            on_event=Progress() if messages.on_terminal() else None)
    return result, recorder


def _measured(recorder: TraceRecorder, result: RunResult) -> Measurement:
    from ..report.measurement import measure

    return measure(recorder, result.stats, ((name, error.message) for name, error in result.errors.items()))
