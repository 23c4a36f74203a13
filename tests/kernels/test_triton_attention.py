"""The Triton kernels, in Triton's interpreter, against float64: NaN in all that no row may read.

The interpreter has no bfloat16 products. It is slow, so these cases are small; the nightly run takes all of them.
"""

import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from semlang.kernels.reference_attention import reference_attention
from torch import Tensor
from trees import LAYOUTS, TREES, Pairs, Step, step, tensors, trees

pytest.importorskip("triton", reason="Triton is not installed: pip install 'semlang[gpu]'")

from semlang.kernels.triton.attention import DevicePlan, Pool, TritonAttention
from semlang.kernels.triton.plan import LayerGroup, Planner
from semlang.kernels.triton.tiles import supports
from triton_runs import BOUND, CPU, ONE, TILES, attend, error

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("TRITON_INTERPRET is not 1", allow_module_level=True)

NIGHTLY = "SEMC_LAW_EXAMPLES" in os.environ
SLOW = ("40 leaves", "64 deep, forked at each")
QUICK = [name for name in TREES if NIGHTLY or name not in SLOW]


@pytest.mark.parametrize("name", QUICK)
def test_equals_float64(name: str) -> None:
    for number, layout in enumerate(LAYOUTS if NIGHTLY else ["scattered"]):
        dtype = torch.float16 if number % 2 else torch.float32
        assert error(step(*TREES[name], layout), dtype=dtype) < BOUND[dtype]


@pytest.mark.parametrize("name", QUICK)
def test_window_soft_cap_and_sinks(name: str) -> None:
    tree = step(*TREES[name], "pages")
    sinks = torch.linspace(-2.0, 3.0, 6)
    assert error(tree, soft_cap=1.5, scale=1.0, sinks=sinks, window=20) < 1e-6
    for window in (1, 2, 16, 50, 500) if NIGHTLY else ():
        assert error(tree, window=window) < 1e-6


@pytest.mark.parametrize("heads, kv_heads, dim", [(3, 1, 64), (4, 1, 80), (7, 1, 128), (4, 4, 96), (8, 1, 256)])
def test_head_counts_and_sizes(heads: int, kv_heads: int, dim: int) -> None:
    tree = step(*TREES["mixed"], "pages")
    assert error(tree, heads, kv_heads, dim, torch.float16, scale=dim**-0.5) < BOUND[torch.float16]


def test_values_of_another_size_than_keys() -> None:
    assert error(step(*TREES["mixed"]), 2, 2, 48, value_dim=16) < 1e-6


def test_huge_scores() -> None:
    assert error(step(*TREES["three levels, ragged"]), gain=300.0) < 1e-4
    assert error(step(*TREES["three levels, ragged"]), gain=300.0, soft_cap=2.0) < 1e-4


@pytest.mark.parametrize("span", [32, 64, 96, 1 << 20])
def test_spans(span: int) -> None:
    """However keys are split, in whatever order programs take the items."""
    assert error(step([(-1, 193), (0, 64), (0, 31)], [(1, 9), (2, 1)], "pages"), span=span) < 1e-6


@pytest.mark.parametrize("window", [None, 3, 40])
@pytest.mark.parametrize("name", ["three levels, ragged", "mixed", "page borders"])
def test_invariant_plans_equal_float64(name: str, window: int | None) -> None:
    assert error(step(*TREES[name], "pages"), tiles=ONE, span=32, invariant=True, window=window) < 1e-6


@settings(max_examples=500 if NIGHTLY else 12, deadline=None)
@given(tree=trees(), layout=st.sampled_from(LAYOUTS), window=st.none() | st.integers(1, 60), seed=st.integers(0, 9),
       invariant=st.booleans())
def test_random_trees(tree: tuple[Pairs, Pairs], layout: str, window: int | None, seed: int, invariant: bool) -> None:
    nodes, queries = tree
    if queries:
        tiles = ONE if invariant else TILES
        found = error(step(nodes, queries, layout, seed), 3, 1, 16, window=window, span=32, tiles=tiles,
                      invariant=invariant)
        assert found < 3e-6


@pytest.mark.parametrize("window", [None, 20])
def test_neighbours_change_no_bit(window: int | None) -> None:
    """A row in an invariant plan: alone, below a prefix that others share, in chunks, or token by token."""
    tree = step([(-1, 75), (0, 47), (0, 5), (1, 9), (-1, 30)], [(3, 9), (2, 1), (4, 30)], "pages")
    parts = tensors(tree, 3, 1, 16, torch.float16)
    layers = LayerGroup(1, 3, window)

    def compute(given: Step, query: Tensor) -> Tensor:
        plan = Planner(ONE, 5, span=32, invariant=True).plan(given.runs, given.segments, layers)
        return attend(given, [query, *parts[1:]], plan, ONE, window=window)

    together = compute(tree, parts[0])
    assert together.isfinite().all()
    for number, (first, last) in enumerate([(0, 9), (9, 10), (10, 40)]):
        alone = Step(tree.runs, [tree.segments[number]], tree.slot_count)
        assert torch.equal(compute(alone, parts[0][:, first:last]), together[first:last])
    # The last token of the chunk, its other tokens resident.
    later = step([(-1, 75), (0, 47), (0, 5), (1, 9), (-1, 30)], [(3, 1)], "pages")
    assert torch.equal(compute(later, parts[0][:, 8:9]), together[8:9])


def test_the_order_of_segments_changes_nothing() -> None:
    tree = step(*TREES["three levels, ragged"], "pages")
    query, keys, values = tensors(tree, 6, 2, 16, torch.float32)
    layers = LayerGroup(2, 3)
    straight = attend(tree, [query, keys, values], Planner(TILES, 16).plan(tree.runs, tree.segments, layers), TILES)
    order = [2, 0, 3, 1]
    moved = Step(tree.runs, [tree.segments[i] for i in order], tree.slot_count)
    plan = Planner(TILES, 16).plan(moved.runs, moved.segments, layers)
    assert torch.equal(attend(moved, [query[:, order], keys, values], plan, TILES), straight[order])


def test_rows_of_padding_become_zero() -> None:
    tree = step(*TREES["two levels, 5 leaves"], "pages")
    plan = Planner(TILES, 16).plan(tree.runs, tree.segments, LayerGroup(2, 3), padded_rows=8)
    output = attend(tree, tensors(tree, 6, 2, 16, torch.float32), plan, TILES)
    assert output[:5].isfinite().all() and (output[:5] != 0).any() and (output[5:] == 0).all()


def test_no_items_and_no_rows() -> None:
    plan = Planner(TILES, 16).plan([], [], LayerGroup(2, 3), padded_rows=2)
    assert plan.item_count == 0
    device_plan = DevicePlan(CPU)
    device_plan.load(plan)
    pool = Pool.allocate(16, 2, 16, 16, torch.float32, CPU)
    attention = TritonAttention(TILES, CPU)
    query = torch.full((2, 6, 16), torch.nan)
    assert (attention.attend(query, pool, device_plan) == 0).all()
    device_plan.load(Planner(TILES, 16).plan([], [], LayerGroup(2, 3)))
    assert attention.attend(query[:0], pool, device_plan).shape == (0, 6, 16)
    with pytest.raises(ValueError, match="the plan has 0 rows, the query 2"):
        attention.attend(query, pool, device_plan)


def test_the_same_buffers_serve_other_trees() -> None:
    """What a CUDA graph needs: launches with the same arguments, other data."""
    device_plan = DevicePlan(CPU, integers=4096, partials=64)
    attention = TritonAttention(TILES, CPU)
    device_plan.reserve(6, 16)
    places = device_plan.data.data_ptr(), device_plan.outputs.data_ptr(), device_plan.sums.data_ptr()
    moves = device_plan.moves
    for name in ("one sequence", "two levels, 5 leaves", "three levels, ragged", "one key"):
        tree = step(*TREES[name], "pages")
        query, keys, values = tensors(tree, 6, 2, 16, torch.float32)
        rows = query.shape[1]
        device_plan.load(Planner(TILES, 16).plan(tree.runs, tree.segments, LayerGroup(2, 3), padded_rows=6))
        padded = torch.nn.functional.pad(query.transpose(0, 1), (0, 0, 0, 0, 0, 6 - rows))
        result = attention.attend(padded, Pool(keys, values), device_plan, scale=0.25)
        expected = reference_attention(query, keys, values, tree.runs, tree.segments, scale=0.25)
        assert (result[:rows].double() - expected).norm() / expected.norm() < 1e-6
    assert places == (device_plan.data.data_ptr(), device_plan.outputs.data_ptr(), device_plan.sums.data_ptr())
    assert device_plan.moves == moves


def test_rows_with_a_negative_slot_are_not_written() -> None:
    pool = Pool(torch.zeros(2, 4, 16), torch.zeros(2, 4, 16))
    new = torch.ones(2, 2, 16)
    TritonAttention(TILES, CPU).store(new, 2 * new, torch.tensor([3, -1]), pool)
    assert pool.keys.sum(dim=(0, 2)).tolist() == [0, 0, 0, 32] and pool.values.sum(dim=(0, 2)).tolist() == [0, 0, 0, 64]


def test_what_the_kernel_does_not_compute() -> None:
    assert supports(32, 8, 128, 128, "bfloat16") and supports(128, 128, 192, 128, "bfloat16")
    assert not supports(4, 2, 12, 12, "float16")
    assert not supports(4, 2, 512, 512, "float16")
    assert not supports(4, 2, 64, 64, "float64")
    assert not supports(65, 1, 64, 64, "bfloat16")


def test_a_pool_that_32_bits_do_not_address() -> None:
    with pytest.raises(ValueError, match="16777216 slots of 128 numbers are too many"):
        Pool.allocate(1 << 24, 1, 128, 64, torch.float16, torch.device("meta"))
    # Between heads, 64 bits do.
    assert Pool.allocate((1 << 24) - 1, 8, 128, 64, torch.float16, torch.device("meta")).keys.stride(0) > 1 << 30
