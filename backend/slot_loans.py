"""KV slots for tokens that are not in the tree yet: a step computes them before the host knows which they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .context_tree import ContextTree, Node


class SlotLoans:
    """Slots lent out of the pages of `tree`. Each one holds its page by itself, so the tree may change meanwhile."""

    def __init__(self, tree: ContextTree) -> None:
        self._tree = tree
        self.slots: set[int] = set()
        """Those that are out."""

    def lend(self, last_slot: int) -> int:
        """A slot for the token after the one in `last_slot`, in its page where possible. A page must be free."""
        allocator = self._tree.allocator
        slot = allocator.next_slot(last_slot)
        if slot is None:
            slot = int(allocator.extend(last_slot, 1, holds_page=False)[0])
        else:
            allocator.share(slot)
        self.slots.add(slot)
        return slot

    def give_back(self, slot: int) -> None:
        """The token was not computed, or is not needed."""
        self.slots.remove(slot)
        self._tree.allocator.release(np.array([slot], np.int64), None)

    def hand_over(self, slot: int, node: Node) -> None:
        """`node` owns the slot from now on: it holds the next of its tokens, whose KV `commit` makes resident."""
        self.slots.remove(slot)
        allocator = self._tree.allocator
        if len(node.slots) and allocator.in_one_page(node.slots[-1], slot):
            allocator.unshare(slot)  # the node holds the page already
        node.slots.append(slot)

    def hand_all_over(self, slots: Sequence[int], nodes: Sequence[Node]) -> None:
        """As `hand_over` of each, where every node holds slots already."""
        allocator = self._tree.allocator
        size = allocator.page_size
        for slot, node in zip(slots, nodes, strict=True):
            if slot % size and slot // size == node.slots.last() // size:
                allocator.unshare(slot)
            node.slots.append(slot)
        self.slots.difference_update(slots)
