"""Runs a program under a list of passes on the reference engine and records what a user could observe."""

from __future__ import annotations

import sys
import tempfile
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from random_programs import HOSTS
from semlang.backend.embedded import CONTEXT_LENGTH, embedded_tokenizer
from semlang.backend.executor import run_module
from semlang.backend.reference import reference_engine, reference_runner
from semlang.backend.simulate.engine import SimulatedEngine
from semlang.backend.simulate.virtual_clock import VirtualClock
from semlang.backend.step_engine import StepEngine
from semlang.frontend.compile import compile_file
from semlang.ir.core import Module, clone_module
from semlang.ir.parser import parse_module
from semlang.ir.printer import print_module
from semlang.ir.source import SourceFile
from semlang.ir.target import ModelTarget, Target
from semlang.ir.verifier import verify
from semlang.passes.cost_model import CostModel
from semlang.passes.manager import Pass, run_pipeline
from semlang.passes.pipelines import pipeline

KV_SLOTS = 1 << 15
COSTS = CostModel(max_batch=16, max_step_tokens=64)
"""Of simulated engines: small steps, so that calls meet in many ways."""
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


_READ_BACK: set[int] = set()
"""Hashes of the texts that were verified and read back, as pipelines have much in common."""


def apply(module: Module, passes: Sequence[Pass]) -> Module:
    """A copy of `module` after `passes`, verified after each, whose text parses back to the same text."""
    copy = clone_module(module)
    for one in passes:
        _step(copy, one)
    return copy


def _step(module: Module, one: Pass) -> str:
    """Run one pass in place; the text after it."""
    run_pipeline(module, [one], target())
    text = print_module(module, locations=True)
    if hash((one.name, text)) not in _READ_BACK:
        verify(module, one.gives)
        again = print_module(parse_module(SourceFile("copy.sir", text)), locations=True)
        assert again == text, f"the text after {one.name} does not parse back to itself"
        _READ_BACK.add(hash((one.name, text)))
    return text


class Program:
    """A program, its forms after passes, and what was seen of them: what equals an earlier one runs once."""

    def __init__(self, source: str) -> None:
        module = compile_source(source)
        verify(module, None)
        self._forms: dict[tuple[Pass, ...], tuple[Module, str]] = {(): (module, "")}
        self._seen: dict[str, Observation] = {}
        self.plain = self.after(pipeline(0))
        """What is seen at -O0."""

    def after(self, passes: Sequence[Pass]) -> Observation:
        """What is seen after `passes`."""
        module, text = self._form(tuple(passes))
        if text not in self._seen:
            self._seen[text] = observe(module)
        return self._seen[text]

    def at_once(self, passes: Sequence[Pass]) -> None:
        """Passes that run in one pipeline, where they share what they found out, do what they do one by one."""
        module = clone_module(self._forms[()][0])
        run_pipeline(module, passes, target())
        assert print_module(module, locations=True) == self._form(tuple(passes))[1]

    def _form(self, passes: tuple[Pass, ...]) -> tuple[Module, str]:
        known = next(count for count in range(len(passes), -1, -1) if passes[:count] in self._forms)
        module, text = self._forms[passes[:known]]
        for count in range(known, len(passes)):
            module = clone_module(module)
            text = _step(module, passes[count])
            self._forms[passes[: count + 1]] = module, text
        return module, text


def plain_engine() -> StepEngine:
    """A reference engine that shares nothing that a program does not share itself."""
    return reference_engine(prefix_cache=False, kv_slots=KV_SLOTS)


def simulated_engines(count: int, *, prefix_cache: bool, early: bool) -> list[SimulatedEngine]:
    """Engines in one virtual time, with the reference engine's texts."""
    tokenizer, clock = embedded_tokenizer(), VirtualClock(host_seconds=0.003)
    return [SimulatedEngine(reference_runner(tokenizer, CONTEXT_LENGTH), tokenizer, clock, COSTS,
                            name=f"simulate {number}", kv_slots=KV_SLOTS, prefix_cache=prefix_cache,
                            speculative_fills=early) for number in range(count)]


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
