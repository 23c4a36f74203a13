"""The context tree and its pages against a model: contexts are token lists, and no slot has two owners."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from semlang.backend.context_tree import ContextTree, Mark, Node
from semlang.backend.engine import EngineStats
from semlang.backend.growing_array import GrowingArray
from semlang.backend.kv_room import KVRoom
from semlang.backend.page_allocator import PageAllocator
from semlang.backend.tree_integrity import check_tree

TOKENS = st.lists(st.integers(0, 2), max_size=6)


def array(tokens: list[int]) -> np.ndarray:
    return np.array(tokens, dtype=np.int64)


class TreeMachine(RuleBasedStateMachine):
    """Random appends, retreats, drops, computations, evictions and pins."""

    @initialize(
        share=st.booleans(), page_size=st.integers(1, 5), bos=st.sampled_from([None, 7]), slots=st.integers(20, 60)
    )
    def start(self, share: bool, page_size: int, bos: int | None, slots: int) -> None:
        self.allocator = PageAllocator(slots, page_size)
        self.tree = ContextTree(self.allocator, bos, share=share)
        self.stats = EngineStats()
        self.room = KVRoom(self.tree, self.stats)
        self.root = [] if bos is None else [bos]
        self.contexts: list[tuple[Mark, list[int]]] = []
        self.owner: dict[int, tuple[int, ...]] = {}

    def draw_context(self, data: st.DataObject) -> int:
        return data.draw(st.integers(0, len(self.contexts) - 1))

    @rule(tokens=TOKENS)
    def new_context(self, tokens: list[int]) -> None:
        mark = self.tree.root_mark()
        found = self.tree.append(mark, array(tokens))
        assert 0 <= found <= len(tokens) and (self.tree.share or found == 0)
        self.contexts.append((mark, self.root + tokens))

    @precondition(lambda self: self.contexts)
    @rule(data=st.data(), tokens=TOKENS, fork=st.booleans())
    def extend(self, data: st.DataObject, tokens: list[int], fork: bool) -> None:
        index = self.draw_context(data)
        mark, known = self.contexts[index]
        if fork:
            mark = self.tree.copy_mark(mark)
            self.contexts.append((mark, known + tokens))
        else:
            self.contexts[index] = (mark, known + tokens)
        self.tree.append(mark, array(tokens))

    @precondition(lambda self: self.contexts)
    @rule(data=st.data())
    def retreat(self, data: st.DataObject) -> None:
        index = self.draw_context(data)
        mark, known = self.contexts[index]
        position = data.draw(st.integers(len(self.root), len(known)))
        self.tree.retreat(mark, position)
        self.contexts[index] = (mark, known[:position])

    @precondition(lambda self: self.contexts)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        mark, _ = self.contexts.pop(self.draw_context(data))
        self.tree.drop_mark(mark)

    @precondition(lambda self: self.contexts)
    @rule(data=st.data(), limit=st.integers(1, 9), fails=st.booleans())
    def compute(self, data: st.DataObject, limit: int, fails: bool) -> None:
        """Compute up to `limit` missing tokens of a context, making room for them."""
        mark, known = self.contexts[self.draw_context(data)]
        self.room.begin_step()
        path = self.tree.path(mark)
        self.room.pin(path)
        first, holder = self.tree.first_missing(mark)
        count = min(limit, len(known) - first)
        if count == 0:
            return
        assert holder is not None
        if not self.room.free(self.tree.new_pages_for(holder, count)):
            return
        assert self.tree.path(mark) == path, "making room changed a pinned path"
        reserved = [n for n in path if n.end > first and n.start < first + count]
        for node in reserved:
            begin, end = max(node.start, first), min(node.end, first + count)
            slots = self.tree.reserve(node, end - begin)
            assert len(slots) == end - begin
            for position, slot in zip(range(begin, end), slots.tolist(), strict=True):
                self.owner[slot] = tuple(known[: position + 1])
        for node in reversed(reserved) if fails else reserved:
            if fails:
                self.tree.roll_back(node)
            else:
                self.tree.commit(node)

    @rule(pages=st.integers(0, 12))
    def make_room(self, pages: int) -> None:
        self.room.begin_step()
        freed = self.room.free(pages)
        assert freed == (self.allocator.free_pages >= pages)
        assert freed or pages > self.allocator.pages, "nothing is pinned, so everything can be freed"

    @rule()
    def drop_everything(self) -> None:
        self.room.drop_everything()
        assert self.allocator.free_pages == self.allocator.pages

    @invariant()
    def contexts_hold_their_tokens(self) -> None:
        if not hasattr(self, "tree"):
            return
        check_tree(self.tree, [mark for mark, _ in self.contexts])
        live = set()
        for mark, known in self.contexts:
            assert self.tree.tokens_between(mark, 0).tolist() == known
            resident = self.tree.first_missing(mark)[0]
            slots = [s for node in self.tree.path(mark) for s in node.slots.view().tolist()][:resident]
            for position, slot in enumerate(slots):
                assert self.owner[slot] == tuple(known[: position + 1]), "a slot holds another context's KV"
                if position >= len(self.root):
                    live.add(slot)
        assert self.tree.live_tokens == len(live)

    def teardown(self) -> None:
        if not hasattr(self, "tree"):
            return
        for mark, _ in self.contexts:
            self.tree.drop_mark(mark)
        check_tree(self.tree, [])
        assert self.tree.live_tokens == 0
        if not self.tree.share:
            assert not self.tree.root.children


TestContextTree = TreeMachine.TestCase
TestContextTree.settings = settings(max_examples=120, stateful_step_count=25, deadline=None)


def test_equal_tokens_are_one_node() -> None:
    tree = ContextTree(PageAllocator(64, 4), None, share=True)
    a, b = tree.root_mark(), tree.root_mark()
    assert tree.append(a, array([1, 2, 3, 4])) == 0
    assert tree.append(b, array([1, 2, 9])) == 2
    assert len(list(tree.nodes())) == 4
    assert tree.path(a)[0] is tree.path(b)[0] and tree.path(a)[0].tokens.view().tolist() == [1, 2]


def test_a_chain_that_nobody_forks_is_one_node_with_contiguous_slots() -> None:
    tree = ContextTree(PageAllocator(4096, 16), 7, share=False)
    mark = tree.root_mark()
    for i in range(1000):
        context = tree.copy_mark(mark)
        tree.append(mark, array([i]))
        tree.drop_mark(context)
    assert len(list(tree.nodes())) == 2
    node = mark.node
    tree.reserve(tree.root, 1)
    tree.commit(tree.root)
    for size in (10, 1, 500):
        tree.reserve(node, size)
    tree.commit(node)
    assert node.slots.view().tolist() == list(range(1, 512))


def test_a_branch_continues_a_half_used_page_only_if_nobody_else_does() -> None:
    tree = ContextTree(PageAllocator(64, 4), None, share=False)
    a = tree.root_mark()
    tree.append(a, array([1, 2]))
    tree.reserve(a.node, 2)
    tree.commit(a.node)
    b, c = tree.copy_mark(a), tree.copy_mark(a)
    tree.append(b, array([3]))
    tree.append(c, array([4]))
    assert tree.reserve(b.node, 1).tolist() == [2]
    assert tree.reserve(c.node, 1).tolist() == [4]
    for mark in (b, c):
        tree.commit(mark.node)
    check_tree(tree, [a, b, c])
    tree.drop_mark(b)
    d = tree.copy_mark(a)
    tree.append(d, array([5]))
    assert tree.reserve(d.node, 1).tolist() == [2], "the room of a dropped branch is used again"


def test_a_pool_without_a_page_is_refused() -> None:
    with pytest.raises(ValueError, match="3 KV slots hold no page of 4"):
        PageAllocator(3, 4)
    with pytest.raises(MemoryError):
        PageAllocator(4, 4).extend(None, 5, holds_page=False)


def test_contiguous_pages_are_preferred() -> None:
    allocator = PageAllocator(40, 4)
    first = allocator.extend(None, 4, holds_page=False)
    second = allocator.extend(None, 4, holds_page=False)
    allocator.release(first, None)
    assert allocator.extend(None, 8, holds_page=False).tolist() == list(range(8, 16))
    assert allocator.extend(int(second[-1]), 4, holds_page=True).tolist() == list(range(4)), "the next page was taken"


def test_growing_arrays() -> None:
    values = GrowingArray(array([1, 2]))
    before = values.view()
    for i in range(100):
        values.extend(array([i]))
    assert before.tolist() == [1, 2] and len(values) == 102 and values[-1] == 99
    values.truncate(1)
    assert values.view().tolist() == [1]
    with pytest.raises(IndexError):
        values[1]


def test_nodes_are_found_parents_first() -> None:
    tree = ContextTree(PageAllocator(64, 4), None, share=True)
    for tokens in ([1, 2], [1, 3], [4]):
        tree.append(tree.root_mark(), array(tokens))
    seen: set[Node] = set()
    for node in tree.nodes():
        assert node.parent is None or node.parent in seen
        seen.add(node)
