"""The three parts of the GPU benchmark."""

from __future__ import annotations

import time

import numpy as np
import torch
from cases import Layer, Levels, Step, exact, ragged, tensors, uniform
from decoder import LLAMA_3_8B, SMALL, decode
from findings import Report, stop_late
from semlang.kernels.triton.attention import DevicePlan, Pool, TritonAttention
from semlang.kernels.triton.plan import LayerGroup, Planner
from semlang.kernels.triton.tiles import Tiles, tiles_for
from sides import SIDES, NotHere, ours
from timing import Machine, captured, measure_machine, seconds
from torch import Tensor

BATCHES, PREFIXES, OWN = (16, 64, 256), (1024, 4096, 16384), (128, 512)
TREES: dict[str, Levels] = {
    "2k / 512 / 128 × 64": ((1, 2048), (8, 512), (64, 128)),
    "4 documents × 16": ((4, 4096), (64, 128)),
    "binary, 6 levels": tuple((1 << depth, 256) for depth in range(7)),
    "nothing shared × 64": ((64, 1024),),
    "one long context": ((1, 65536),),
}
PROMPTS: dict[str, tuple[Levels, int]] = {
    "4 prompts of 2k": (((4, 2048),), 2048),
    "8 chunks of 512 below 4k": (((1, 4096), (8, 512)), 512),
}
BOUND = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.5e-2}
"""Relative distance from float64."""


def correctness(report: Report, device: torch.device) -> None:
    """Random ragged trees against float64, replays of one graph for other trees, and the invariant mode."""
    cuda = device.type == "cuda"
    report.line("\n## Correctness\n\n| case | distance from float64 | |\n|---|---|---|")
    dtypes = (torch.float32, torch.float16, torch.bfloat16) if cuda else (torch.float32, torch.float16)
    shapes = [(32, 8, 128), (14, 2, 64), (12, 12, 80), (8, 4, 256), (28, 4, 128)] if cuda else [(3, 1, 32)]
    for dtype in dtypes:
        for heads, kv_heads, size in shapes:
            layer = Layer(heads, kv_heads, size, dtype)
            for seed in range(20 if cuda else 2):
                step = ragged(seed, *((40, 700) if cuda else (5, 40)))
                error = distance(step, layer, device)
                if not error <= BOUND[dtype] or seed == 0:
                    name = f"ragged tree {seed}, {heads}/{kv_heads} heads of {size}, {dtype}"
                    report.check(name, error, BOUND[dtype])
    replayed(report, device)
    invariant(report, device)


def distance(step: Step, layer: Layer, device: torch.device) -> float:
    """Of our kernels from float64, relative."""
    data = tensors(step, layer, device)
    expected = exact(step, layer, data, list(range(len(step.segments))))
    return float((ours(step, layer, data)().double() - expected).norm() / expected.norm())


def replayed(report: Report, device: torch.device) -> None:
    """The same launches, on a GPU one CUDA graph, for trees of other shapes: only data changes."""
    cuda = device.type == "cuda"
    layer = Layer(8, 2, 64, torch.float16)
    tiles = tiles_for(64, 64, "float16")
    kernels, plan = TritonAttention(tiles, device), DevicePlan(device, integers=1 << 18, partials=1 << 12)
    planner = Planner(tiles, kernels.programs)
    plan.load(planner.plan([], [], LayerGroup(2, 4), padded_rows=8))
    plan.reserve(8, 64)
    slots = 20000 if cuda else 400
    pool = Pool(*(torch.zeros(2, slots, 64, dtype=torch.float16, device=device) for _ in range(2)))
    query = torch.zeros(8, 8, 64, dtype=torch.float16, device=device)
    output = torch.empty_like(query)

    def work() -> Tensor:
        return kernels.attend(query, pool, plan, output=output)

    graph = captured(work) if cuda else None
    longer = 10 if cuda else 1
    for levels in (((1, 32 * longer), (8, 16)), ((1, 16), (2, 48 * longer), (4, 16)), ((3, 64 * longer),), ((8, 16),)):
        step = uniform(levels)
        data = tensors(step, layer, device)
        pool.keys[:, : step.slots], pool.values[:, : step.slots] = data.keys, data.values
        query[: step.rows] = data.query
        plan.load(planner.plan(step.runs, step.segments, LayerGroup(2, 4), padded_rows=8))
        if graph is None:
            work()
        else:
            graph.replay()
        expected = exact(step, layer, data, list(range(step.rows)))
        error = float((output[: step.rows].double() - expected).norm() / expected.norm())
        report.check(f"the same launches for the tree {levels}", error, BOUND[torch.float16])


def invariant(report: Report, device: torch.device) -> None:
    """A row alone has bitwise the result that it has beside others."""
    cuda = device.type == "cuda"
    layer = Layer(*(32, 8, 128) if cuda else (3, 1, 32), torch.bfloat16 if cuda else torch.float16)
    step = uniform(((1, 1040), (4, 48), (16, 112)) if cuda else ((1, 48), (2, 16)))
    data = tensors(step, layer, device)
    name = str(layer.dtype).removeprefix("torch.")
    tiles = tiles_for(layer.size, layer.size, name, one=True) if cuda else Tiles(large_rows=16, large_keys=32, one=True)
    kernels = TritonAttention(tiles, device)
    planner = Planner(tiles, kernels.programs, invariant=True, span=None if cuda else 64)

    def compute(leaves: range) -> Tensor:
        plan = DevicePlan(device)
        plan.load(planner.plan(step.runs, [step.segments[leaf] for leaf in leaves],
                               LayerGroup(layer.kv_heads, layer.heads // layer.kv_heads)))
        return kernels.attend(data.query[leaves.start : leaves.stop], Pool(data.keys, data.values), plan)

    together = compute(range(step.rows))
    different = sum(not torch.equal(compute(range(row, row + 1))[0], together[row]) for row in range(step.rows))
    report.check("rows that differ in a bit from the same row alone", different, 0)


def attention(report: Report, device: torch.device) -> None:
    """Times of one layer's attention, Llama-3-8B's heads."""
    cuda = device.type == "cuda"
    layer = Layer(32, 8, 128, torch.bfloat16) if cuda else Layer(4, 2, 16, torch.float16)
    points: dict[str, tuple[Levels, int]] = (
        {f"B {b}, P {p}, S {s}": (((1, p), (b, s)), 1) for b in BATCHES for p in PREFIXES for s in OWN}
        | {name: (levels, 1) for name, levels in TREES.items()} | PROMPTS
        if cuda else {"B 3, P 48, S 16": (((1, 48), (3, 16)), 1), "three levels": (((1, 32), (2, 16), (4, 16)), 1),
                      "a prompt": (((1, 48),), 48)})
    machine = measure_machine(device, layer.dtype if cuda else torch.float32)
    report.line(f"\n## Attention of one layer: {layer.heads}/{layer.kv_heads} heads of {layer.size}, {layer.dtype}\n")
    report.line(f"Measured: copies at {machine.bandwidth / 1e12:.2f} TB/s, products at "
                f"{machine.operations / 1e12:.0f} TFLOP/s. Times in µs, medians, cold cache; `bound` is the roofline.")
    report.line(f"\n| tree | bound | {' | '.join(report.sides)} | ours / bound | planning |")
    report.line("|---|" + "---|" * (len(report.sides) + 3))
    notes: dict[str, str] = {}
    for name, (levels, new) in points.items():
        if stop_late(report):
            break
        row(report, name, uniform(levels, new), layer, machine, device, notes)
    for side, reason in notes.items():
        report.line(f"\n– for {side}: {reason}.")


def row(report: Report, name: str, step: Step, layer: Layer, machine: Machine, device: torch.device,
        notes: dict[str, str]) -> None:
    """One line of the table; a result that is not right is not timed."""
    data = tensors(step, layer, device)
    leaves = sorted({0, len(step.segments) // 2, len(step.segments) - 1})
    expected = exact(step, layer, data, leaves)
    checked = (np.array(leaves)[:, None] * step.new + np.arange(step.new)).reshape(-1)
    cells = []
    own = 0.0
    times: dict[str, float | None] = {}
    for side_name in report.sides:
        try:
            side = SIDES[side_name](step, layer, data)
            error = float((side()[checked].double() - expected).norm() / expected.norm())
            if not error <= BOUND[layer.dtype]:
                raise ArithmeticError(f"results are off by {error:.1e}")
            taken = seconds(side, device, 20 if device.type == "cuda" else 1)
        except NotHere as reason:
            notes[side_name] = str(reason)
            cells.append("–")
        except Exception as error:
            # Another library may fail in any way; ours must not.
            if side_name.startswith("ours"):
                report.check(f"{name}: {side_name} ({type(error).__name__}: {error})", float("nan"), 0)
            notes[side_name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            cells.append("–")
        else:
            own = own or taken
            times[side_name] = taken
            cells.append(f"{taken * 1e6:.1f}")
        torch.cuda.empty_cache() if device.type == "cuda" else None
    bound = machine.least_seconds(step.least_bytes(layer), step.operations(layer))
    planned = planning(step, layer)
    report.line(f"| {name} | {bound * 1e6:.1f} | {' | '.join(cells)} | {own / bound:.2f} | {planned:.0f} |")
    report.row(point=name, levels=step.levels, new=step.new, bound=bound, bytes=step.least_bytes(layer),
               operations=step.operations(layer), seconds=times, planning=planned / 1e6)


def planning(step: Step, layer: Layer) -> float:
    """Microseconds of planning the step on the host when the one before was alike."""
    planner = Planner(tiles_for(layer.size, layer.size, "bfloat16"), 264)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        planner.plan(step.runs, step.segments, LayerGroup(layer.kv_heads, layer.heads // layer.kv_heads))
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e6


def decoding(report: Report, device: torch.device) -> None:
    """Whole decoding steps of a model with random weights, its prefix shared or not."""
    cuda = device.type == "cuda"
    shape = LLAMA_3_8B if cuda else SMALL
    sizes = ((16, 1024), (64, 1024), (64, 4096), (64, 16384), (256, 1024)) if cuda else ((3, 32),)
    own, count = (128, 64) if cuda else (13, 3)
    report.line(f"\n## Decoding {count} tokens: {shape.layers} layers of {shape.hidden}, {shape.dtype}, random weights")
    report.line("\n| sequences | prefix | | tokens/s | step, ms | planning, ms | attention, ms |")
    report.line("|---|---|---|---|---|---|---|")
    for rows, prefix in sizes:
        for shared in (True, False):
            if stop_late(report):
                return
            where = f"| {rows} | {prefix} | {'shared' if shared else 'copied'} |"
            try:
                speed = decode(shape, rows, prefix, own, count, device, shared=shared)
            except torch.cuda.OutOfMemoryError:
                report.line(f"{where} the KV does not fit | | | |")
                continue
            finally:
                torch.cuda.empty_cache() if cuda else None
            times = (speed.step, speed.planning, speed.attention)
            report.row(rows=rows, prefix=prefix, own=own, count=count, shared=shared, **vars(speed))
            report.line(f"{where} {speed.tokens:.0f} | {' | '.join(f'{each * 1e3:.2f}' for each in times)} |")
