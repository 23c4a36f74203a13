"""`semc bench scale`: a cluster of simulated engines under random traffic, or under a trace."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ir.diagnostics import InputError
from . import messages
from .options import USAGE
from .simulation import device

if TYPE_CHECKING:
    from ..backend.simulate.applications import ApplicationShape
    from ..backend.simulate.cluster import ClusterResult

PROGRAMS, REQUESTS = "programs", "requests"


def simulate_scale(*, calls: int = 1_000_000, engines: int = 1000, rate: float = 0.2, speed: float = 1.0,
                   requests: bool = False, cells: int = 1) -> None:
    """A cluster of simulated engines: Parrot's kinds of application at random, or a trace (--trace FILE).

    `rate`: applications each second and engine; `speed`: of a trace; `requests`: also request by request, without
    knowledge of programs and prompts; `cells`: clusters that share engines and applications out, each simulated in a
    process of its own.
    """


def execute_scale(arguments: argparse.Namespace, settings: dict[str, Any]) -> int:
    """Simulate and print."""
    if not arguments.engine.startswith("simulate"):
        raise InputError.of(USAGE, "`semc bench scale` runs on simulated engines only")
    for name, default in (("scale", 1.0), ("width", 1.0), ("model", None)):
        if getattr(arguments, name) != default:
            raise InputError.of(USAGE, f"--{name} is not for `semc bench scale`", fix="--set calls=… --set engines=…")
    device(arguments.costs or "a100-13b")  # whether there are such costs
    defaults = simulate_scale.__kwdefaults__ or {}
    sizes = {**defaults, **settings}
    count = arguments.engine.partition(":")[2]
    if count:
        sizes["engines"] = int(count)
    rows = {PROGRAMS: measure(arguments, sizes, PROGRAMS)}
    if sizes["requests"]:
        rows[REQUESTS] = measure(arguments, sizes, REQUESTS)
    costs = arguments.costs or "a100-13b"
    if arguments.json:
        print(json.dumps({"workload": "scale", "engines": sizes["engines"], "costs": costs, "sides": rows}, indent=2))
    else:
        print(text(rows, sizes, costs))
    return 0


def measure(arguments: argparse.Namespace, sizes: dict[str, Any], side: str) -> dict[str, Any]:
    """One simulation of a side."""
    from ..backend.simulate.cluster import joined
    from ..backend.simulate.traffic import TraceError

    began = time.perf_counter()
    cells = sizes["cells"] = min(sizes["cells"], sizes["engines"])
    try:
        if cells == 1:
            result = simulate_cell(arguments, sizes, side, 0)[1]
        else:
            # Fresh processes: this one may have threads.
            with ProcessPoolExecutor(cells, mp_context=get_context("spawn")) as processes:
                found = [processes.submit(simulate_cell, arguments, sizes, side, cell) for cell in range(cells)]
                result = joined([each.result() for each in found])
    except (TraceError, ValueError) as error:
        raise InputError.of(USAGE, str(error)) from None
    finally:
        messages.progress("")
    seconds = time.perf_counter() - began
    return {**summary(result), "wall_s": seconds, "calls_per_wall_s": result.calls / seconds}


def simulate_cell(arguments: argparse.Namespace, sizes: dict[str, Any], side: str,
                  cell: int) -> tuple[int, ClusterResult]:
    """One cluster of those that the engines are divided into: how many it has, and its result."""
    from ..backend.simulate.cluster import Cluster

    simulated = device(arguments.costs or "a100-13b")
    count = len(range(cell, sizes["engines"], sizes["cells"]))
    cluster = Cluster(count, simulated.costs, simulated.kv_slots, spread=side == REQUESTS)
    shapes = islice(_traffic(arguments, sizes, side), cell, None, sizes["cells"])
    return count, cluster.run(_watched(shapes, sizes["calls"] // sizes["cells"], side))


def _traffic(arguments: argparse.Namespace, sizes: dict[str, Any], side: str) -> Iterator[ApplicationShape]:
    from ..backend.simulate.traffic import Traffic, as_programs, as_requests, trace

    if arguments.trace is not None:
        shapes: Iterator[ApplicationShape] = islice(
            trace(Path(arguments.trace), speed=sizes["speed"]), sizes["calls"])
    else:
        traffic = Traffic(arguments.seed, round_trip=arguments.round_trip)
        shapes = traffic.poisson(sizes["calls"], sizes["rate"] * sizes["engines"])
    return as_programs(shapes) if side == PROGRAMS else as_requests(shapes)


def _watched(shapes: Iterator[ApplicationShape], calls: int, side: str) -> Iterator[ApplicationShape]:
    """The same, with a line of progress on a terminal."""
    made = 0
    for number, shape in enumerate(shapes):
        made += len(shape.calls)
        if number % 1024 == 0 and messages.on_terminal():
            messages.progress(f"{side}: {made} of {calls} calls")
        yield shape


def summary(result: ClusterResult) -> dict[str, Any]:
    """The numbers of a simulation by name; all of them follow from the seed."""
    kinds = sorted({a.kind for a in result.applications})
    by_kind = {kind: [a for a in result.applications if a.kind == kind] for kind in kinds}
    return {
        "applications": len(result.applications), "calls": result.calls, "makespan_s": result.makespan_s,
        "mean_s": result.mean_s, "p50_s": result.slowest_s(0.5), "p99_s": result.slowest_s(0.99),
        "normalized_ms": 1000 * result.normalized_s,
        "mean_s_by_kind": {kind: sum(a.seconds for a in found) / len(found) for kind, found in by_kind.items()},
        "prompt_tokens": result.prompt_tokens, "filled_tokens": result.filled_tokens,
        "refilled_tokens": result.refilled_tokens, "generated_tokens": result.generated_tokens,
        "engine_steps": result.engine_steps, "evicted_tokens": result.evicted_tokens,
        "preemptions": result.preemptions, "peak_kv_tokens": result.peak_kv_tokens, "busy": result.busy,
    }


def text(rows: dict[str, dict[str, Any]], sizes: dict[str, Any], costs: str) -> str:
    """For people."""
    lines = [f"scale: {sizes['engines']} engines of {device(costs).name} (from data sheets, not measured)"]
    ours = rows[PROGRAMS]
    for side, row in rows.items():
        shared = 1 - row["filled_tokens"] / max(1, row["prompt_tokens"])
        lines += [
            "",
            f"{side}: {row['applications']} applications, {row['calls']} calls, "
            f"{row['makespan_s']:.1f} s of virtual time",
            f"  time of an application: mean {row['mean_s']:.3f} s, half within {row['p50_s']:.3f} s, 99 % within "
            f"{row['p99_s']:.3f} s ({row['mean_s'] / ours['mean_s']:.2f}×)",
            "  mean by kind: " + ", ".join(f"{kind} {value:.3f} s" for kind, value in row["mean_s_by_kind"].items()),
            f"  {row['normalized_ms']:.2f} ms for each token; engines busy {100 * row['busy']:.1f} % of the time",
            f"  {row['prompt_tokens']} prompt tokens, {row['filled_tokens']} computed ({100 * shared:.1f} % shared), "
            f"{row['generated_tokens']} generated in {row['engine_steps']} steps",
            f"  most KV on an engine {row['peak_kv_tokens']} tokens, {row['evicted_tokens']} evicted, "
            f"{row['preemptions']} preemptions",
            f"  simulated in {row['wall_s']:.1f} s: {row['calls_per_wall_s']:.0f} calls a second",
        ]
    return "\n".join(lines)
