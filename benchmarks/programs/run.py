"""Parrot's workloads on the `torch` engine: compiled programs beside the same requests one by one.

Every workload runs on three sides: compiled at -O2 (one round trip for a program), request by request on the same
engine with its prefix cache (one round trip for each call), and request by request without the cache. All sides run
in one process, in turns. All give the same tokens, which is checked. Printed are medians of the mean time from
a request's arrival to its answer, their spread (lowest … highest), and ratios.

    python benchmarks/programs/run.py [--only chain,mixed] [--round-trips 0,0.25] [--repeats 5] [--threads 1]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch  # noqa: E402
from model import model_directory  # noqa: E402
from semlang.backend.tokenizer import load_tokenizer  # noqa: E402
from semlang.backend.torch_engine.loading import load_model  # noqa: E402
from sides import COMPILED, NAIVE, REQUESTS, Bench, Outcome, Side  # noqa: E402
from workloads import Workload, workloads  # noqa: E402

SIDES = (COMPILED, REQUESTS, NAIVE)


def mean(values: list[float]) -> float:
    """The arithmetic mean."""
    return sum(values) / len(values)


def summary(times: list[float]) -> str:
    """Median and spread."""
    return f"{statistics.median(times):6.2f} ({min(times):.2f} … {max(times):.2f})"


def check(workload: Workload, expected: list[object], outcome: Outcome, side: Side) -> None:
    """All sides must give the same outputs."""
    if outcome.outputs != expected:
        raise SystemExit(f"{workload.name}: the outputs of `{side.name}` differ")


def compare(bench: Bench, workload: Workload, round_trips: list[float], repeats: int) -> None:
    """Run and print one workload."""
    modules = bench.compile(workload)
    verified = {side: bench.run(workload, side, modules, 0.0, record=True) for side in SIDES}
    expected = verified[COMPILED].outputs
    calls = sorted(verified[COMPILED].calls)
    for side, outcome in verified.items():
        check(workload, expected, outcome, side)
        if sorted(outcome.calls) != calls:
            raise SystemExit(f"{workload.name}: the calls of `{side.name}` differ")
    prompt = sum(len(prompt) for prompt, _ in calls)
    print(f"\n{workload.name}: {len(calls)} calls, {prompt} prompt tokens, {verified[COMPILED].generated} generated"
          f"  [{workload.scale}]")
    for round_trip in round_trips:
        seconds: dict[Side, list[float]] = {side: [] for side in SIDES}
        last: dict[Side, Outcome] = {}
        for _ in range(repeats):
            for side in SIDES:
                outcome = last[side] = bench.run(workload, side, modules, round_trip)
                check(workload, expected, outcome, side)
                seconds[side].append(mean(outcome.seconds))
        ours = statistics.median(seconds[COMPILED])
        for side in SIDES:
            ratios = [other / own for other, own in zip(seconds[side], seconds[COMPILED], strict=True)]
            print(f"  round trip {round_trip * 1e3:3.0f} ms  {side.name:<9} {summary(seconds[side])} s"
                  f"  {statistics.median(seconds[side]) / ours:5.2f}x  by turn {min(ratios):.2f} … {max(ratios):.2f}"
                  f"  filled {last[side].filled:6d}  steps {last[side].steps:4d}  wall {last[side].wall:6.2f} s",
                  flush=True)


def main() -> None:
    """Print one block for each workload."""
    parser = argparse.ArgumentParser(description="Compiled programs beside request by request, torch engine, CPU.")
    parser.add_argument("--only", default="", help="names of workloads, separated by commas")
    parser.add_argument("--round-trips", default="0,0.25", help="seconds of a client's round trip")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    directory = str(model_directory())
    model = load_model(directory)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{parameters / 1e6:.0f} M parameters, {model.dtype}, {options.threads} thread(s), torch {torch.__version__}, "
          f"{time.strftime('%Y-%m-%d %H:%M')}, load {os.getloadavg()[0]:.1f}")
    bench = Bench(model, load_tokenizer(directory))
    only = set(filter(None, options.only.split(",")))
    chosen = [workload for workload in workloads() if not only or workload.name in only]
    if unknown := only - {workload.name for workload in chosen}:
        parser.error(f"there is no workload {', '.join(sorted(unknown))}")
    for workload in chosen:
        compare(bench, workload, [float(part) for part in options.round_trips.split(",")], options.repeats)


if __name__ == "__main__":
    main()
