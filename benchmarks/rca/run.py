"""Root-cause analysis: compiled programs beside the same calls, one request at a time.

Three programs run compiled at -O2: batch.sem over samples, confidence.sem with ten samples, investigate.sem. Then all
calls that they made are made again by a client on the same engine, one request after the other: without the engine's
prefix cache, so that each request fills its whole prompt, as pipelines that call an API do (the baseline of the goals:
3 times fewer filled tokens, half the makespan), and with it. Sides run in turns in one process, with fresh engines;
medians of the makespan with their spread (batch.sem runs once). The compiled side's makespan includes collection and
all other host work, the client's sides none. Outputs are compared token by token.

    python benchmarks/rca/run.py [--only batch,confidence,investigate] [--incidents 24] [--repeats 3] [-o results.md]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from requests_one_by_one import Replayed, RequestLog, replay
from semlang.backend.embedded import embedded_model_directory
from semlang.backend.executor import run_module
from semlang.backend.step_engine import StepEngine
from semlang.backend.torch_engine.engine import torch_engine
from semlang.backend.torch_engine.loading import load_model
from semlang.frontend.compile import compile_file
from semlang.ir.target import ModelTarget, Target
from semlang.passes.inline import Inline
from semlang.passes.manager import run_pipeline
from semlang.passes.pipelines import pipeline
from semlang.programs.rca.digest import evidence_text, incident_text

PROGRAMS = Path(__file__).parents[2] / "programs" / "rca"
ALERTS = PROGRAMS / "samples" / "alerts"
KV_SLOTS = 1 << 16


@dataclass(frozen=True)
class Run:
    """One compiled run, and its calls."""

    seconds: float
    prompt_tokens: int
    filled_tokens: int
    generated_tokens: int
    log: RequestLog


class Bench:
    """Runs programs on engines around one loaded model."""

    def __init__(self, model: str) -> None:
        self.directory = model
        self.loaded = load_model(model)
        self.target: Target | None = None

    def engine(self, *, prefix_cache: bool) -> StepEngine:
        """A fresh engine; nothing is filled ahead of need, so that counted tokens do not depend on time."""
        return torch_engine(self.directory, kv_slots=KV_SLOTS, prefix_cache=prefix_cache, speculative_fills=False,
                            loaded=self.loaded)

    def compiled(self, program: str, arguments: dict[str, Any]) -> Callable[[], Run]:
        """`program` of programs/rca, compiled; what is returned runs it."""
        unit = compile_file(str(PROGRAMS / f"{program}.sem"))
        engine = self.engine(prefix_cache=True)
        target = Target({"": ModelTarget(engine.tokenizer, engine.context_length, kv_slots=KV_SLOTS)}, "torch")
        engine.close()
        passes = [Inline(program=unit.root) if isinstance(p, Inline) else p for p in pipeline(2)]
        run_pipeline(unit.module, passes, target)

        def run() -> Run:
            engine = self.engine(prefix_cache=True)
            log = RequestLog(engine)
            try:
                began = time.perf_counter()
                result = run_module(unit.module, {"": log}, arguments)
                seconds = time.perf_counter() - began
            finally:
                engine.close()
            if result.errors:
                raise SystemExit(f"{program}: {next(iter(result.errors.values())).message}")
            stats = result.stats
            return Run(seconds, stats.prompt_tokens, stats.filled_tokens, stats.generated_tokens, log)

        return run

    def one_by_one(self, log: RequestLog, *, prefix_cache: bool) -> Replayed:
        """The calls of a run, one request at a time."""
        engine = self.engine(prefix_cache=prefix_cache)
        try:
            return replay(log.requests, engine)
        finally:
            engine.close()


def lines_of_samples(incidents: int) -> str:
    """The first alerts of the samples as a file of incidents."""
    lines = []
    for file in sorted(ALERTS.iterdir())[:incidents]:
        text = file.read_text(encoding="utf-8")
        lines.append(json.dumps(json.loads(text) if file.suffix == ".json" else text))
    return "\n".join(lines)


def collected(alert: str) -> dict[str, str]:
    """Incident and evidence of an alert, as investigate.sem shows them to models."""
    module = compile_file(str(PROGRAMS / "collect.sem")).module
    run_pipeline(module, pipeline(0), Target())
    found = run_module(module, {}, {"alert": alert}).to_json()["outputs"]
    return {"incident": incident_text(found["incident"], found["steps"], found["conclusion"], found["handler"]["name"]),
            "evidence": evidence_text(found["steps"], found["evidence"]), "cause": found["conclusion"]}


def compare(bench: Bench, name: str, arguments: dict[str, Any], repeats: int) -> list[str]:
    """The rows of a program."""
    run = bench.compiled(name, arguments)
    if name != "batch":
        run()  # host modules are imported, kernels compiled
    runs: list[Run] = []
    sides: dict[bool, list[Replayed]] = {False: [], True: []}
    for _ in range(repeats):
        runs.append(run())
        for prefix_cache, times in sides.items():
            times.append(bench.one_by_one(runs[-1].log, prefix_cache=prefix_cache))
    first = runs[0]
    rows = [row(name, "compiled", len(first.log.requests), first.filled_tokens, [r.seconds for r in runs],
                first.generated_tokens, "", "")]
    for prefix_cache, replays in sides.items():
        what = "one by one, prefix cache" if prefix_cache else "**one by one** (baseline)"
        tokens = replays[0].filled_tokens / first.filled_tokens
        ratios = [r.seconds / c.seconds for r, c in zip(replays, runs, strict=True)]
        rows.append(row(name, what, len(first.log.requests), replays[0].filled_tokens, [r.seconds for r in replays],
                        first.generated_tokens, f"{tokens:.1f}",
                        f"{statistics.median(ratios):.1f} ({min(ratios):.1f} … {max(ratios):.1f})"))
        equal = min(r.equal for r in replays)
        if equal < len(first.log.requests):
            rows.append(f"| {name} | {equal} of {len(first.log.requests)} outputs are equal | | | | | | |")
    return rows


def row(name: str, side: str, calls: int, filled: int, seconds: list[float], generated: int, tokens: str,
        time: str) -> str:
    """A line of the table."""
    spread = f"{statistics.median(seconds):.2f} ({min(seconds):.2f} … {max(seconds):.2f})"
    return f"| {name} | {side} | {calls} | {filled:,} | {generated:,} | {spread} | {tokens} | {time} |"


HEAD = ["| program | side | calls | filled tokens | generated | makespan s | × filled | × makespan |",
        "|---|---|---|---|---|---|---|---|"]

EXPLANATION = """\
`benchmarks/rca/run.py`. `compiled` runs a program at -O2: all its calls, its collection and its reports. The other
sides make the same calls with the same tokens on the same engine, one request after the other, without any host work
between them. The baseline of the goals (3 times fewer filled tokens for batch and confidence, half the makespan) is
`one by one`: each request fills its whole prompt, as a pipeline that calls an API does. With a prefix cache a request
finds what earlier ones have filled; what is left then is what running calls together saves. Seconds are medians
(lowest … highest), ratios those to the compiled run of the same turn.
"""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="confidence,investigate,batch")
    parser.add_argument("--incidents", type=int, default=24)
    parser.add_argument("--samples", type=int, default=10, help="judgements of confidence.sem")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="", help="a model's directory (default: the embedded one)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("-o", "--output", type=Path, help="write the table to a Markdown file, too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    bench = Bench(options.model or str(embedded_model_directory()))
    alert = (ALERTS / "0001.json").read_text(encoding="utf-8")
    arguments: dict[str, dict[str, Any]] = {
        "confidence": collected(alert) | {"n": options.samples},
        "investigate": {"alert": alert, "n": options.samples},
        "batch": {"incidents": lines_of_samples(options.incidents), "n": options.samples},
    }
    parameters = sum(p.numel() for p in bench.loaded.parameters())
    title = (f"{datetime.now(UTC):%d %B %Y}; {platform.machine()}, {options.threads} threads, "
             f"torch {torch.__version__}; {options.model or 'embedded model'}, {parameters / 1e6:.1f} M parameters; "
             f"{options.incidents} incidents, n = {options.samples}, {options.repeats} repeats (batch: 1); "
             f"load {os.getloadavg()[0]:.1f}")
    print(title, *HEAD, sep="\n", flush=True)
    rows = []
    for name in options.only.split(","):
        found = compare(bench, name, arguments[name], 1 if name == "batch" else options.repeats)
        print(*found, sep="\n", flush=True)
        rows += found
    if options.output:
        options.output.write_text("\n".join(
            ["# Root-cause analysis: compiled, and one request at a time", "", f"{title}.", "", EXPLANATION, *HEAD,
             *rows, ""]),
            encoding="utf-8")


if __name__ == "__main__":
    main()
