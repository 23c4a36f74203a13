"""Which tiles are the fastest on this device: a few compiled variants on a few steps; what wins goes into a table."""

from __future__ import annotations

import statistics
from dataclasses import asdict

import torch
from cases import Layer, Levels, Step, Tensors, exact, tensors, uniform
from findings import Report, stop_late
from sections import BOUND
from semlang.kernels.triton.attention import DevicePlan, Pool, TritonAttention
from semlang.kernels.triton.plan import LayerGroup, Planner
from semlang.kernels.triton.tiles import CANDIDATES, Tiles
from semlang.kernels.triton.tuned import entry
from timing import seconds
from torch import Tensor

POINTS: dict[str, tuple[Levels, int]] = {
    "B 16, P 1024, S 128": (((1, 1024), (16, 128)), 1),
    "B 64, P 4096, S 128": (((1, 4096), (64, 128)), 1),
    "B 256, P 4096, S 512": (((1, 4096), (256, 512)), 1),
    "2k / 512 / 128 × 64": (((1, 2048), (8, 512), (64, 128)), 1),
    "nothing shared × 64": (((64, 1024),), 1),
    "8 chunks of 512 below 4k": (((1, 4096), (8, 512)), 512),
}
SMALL: dict[str, tuple[Levels, int]] = {"B 3, P 48, S 16": (((1, 48), (3, 16)), 1)}
SMALL_CANDIDATES = (Tiles(small_keys=16, large_keys=16), Tiles(large_rows=16, small_keys=16, large_keys=16))


def tuning(report: Report, device: torch.device) -> None:
    """Times of each candidate; the one with the least geometric mean is written to `tuned.json`."""
    cuda = device.type == "cuda"
    layer = Layer(32, 8, 128, torch.bfloat16) if cuda else Layer(4, 2, 16, torch.float16)
    points = POINTS if cuda else SMALL
    candidates = CANDIDATES if cuda else SMALL_CANDIDATES
    report.line(f"\n## Tiles for {layer.heads}/{layer.kv_heads} heads of {layer.size}, {layer.dtype}: times in µs\n")
    report.line(f"| tiles | {' | '.join(points)} | mean |")
    report.line("|---|" + "---|" * (len(points) + 1))
    means: dict[Tiles, float] = {}
    for tiles in candidates:
        if stop_late(report):
            break
        times = [timed(tiles, uniform(levels, new), layer, device, report) for levels, new in points.values()]
        mean = statistics.geometric_mean(times)
        if mean < float("inf"):
            means[tiles] = mean
        report.line(f"| {name_of(tiles)} | {' | '.join(f'{each * 1e6:.1f}' for each in times)} | {mean * 1e6:.1f} |")
        report.row(tiles=asdict(tiles), points=list(points), seconds=times, mean=mean)
    if means:
        best = min(means, key=lambda tiles: means[tiles])
        fields = {name: value for name, value in asdict(best).items() if value != getattr(Tiles(), name)}
        device_name = torch.cuda.get_device_name(device) if cuda else "interpreted"
        dtype = str(layer.dtype).removeprefix("torch.")
        report.save("tuned.json", {device_name: {entry(layer.size, layer.size, dtype): fields}})
        report.line(f"\nThe fastest: {name_of(best)}; tuned.json, for kernels/triton, says so.")


def name_of(tiles: Tiles) -> str:
    """Rows × keys of both tiles, stages and warps."""
    return (f"{tiles.small_rows}×{tiles.small_keys} ({tiles.small_stages}) / {tiles.large_rows}×{tiles.large_keys} "
            f"({tiles.large_stages}), {tiles.warps} warps")


def timed(tiles: Tiles, step: Step, layer: Layer, device: torch.device, report: Report) -> float:
    """Seconds of one layer of a step; infinite where the result is wrong or the tiles do not compile."""
    try:
        data = tensors(step, layer, device)
        work = Work(tiles, step, layer, data)
        leaves = [0, len(step.segments) - 1]
        rows = [leaf * step.new + row for leaf in leaves for row in range(step.new)]
        expected = exact(step, layer, data, leaves)
        error = float((work()[rows].double() - expected).norm() / expected.norm())
        if not error <= BOUND[layer.dtype]:
            report.check(f"{name_of(tiles)}", error, BOUND[layer.dtype])
            return float("inf")
        return seconds(work, device, 20 if device.type == "cuda" else 1)
    except Exception as error:  # whatever a compiler or a driver raises; another candidate may do
        reason = str(error).splitlines()[0] if str(error) else ""
        report.line(f"\n– {name_of(tiles)}: {type(error).__name__}: {reason}\n")
        return float("inf")


class Work:
    """The kernels with given tiles on one step."""

    def __init__(self, tiles: Tiles, step: Step, layer: Layer, data: Tensors) -> None:
        self._kernels = TritonAttention(tiles, data.query.device)
        self._plan = DevicePlan(data.query.device)
        self._plan.load(Planner(tiles, self._kernels.programs).plan(
            step.runs, step.segments, LayerGroup(layer.kv_heads, layer.heads // layer.kv_heads)))
        self._query, self._pool = data.query, Pool(data.keys, data.values)
        self._output = torch.empty_like(data.query)

    def __call__(self) -> Tensor:
        return self._kernels.attend(self._query, self._pool, self._plan, output=self._output)


