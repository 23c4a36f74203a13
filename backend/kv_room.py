"""Making room for KV: cached KV that nobody needs goes first, then KV that the current step does not need.

Of the latter, what is used furthest in the future goes first, where that is known; otherwise the least recently used.
A context that many continue is as near as the nearest of them. Source of the order: KVFlow (NeurIPS'25), steps to
execution.
"""

from __future__ import annotations

import heapq

import numpy as np

from .context_tree import ContextTree, Node
from .engine import EngineStats

UNREFERENCED, REFERENCED = 0, 1
Victim = tuple[int, int, int, int, Node]
"""What to sort by (see `KVRoom._entry`), and the node."""


class KVRoom:
    """Frees pages of a tree, but never those of nodes pinned by the current step."""

    def __init__(self, tree: ContextTree, stats: EngineStats) -> None:
        self._tree = tree
        self._stats = stats
        self._step = 0
        self._rank = 0
        self._pinned: list[Node] = []
        self._victims: list[Victim] | None = None
        self._next_use: dict[int, int] = {}
        """Generates before the next use of each node that is used late, by its identifier."""

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

    def touch(self, leaves: list[Node], step: int) -> None:
        """The contexts that end in `leaves` were in use in `step`, an earlier one, in this order."""
        used = step << 24
        for rank, leaf in enumerate(leaves, 1):
            node: Node | None = leaf
            while node is not None and node.last_used < used - len(leaves):
                node.last_used = used - rank
                node = node.parent

    def available_pages(self) -> int:
        """Pages that are free or could be freed."""
        parts = [node.slots.view() for node in self._pinned if len(node.slots)]
        if not parts:
            return self._tree.allocator.pages
        held = np.unique(np.concatenate(parts) // self._tree.allocator.page_size)
        return self._tree.allocator.pages - len(held)

    def free(self, pages: int, *, cached_only: bool = False) -> bool:
        """Drop KV until `pages` pages are free; False when all that is left is pinned.

        With `cached_only`, KV that some context needs stays.
        """
        allocator = self._tree.allocator
        if allocator.free_pages >= pages:
            return True
        if self._victims is None:
            nodes = list(self._tree.nodes())
            self._next_use = _late_uses(nodes)
            self._victims = [self._entry(node) for node in nodes if self._is_victim(node)]
            heapq.heapify(self._victims)
        while allocator.free_pages < pages:
            if not self._victims or (cached_only and self._victims[0][0] == REFERENCED):
                return False
            *_, node = heapq.heappop(self._victims)
            if self._is_victim(node):
                self._drop(node, pages - allocator.free_pages)
        return True

    def _is_victim(self, node: Node) -> bool:
        return node.resident > 0 and node.resident_children == 0 and node.pinned != self._step

    def _entry(self, node: Node) -> Victim:
        needed = node.live_end - node.start
        if node.resident > needed:
            return UNREFERENCED, 0, node.last_used, node.id, node
        return REFERENCED, -self._next_use.get(node.id, 0), node.last_used, node.id, node

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


def _late_uses(nodes: list[Node]) -> dict[int, int]:
    """Generates before the next use of each node whose contexts all say so; `nodes`: parents before children."""
    found: dict[int, int] = {}
    for node in reversed(nodes):
        if node.live:
            uses = [0 if mark.next_use is None else mark.next_use() for mark in node.marks]
            uses += [found.get(child.id, 0) for child in node.children.values() if child.live]
            distance = min(uses)
            if distance > 0:
                found[node.id] = distance
    return found
