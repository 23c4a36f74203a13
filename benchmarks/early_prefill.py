"""What filling prompts early saves: chains on the `torch` CPU engine, with and without `plan-prefill`, in turns.

Two chains of calls, each of which waits for the one before it. In `heads` every call has a long constant prompt of
its own before the text that it waits for, which is filled while its producer decodes; in `texts` a long output is
all that a call waits for, and is filled as it is generated. `tools` is `heads` with a host call of 50 ms before each
call. Model and texts are those of `benchmarks/programs`: every output has the length of its budget. Both sides run on
one engine without a prefix cache and must give the same outputs.

    python benchmarks/early_prefill.py [--steps 10] [--head 512] [--output 32] [--repeats 5] [--threads 2]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parent / "programs"))

from model import model_directory, text_of
from semlang.backend.executor import run_module
from semlang.backend.results import RunResult
from semlang.backend.tokenizer import load_tokenizer
from semlang.backend.torch_engine.engine import torch_engine
from semlang.frontend.compile import compile_file
from semlang.ir.core import Module
from semlang.ir.target import ModelTarget, Target
from semlang.passes.manager import run_pipeline
from semlang.passes.pipelines import pipeline

HOSTS = "import time\n\ndef tool(x):\n    time.sleep(0.05)\n    return x\n"


def chain(steps: int, head: int, output: int, *, tools: bool = False) -> str:
    """A program of `steps` calls in a row, each with `head` tokens of its own before the text that it waits for."""
    functions = "\n".join(
        f'semantic Step{i}(x: text) -> y: text {{\n  """\n  {text_of(head, i)} {{{{input:x}}}} so '
        f'{{{{output:y max_tokens={output}}}}}\n  """\n}}' for i in range(steps))
    lines, last = [], "start"
    for i in range(steps):
        if tools:
            lines.append(f"  let t{i} = tool({last})")
            last = f"t{i}"
        lines.append(f"  let v{i} = Step{i}({last})")
        last = f"v{i}"
    host = 'host tool(x: text) -> text from "early_prefill_hosts:tool" (pure)\n' if tools else ""
    program = ["program Main(start: text) -> y: text {", *lines, f"  return {last} @ latency", "}"]
    return "\n".join([host, functions, *program])


def compiled(source: str, target: Target, *, early: bool) -> Module:
    """The engine-level module at -O2, with or without `plan-prefill`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "chain.sem")
        path.write_text(source)
        module = compile_file(str(path), program="Main").module
    passes = [one for one in pipeline(2) if early or one.name != "plan-prefill"]
    return run_pipeline(module, passes, target).module


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("steps", 10), ("head", 512), ("output", 32), ("repeats", 5), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--only", default="heads,texts,tools")
    options = parser.parse_args()
    engine = torch_engine(str(model_directory()), threads=options.threads, prefix_cache=False, kv_slots=16_384)
    target = Target({"": ModelTarget(load_tokenizer(model_directory()), engine.context_length, 16_384)}, "torch")
    sources = {
        "heads": chain(options.steps, options.head, options.output),
        "texts": chain(options.steps, 16, 8 * options.output),
        "tools": chain(options.steps, options.head, options.output, tools=True),
    }
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "early_prefill_hosts.py").write_text(HOSTS)
        sys.path.insert(0, folder)
        for name in options.only.split(","):
            modules = [compiled(sources[name], target, early=early) for early in (False, True)]
            seconds: list[list[float]] = [[], []]
            cpu: list[list[float]] = [[], []]
            results: list[RunResult] = []
            for turn in range(options.repeats + 1):
                results = []
                for side, module in enumerate(modules):
                    began, cpu_began = time.perf_counter(), time.process_time()
                    results.append(run_module(module, {"": engine}, {"start": text_of(8, 99)}, host_directory=folder))
                    if turn:  # the first turn warms up
                        seconds[side].append(time.perf_counter() - began)
                        cpu[side].append(time.process_time() - cpu_began)
                if results[0].outputs != results[1].outputs or results[0].errors:
                    raise SystemExit(f"{name}: the sides give other outputs: {results[0].errors}")
            report(name, seconds, cpu, [result.stats.to_json() for result in results])
    engine.close()


def report(name: str, seconds: list[list[float]], cpu: list[list[float]], stats: list[dict[str, object]]) -> None:
    """Medians and spread of both sides, their ratios turn by turn, and what was counted."""
    print(f"{name}: {ratio(seconds)} of wall time, {ratio(cpu)} of CPU time")
    for side, times, counted in zip(("when needed", "early"), seconds, stats, strict=True):
        counts = ", ".join(f"{key.removesuffix('_tokens')} {counted[key]}" for key in (
            "filled_tokens", "early_tokens", "handover_tokens", "wasted_tokens", "generated_tokens", "engine_steps"))
        spread = f"{statistics.median(times):6.2f} s ({min(times):.2f} … {max(times):.2f})"
        print(f"  {side:<12}{spread}  {counts}", flush=True)


def ratio(times: list[list[float]]) -> str:
    """How much longer the first side takes: the median over the turns, and the spread."""
    ratios = [late / early for late, early in zip(*times, strict=True)]
    return f"{statistics.median(ratios):.2f}× ({min(ratios):.2f} … {max(ratios):.2f})"


if __name__ == "__main__":
    main()
