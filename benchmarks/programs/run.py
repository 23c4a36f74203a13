"""Parrot's workloads on the `torch` engine: compiled programs beside the same requests one by one.

Every workload runs on three sides: compiled at -O2 (one round trip for a program), request by request on the same
engine with its prefix cache (one round trip for each wave of calls), and request by request without the cache. All
sides run in one process, in turns, and give the same tokens, which is checked. Printed are medians of the figure of
merit (makespan, or mean time from arrival to result), their spread (lowest … highest), the ratio to the compiled
side, turn by turn, and what the cost model says that no schedule could beat. `--processor-time` makes the ratios
independent of other load: the clock is the processor time of the one thread that does everything. `--simulate` runs
the same in virtual time, with the costs that were measured.

    python benchmarks/programs/run.py [--only chain,mixed] [--round-trips 0,0.25] [--repeats 5] [--threads 2]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from costs import best_seconds, measured_costs, processor_costs
from model import model_directory
from recorder import Recorder
from semlang.backend.tokenizer import load_tokenizer
from semlang.backend.torch_engine.loading import load_model
from semlang.backend.workloads.measure import Measurement
from semlang.backend.workloads.radix_optimum import radix_optimum
from semlang.backend.workloads.sides import COMPILED, Side, figures
from semlang.backend.workloads.workload import Workload
from sides import SIDES, Bench
from workloads import workloads


def summary(times: list[float]) -> str:
    """Median and spread."""
    return f"{statistics.median(times):6.2f} ({min(times):.2f} … {max(times):.2f})"


def check(workload: Workload, expected: object, found: object, side: Side) -> None:
    """All sides must give the same."""
    if found != expected:
        raise SystemExit(f"{workload.name}: `{side.name}` gives other tokens than the compiled program")


def compare(bench: Bench, workload: Workload, round_trips: list[float], repeats: int, sides: list[Side]) -> None:
    """Run and print one workload."""
    began = time.perf_counter()
    modules = bench.compile(workload)
    compiling = time.perf_counter() - began
    recorders = {side: Recorder() for side in sides}
    first = {side: bench.run(workload, side, modules, record=recorders[side]) for side in sides}
    calls = recorders[COMPILED].calls
    for side in sides:
        check(workload, sorted(calls), sorted(recorders[side].calls), side)
    optimum = radix_optimum(calls)
    found = 1 - first[COMPILED].filled_tokens / optimum.prompt_tokens
    print(f"\n{workload.name}: {len(calls)} calls, {optimum.prompt_tokens} prompt tokens, "
          f"{sum(len(output) for _, output in calls)} generated  [{workload.note}]\n"
          f"  shared {found:.1%}, a perfect radix tree {optimum.share:.1%}; compiled in {compiling:.2f} s")
    generated = first[sides[1]].generated  # only clients count it
    for round_trip in round_trips:
        runs: dict[Side, list[Measurement]] = {side: [] for side in sides}
        for _ in range(repeats):
            for side in sides:
                runs[side].append(bench.run(workload, side, modules, round_trip))
                check(workload, first[COMPILED].outputs, runs[side][-1].outputs, side)
        bound = best_seconds(calls, optimum, bench.costs, bench.tokenizer)
        for number, figure in enumerate(figures(workload, first[COMPILED], generated)):
            times = {side: [figures(workload, run, generated)[number].value for run in runs[side]] for side in sides}
            for side in sides:
                ratios = [other / own for other, own in zip(times[side], times[COMPILED], strict=True)]
                last = runs[side][-1]
                print(f"  {round_trip * 1e3:3.0f} ms  {figure.name:<22}{side.name:<9}{summary(times[side]):<22}"
                      f"{statistics.median(ratios):5.2f}× ({min(ratios):.2f} … {max(ratios):.2f})  "
                      f"filled {last.filled_tokens:6d}  steps {last.engine_steps:4d}", flush=True)
            if figure.name.startswith("makespan"):
                ours = statistics.median(times[COMPILED])
                least = bound + round_trip
                print(f"          no run can take less than {least:.2f} s; compiled takes {ours / least:.2f}× that")


def main() -> None:
    """Print one block for each workload."""
    parser = argparse.ArgumentParser(description="Compiled programs beside request by request, torch engine, CPU.")
    parser.add_argument("--only", default="", help="names of workloads, separated by commas")
    parser.add_argument("--round-trips", default="0,0.25", help="seconds of a client's round trip")
    parser.add_argument("--sides", default=",".join(side.name for side in SIDES), help="which, compiled first")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--simulate", action="store_true", help="in virtual time")
    parser.add_argument("--processor-time", action="store_true",
                        help="count the processor's time instead of the wall's, on one thread: for busy machines")
    options = parser.parse_args()
    options.threads = 1 if options.processor_time else options.threads
    torch.set_num_threads(options.threads)
    directory = str(model_directory())
    model = load_model(directory)
    tokenizer = load_tokenizer(directory)
    parameters = sum(parameter.numel() for parameter in model.parameters())  # before they are packed
    costs = processor_costs(model, tokenizer) if options.processor_time else measured_costs(model, tokenizer)
    print(f"{parameters / 1e6:.0f} M parameters, {model.dtype}, {options.threads} thread(s), "
          f"torch {torch.__version__}, {time.strftime('%Y-%m-%d %H:%M')}, load {os.getloadavg()[0]:.1f}\n{costs}")
    bench = Bench(None if options.simulate else model, tokenizer, costs, options.processor_time)
    only = set(filter(None, options.only.split(",")))
    chosen = [workload for workload in workloads() if not only or workload.name in only]
    if unknown := only - {workload.name for workload in chosen}:
        parser.error(f"there is no workload {', '.join(sorted(unknown))}")
    sides = [side for name in options.sides.split(",") for side in SIDES if side.name == name]
    if len(sides) < 2 or sides[0] is not COMPILED:
        parser.error("--sides are `compiled` and at least one other")
    for workload in chosen:
        compare(bench, workload, [float(part) for part in options.round_trips.split(",")],
                1 if options.simulate else options.repeats, sides)


if __name__ == "__main__":
    main()
