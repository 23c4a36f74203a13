"""Plans by positions alone: right against float64, and the same bits whatever else there is."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nightly import examples
from numpy.typing import NDArray
from semlang.kernels.cpu.aligned_plan import SPAN, aligned_items
from semlang.kernels.cpu.attention import CpuAttention, PagedPool
from semlang.kernels.cpu.library import Kernels, find_compiler, load_kernels
from semlang.kernels.cpu.plan import ItemPlan
from semlang.kernels.reference_attention import reference_attention
from torch import Tensor
from trees import LAYOUTS, TREES, Pairs, Run, Segment, Step, step, trees

HEADS, KV_HEADS, SIZE = 4, 2, 16


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    if find_compiler() is None:
        pytest.skip("there is no C++ compiler")
    built = load_kernels()
    assert isinstance(built, Kernels)
    return built


@cache
def table(heads: int, kind: int) -> Tensor:
    return torch.randn(97, 64, heads, SIZE, generator=torch.Generator().manual_seed(kind))


def numbers(tokens: NDArray[np.int64], positions: NDArray[np.int64], heads: int, kind: int,
            dtype: torch.dtype) -> Tensor:
    """Random numbers [tokens, heads, SIZE] that a token and its position decide."""
    return table(heads, kind)[torch.from_numpy(tokens), torch.from_numpy(positions % 64)].to(dtype)


def attend(kernels: Kernels, runs: list[Run], segments: list[Segment], content: NDArray[np.int64],
           places: NDArray[np.int64], dtype: torch.dtype, window: int | None) -> tuple[Tensor, Tensor]:
    """Results [rows, HEADS, SIZE] and the float64 reference; `content`, `places`: token and position of every slot."""
    keys, values = (numbers(content, places, KV_HEADS, kind, dtype) for kind in (1, 2))
    pool = PagedPool.allocate(len(content), KV_HEADS, SIZE, SIZE, dtype)
    pool.keys.fill_(torch.nan)
    pool.values.fill_(torch.nan)
    resident = np.concatenate([run.slots for run in runs] + [np.empty(0, np.int64)])
    new = np.concatenate([segment.slots for segment in segments])
    attention = CpuAttention(kernels)
    query = numbers(content[new], places[new], HEADS, 3, dtype)
    if len(resident):  # the kernel itself puts them there
        store = ItemPlan([], [Segment(resident, 0, ())], group=HEADS // KV_HEADS)
        at = torch.from_numpy(resident)
        some = numbers(content[resident], places[resident], HEADS, 3, dtype)
        attention.attend(some, keys[at], values[at], at, pool, store)
    at = torch.from_numpy(new)
    plan = ItemPlan(runs, segments, group=HEADS // KV_HEADS, window=window, aligned=True)
    found = attention.attend(query, keys[at], values[at], at, pool, plan)
    expected = reference_attention(query.transpose(0, 1), keys.transpose(0, 1), values.transpose(0, 1), runs, segments,
                                   scale=SIZE**-0.5, window=window)
    return found, expected


def contents(tree: Step) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token and position of every slot."""
    content, places = np.zeros((2, tree.slot_count), np.int64)
    for first, part in [(run.first_position, run.slots) for run in tree.runs] + [
            (segment.first_position, segment.slots) for segment in tree.segments]:
        content[part] = np.random.default_rng(int(part[0]) if len(part) else 0).integers(0, 97, len(part))
        places[part] = first + np.arange(len(part))
    return content, places


def check(kernels: Kernels, tree: Step, dtype: torch.dtype, window: int | None, seed: int) -> None:
    """As near to float64 as other plans; and each row alone, in one chunk or two, in other slots: the same bits."""
    content, places = contents(tree)
    found, expected = attend(kernels, tree.runs, tree.segments, content, places, dtype, window)
    assert float((found.double() - expected).norm() / expected.norm()) < (3e-6 if dtype == torch.float32 else 2e-2)
    random = np.random.default_rng(seed)
    first = 0
    for segment in tree.segments[:10]:
        slots = np.concatenate([*(tree.runs[run].slots for run in segment.ancestors), segment.slots])
        moved = random.permutation(tree.slot_count + 64)[: len(slots)] if random.random() < 0.5 else np.arange(
            len(slots)) + random.integers(0, 40)
        other, others = np.zeros((2, tree.slot_count + 64), np.int64)
        other[moved], others[moved] = content[slots], places[slots]
        start = int(random.integers(segment.first_position, len(slots)))
        runs = [Run(moved[:start], 0)] if start else []
        again, _ = attend(kernels, runs, [Segment(moved[start:], start, tuple(range(len(runs))))], other, others, dtype,
                          window)
        last = first + len(segment.slots)
        assert torch.equal(again, found[last - len(again) : last])
        first = last


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", TREES)
def test_no_bit_depends_on_the_tree(kernels: Kernels, name: str, dtype: torch.dtype) -> None:
    for layout, windows in zip(LAYOUTS, [(None, 50), (None, 300), (None, 1)], strict=True):
        for window in windows:
            check(kernels, step(*TREES[name], layout), dtype, window, 1)


@settings(max_examples=examples(40, 2_000), deadline=None)
@given(tree=trees(), layout=st.sampled_from(LAYOUTS), window=st.none() | st.integers(1, 60), seed=st.integers(0, 99),
       dtype=st.sampled_from([torch.float32, torch.bfloat16]))
def test_random_trees(kernels: Kernels, tree: tuple[Pairs, Pairs], layout: str, window: int | None, seed: int,
                      dtype: torch.dtype) -> None:
    if tree[1]:
        check(kernels, step(*tree, layout, seed), dtype, window, seed)


def test_a_span_in_common_is_read_once() -> None:
    slots = np.arange(3000)
    runs = [Run(slots[:700], 0)]
    segments = [Segment(slots[1000 + 10 * i : 1001 + 10 * i], 700, (0,)) for i in range(5)]
    items = aligned_items(runs, segments)
    assert [(len(item.rows), len(item.slots)) for item in items] == [(5, SPAN)] * 2 + [(1, 700 - 2 * SPAN + 1)] * 5
    plan = ItemPlan(runs, segments, group=1, aligned=True)
    assert plan.kv_tokens_read == 2 * SPAN + 5 * (700 - 2 * SPAN + 1)


def test_what_is_not_planned() -> None:
    slots = np.arange(40)
    with pytest.raises(ValueError, match="the keys before position 9 of a context end at 8"):
        aligned_items([Run(slots[:8], 0)], [Segment(slots[8:9], 9, (0,))])
    with pytest.raises(ValueError, match="at least one token, not 0"):
        aligned_items([], [Segment(slots, 0, ())], window=0)
    with pytest.raises(ValueError, match="neither grows nor is split"):
        ItemPlan([], [Segment(slots, 0, ())], group=1, aligned=True, growing=True)
