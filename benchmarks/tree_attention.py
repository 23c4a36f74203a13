"""Shared-prefix decode step of one layer: tree attention beside SDPA over each sequence's own copy.

All sides compute the same rows from the same random keys in one run, turn by turn; printed are median
and spread (lowest … highest) over the turns, how often SDPA reads a KV token that tree attention reads
once, and the distance of the results. SDPA is called in two ways: with the query heads of a group as
rows (the fastest way that shares nothing), and with `enable_gqa` (the usual way). It gets its keys
already laid out per sequence; that copy is not timed, and takes B times the prefix in memory.

    python benchmarks/tree_attention.py [--threads 1] [--dtype float32] [--turns 5]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from semlang.kernels.attention_plan import AttentionPlan, AttentionShape
from semlang.kernels.tree_attention import tree_attention
from torch import Tensor

LAYERS = [(14, 2, 64), (16, 8, 128)]
"""Query heads, KV heads and head size of Qwen2.5-0.5B and Qwen3-0.6B."""
SHAPES = [(1, 1024, 64), (4, 256, 64), (4, 1024, 64), (16, 256, 64), (16, 1024, 64), (16, 4096, 64)]
"""Sequences B, shared prefix P, own tokens S."""

Side = Callable[[], Tensor]


@dataclass(frozen=True)
class Tokens:
    """Consecutive tokens: a run of the tree, or a segment below the runs `ancestors`."""

    slots: NDArray[np.int64]
    first_position: int
    ancestors: tuple[int, ...] = ()


def sides(layer: tuple[int, int, int], batch: int, prefix: int, own: int, dtype: torch.dtype) -> list[Side]:
    """One decode step by tree attention and by SDPA in both ways; results [batch, heads, head size]."""
    heads, kv_heads, head_dim = layer
    slots = prefix + batch * own
    keys, values = torch.randn(2, kv_heads, slots, head_dim).to(dtype)
    query = torch.randn(heads, batch, head_dim).to(dtype)
    starts = [prefix + sequence * own for sequence in range(batch)]
    runs = [Tokens(np.arange(prefix), 0)] + [Tokens(np.arange(start, start + own - 1), prefix) for start in starts]
    segments = [
        Tokens(np.arange(start + own - 1, start + own), prefix + own - 1, (0, 1 + sequence))
        for sequence, start in enumerate(starts)
    ]
    plan = AttentionPlan(runs, segments, AttentionShape(heads, kv_heads, head_dim, torch.device("cpu")))
    assert plan.kv_tokens_read == slots
    order = torch.stack([torch.cat([torch.arange(prefix), torch.arange(start, start + own)]) for start in starts])
    key_copies, value_copies = (pool[:, order].transpose(0, 1).contiguous() for pool in (keys, values))
    rows = query.transpose(0, 1).contiguous()

    def tree() -> Tensor:
        return tree_attention(query, keys, values, plan)

    def grouped() -> Tensor:
        packed = rows.view(batch, kv_heads, heads // kv_heads, head_dim)
        return F.scaled_dot_product_attention(packed, key_copies, value_copies).reshape(batch, heads, head_dim)

    def usual() -> Tensor:
        return F.scaled_dot_product_attention(rows[:, :, None], key_copies, value_copies, enable_gqa=True)[:, :, 0]

    return [tree, grouped, usual]


def microseconds(side: Side, calls: int) -> float:
    """Mean time of one call."""
    start = time.perf_counter()
    for _ in range(calls):
        side()
    return (time.perf_counter() - start) / calls * 1e6


def summary(times: list[float]) -> str:
    """Median and spread."""
    return f"{statistics.median(times):7.0f} ({min(times):.0f} … {max(times):.0f})"


def main() -> None:
    """Print one line for each layer and shape."""
    parser = argparse.ArgumentParser(description="Tree attention beside SDPA, one layer, decode.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"{options.dtype}, {options.threads} thread(s), torch {torch.__version__}; times in µs")
    for layer in LAYERS:
        print(f"\nheads {layer[0]}/{layer[1]}, head size {layer[2]}")
        headings = f"{'tree':<24}{'SDPA, group as rows':<32}{'SDPA, enable_gqa':<34}"
        print(f"{'B':>3} {'P':>5} {'S':>3}  {headings}{'reads':>6}  distance")
        for batch, prefix, own in SHAPES:
            tree, *others = functions = sides(layer, batch, prefix, own, getattr(torch, options.dtype))
            with torch.inference_mode():
                expected = others[0]().float()
                distance = float((tree().float() - expected).norm() / expected.norm())
                calls = [max(1, int(3e4 / microseconds(function, 1))) for function in functions]
                turns = [
                    [microseconds(function, count) for function, count in zip(functions, calls, strict=True)]
                    for _ in range(options.turns)
                ]
            times = [[turn[side] for turn in turns] for side in range(len(functions))]
            line = f"{batch:>3} {prefix:>5} {own:>3}  {summary(times[0]):<24}"
            for other, width in zip(times[1:], (22, 24), strict=True):
                ratio = statistics.median(other) / statistics.median(times[0])
                line += f"{summary(other):<{width}} {ratio:>5.1f}x   "
            print(line + f"{batch * (prefix + own) / (prefix + batch * own):>5.1f}x  {distance:.0e}")


if __name__ == "__main__":
    main()
