"""Making room for KV: cached KV that nobody needs goes first, then KV that the current step does not need."""

from __future__ import annotations

import heapq

import numpy as np

from .context_tree import ContextTree, Node
from .engine import EngineStats

UNREFERENCED, REFERENCED = 0, 1


class KVRoom:
    """Frees pages of a tree, least recently used first, but never those of nodes pinned by the current step."""

    def __init__(self, tree: ContextTree, stats: EngineStats) -> None:
        self._tree = tree
        self._stats = stats
        self._step = 0
        self._rank = 0
        self._pinned: list[Node] = []
        self._victims: list[tuple[int, int, int, Node]] | None = None

    def begin_step(self) -> int:
        """Forget all pins; the number of the new step."""
        self._step += 1
        self._rank = 0
        self._pinned = []
        self._victims = None
        return self._step

    def pin(self, path: list[Node]) -> None:
        """Keep these nodes for the current step; those pinned first count as used last."""
        self._rank += 1
        for node in path:
            if node.pinned != self._step:
                node.pinned = self._step
                node.last_used = (self._step << 24) - self._rank
                self._pinned.append(node)

    def available_pages(self) -> int:
        """Pages that are free or could be freed."""
        parts = [node.slots.view() for node in self._pinned if len(node.slots)]
        if not parts:
            return self._tree.allocator.pages
        held = np.unique(np.concatenate(parts) // self._tree.allocator.page_size)
        return self._tree.allocator.pages - len(held)

    def free(self, pages: int) -> bool:
        """Drop KV until `pages` pages are free; False when all that is left is pinned."""
        allocator = self._tree.allocator
        if allocator.free_pages >= pages:
            return True
        if self._victims is None:
            self._victims = [self._entry(node) for node in self._tree.nodes() if self._is_victim(node)]
            heapq.heapify(self._victims)
        while allocator.free_pages < pages:
            if not self._victims:
                return False
            _, _, _, node = heapq.heappop(self._victims)
            if self._is_victim(node):
                self._drop(node, pages - allocator.free_pages)
        return True

    def _is_victim(self, node: Node) -> bool:
        return node.resident > 0 and node.resident_children == 0 and node.pinned != self._step

    @staticmethod
    def _entry(node: Node) -> tuple[int, int, int, Node]:
        needed = node.live_end - node.start
        return (UNREFERENCED if node.resident > needed else REFERENCED), node.last_used, node.id, node

    def _drop(self, node: Node, pages: int) -> None:
        assert self._victims is not None
        needed = node.live_end - node.start
        parent = node.parent
        if node.resident > needed:
            self._stats.evicted_tokens += node.resident - needed
            self._tree.drop_kv(node, needed)
        else:
            self._stats.preemptions += 1
            self._tree.drop_kv(node, max(0, node.resident - pages * self._tree.allocator.page_size))
        self._tree.trim(node)
        for candidate in (node, parent):
            if candidate is not None and self._is_victim(candidate):
                heapq.heappush(self._victims, self._entry(candidate))
                break

    def drop_everything(self) -> None:
        """Drop the KV of the whole tree, pinned or not; what is computed next lies contiguously."""
        self._stats.preemptions += 1
        for node in reversed(list(self._tree.nodes())):
            self._tree.drop_kv(node, 0)
            self._tree.trim(node)
        self._victims = None
