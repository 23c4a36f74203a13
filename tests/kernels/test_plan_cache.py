"""A plan that has grown is the plan that would have been made."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from semlang.backend.model_runner import KVRun, Segment, StepBatch
from semlang.kernels.cpu.plan import PAGE, SPARE_SPANS, ItemPlan
from semlang.kernels.cpu.plan_cache import PlanCache


def meaning(plan: ItemPlan) -> list[tuple[list[int], list[int]]]:
    """The rows and the slots of each item."""
    found = []
    for first, count, span, spans, partial, masked, keys, _ in plan.items.tolist():
        assert partial == first and not masked
        slots = [page * PAGE + slot for page, start, end in plan.spans[span : span + spans].tolist()
                 for slot in range(start, end)]
        assert len(slots) == keys and all(a < b for _, a, b in plan.spans[span : span + spans].tolist())
        found.append((plan.rows[first : first + count].tolist(), slots))
    return sorted(found)


def decoding(rows: int, seed: int) -> tuple[StepBatch, NDArray[np.int64]]:
    """A step of `rows` rows below one or two shared runs, and slots for further tokens of each, int64 [n, rows]."""
    random = np.random.default_rng(seed)
    pages = iter(random.permutation(5000).tolist())
    shared = [KVRun(i, np.arange(16) + 16 * next(pages), 16 * i) for i in range(2)]
    runs, segments, later = list(shared), [], []
    for row in range(rows):
        own = np.concatenate([np.arange(16) + 16 * next(pages) for _ in range(40)])
        length = int(random.integers(0, 40))
        base = (0,) if row % 3 else (0, 1)
        start = 16 * len(base)
        ancestors = base
        if length:
            runs.append(KVRun(10 + row, own[:length], start))
            ancestors = (*base, len(runs) - 1)
        segments.append(Segment(np.array([row]), own[length : length + 1], start + length, ancestors, True))
        later.append(own[length + 1 : length + 401])
    return StepBatch(runs, segments), np.stack(later, axis=1)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 9), st.integers(0, 999), st.integers(1, 3))
def test_grown_plans_equal_new_ones(rows: int, seed: int, stride: int) -> None:
    step, later = decoding(rows, seed)
    cache = PlanCache()
    made = 0
    kept: ItemPlan | None = None
    for number, slots in enumerate(later[:300]):
        if number % stride == 0:  # steps whose plans nobody asked for are caught up with
            cache.begin(step)
            plan = cache.plan(2, None)
            made += plan is not kept
            kept = plan
            assert cache.plan(2, 10_000) is plan, "a window that holds everything is none"
            if number % 13 and number < 295:
                step = step.following(np.zeros(rows, np.int64), slots)
                continue
            fresh = ItemPlan(step.runs, step.segments, group=2)
            assert meaning(plan) == meaning(fresh)
            assert (plan.kv_tokens_read, plan.pairs) == (fresh.kv_tokens_read, fresh.pairs)
            assert plan.merge_starts.tolist() == fresh.merge_starts.tolist()
            assert plan.merge_partials.tolist() == fresh.merge_partials.tolist()
            assert cache.kv_tokens_read == fresh.kv_tokens_read
        step = step.following(np.zeros(rows, np.int64), slots)
    assert made <= 2 + 300 // (SPARE_SPANS * PAGE), "plans are made anew"


def test_windows_and_other_chains_get_plans_of_their_own() -> None:
    step, later = decoding(3, 1)
    cache = PlanCache()
    cache.begin(step)
    whole, windowed = cache.plan(2, None), cache.plan(2, 8)
    assert windowed.kv_tokens_read < whole.kv_tokens_read
    assert cache.plan(1, None) is not whole
    step = step.following(np.zeros(3, np.int64), later[0])
    cache.begin(step)
    assert cache.plan(2, None) is whole and cache.plan(2, 8) is not windowed
    other, _ = decoding(3, 1)
    cache.begin(other)
    assert cache.plan(2, None) is not whole
    cache.begin(step)
    assert meaning(cache.plan(2, None)) == meaning(ItemPlan(step.runs, step.segments, group=2))
