"""Predicted beside measured: makespan, peak KV and filled tokens of the example programs and of synthetic shapes.

Fits the cost model of the engine first (as `semc profile`, nothing is stored), then runs each program on a fresh
engine and prints predicted ÷ measured, and the medians of how far these are from 1. With `--budget` (default)
outputs run to their budget, which is what predictions assume; with `--natural` they end where the model ends them.

    python benchmarks/predictions.py [--engine torch] [--model DIR] [--repeats 3] [--natural] [--json]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from semlang.backend.executor import run_module
from semlang.backend.profiling import profile_engine
from semlang.backend.reference import reference_engine
from semlang.backend.results import RunStats
from semlang.backend.step_engine import StepEngine
from semlang.backend.torch_engine.engine import torch_engine
from semlang.frontend.compile import compile_file
from semlang.ir.core import Module
from semlang.ir.parser import parse_module
from semlang.ir.source import SourceFile
from semlang.ir.target import ModelTarget, Target
from semlang.passes.cost_model import CostModel
from semlang.passes.manager import run_pipeline
from semlang.passes.pipelines import pipeline

ROOT = Path(__file__).parents[1]

CALL = '''
    %{c}0 = prompt.start() : prompt
    %{c}1 = prompt.append(%{c}0, "{head}") : prompt
    %{c}2 = prompt.append(%{c}1, {value}) : prompt
    %{c}, %{c}3 = prompt.generate(%{c}2) {{output = "{c}", max_tokens = {tokens}}} : text, prompt'''


def call(name: str, value: str, tokens: int, head_words: int) -> str:
    """A call that generates `tokens` tokens after a constant head and a value."""
    return CALL.format(c=name, value=value, tokens=tokens, head=f"{name} has to be written. " * (head_words // 5))


def texts(count: int, words: int) -> str:
    """A list of different texts."""
    return "[" + ", ".join(json.dumps(f"number {i} of many " * (words // 4)) for i in range(count)) + "]"


def mapped(count: int, words: int, tokens: int, head: int) -> str:
    """A map over `count` texts, and a call that joins what it gives."""
    return f'''sem.program(@Main) {{
  %xs = flow.const({texts(count, words)}) : list<text>
  %ys = flow.for(%xs) |%i: int, %x: text| {{{call("y", "%x", tokens, head)}
    flow.yield(%y)
  }} : list<text>
  %all = flow.pure(@join, %ys) : text{call("z", "%all", tokens, head)}
  sem.return(%z) {{names = ["z"]}}
}}'''


def chain(length: int, tokens: int, head: int) -> str:
    """Calls one after another, each over what the one before it gave."""
    steps = "".join(call(f"c{i}", f"%c{i - 1}" if i else '"Begin."', tokens, head) for i in range(length))
    return f'sem.program(@Main) {{{steps}\n  sem.return(%c{length - 1}) {{names = ["z"]}}\n}}'


SHAPES: dict[str, str] = {
    "one call": chain(1, 64, 60),
    "chain of 6": chain(6, 32, 100),
    "chain of 4, long heads": chain(4, 24, 800),
    "map of 8": mapped(8, 40, 32, 40),
    "map of 32": mapped(32, 80, 24, 200),
    "map of 64, short": mapped(64, 8, 8, 20),
    "map of 12, long texts": mapped(12, 600, 16, 40),
}


def modules() -> Iterator[tuple[str, Callable[[], Module]]]:
    """The programs by name; each is compiled anew for every run."""
    for path in sorted((ROOT / "programs").glob("*.sem")):
        yield path.stem, lambda path=path: compile_file(str(path)).module  # type: ignore[misc]
    for name, text in SHAPES.items():
        yield name, lambda text=text: parse_module(SourceFile("shape.sir", text))  # type: ignore[misc]


def engine_of(arguments: argparse.Namespace, *, trace: bool = False, prefix_cache: bool = True) -> StepEngine:
    """A fresh engine."""
    if arguments.engine == "reference":
        return reference_engine(arguments.model, trace=trace, prefix_cache=prefix_cache)
    return torch_engine(arguments.model, trace=trace, prefix_cache=prefix_cache)


def run_once(make: Callable[[], Module], arguments: argparse.Namespace, costs: CostModel) -> RunStats:
    """Compile at -O2 and run on a fresh engine."""
    engine = engine_of(arguments)
    engine.costs = costs
    generate: Any = engine.generate
    if not arguments.natural:
        engine.generate = lambda sampling, *rest, **options: generate(  # type: ignore[method-assign]
            dataclasses.replace(sampling, ignore_eos=True, stop=()), *rest, **options)
    try:
        run_module(parse_module(SourceFile("warm.sir", SHAPES_WARM)), {"": engine}, {})
        module = make()
        target = Target({"": ModelTarget(engine.tokenizer, engine.context_length, engine.kv_slots, engine.max_batch,
                                         engine.max_step_tokens, costs)}, arguments.engine)
        run_pipeline(module, pipeline(2), target)
        return run_module(module, {"": engine}, {}, host_directory=str(ROOT / "programs")).stats
    finally:
        engine.close()


SHAPES_WARM = '''sem.program(@Warm) {
  %0 = engine.fill(engine.root, "What is made on first use.") : ctx
  %y, %1 = engine.generate(%0) {output = "y", max_tokens = 4} : text, ctx
  engine.free(%0, %1)
  sem.return(%y) {names = ["y"]}
}'''
PAIRS = (("makespan_s", "predicted_makespan_s"), ("peak_kv_tokens", "predicted_peak_kv_tokens"),
         ("filled_tokens", "predicted_filled_tokens"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("torch", "reference"), default="torch")
    parser.add_argument("--model")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--natural", action="store_true")
    parser.add_argument("--budget", dest="natural", action="store_false")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="", help="programs with this in their names")
    parser.add_argument("--cpu-time", action="store_true",
                        help="count processor time instead of wall time, where other processes use the machine; "
                             "for one thread (OMP_NUM_THREADS=1), as then nothing runs beside anything")
    arguments = parser.parse_args()
    if arguments.cpu_time:
        time.perf_counter = time.process_time
    engine = engine_of(arguments, trace=True, prefix_cache=False)
    fit = profile_engine(engine)
    engine.close()
    print(f"{arguments.engine}: fit within {fit.median_error:.1%} (median), {fit.worst_error:.1%} (worst)", flush=True)
    rows: list[dict[str, Any]] = []
    print(f"{'program':<26}{'makespan':>10}{'predicted':>11}{'ratio':>8}{'peak KV':>10}{'ratio':>8}{'filled':>9}"
          f"{'ratio':>8}")
    for name, make in modules():
        if arguments.only not in name:
            continue
        runs = [run_once(make, arguments, fit.model) for _ in range(arguments.repeats)]
        stats = sorted(runs, key=lambda s: s.makespan_s)[len(runs) // 2]
        ratios = [getattr(stats, p) / max(getattr(stats, m), 1e-9) for m, p in PAIRS]
        rows.append({"program": name, "ratios": ratios, **stats.to_json()})
        print(f"{name:<26}{stats.makespan_s:>10.3f}{stats.predicted_makespan_s:>11.3f}{ratios[0]:>8.2f}"
              f"{stats.peak_kv_tokens:>10}{ratios[1]:>8.3f}{stats.filled_tokens:>9}{ratios[2]:>8.3f}", flush=True)
    for number, (measured, _) in enumerate(PAIRS):
        off = [abs(row["ratios"][number] - 1) for row in rows]
        print(f"{measured}: median error {statistics.median(off):.1%}, worst {max(off):.1%}, "
              f"exact {off.count(0)}/{len(off)}")
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
