"""Cases that break attention kernels, in Triton's interpreter: overflow, borders, company, names, order."""

import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import LAYOUTS, Pairs, Run, Segment, Step, step, tensors, trees

pytest.importorskip("triton", reason="Triton is not installed: pip install 'semlang[gpu]'")

from semlang.kernels.triton.plan import LayerGroup, Planner
from triton_runs import ONE, TILES, attend, error

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("TRITON_INTERPRET is not 1", allow_module_level=True)

NIGHTLY = "SEMC_LAW_EXAMPLES" in os.environ


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_scores_that_overflow_below_a_soft_cap() -> None:
    """The product is ±inf in float32; the cap makes ±c of it, never a NaN."""
    tree = step([(-1, 40), (0, 9)], [(1, 3)], "pages")
    assert error(tree, gain=1e37, scale=1e4, soft_cap=2.0) < 1e-5


@pytest.mark.parametrize("span", [32, 64])
@pytest.mark.parametrize("off", [-1, 0, 1])
def test_runs_that_end_beside_a_border(span: int, off: int) -> None:
    """Of a span, of a page and of a tile; shared, own and new keys."""
    tree = step([(-1, span + off), (0, span + off), (0, 16 + off)], [(1, 17 + off), (2, 1)], "pages")
    assert error(tree, span=span) < 1e-6
    assert error(tree, span=span, tiles=ONE, invariant=True) < 1e-6
    assert error(tree, span=span, window=span + off) < 1e-6


@pytest.mark.parametrize("group, dim", [(7, 64), (5, 128), (3, 256)])
def test_groups_that_are_no_power_of_two(group: int, dim: int) -> None:
    tree = step([(-1, 33), (0, 5), (0, 20)], [(1, 2), (2, 1)], "scattered")
    assert error(tree, group, 1, dim, scale=dim**-0.5) < 1e-6


def renamed(tree: Step, seed: int) -> Step:
    """The same tree, its runs in another order."""
    order = np.random.default_rng(seed).permutation(len(tree.runs))
    place = np.argsort(order)
    segments = [Segment(one.slots, one.first_position, tuple(int(place[run]) for run in one.ancestors))
                for one in tree.segments]
    return Step([tree.runs[run] for run in order], segments, tree.slot_count)


def test_names_of_nodes_change_nothing() -> None:
    tree = step([(-1, 70), (0, 33), (0, 16), (1, 5), (1, 9), (2, 64)], [(3, 1), (4, 2), (5, 1)], "pages")
    parts = tensors(tree, 6, 2, 16, torch.float32)
    layers = LayerGroup(2, 3)
    for tiles, invariant in ((TILES, False), (ONE, True)):
        found = [attend(one, parts, Planner(tiles, 16, span=32, invariant=invariant).plan(
            one.runs, one.segments, layers), tiles) for one in (tree, renamed(tree, 1), renamed(tree, 2))]
        assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@settings(max_examples=400 if NIGHTLY else 10, deadline=None)
@given(tree=trees(), layout=st.sampled_from(LAYOUTS), window=st.none() | st.integers(1, 50), seed=st.integers(0, 99))
def test_no_company_changes_a_bit(tree: tuple[Pairs, Pairs], layout: str, window: int | None, seed: int) -> None:
    """Any sequence in the batch-invariant mode: alone, with some of the others, with all, in another order."""
    nodes, queries = tree
    if not queries:
        return
    whole = step(nodes, queries, layout, seed)
    random = np.random.default_rng(seed)
    parts = tensors(whole, 3, 1, 16, torch.float16)
    rows = np.split(np.arange(parts[0].shape[1]), np.cumsum([len(one.slots) for one in whole.segments])[:-1])
    layers = LayerGroup(1, 3, window)

    def compute(which: list[int], programs: int) -> list[torch.Tensor]:
        given = Step(whole.runs, [whole.segments[number] for number in which], whole.slot_count)
        chosen = np.concatenate([rows[number] for number in which])
        plan = Planner(ONE, programs, span=32, invariant=True).plan(given.runs, given.segments, layers)
        found = attend(given, [parts[0][:, chosen], *parts[1:]], plan, ONE, window=window)
        return list(torch.split(found, [len(rows[number]) for number in which]))

    everyone = list(range(len(queries)))
    together = compute(everyone, 16)
    some = random.permutation(everyone)[: random.integers(1, len(everyone) + 1)].tolist()
    for number, found in zip(some, compute(some, 3), strict=True):
        assert torch.equal(found, together[number])
    alone = int(random.integers(len(everyone)))
    assert torch.equal(compute([alone], 5)[0], together[alone])


def test_a_shared_run_that_is_read_below_another_name() -> None:
    """The same slots as one run for all, or as a run of each: whether sharing is seen changes no bit."""
    shared = step([(-1, 64), (0, 9), (0, 5)], [(1, 1), (2, 1)], "pages")
    root = shared.runs[0]
    copies = [Run(root.slots, 0), Run(root.slots, 0), *shared.runs[1:]]
    segments = [Segment(one.slots, one.first_position, (number, 2 + number))
                for number, one in enumerate(shared.segments)]
    parts = tensors(shared, 3, 1, 16, torch.float16)
    layers = LayerGroup(1, 3)
    found = [attend(one, parts, Planner(ONE, 16, span=32, invariant=True).plan(one.runs, one.segments, layers), ONE)
             for one in (shared, Step(copies, segments, shared.slot_count))]
    assert torch.equal(found[0], found[1])
