"""`semc run`: compiles a program and runs it."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from ..ir.diagnostics import InputError
from . import messages
from .command import Command
from .options import NOT_BUILT, add_level, add_models, add_program, check_writable, write_output

if TYPE_CHECKING:
    from ..backend.results import RunResult
    from ..frontend.compile import CompiledUnit
    from .models import ModelChoice

PLANNED_FLAGS = {"journal": "resuming a killed run"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("file", metavar="FILE", help="source, or IR of any level in a FILE.sir; `-` is source on stdin")
    add_program(parser)
    add_arguments(parser)
    add_level(parser)
    add_models(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object: outputs, errors, stats")
    add_run_options(parser)
    parser.add_argument("--report", metavar="FILE.html", help="write a page that shows the program and the run")
    for flag, what in PLANNED_FLAGS.items():
        parser.add_argument(f"--{flag}", metavar="FILE", help=f"{what} (not built yet)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--arg`, `--args`."""
    parser.add_argument("--arg", action="append", default=[], metavar="NAME=VALUE",
                        help="a parameter: text as it is, other types as JSON; NAME=@FILE reads the value from a file")
    parser.add_argument("--args", metavar="FILE.json", help="a JSON object with parameters")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """`--seed`, `--timeout`, `--trace`."""
    parser.add_argument("--seed", type=int, default=0, help="fixes what sampled outputs draw (default: 0)")
    parser.add_argument("--timeout", type=seconds, metavar="SECONDS", help="what is not done by then fails")
    parser.add_argument("--trace", metavar="FILE.json", help="write when each call ran, for chrome://tracing")


def seconds(text: str) -> float:
    """A positive, finite number of seconds."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return value


def execute(arguments: argparse.Namespace) -> int:
    """Compile, run, print; 1 if anything failed."""
    for flag in PLANNED_FLAGS:
        if getattr(arguments, flag):
            raise InputError.of(NOT_BUILT, f"--{flag} ({PLANNED_FLAGS[flag]}) is not built yet")
    from . import results
    from .loading import load_unit

    began = time.perf_counter()
    unit = load_unit(arguments.file, arguments.program)
    messages.show(unit.diagnostics)
    if arguments.report:
        result = run_with_report(unit, arguments, began)
    else:
        result = compile_and_run(unit, arguments, time.perf_counter() - began)
    messages.progress("")
    if arguments.json:
        print(json.dumps(result.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        results.show_outputs(result)
    results.show_errors(result.errors, unit.sources)
    results.show_missed_deadlines(result.stats)
    if not arguments.json:
        results.show_stats(result.stats)
    return 1 if result.errors else 0


def run_with_report(unit: CompiledUnit, arguments: argparse.Namespace, began: float) -> RunResult:
    """Compile and run while everything is recorded that the page shows, and write it."""
    from .explaining import explain_program

    check_writable(arguments.report)
    explanation, result = explain_program(unit, arguments, began, run=True, keep_ir=True)
    assert result is not None
    from ..report.html_page import html_page

    write_output(arguments.report, html_page(explanation, unit.sources))
    return result


def compile_and_run(unit: CompiledUnit, arguments: argparse.Namespace, checking_seconds: float) -> RunResult:
    """Read the arguments, make the engines, run the passes and the program."""
    from ..backend.executor import prepare_arguments, run_module
    from ..passes.manager import run_pipeline
    from .engines import EnginePool, target_of_engines
    from .loading import remaining_passes
    from .models import choose_models
    from .pipelines import checked, default_reproducer_options
    from .program_arguments import program_arguments
    from .results import Progress, placing

    program = unit.module.find("sem.program", unit.root)
    assert program is not None
    values = program_arguments(program, arguments.arg, arguments.args)
    prepare_arguments(program, values)  # reports what is wrong before a model is loaded
    check_writable(arguments.trace)
    choice = choose_models(unit.module, unit.models, arguments, arguments.file)
    with EnginePool(prefix_cache=arguments.level > 0, trace=arguments.trace is not None) as pool:
        engines = pool.engines(choice)
        began = time.perf_counter()
        passes = remaining_passes(unit.module, unit.root, arguments.level, arguments.allow)
        target = target_of_engines(choice, engines)
        with placing(unit.sources):
            options = default_reproducer_options(arguments.file, arguments.allow)
            run_pipeline(unit.module, checked(passes), target, options)
        compiling_seconds = time.perf_counter() - began
        note_embedded(choice)
        with redirect_stdout(sys.stderr):  # what hosts print is no result
            result = run_module(unit.module, engines, values, seed=arguments.seed, trace=arguments.trace,
                                timeout=arguments.timeout, on_event=Progress() if messages.on_terminal() else None)
    result.stats.compile_s = checking_seconds + compiling_seconds
    return result


def note_embedded(choice: ModelChoice) -> None:
    """Say so where outputs are going to be noise."""
    if choice.is_embedded:
        messages.note("the embedded default model writes noise; name a real one with --model DIR|ID")


COMMAND = Command("run", "Compile a program and run it.", configure, execute)
