"""The context tree without tokens: nodes are segments of prompts with a key and a length, slots are only counted.

Two prompts share what they have in common at the front, whole segments: equal keys after equal segments stand for
equal tokens. Everything else, what is resident, needed or dropped, is the context tree's own code.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..context_tree import ContextTree, Mark, Node
from ..engine import EngineStats
from ..growing_array import GrowingArray
from ..kv_room import KVRoom
from ..page_allocator import PageAllocator

NO_TOKENS = np.empty(0, dtype=np.int64)


class Lengths(GrowingArray):
    """The length of an array, without the array."""

    def __init__(self, size: int = 0) -> None:
        self.size = size

    def grow(self, count: int) -> None:
        """`count` more."""
        self.size += count

    def view(self, start: int = 0, end: int | None = None) -> NDArray[np.int64]:
        """There are no contents. Raises TypeError."""
        raise TypeError("only the length is known")

    def extend(self, values: NDArray[np.int64]) -> None:
        """See `grow`. Raises TypeError."""
        raise TypeError("only the length is known")


class SlotCounter(PageAllocator):
    """Counts slots, in pages of one."""

    def __init__(self, slots: int) -> None:
        self.page_size = 1
        self.pages = self.free_pages = slots


class LengthNode(Node):
    """A segment."""

    def __init__(self, id: int, parent: Node | None, start: int, length: int) -> None:
        super().__init__(id, parent, start, NO_TOKENS)
        self.tokens = Lengths(length)
        self.slots = Lengths()


class LengthTree(ContextTree):
    """A `ContextTree` of segments. `begin_tokens`: what the empty context holds."""

    allocator: SlotCounter

    def __init__(self, slots: int, begin_tokens: int, *, share: bool) -> None:
        super().__init__(SlotCounter(slots), None, share=share)
        self.root = LengthNode(next(self._ids), None, 0, begin_tokens)
        self.on_drop: Callable[[int], None] | None = None
        """Told the key of each segment that has lost all of its KV."""

    def context(self, segments: Sequence[tuple[int, int]]) -> Mark:
        """A mark at the end of a prompt, given by the key and length of each segment."""
        node = self._below(self.root, segments)
        return self._place(Mark(node, node.end))

    def extend(self, mark: Mark, segments: Sequence[tuple[int, int]]) -> None:
        """Move `mark`, which is at the end of a segment, over further ones."""
        before = mark.node
        self._lift(mark)
        mark.node = self._below(before, segments)
        mark.position = mark.node.end
        self._place(mark)
        self._refresh(before)

    def _below(self, node: Node, segments: Sequence[tuple[int, int]]) -> Node:
        """The node at the end of `segments` after `node`; what is missing is made."""
        for key, length in segments:
            child = node.children.get(key) if self.share else None
            if child is None:
                child = self._add(node, key, length)
            elif len(child.tokens) < length:  # its end had been cut off
                lengths(child.tokens).grow(length - len(child.tokens))
            node = child
        return node

    def _add(self, node: Node, key: int, length: int) -> Node:
        child = LengthNode(next(self._ids), node, node.end, length)
        child.key = key if self.share else -child.id
        child.last_used = node.last_used
        node.children[child.key] = child
        return child

    def begin_output(self, mark: Mark, key: int) -> None:
        """Move `mark` over the first token of an output, which is a segment of its own that grows."""
        before = mark.node
        child = self._add(before, key, 1)
        self._lift(mark)
        mark.node, mark.position = child, child.end
        self._place(mark)
        self._refresh(before)

    def grow_output(self, mark: Mark, count: int) -> None:
        """Move `mark` over `count` more tokens of its output."""
        lengths(mark.node.tokens).grow(count)
        mark.position += count

    def commit_output(self, node: Node, count: int) -> None:
        """`count` tokens of an output are resident, of which the first slot has been reserved: a call needs them."""
        if not node.resident and node.parent is not None:
            node.parent.resident_children += 1
        self.allocator.free_pages -= count - 1
        lengths(node.slots).grow(count - 1)
        node.resident += count
        node.claimed = node.resident
        node.computed = max(node.computed, node.resident)
        node.held += count
        self.live_tokens += count

    def _set_resident(self, node: Node, resident: int) -> None:
        if not resident and node.resident and self.on_drop is not None:
            self.on_drop(node.key)
        super()._set_resident(node, resident)

    def reserve(self, node: Node, count: int) -> NDArray[np.int64]:
        """Slots for `count` tokens are taken; they have no numbers."""
        self.allocator.free_pages -= count
        lengths(node.slots).grow(count)
        return NO_TOKENS

    def reserve_next(self, node: Node) -> int:
        """As `reserve` of one token."""
        self.reserve(node, 1)
        return 0

    def new_pages_for(self, node: Node, count: int) -> int:
        """As many as there are tokens."""
        return count

    def room_for(self, node: Node) -> int:
        """Free slots."""
        return self.allocator.free_pages

    def _release(self, node: Node, keep: int) -> None:
        self.allocator.free_pages += len(node.slots) - keep
        node.slots.truncate(keep)


class LengthRoom(KVRoom):
    """Makes room in a `LengthTree`. The order is `KVRoom`'s; cached segments are not looked for in every step.

    A segment that is no longer needed was used by the last step of the call that ended, so it comes after all that had
    been found before: what was found stays in order.
    """

    def __init__(self, tree: ContextTree, stats: EngineStats) -> None:
        super().__init__(tree, stats)
        self._cached: list[tuple[int, int, Node]] = []
        """Segments with KV that nobody needs, the least recently used first; some are needed again."""

    def available_pages(self) -> int:
        """Slots that are free or could be freed."""
        return self._tree.allocator.pages - sum(len(node.slots) for node in self._pinned)

    def free(self, pages: int, *, cached_only: bool = False) -> bool:
        """See `KVRoom`."""
        allocator, tree = self._tree.allocator, self._tree
        searched = False
        while allocator.free_pages < pages:
            if not self._cached:
                if searched:
                    return super().free(pages, cached_only=cached_only)
                self._cached = [(node.last_used, node.id, node) for node in tree.nodes() if self._is_cached(node)]
                heapq.heapify(self._cached)
                searched = True
                continue
            last_used, _, node = heapq.heappop(self._cached)
            if node.last_used != last_used or not self._is_cached(node):
                continue
            needed, parent = node.live_end - node.start, node.parent
            self._stats.evicted_tokens += node.resident - needed
            tree.drop_kv(node, needed)
            tree.trim(node)
            if parent is not None and self._is_cached(parent):
                heapq.heappush(self._cached, (parent.last_used, parent.id, parent))
        return True

    def _is_cached(self, node: Node) -> bool:
        return self._is_victim(node) and node.resident > node.live_end - node.start


def lengths(array: GrowingArray) -> Lengths:
    assert isinstance(array, Lengths)
    return array
