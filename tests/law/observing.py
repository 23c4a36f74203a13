"""Runs a program under a list of passes on the reference engine and records what a user could observe."""

from __future__ import annotations

import sys
import tempfile
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from random_programs import HOSTS
from semlang.backend.embedded import embedded_tokenizer
from semlang.backend.executor import run_module
from semlang.backend.reference import reference_engine
from semlang.backend.step_engine import StepEngine
from semlang.frontend.compile import compile_file
from semlang.ir.core import Module, clone_module
from semlang.ir.parser import parse_module
from semlang.ir.printer import print_module
from semlang.ir.source import SourceFile
from semlang.ir.target import ModelTarget, Target
from semlang.passes.manager import Pass, PipelineOptions, run_pipeline

ARGUMENTS = {"a": "pong", "b": "a longer text, with é", "xs": ["one", "two", "four 4"]}


@dataclass(frozen=True)
class Observation:
    """What a run showed: outputs, error messages, the calls' tokens, host effects in order, computed tokens."""

    outputs: object
    errors: object
    calls: frozenset[object]
    effects: tuple[str, ...]
    filled_tokens: int


def hosts_module() -> types.ModuleType:
    """The hosts of the random programs as an importable module with an empty log."""
    module = sys.modules.get("law_hosts")
    if module is None:
        module = types.ModuleType("law_hosts")
        exec(HOSTS, module.__dict__)
        sys.modules["law_hosts"] = module
    module.log.clear()
    return module


def compile_source(source: str) -> Module:
    """The `sem` module of a source text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "program.sem")
        path.write_text(source)
        return compile_file(str(path), program="Main").module


def target() -> Target:
    """What the reference engine's model is to passes."""
    tokenizer = embedded_tokenizer()
    return Target({"": ModelTarget(tokenizer, 100_000)}, "reference")


def apply(module: Module, passes: Sequence[Pass]) -> Module:
    """A copy of `module` after `passes`, verified after each, whose text parses back to the same text."""
    copy = clone_module(module)
    for one in passes:
        run_pipeline(copy, [one], target(), PipelineOptions(verify_each=True))
        text = print_module(copy, locations=True)
        again = print_module(parse_module(SourceFile("copy.sir", text)), locations=True)
        assert again == text, f"the text after {one.name} does not parse back to itself"
    return copy


def plain_engine() -> StepEngine:
    """A reference engine that shares nothing that a program does not share itself."""
    return reference_engine(prefix_cache=False)


def observe(module: Module, make_engine: Callable[[], StepEngine] = plain_engine) -> Observation:
    """Run an engine-level module on a fresh engine; contexts must all be gone at the end."""
    hosts = hosts_module()
    engine = make_engine()
    try:
        result = run_module(module, {"": engine}, ARGUMENTS, seed=11, record_calls=True, timeout=60)
        engine.check_integrity()
        calls = frozenset((call.stream, call.indices, call.prompt_ids, call.output_ids) for call in result.calls)
        errors = {name: error.message for name, error in result.errors.items()}
        return Observation(result.outputs, errors, calls, tuple(hosts.log), result.stats.filled_tokens)
    finally:
        engine.close()
