"""`semc test`: runs the test blocks of source files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..ir.diagnostics import Diagnostic, Label
from . import messages
from .command import Command
from .options import add_level, add_models, engine_name

if TYPE_CHECKING:
    from ..backend.results import RunResult
    from ..frontend.compile import Assertion, CompiledTests, TestUnit
    from ..ir.source import Span
    from .engines import EnginePool

FAILED_ASSERTION = "E1108"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("files", nargs="+", metavar="FILE.sem", help="source files; `-` is stdin")
    parser.add_argument("--filter", metavar="TEXT", default="", help="run only tests whose name contains TEXT")
    parser.add_argument("--seed", type=int, default=0, help="fixes what sampled outputs draw (default: 0)")
    add_level(parser)
    add_models(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Run all tests of all files; 1 if one fails."""
    from ..frontend.compile import compile_tests
    from .engines import EnginePool

    passed = failed = 0
    files = [(path, compile_tests(path)) for path in arguments.files]
    with EnginePool(prefix_cache=arguments.level > 0) as pool:
        for path, tests in files:
            messages.show(tests.diagnostics)
            for unit in tests.tests:
                if arguments.filter in unit.name:
                    problems = run_test(unit, path, tests, pool, arguments)
                    print(f"{path}: {unit.name} … {'FAILED' if problems else 'ok'}", flush=True)
                    messages.show(problems)
                    passed, failed = passed + (not problems), failed + bool(problems)
    print(f"{passed} test{'s' * (passed != 1)} passed" + f", {failed} failed" * bool(failed))
    return 1 if failed else 0


def run_test(unit: TestUnit, path: str, tests: CompiledTests, pool: EnginePool,
             arguments: argparse.Namespace) -> list[Diagnostic]:
    """Run one test: a diagnostic for each assertion that does not hold, and for each that failed."""
    from ..backend.executor import run_module
    from ..passes.manager import run_pipeline
    from ..passes.pipelines import pipeline
    from .engines import target_of_engines
    from .models import choose_models
    from .pipelines import checked, default_reproducer_options
    from .results import placing

    engine = engine_name(unit.engine or arguments.engine or "reference")
    chosen = argparse.Namespace(**{**vars(arguments), "engine": engine})
    choice = choose_models(unit.module, tests.models, chosen, path)
    engines = pool.engines(choice)
    target = target_of_engines(choice, engines)
    with placing([unit.span.source]):
        run_pipeline(unit.module, checked(pipeline(arguments.level, arguments.allow)), target,
                     default_reproducer_options(path, arguments.allow))
    return problems_of(unit, run_module(unit.module, engines, {}, seed=arguments.seed))


def problems_of(unit: TestUnit, result: RunResult) -> list[Diagnostic]:
    """What is wrong with a test that ran: assertions, then hosts with effects that failed."""
    problems = [problem for a in unit.assertions if (problem := _problem(a, result)) is not None]
    outputs = {name for a in unit.assertions for name in (a.output, a.left, a.right)}
    return problems + [failed(f"`{name}` failed: {error.message}", unit.span, f"at {error.location}")
                       for name, error in result.errors.items() if name not in outputs]


def _problem(assertion: Assertion, result: RunResult) -> Diagnostic | None:
    from ..ir.rendering import json_text

    error = result.errors.get(assertion.output)
    if error is not None:
        return failed(f"the assertion failed: {error.message}", assertion.span, f"at {error.location}")
    if result.outputs[assertion.output]:
        return None
    sides = [(side, name) for side, name in (("left", assertion.left), ("right", assertion.right)) if name]
    return failed("the assertion does not hold", assertion.span,
                  *(f"{side}: {json_text(result.outputs[name], result.types[name])}" for side, name in sides))


def failed(message: str, span: Span, *notes: str) -> Diagnostic:
    """The diagnostic of a test that failed."""
    return Diagnostic(FAILED_ASSERTION, message, Label(span), (), notes)


COMMAND = Command("test", "Run the test blocks of source files.", configure, execute)
