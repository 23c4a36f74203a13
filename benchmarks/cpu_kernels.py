"""The CPU kernels beside the limits of this machine, all measured in one run.

Linear layers read cold weights: each call takes another copy, and all copies are more than the caches hold. At few rows
reading them is the limit (GB/s), at many rows the products (GF/s); both are printed with the part of the limit that
they are. Ours are called as the whole decoder calls them, as functions in C, torch's as operators. Peers on the same
line: `F.linear`, and oneDNN on weights that it has packed. Attention: a decode step on a
shared prefix, chunks of a prompt, a tree of three levels, decoding without sharing; GF/s of the products that are
needed, and the part of the nearer limit, of products or of memory. `ceiling`: what the exponentials leave of the former
at most. Peers: SDPA for each sequence, over keys that lie ready and warm in one place, and our own path in torch. Sides
take turns; medians, and lowest … highest in percent of them.

    nice -n -15 python benchmarks/cpu_kernels.py [--threads 2] [--only linears] [--turns 5] [--processor-time]
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import functools
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from machine_limits import Limits, Times, measure_limits, timed
from semlang.kernels.attention_plan import AttentionPlan, AttentionShape
from semlang.kernels.cpu.attention import CpuAttention, PagedPool
from semlang.kernels.cpu.decoder_structures import WeightKind
from semlang.kernels.cpu.library import Kernels, load_kernels
from semlang.kernels.cpu.linear import PackedLinear, PackedWeights
from semlang.kernels.cpu.memory import LARGE_PAGES
from semlang.kernels.cpu.plan import ItemPlan
from semlang.kernels.tree_attention import tree_attention
from torch import Tensor

ROWS = (1, 2, 4, 8, 16, 32, 64, 512)
LAYERS = [
    ("Llama 58 M, q k v", 1024, 512), ("output", 512, 512), ("gate and up", 3072, 512), ("down", 512, 1536),
    ("head", 32000, 512), ("Qwen2.5-0.5B, q k v", 1152, 896), ("gate and up", 9728, 896), ("down", 896, 4864),
    ("head", 151936, 896),
]
"""What, outputs, inputs."""
COLD = 160 << 20
"""Bytes of all copies of a layer's weights, five times the last cache of the machine that this was written on."""
WEIGHT_BYTES = {"bf16": 2, "int8": 1, "fp32": 4, "F.linear bf16": 2, "oneDNN bf16": 2, "F.linear fp32": 4}
"""The sides of a linear layer, and bytes of a weight."""
MOST_PRODUCTS = 2e10
"""A call of more is left out."""
HEADS = [(8, 4, 64), (14, 2, 64), (16, 8, 128), (32, 8, 128)]
Turns = Callable[[dict[str, Callable[[], object]]], dict[str, Times]]
OWN = 64
"""Tokens that each sequence has of its own in a decode step on a shared prefix."""


@dataclass(frozen=True)
class Tokens:
    """Consecutive tokens: a run of the tree, or a segment below the runs `ancestors`."""

    slots: np.ndarray
    first_position: int
    ancestors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Case:
    """A step: runs (length, parent) and segments (new tokens, run); `peer`: sequences, rows and keys of each."""

    name: str
    runs: list[tuple[int, int]]
    segments: list[tuple[int, int]]
    peer: tuple[int, int, int]


def cases() -> list[Case]:
    """All steps of attention."""
    shared = [Case(f"{batch} on a prefix of {prefix}", [(prefix, -1)] + [(OWN - 1, 0)] * batch,
                   [(1, 1 + sequence) for sequence in range(batch)], (batch, 1, prefix + OWN))
              for prefix in (1024, 4096) for batch in (16, 32, 64)]
    chunks = [Case(f"512 new after {before}", [(before, -1)] if before else [],
                   [(512, 0 if before else -1)], (1, 512, before + 512)) for before in (0, 2048)]
    tree = [(2048, -1)] + [(512, 0)] * 4 + [(127, 1 + leaf // 16) for leaf in range(64)]
    levels = Case("64 leaves of 2048, 512, 128", tree, [(1, 5 + leaf) for leaf in range(64)], (64, 1, 2688))
    alone = Case("16 of 1024, nothing shared", [(1023, -1)] * 16, [(1, sequence) for sequence in range(16)],
                 (16, 1, 1024))
    return [*shared, *chunks, levels, alone]


def main() -> None:
    """Print the limits and two tables, in Markdown."""
    parser = argparse.ArgumentParser(description="The CPU kernels beside the limits of this machine.")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    parser.add_argument("--only", choices=["linears", "attention"])
    parser.add_argument("--processor-time", action="store_true", help="for a busy machine; of one thread")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    kernels = load_kernels()
    if not isinstance(kernels, Kernels):
        parser.exit(2, f"{kernels.reason}\n")
    torch.manual_seed(0)
    if options.processor_time and options.threads != [1]:
        parser.error("processor time is that of one thread: --threads 1")
    print(f"{time.strftime('%d %B %Y, %H:%M')}; torch {torch.__version__}, kernels in {kernels.instructions}; "
          f"load {_load()}; `{' '.join(['benchmarks/cpu_kernels.py', *sys.argv[1:]])}`\n")
    titles = ["threads", "memory read GB/s", "best bf16 product GF/s", "by", "products in registers GF/s"]
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    limits = []
    turns = functools.partial(timed, clock=time.thread_time if options.processor_time else time.perf_counter)
    for threads in dict.fromkeys(options.threads):
        torch.set_num_threads(threads)
        limits.append(measure_limits(threads, turns))
        print(f"| {threads} | {limits[-1].bandwidth / 1e9:.1f} | {limits[-1].products / 1e9:.0f} | {limits[-1].best} | "
              f"{limits[-1].registers / 1e9:.0f} |", flush=True)
    with torch.inference_mode():
        if options.only != "attention":
            linears(limits, kernels, functools.partial(turns, count=options.turns, seconds=0.01))
        if options.only != "linears":
            attention(limits, kernels, functools.partial(turns, count=options.turns, seconds=0.02))
    print(f"\nLoad at the end: {_load()}.")


def linears(limits: list[Limits], kernels: Kernels, turns: Turns) -> None:
    """A line for each layer and number of rows."""
    titles = ["layer", "rows", "threads", *WEIGHT_BYTES, "best peer in bf16 / bf16"]
    print(f"\n## Linear layers, cold weights\n\n| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for name, outputs, inputs in LAYERS:
        layer = LinearCase(outputs, inputs, kernels)
        for rows in ROWS:
            if rows * outputs * inputs > MOST_PRODUCTS:
                continue
            sides = layer.sides(rows)
            for limit in limits:
                torch.set_num_threads(limit.threads)
                times = turns(sides)
                peer = min(times["F.linear bf16"].median, times["oneDNN bf16"].median)
                cells = [_linear_cell(times[side], limit, rows, outputs * inputs, size)
                         for side, size in WEIGHT_BYTES.items()]
                print(f"| {name}, {inputs} to {outputs} | {rows} | {limit.threads} | {' | '.join(cells)} | "
                      f"{peer / times['bf16'].median:.2f} |", flush=True)


class LinearCase:
    """A layer by all sides, each on copies of its own."""

    def __init__(self, outputs: int, inputs: int, kernels: Kernels) -> None:
        self._weight = torch.randn(outputs, inputs) * inputs**-0.5
        kinds = {"bf16": (torch.bfloat16, None), "int8": (torch.bfloat16, WeightKind.int8),
                 "fp32": (torch.float32, None)}
        self._ours = {}
        for side, (dtype, kind) in kinds.items():
            module = PackedLinear(self._weight.to(dtype), None, kernels, kind)
            self._ours[side] = Rotation(module, _another_module, module.weights.packed.nbytes)
        self._plain = {dtype: Rotation(self._weight.to(dtype), torch.clone, self._weight.numel() * dtype.itemsize)
                       for dtype in (torch.bfloat16, torch.float32)}

    def sides(self, rows: int) -> dict[str, Callable[[], object]]:
        """Calls with so many rows."""
        ours, plain = self._ours, self._plain
        wide = torch.randn(rows, self._weight.shape[1])
        narrow, given = wide.bfloat16(), self._weight.bfloat16()
        packed = Rotation(given, lambda weight: torch.ops.mkldnn._reorder_linear_weight(weight.clone(), rows),
                          given.nbytes)
        results = {x.dtype: torch.empty(rows, len(given), dtype=x.dtype) for x in (narrow, wide)}

        def call(side: str, x: Tensor) -> None:
            module = ours[side].next()
            module._entry(ctypes.addressof(module._fields), x.data_ptr(), results[x.dtype].data_ptr(), rows,
                          torch.get_num_threads())

        return {
            "bf16": lambda: call("bf16", narrow),
            "int8": lambda: call("int8", narrow),
            "fp32": lambda: call("fp32", wide),
            "F.linear bf16": lambda: F.linear(narrow, plain[torch.bfloat16].next()),
            "oneDNN bf16": lambda: torch.ops.mkldnn._linear_pointwise(narrow, packed.next(), None, "none", [], ""),
            "F.linear fp32": lambda: F.linear(wide, plain[torch.float32].next()),
        }


class Rotation:
    """Copies of something of `size` bytes, enough to be cold, one after the other."""

    def __init__(self, one: Any, another: Callable[[Any], Any], size: int) -> None:
        self._copies = [another(one) for _ in range(1 + COLD // size)]
        self._number = 0

    def next(self) -> Any:
        """The copy whose turn it is."""
        self._number = (self._number + 1) % len(self._copies)
        return self._copies[self._number]


def _linear_cell(times: Times, limit: Limits, rows: int, weights: int, size: int) -> str:
    """Microseconds and the nearer of the two limits."""
    read, computed = weights * size / times.median, 2 * rows * weights / times.median
    part, rate = max((read / limit.bandwidth, f"{read / 1e9:.1f} GB/s"),
                     (computed / limit.products, f"{computed / 1e9:.0f} GF/s"))
    return f"{times.median * 1e6:.0f} µs ({times.spread}), {rate}, {part:.0%}"


def _another_module(linear: PackedLinear) -> PackedLinear:
    other = copy.copy(linear)
    old = linear.weights
    packed = LARGE_PAGES.empty(tuple(old.packed.shape), old.packed.dtype).copy_(old.packed)
    other.weights = PackedWeights(packed, old.scale, old.bias, old.outputs, old.inputs, old.kind)
    other._fields = other.weights.fields()
    return other


def attention(limits: list[Limits], kernels: Kernels, turns: Turns) -> None:
    """A line for each shape of heads and step."""
    titles = ["heads", "step", "threads", "ours", "part of the limit", "ceiling", "SDPA / ours", "torch path / ours"]
    print(f"\n## Attention, bf16\n\n| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for heads, kv_heads, size in HEADS:
        for case in cases():
            step = AttentionCase(case, heads, kv_heads, size, kernels)
            for limit in limits:
                torch.set_num_threads(limit.threads)
                times = turns({"ours": step.ours, "torch path": step.torch_path, "SDPA": step.sdpa})
                ours = times["ours"]
                rate = step.operations / ours.median
                read = step.bytes / ours.median
                part = max((rate / limit.products, "products"), (read / limit.bandwidth, "bandwidth"))
                print(f"| {heads}/{kv_heads}, {size} | {case.name} | {limit.threads} | {ours.median * 1e6:.0f} µs "
                      f"({ours.spread}), {rate / 1e9:.0f} GF/s, {read / 1e9:.1f} GB/s | {part[0]:.0%} ({part[1]}) | "
                      f"{ceiling(size, limit):.0%} | {times['SDPA'].median / ours.median:.1f} | "
                      f"{times['torch path'].median / ours.median:.1f} |", flush=True)


class AttentionCase:
    """A step of attention on random numbers, by all sides."""

    def __init__(self, case: Case, heads: int, kv_heads: int, size: int, kernels: Kernels) -> None:
        slots = sum(-(-length // 16) * 16 for length, _ in case.runs) + sum(new for new, _ in case.segments)
        runs, segments, at = [], [], 0
        depths: list[tuple[int, tuple[int, ...]]] = []  # tokens up to the end of a run, and the runs on the way
        for number, (length, parent) in enumerate(case.runs):
            before, ancestors = depths[parent] if parent >= 0 else (0, ())
            runs.append(Tokens(np.arange(at, at + length), before))
            depths.append((before + length, (*ancestors, number)))
            at += -(-length // 16) * 16
        pairs = 0
        for new, run in case.segments:
            before, ancestors = depths[run] if run >= 0 else (0, ())
            segments.append(Tokens(np.arange(at, at + new), before, ancestors))
            pairs += new * before + new * (new + 1) // 2
            at += new
        self.operations = 4 * pairs * heads * size
        self._plan = ItemPlan(runs, segments, group=heads // kv_heads)
        self.bytes = 4 * self._plan.kv_tokens_read * kv_heads * size
        self._torch_plan = AttentionPlan(runs, segments, AttentionShape(heads, kv_heads, size, torch.device("cpu")))
        rows = self._plan.row_count
        self._attention = CpuAttention(kernels)
        self._pool = PagedPool.allocate(slots, kv_heads, size, size, torch.bfloat16)
        self._pool.keys.normal_()
        self._pool.values.normal_()
        self._query = torch.randn(rows, heads, size).bfloat16()
        self._new = torch.randn(rows, kv_heads, size).bfloat16()
        self._slots = torch.from_numpy(np.concatenate([segment.slots for segment in segments]))
        self._flat = torch.randn(2, kv_heads, slots, size).bfloat16()
        sequences, per_sequence, keys = case.peer
        one = torch.randn(2, 1, kv_heads, keys, size).bfloat16()
        self._copies = one.expand(2, sequences, kv_heads, keys, size)
        self._causal = per_sequence > 1
        group = heads // kv_heads
        self._rows = torch.randn(sequences, kv_heads if per_sequence == 1 else heads,
                                 group if per_sequence == 1 else per_sequence, size).bfloat16()
        self._mask = None
        if self._causal:
            self._copies = self._copies.repeat_interleave(group, dim=2)
            self._mask = torch.ones(per_sequence, keys, dtype=torch.bool).tril(keys - per_sequence)

    def ours(self) -> Tensor:
        """The kernel."""
        return self._attention.attend(self._query, self._new, self._new, self._slots, self._pool, self._plan)

    def torch_path(self) -> Tensor:
        """What runs where there is no compiler."""
        return tree_attention(self._query.transpose(0, 1), self._flat[0], self._flat[1], self._torch_plan)

    def sdpa(self) -> Tensor:
        """The query heads of a group as rows; all sequences read the same keys, so that they are warm."""
        return F.scaled_dot_product_attention(self._rows, self._copies[0], self._copies[1], attn_mask=self._mask)


def ceiling(size: int, limit: Limits) -> float:
    """Part of the measured rate of products that attention could reach at most.

    A core with AVX-512-BF16 starts one vector product in a cycle, of pairs or fused. Sixteen scores are `size` of the
    former; their exponentials are four of the latter (scale, then a polynomial of third degree). Everything else
    (maximum, sum, exponent, rounding) has units of its own.
    """
    return size / (size + 4) * limit.registers / limit.products


def _load() -> str:
    return ", ".join(f"{load:.1f}" for load in os.getloadavg())


if __name__ == "__main__":
    main()
