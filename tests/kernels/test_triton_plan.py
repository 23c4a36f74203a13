"""Plans of the Triton kernels: what they read, and that nothing is planned twice."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from semlang.backend.model_runner import KVRun, StepBatch
from semlang.backend.model_runner import Segment as BatchSegment
from semlang.kernels.triton.plan import HEADER, ITEM, LayerGroup, Plan, Planner
from semlang.kernels.triton.tiles import Tiles
from semlang.kernels.work_items import work_items
from trees import LAYOUTS, TREES, Pairs, Run, Segment, Step, step, trees

NIGHTLY = "SEMC_LAW_EXAMPLES" in os.environ
TILES = Tiles(small_keys=16, large_keys=32)
ONE = Tiles(small_keys=16, large_keys=16, one=True)


def plan_of(tree: Step, window: int | None = None, *, span: int | None = None, tiles: Tiles = TILES,
            invariant: bool = False) -> Plan:
    planner = Planner(tiles, 16, span=span, invariant=invariant)
    return planner.plan(tree.runs, tree.segments, LayerGroup(2, 3, window))


def seen(plan: Plan, window: int | None) -> list[list[tuple[int, int]]]:
    """(position, slot) of the keys that each row sees, in the order of its merge list, by the plan alone."""
    data = plan.data
    _, rows, positions, keys, starts, partials = data[:6].tolist()
    items = data[HEADER : HEADER + plan.item_count * ITEM].reshape(-1, ITEM)
    found: dict[int, list[tuple[int, int]]] = {}
    for row0, count, key0, key_count, first_position, first_partial, head, full in items.tolist():
        assert key_count > 0 and 0 <= head <= head + full <= key_count
        for offset in range(count):
            position = data[positions + data[rows + row0 + offset]]
            visible = []
            for key in range(key_count):
                at = first_position + key
                inside = at <= position and (window is None or at > position - window)
                assert inside or not head <= key < head + full, "an unmasked key that a row must not see"
                if inside:
                    visible.append((at, int(data[keys + key0 + key])))
            assert first_partial + offset not in found
            found[first_partial + offset] = visible
    order = [data[partials + data[starts + row] : partials + data[starts + row + 1]].tolist()
             for row in range(plan.row_count)]
    assert sorted(number for numbers in order for number in numbers) == list(range(plan.partial_count))
    return [[pair for number in numbers for pair in found[number]] for numbers in order]


def expected(tree: Step, window: int | None) -> list[list[tuple[int, int]]]:
    return [pairs for segment in tree.segments for pairs in expected_of(tree, segment, window)]


def expected_of(tree: Step, segment: Segment, window: int | None) -> list[list[tuple[int, int]]]:
    context = [slot for run in segment.ancestors for slot in tree.runs[run].slots.tolist()]
    ends = range(1, len(segment.slots) + 1)
    pairs = [list(enumerate(context + segment.slots[:own].tolist())) for own in ends]
    return [own if window is None else own[-window:] for own in pairs]


@pytest.mark.parametrize("window", [None, 1, 20])
@pytest.mark.parametrize("name", TREES)
def test_every_row_sees_its_keys_once_in_order(name: str, window: int | None) -> None:
    tree = step(*TREES[name], "pages")
    assert seen(plan_of(tree, window), window) == expected(tree, window)
    assert seen(plan_of(tree, window, span=32), window) == expected(tree, window)
    assert seen(plan_of(tree, window, span=32, tiles=ONE, invariant=True), window) == expected(tree, window)


@settings(max_examples=10_000 if NIGHTLY else 100, deadline=None)
@given(tree=trees(), layout=st.sampled_from(LAYOUTS), window=st.none() | st.integers(1, 60), invariant=st.booleans())
def test_random_trees(tree: tuple[Pairs, Pairs], layout: str, window: int | None, invariant: bool) -> None:
    nodes, queries = tree
    made = step(nodes, queries, layout)
    plan = plan_of(made, window, span=32, tiles=ONE if invariant else TILES, invariant=invariant)
    assert seen(plan, window) == expected(made, window)


def test_a_planner_that_is_used_again_plans_as_a_new_one() -> None:
    """While rows grow by one token each, and when one of them ends."""
    planner = Planner(TILES, 16)
    for length in range(1, 40, 3):
        leaves = range(5 if length < 20 else 4)
        tree = step([(-1, 100)] + [(0, length + 7 * i) for i in leaves], [(i + 1, 1) for i in leaves], "pages")
        again = planner.plan(tree.runs, tree.segments, LayerGroup(2, 3))
        assert np.array_equal(again.data, plan_of(tree).data)


@settings(max_examples=400 if NIGHTLY else 40, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5), shared=st.sampled_from([0, 3, 15, 16, 50]),
       window=st.none() | st.integers(1, 60), invariant=st.booleans(), steps=st.integers(1, 6), data=st.data())
def test_steps_that_follow_are_planned_as_new_ones(lengths: list[int], shared: int, window: int | None, invariant: bool,
                                                   steps: int, data: st.DataObject) -> None:
    """Steps may be left out, and a step may be replaced by another of the same age."""
    tiles = ONE if invariant else TILES
    planner = Planner(tiles, 16, span=32, invariant=invariant)
    slots = np.random.default_rng(0).permutation(2000)
    root, used, runs, segments = KVRun(0, slots[:shared], 0), shared, [], []
    for number, length in enumerate(lengths):
        runs.append(KVRun(number + 1, slots[used : used + length - 1], shared))
        segments.append(BatchSegment(slots[:1], slots[used + length - 1 : used + length], shared + length - 1,
                                     (0, number + 1), wants_logits=True))
        used += length
    batch = StepBatch((root, *runs), segments)
    layers = [LayerGroup(2, 3, window), LayerGroup(1, 2)]
    for _ in range(steps):
        before = batch
        for _ in range(data.draw(st.integers(1, 2))):
            batch = before.following(slots[: len(lengths)], slots[used : used + len(lengths)])
            used += len(lengths)
            for group in layers if data.draw(st.booleans()) else ():
                fresh = Planner(tiles, 16, span=32, invariant=invariant).plan(batch.runs, batch.segments, group)
                grown = planner.plan_step(batch, group)
                assert np.array_equal(grown.data, fresh.data) and grown.kv_tokens_read == fresh.kv_tokens_read


def test_shared_runs_are_read_once() -> None:
    tree = step([(-1, 1000)] + [(0, 50)] * 16, [(i + 1, 1) for i in range(16)])
    plan = plan_of(tree)
    assert plan.kv_tokens_read == 1000 + 16 * 50
    items = work_items(tree.runs, tree.segments)
    assert plan.kv_tokens_read == sum(len(item.slots) for item in items)


def test_short_shared_runs_are_read_with_what_follows() -> None:
    """A partial result costs more than the keys: 3 keys are read by both leaves, 30 once."""
    for shared, parts in ((3, 1), (30, 2)):
        tree = step([(-1, shared), (0, 40), (0, 50)], [(1, 1), (2, 1)])
        plan = plan_of(tree)
        assert plan.partial_count == 2 * parts
        assert plan.kv_tokens_read == (2 if parts == 1 else 1) * shared + 90


def test_a_window_drops_what_no_row_sees() -> None:
    tree = step([(-1, 1000), (0, 20), (0, 20)], [(1, 1), (2, 1)])
    plan = plan_of(tree, 100)
    assert plan.kv_tokens_read <= 80 + 2 * 20 + TILES.large_keys


def test_items_come_longest_first() -> None:
    tree = step([(-1, 700)] + [(0, 10 * i + 1) for i in range(20)], [(i + 1, 1) for i in range(20)])
    plan = plan_of(tree)
    lengths = plan.data[HEADER : HEADER + plan.item_count * ITEM].reshape(-1, ITEM)[:, 3]
    assert (np.diff(lengths) <= 0).all() and lengths[0] > lengths[-1]


def test_causal_tiles_are_unmasked_below_the_diagonal() -> None:
    tree = step([(-1, 500)], [(0, 500)])
    plan = plan_of(tree)
    items = plan.data[HEADER : HEADER + plan.item_count * ITEM].reshape(-1, ITEM)
    masked = (items[:, 3] - items[:, 7]).max()
    assert masked <= 2 * TILES.large_keys and items[:, 3].sum() < 0.6 * 500 * -(-500 * 3 // 64)


def test_sixty_five_thousand_items() -> None:
    leaves = 2000
    tree = step([(-1, 24000)] + [(0, 1)] * leaves, [(i + 1, 1) for i in range(leaves)])
    plan = plan_of(tree, span=32)
    assert plan.item_count > 1 << 16 and plan.partial_count > 1 << 20
    keys = plan.data[HEADER : HEADER + plan.item_count * ITEM].reshape(-1, ITEM)[:, 3]
    tiles = -(-leaves // (TILES.large_rows // 3))
    assert keys.sum() == tiles * 24000 + leaves
    starts, partials = plan.data[4:6].tolist()
    last = plan.data[partials + plan.data[starts + leaves - 1] : partials + plan.data[starts + leaves]]
    assert len(last) == 24000 // 32 + 1 and (np.diff(last) > 0).all()


@pytest.mark.parametrize("window", [0, -1])
def test_a_window_without_tokens_is_an_error(window: int) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        Planner(TILES, 16).plan([], [], LayerGroup(2, 3, window))


def test_what_tiles_do_not_hold_is_an_error() -> None:
    with pytest.raises(ValueError, match="a multiple of the 32 keys of a block, not 40"):
        Planner(TILES, 16, span=40)
    with pytest.raises(ValueError, match="tiles of one size"):
        Planner(TILES, 16, invariant=True)
    with pytest.raises(ValueError, match="a tile of 64 rows does not hold the 65 heads"):
        Planner(TILES, 16).plan([], [], LayerGroup(1, 65))


def test_runs_with_a_gap_between_them_are_an_error() -> None:
    slots = np.arange(10)
    with pytest.raises(ValueError, match="without gaps"):
        segment = Segment(slots[9:], 9, (0,))
        Planner(TILES, 16).plan([Run(slots[:3], 0)], [segment], LayerGroup(1, 1))
