"""Tree attention against float64, with NaN in every KV slot that is not in use."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nightly import examples
from semlang.kernels.attention_plan import AttentionPlan, AttentionShape
from semlang.kernels.reference_attention import reference_attention
from semlang.kernels.tree_attention import tree_attention
from semlang.kernels.work_items import split_contiguous, work_items
from torch import Tensor
from trees import LAYOUTS, TREES, Pairs, Step, step, tensors, trees

CPU = torch.device("cpu")


def error(
    step: Step,
    heads: int = 6,
    kv_heads: int = 2,
    dim: int = 16,
    dtype: torch.dtype = torch.float32,
    *,
    window: int | None = None,
    soft_cap: float | None = None,
    sinks: Tensor | None = None,
    scale: float = 0.25,
    gain: float = 1.0,
) -> float:
    """Relative distance of tree attention from the float64 reference."""
    query, keys, values = tensors(step, heads, kv_heads, dim, dtype, gain)
    plan = AttentionPlan(step.runs, step.segments, AttentionShape(heads, kv_heads, dim, CPU), window)
    result = tree_attention(query, keys, values, plan, scale=scale, soft_cap=soft_cap, sinks=sinks)
    assert result.dtype == dtype
    expected = reference_attention(
        query, keys, values, step.runs, step.segments, scale=scale, window=window, soft_cap=soft_cap, sinks=sinks
    )
    return float((result.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", TREES)
def test_equals_float64(name: str, layout: str) -> None:
    assert error(step(*TREES[name], layout)) < 2e-6


@pytest.mark.parametrize("window", [1, 2, 16, 50, 500])
@pytest.mark.parametrize("name", TREES)
def test_sliding_window(name: str, window: int) -> None:
    assert error(step(*TREES[name], "pages"), window=window) < 2e-6


@pytest.mark.parametrize("name", TREES)
def test_soft_cap_and_sinks(name: str) -> None:
    tree = step(*TREES[name], "pages")
    assert error(tree, soft_cap=1.5, scale=1.0) < 2e-6
    assert error(tree, sinks=torch.linspace(-2.0, 3.0, 6)) < 2e-6
    assert error(tree, soft_cap=1.5, scale=1.0, sinks=torch.linspace(-2.0, 3.0, 6), window=20) < 2e-6


def test_a_chunk_longer_than_the_window_and_than_a_row_block() -> None:
    for window in (3, 100, 300):
        assert error(step([(-1, 40), (0, 700)], [(1, 690)]), window=window) < 2e-6


def test_scores_that_are_computed_in_tiles_of_rows() -> None:
    tree = step([(-1, 300), (0, 600)], [(1, 500)])
    assert AttentionShape(6, 2, 16, CPU).most_scores < 500 * 400
    assert error(tree, soft_cap=2.0) < 2e-6
    assert error(tree, soft_cap=2.0, window=450) < 2e-6


@pytest.mark.parametrize("heads, kv_heads", [(1, 1), (4, 4), (3, 1), (12, 3), (14, 2)])
@pytest.mark.parametrize("dim", [1, 12, 64, 80, 128, 256])
def test_head_counts_and_sizes(heads: int, kv_heads: int, dim: int) -> None:
    assert error(step(*TREES["mixed"], "pages"), heads, kv_heads, dim, scale=dim**-0.5) < 2e-6


def test_values_of_another_size_than_keys() -> None:
    tree = step(*TREES["mixed"], "pages")
    query, keys, values = tensors(tree, 4, 2, 24, torch.float32)
    plan = AttentionPlan(tree.runs, tree.segments, AttentionShape(4, 2, 24, CPU))
    result = tree_attention(query, keys, values[..., :8], plan)
    expected = reference_attention(query, keys, values[..., :8], tree.runs, tree.segments, scale=24**-0.5)
    assert (result.double() - expected).abs().max() < 1e-5


@pytest.mark.parametrize("dtype, bound", [(torch.float64, 1e-12), (torch.bfloat16, 1e-2), (torch.float16, 2e-3)])
@pytest.mark.parametrize("name", ["mixed", "long runs", "40 leaves"])
def test_dtypes(name: str, dtype: torch.dtype, bound: float) -> None:
    assert error(step(*TREES[name]), dtype=dtype) < bound
    assert error(step(*TREES[name], "pages"), dtype=dtype, soft_cap=5.0) < bound


@pytest.mark.parametrize("name", ["mixed", "long runs", "three levels, ragged"])
def test_huge_scores(name: str) -> None:
    assert error(step(*TREES[name]), gain=300.0) < 1e-4


@settings(max_examples=examples(60, 10_000), deadline=None)
@given(
    trees(), st.sampled_from(["contiguous", "pages", "scattered"]), st.none() | st.integers(1, 60), st.integers(0, 9)
)
def test_random_trees(tree: tuple[Pairs, Pairs], layout: str, window: int | None, seed: int) -> None:
    nodes, queries = tree
    if queries:
        assert error(step(nodes, queries, layout, seed), 4, 2, 8, window=window) < 3e-6


def test_a_step_without_tokens() -> None:
    plan = AttentionPlan([], [], AttentionShape(4, 2, 8, CPU))
    empty = torch.empty(4, 0, 8)
    assert tree_attention(empty, torch.zeros(2, 5, 8), torch.zeros(2, 5, 8), plan).shape == (0, 4, 8)


def test_a_shared_run_is_read_once() -> None:
    prefix, own, leaves = 1000, 5, 16
    tree = step([(-1, prefix)] + [(0, own)] * leaves, [(i + 1, 1) for i in range(leaves)])
    plan = AttentionPlan(tree.runs, tree.segments, AttentionShape(4, 2, 16, CPU))
    assert plan.kv_tokens_read == prefix + leaves * own


def test_each_level_is_read_once() -> None:
    nodes, queries = TREES["three levels, ragged"]
    tree = step(nodes, queries, "pages")
    plan = AttentionPlan(tree.runs, tree.segments, AttentionShape(4, 2, 16, CPU))
    assert plan.kv_tokens_read == sum(length for _, length in nodes)


def test_a_window_drops_what_no_row_sees() -> None:
    tree = step([(-1, 1000), (0, 8), (0, 8)], [(1, 1), (2, 1)])
    plan = AttentionPlan(tree.runs, tree.segments, AttentionShape(4, 2, 16, CPU), window=100)
    assert plan.kv_tokens_read == (100 - 8) + 8 + 8


def test_runs_with_the_same_readers_are_one_item() -> None:
    tree = step([(-1, 30), (0, 20), (1, 4), (1, 6)], [(2, 1), (3, 1)])
    first, *rest = work_items(tree.runs, tree.segments)
    assert len(first.slots) == 50 and first.rows.tolist() == [0, 1]
    assert [len(item.slots) for item in rest] == [4, 6]


def test_long_contiguous_runs_are_read_in_place() -> None:
    tree = step([(-1, 600), (0, 700), (1, 4), (1, 6)], [(2, 1), (3, 1)])
    parts = split_contiguous(work_items(tree.runs, tree.segments)[0], 300)
    assert [(int(part.slots[0]), len(part.slots)) for part in parts] == [(0, 600), (608, 700)]


def test_results_do_not_depend_on_the_order_of_segments() -> None:
    tree = step(*TREES["three levels, ragged"], "pages")
    query, keys, values = tensors(tree, 6, 2, 16, torch.float32)
    shape = AttentionShape(6, 2, 16, CPU)
    straight = tree_attention(query, keys, values, AttentionPlan(tree.runs, tree.segments, shape))
    order = list(range(len(tree.segments)))
    random.Random(3).shuffle(order)
    plan = AttentionPlan(tree.runs, [tree.segments[i] for i in order], shape)
    shuffled = tree_attention(query[:, order].contiguous(), keys, values, plan)
    assert torch.equal(shuffled, straight[order])


@pytest.mark.parametrize("name", ["three levels, ragged", "long runs", "mixed", "40 leaves"])
def test_a_row_alone_is_the_same_up_to_rounding(name: str) -> None:
    tree = step(*TREES[name], "pages")
    query, keys, values = tensors(tree, 6, 2, 16, torch.float32)
    shape = AttentionShape(6, 2, 16, CPU)
    together = tree_attention(query, keys, values, AttentionPlan(tree.runs, tree.segments, shape))
    row = 0
    for segment in tree.segments:
        rows = slice(row, row + len(segment.slots))
        row = rows.stop
        alone = tree_attention(query[:, rows], keys, values, AttentionPlan(tree.runs, [segment], shape))
        assert torch.allclose(together[rows], alone, rtol=1e-5, atol=2e-6)


def test_a_window_without_tokens_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        work_items([], [], window=0)
