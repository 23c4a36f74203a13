"""Predictions of runs against engines that keep the cost model's own time, and against the counters of real ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from semlang.backend.embedded import CONTEXT_LENGTH, embedded_tokenizer
from semlang.backend.executor import RunHandle, RunOptions, run_module
from semlang.backend.prompt_pieces import PromptPieces, between
from semlang.backend.reference import reference_engine, reference_runner
from semlang.backend.results import RunStats
from semlang.backend.simulate.engine import SimulatedEngine
from semlang.backend.simulate.virtual_clock import VirtualClock
from semlang.backend.step_engine import StepEngine
from semlang.frontend.compile import compile_file
from semlang.ir.core import Module
from semlang.ir.parser import parse_module
from semlang.ir.source import SourceFile
from semlang.ir.target import ModelTarget, Target
from semlang.passes.cost_model import CostModel
from semlang.passes.manager import run_pipeline
from semlang.passes.pipelines import pipeline

ROOT = Path(__file__).parents[2]
COSTS = CostModel(max_batch=16, max_step_tokens=64)

MAP = '''
sem.program(@Main) |%xs: list<text>| {
  %head = prompt.start() : prompt
  %h = prompt.append(%head, "These words are the head of each of the prompts that follow: ") : prompt
  %ys = flow.for(%xs) |%i: int, %x: text| {
    %1 = prompt.append(%h, %x) : prompt
    %y, %2 = prompt.generate(%1) {output = "y", max_tokens = 9} : text, prompt
    %3 = prompt.append(%2, " and then: ") : prompt
    %z, %4 = prompt.generate(%3) {output = "z", max_tokens = 5} : text, prompt
    flow.yield(%z)
  } : list<text>
  %all = flow.pure(@join, %ys) : text
  %5 = prompt.append(%h, %all) : prompt
  %s, %6 = prompt.generate(%5) {output = "s", max_tokens = 12} : text, prompt
  sem.return(%s) {names = ["s"]}
}'''


def simulated(costs: CostModel = COSTS, **options: Any) -> SimulatedEngine:
    tokenizer = embedded_tokenizer()
    return SimulatedEngine(reference_runner(tokenizer, CONTEXT_LENGTH), tokenizer, VirtualClock(), costs, **options)


def stats_of(module: Module, arguments: dict[str, Any], engine: StepEngine, level: int = 2) -> RunStats:
    """Compile, and run with outputs that use their budgets."""
    model = ModelTarget(engine.tokenizer, engine.context_length, engine.kv_slots, engine.max_batch,
                        engine.max_step_tokens, engine.costs)
    run_pipeline(module, pipeline(level), Target({"": model}, "reference"))
    try:
        options = RunOptions(ignore_eos=True, host_directory=str(ROOT / "programs"))
        result = RunHandle(module, {"": engine}, arguments, options).run()
    finally:
        engine.close()
    assert result.ok
    return result.stats


def mapped() -> Module:
    return parse_module(SourceFile("test.sir", MAP))


@pytest.mark.parametrize("words", [["one"], ["one", "two words", "three more words", "three more apples"],
                                   [f"number {i} " * (1 + i % 7) for i in range(40)]])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_time_tokens_and_memory_are_exact_in_the_cost_models_own_time(words: list[str], level: int) -> None:
    engine = simulated(prefix_cache=level > 0)
    stats = stats_of(mapped(), {"xs": words}, engine, level)
    assert stats.predicted_filled_tokens == stats.filled_tokens
    assert stats.predicted_peak_kv_tokens == stats.peak_kv_tokens
    assert stats.predicted_makespan_s == pytest.approx(stats.makespan_s, rel=0.02)


@pytest.mark.parametrize("name", ["chain_summary", "copilot", "map_reduce_summary", "multi_agent_coding", "snake_game",
                                  "tree_of_thought"])
def test_tokens_and_memory_of_programs_are_exact(name: str) -> None:
    """Of those whose outputs are plain texts, which run to their budgets."""
    module = compile_file(str(ROOT / "programs" / f"{name}.sem")).module
    stats = stats_of(module, {}, reference_engine())
    assert stats.predicted_filled_tokens == stats.filled_tokens
    assert stats.predicted_peak_kv_tokens == stats.peak_kv_tokens


def test_each_run_on_a_shared_engine_has_its_own_peak() -> None:
    engine = reference_engine(prefix_cache=False)
    module, target = mapped(), Target({"": ModelTarget(engine.tokenizer)}, "reference")
    run_pipeline(module, pipeline(2), target)
    try:
        large, small = (RunHandle(module, {"": engine}, {"xs": xs}, RunOptions(ignore_eos=True)).run().stats
                        for xs in (["many words " * 20] * 9, ["few"]))
        assert small.peak_kv_tokens < large.peak_kv_tokens == engine.stats().peak_kv_tokens
        assert small.peak_kv_tokens == small.predicted_peak_kv_tokens
    finally:
        engine.close()


def test_short_memory_is_predicted_too() -> None:
    stats = stats_of(mapped(), {"xs": [f"number {i} " * 6 for i in range(30)]}, simulated(kv_slots=400))
    assert stats.predicted_peak_kv_tokens <= 400
    assert stats.predicted_makespan_s == pytest.approx(stats.makespan_s, rel=0.2)


def test_hosts_take_the_time_that_they_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_host.py").write_text("import time\ndef wait(x):\n    time.sleep(0.05)\n    return x\n")
    module = parse_module(SourceFile("test.sir", '''
    sem.host(@wait) {target = "slow_host:wait", parameters = {x = !text}, result = !text, pure = true}
    sem.program(@Main) |%x: text| {
      %0 = engine.fill(engine.root, "a") : ctx
      %y, %1 = engine.generate(%0) {output = "y", max_tokens = 3} : text, ctx
      %w = flow.host(@wait, %y) : text
      %2 = engine.fill(engine.root, %w) : ctx
      %z, %3 = engine.generate(%2) {output = "z", max_tokens = 3} : text, ctx
      engine.free(%0, %1, %2, %3)
      sem.return(%z) {names = ["z"]}
    }'''))
    engine = reference_engine()
    engine.costs = CostModel(0, 0, 0, 0, 0, 0, 0)
    try:
        stats = run_module(module, {"": engine}, {"x": ""}, host_directory=str(tmp_path)).stats
    finally:
        engine.close()
    assert 0.05 <= stats.predicted_makespan_s <= stats.makespan_s


def test_prompts_are_cut_where_they_part() -> None:
    pieces = PromptPieces(share=True)
    first = pieces.fill(pieces.root, [1, 2, 3, 4])
    second = pieces.fill(pieces.root, [1, 2, 5])
    third = pieces.fill(first, [6])
    assert pieces.fill(pieces.root, [1, 2, 3, 4, 6]) is third
    lengths: Callable[[Any], list[int]] = lambda end: [length for _, length in between(end, pieces.root)]  # noqa: E731
    assert (lengths(first), lengths(second), lengths(third)) == ([2, 2], [2, 1], [2, 2, 1])
    assert between(first, pieces.root)[0] == between(second, pieces.root)[0]
    assert between(third, first) == between(third, pieces.root)[2:]
    alone = PromptPieces(share=False)
    assert alone.fill(alone.root, [1, 2]) is not alone.fill(alone.root, [1, 2])
