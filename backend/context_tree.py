"""One reference-counted radix tree of contexts whose KV lies in pages.

A node is a run of tokens; a context is a mark: a node and a position in it, so a chain of fills that nobody
forks is one node, however long. A fork in the middle of a node splits it; both halves go on owning their
slots. Positions count from the start of the context, BOS included. Nothing here recurses.

A node's KV is resident for its first `resident` tokens; if it is above 0 the parent is wholly resident.
Nodes that no mark needs stay while their KV is resident and `share` is on (that is the prefix cache), and are
removed at once when `share` is off.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
from numpy.typing import NDArray

from .growing_array import GrowingArray
from .page_allocator import PageAllocator

Tokens = NDArray[np.int64]


class Mark:
    """A reference to the position `position` of `node` (start < position <= end, or the root's own end).

    `next_use`: how many generates are still to run before it is used next, where that is known.
    """

    __slots__ = ("next_use", "node", "position")

    def __init__(self, node: Node, position: int) -> None:
        self.node = node
        self.position = position
        self.next_use: Callable[[], int] | None = None


def _position(mark: Mark) -> int:
    return mark.position


class Node:
    """A run of tokens of one or more contexts, from position `start`."""

    __slots__ = (
        "children", "claimed", "computed", "computing", "held", "id", "key", "last_used", "live", "live_children",
        "marks", "parent", "pinned", "resident", "resident_children", "slots", "start", "tokens",
    )

    def __init__(self, id: int, parent: Node | None, start: int, tokens: Tokens) -> None:
        self.id = id
        self.parent = parent
        self.key = 0
        self.start = start
        self.tokens = GrowingArray(tokens)
        self.slots = GrowingArray()
        """Slots of the resident tokens, then of those that the current step computes."""
        self.resident = 0
        self.computed = 0
        """How many tokens have ever been computed: those beyond `resident` had their KV dropped."""
        self.claimed = 0
        """How many tokens calls have needed: resident ones beyond were filled early."""
        self.children: dict[int, Node] = {}
        self.resident_children = 0
        self.marks: list[Mark] = []
        """Sorted by position."""
        self.live = False
        self.live_children = 0
        self.held = 0
        """Resident tokens that some mark needs, early ones apart."""
        self.last_used = 0
        self.pinned = -1
        """The last step that needs this node: it may not lose KV before that step has run."""
        self.computing = -1
        """The last step that computes tokens of this node."""

    @property
    def end(self) -> int:
        """Position after the last token."""
        return self.start + self.tokens.size

    @property
    def live_end(self) -> int:
        """Position up to which marks need this node; `start` when none does."""
        if self.live_children:
            return self.end
        return self.marks[-1].position if self.marks else self.start


class ContextTree:
    """The tree of all contexts of an engine. `bos_id`: what the root holds; `share`: whether it is a prefix cache."""

    def __init__(self, allocator: PageAllocator, bos_id: int | None, *, share: bool) -> None:
        self.allocator = allocator
        self.share = share
        self._ids = count()
        root_tokens = np.array([] if bos_id is None else [bos_id], dtype=np.int64)
        self.root = Node(next(self._ids), None, 0, root_tokens)
        self.live_tokens = 0
        """Resident tokens that marks need, BOS and what was filled early excluded; shared ones count once."""

    # ---- marks ----

    def root_mark(self) -> Mark:
        """A new mark on the empty context."""
        return self._place(Mark(self.root, self.root.end))

    def copy_mark(self, mark: Mark) -> Mark:
        """A new mark at the same place."""
        return self._place(Mark(mark.node, mark.position))

    def drop_mark(self, mark: Mark) -> None:
        """Forget `mark`; what nobody else needs becomes cache, or is freed."""
        node = mark.node
        self._lift(mark)
        self._refresh(node)
        self.trim(node)

    def _place(self, mark: Mark) -> Mark:
        marks = mark.node.marks
        marks.insert(bisect_right(marks, mark.position, key=_position), mark)
        self._refresh(mark.node)
        return mark

    def _lift(self, mark: Mark) -> None:
        marks = mark.node.marks
        index = bisect_right(marks, mark.position, key=_position) - 1
        while marks[index] is not mark:
            index -= 1
        del marks[index]

    def _move(self, mark: Mark, node: Node, position: int) -> None:
        old, backwards = mark.node, position < mark.position
        self._lift(mark)
        mark.node, mark.position = node, position
        self._place(mark)
        if backwards or old is not node:
            self._refresh(old)
            self.trim(old)

    def append(self, mark: Mark, tokens: Tokens) -> int:
        """Move `mark` forward over `tokens`, along existing nodes where `share` allows; how many tokens existed."""
        node, position, done = mark.node, mark.position, 0
        found = 0
        while done < len(tokens):
            rest = tokens[done:]
            if position < node.end:
                run = _common_run(node.tokens.view(position - node.start), rest) if self.share else 0
                if run == 0:
                    node = self._split(node, position)
            elif self.share and (child := node.children.get(int(rest[0]))) is not None:
                node, run = child, _common_run(child.tokens.view(), rest)
            else:
                node = self._grow(node, rest)
                position, done = node.end, len(tokens)
                break
            position, done, found = position + run, done + run, found + run
        self._move(mark, node, position)
        return found

    def append_next(self, mark: Mark, token: int) -> None:
        """As `append` of one token, quicker where `mark` is the last one of a leaf and at its end."""
        node = mark.node
        if node.children or node.parent is None or mark.position != node.end or node.marks[-1] is not mark:
            self.append(mark, np.array([token], dtype=np.int64))
            return
        node.tokens.append(token)
        mark.position += 1

    def _grow(self, node: Node, tokens: Tokens) -> Node:
        """Put `tokens` after the end of `node`: into it if it is a leaf, else into a new child."""
        if not node.children and node is not self.root:
            node.tokens.extend(tokens)
            return node
        child = Node(next(self._ids), node, node.end, tokens)
        child.key = int(tokens[0]) if self.share else -child.id
        child.last_used = node.last_used
        node.children[child.key] = child
        return child

    def retreat(self, mark: Mark, position: int) -> None:
        """Move `mark` back to an earlier position of its own context."""
        node = mark.node
        while position <= node.start and node.parent is not None:
            node = node.parent
        self._move(mark, node, position)

    def tokens_between(self, mark: Mark, position: int) -> Tokens:
        """The tokens of the context of `mark` from `position` to the mark."""
        parts = []
        node, end = mark.node, mark.position
        while end > position:
            parts.append(node.tokens.view(max(position - node.start, 0), end - node.start))
            end = min(end, node.start)
            if node.parent is None:
                break
            node = node.parent
        return np.concatenate(parts[::-1]) if parts else np.empty(0, dtype=np.int64)

    # ---- structure ----

    def _split(self, node: Node, position: int) -> Node:
        """Split `node` at `position`; the upper half. The half with fewer references becomes the new node."""
        offset = position - node.start
        cut = bisect_right(node.marks, position, key=_position)
        live_end = node.live_end
        self.live_tokens -= node.held
        if len(node.children) + len(node.marks) - cut < cut:
            upper, lower = node, self._split_off_lower(node, offset, cut)
        else:
            upper, lower = self._split_off_upper(node, offset, cut), node
        lower.key = int(lower.tokens[0]) if self.share else -lower.id
        upper.children = {lower.key: lower}
        upper.resident_children = int(lower.resident > 0)
        upper.live, lower.live = live_end > upper.start, live_end > lower.start
        upper.live_children = int(lower.live)
        for half in (upper, lower):
            half.held = self.held_tokens(half)
            self.live_tokens += half.held
        if len(lower.slots) and self.allocator.in_one_page(upper.slots[-1], lower.slots[0]):
            self.allocator.share(lower.slots[0])
        return upper

    def _split_off_lower(self, node: Node, offset: int, cut: int) -> Node:
        lower = Node(next(self._ids), node, node.start + offset, node.tokens.view(offset))
        lower.slots.extend(node.slots.view(offset))
        lower.marks, node.marks = node.marks[cut:], node.marks[:cut]
        for mark in lower.marks:
            mark.node = lower
        lower.children, lower.live_children = node.children, node.live_children
        lower.resident_children = node.resident_children
        for child in lower.children.values():
            child.parent = lower
        node.tokens.truncate(offset)
        node.slots.truncate(offset)
        self._divide_counts(node, lower, offset)
        return lower

    def _split_off_upper(self, node: Node, offset: int, cut: int) -> Node:
        upper = Node(next(self._ids), node.parent, node.start, node.tokens.view(0, offset))
        upper.slots.extend(node.slots.view(0, offset))
        upper.marks, node.marks = node.marks[:cut], node.marks[cut:]
        for mark in upper.marks:
            mark.node = upper
        assert node.parent is not None, "the root is never split"
        upper.key = node.key  # keys are only compared within one parent's children, and ids are never reused
        node.parent.children[upper.key] = upper
        tokens, slots = GrowingArray(node.tokens.view(offset)), GrowingArray(node.slots.view(offset))
        node.parent, node.start, node.tokens, node.slots = upper, node.start + offset, tokens, slots
        upper.resident, upper.computed, upper.claimed = node.resident, node.computed, node.claimed
        self._divide_counts(upper, node, offset)
        return upper

    @staticmethod
    def _divide_counts(upper: Node, lower: Node, offset: int) -> None:
        """`upper` has the counts of the whole node; give each half its part."""
        lower.resident, lower.computed = max(upper.resident - offset, 0), max(upper.computed - offset, 0)
        upper.resident, upper.computed = min(upper.resident, offset), min(upper.computed, offset)
        lower.claimed, upper.claimed = max(upper.claimed - offset, 0), min(upper.claimed, offset)
        upper.last_used = lower.last_used = max(upper.last_used, lower.last_used)
        upper.pinned = lower.pinned = max(upper.pinned, lower.pinned)

    def trim(self, node: Node) -> None:
        """Cut tokens at the end of a leaf that no mark needs and that hold no cached KV; remove empty nodes."""
        while not node.children and node.parent is not None:
            keep = node.live_end
            if self.share:
                keep = max(keep, node.start + node.resident)
            else:
                self.drop_kv(node, node.live_end - node.start)
            node.tokens.truncate(keep - node.start)
            node.computed = min(node.computed, keep - node.start)
            node.claimed = min(node.claimed, keep - node.start)
            if keep > node.start:
                return
            parent = node.parent
            del parent.children[node.key]
            node.parent = None
            node = parent

    def held_tokens(self, node: Node) -> int:
        """How many resident tokens of `node` some mark needs, those apart that no call has needed yet."""
        if node.parent is None:
            return 0
        return max(0, min(node.resident, node.claimed, node.live_end - node.start))

    def _refresh(self, node: Node) -> None:
        """Bring `held` and `live` up to date after marks or residency of `node` changed."""
        while True:
            held = self.held_tokens(node)
            self.live_tokens += held - node.held
            node.held = held
            live = node.live_end > node.start
            if live == node.live or node.parent is None:
                return
            node.live = live
            node.parent.live_children += 1 if live else -1
            node = node.parent

    # ---- KV ----

    def new_pages_for(self, node: Node, count: int) -> int:
        """Free pages that `reserve` would take."""
        return self.allocator.new_pages_for(self._last_slot(node), count)

    def room_for(self, node: Node) -> int:
        """How many tokens `reserve` could take now."""
        return self.allocator.room_after(self._last_slot(node)) + self.allocator.free_pages * self.allocator.page_size

    def reserve(self, node: Node, count: int) -> Tokens:
        """Slots for the next `count` tokens of `node`, int64 [count]; `commit` makes them resident."""
        slots = self.allocator.extend(self._last_slot(node), count, holds_page=len(node.slots) > 0)
        node.slots.extend(slots)
        return slots

    @staticmethod
    def lacks_one(mark: Mark) -> bool:
        """Whether only the last token of the context is not resident, and its node holds others that are all needed."""
        node = mark.node
        held = node.slots.size
        return (mark.position == node.start + held + 1 and node.tokens.size == held + 1
                and held == node.held == node.resident == node.computed == node.claimed > 0)

    def reserve_next(self, node: Node) -> int:
        """The slot of the next token of `node`, which holds KV already; as `reserve`, but quicker."""
        slot = self.allocator.next_slot(node.slots.last())
        if slot is None:
            return int(self.reserve(node, 1)[0])
        node.slots.append(slot)
        return slot

    @staticmethod
    def _last_slot(node: Node) -> int | None:
        if len(node.slots):
            return node.slots[-1]
        parent = node.parent
        return parent.slots[-1] if parent is not None and len(parent.slots) == len(parent.tokens) > 0 else None

    def claim(self, path: list[Node], position: int) -> None:
        """A call needs the context of `path` up to `position`."""
        for node in path:
            needed = min(position, node.end) - node.start
            if node.claimed < needed:
                node.claimed = needed
                self._refresh(node)

    def commit(self, node: Node, *, early: bool = False) -> None:
        """All reserved tokens of `node` have been computed; `early`: before any call needed them."""
        if not early:
            node.claimed = max(node.claimed, len(node.slots))
        self._set_resident(node, len(node.slots))
        node.computed = max(node.computed, node.resident)

    def commit_next(self, nodes: list[Node]) -> None:
        """As `commit` of nodes whose tokens are all needed now, and whose others were needed and resident before."""
        for node in nodes:
            node.resident = node.computed = node.claimed = node.held = node.slots.size
        self.live_tokens += len(nodes)

    def roll_back(self, node: Node) -> None:
        """Give back reserved slots: their tokens were not computed."""
        self._release(node, node.resident)

    def drop_kv(self, node: Node, keep: int) -> None:
        """Drop the KV of all but the first `keep` tokens of `node`; no child may be resident."""
        if node.resident > keep:
            self._release(node, keep)
            self._set_resident(node, keep)

    def _release(self, node: Node, keep: int) -> None:
        self.allocator.release(node.slots.view(keep), node.slots[keep - 1] if keep else None)
        node.slots.truncate(keep)

    def _set_resident(self, node: Node, resident: int) -> None:
        if node.parent is not None and (node.resident > 0) != (resident > 0):
            node.parent.resident_children += 1 if resident else -1
        node.resident = resident
        self._refresh(node)

    # ---- reading ----

    def path(self, mark: Mark) -> list[Node]:
        """The nodes of a context that have tokens, root first."""
        nodes = []
        node: Node | None = mark.node
        while node is not None:
            if len(node.tokens):
                nodes.append(node)
            node = node.parent
        return nodes[::-1]

    def first_missing(self, mark: Mark) -> tuple[int, Node | None]:
        """The first position of a context that is not resident, and the node with its token (if before the mark)."""
        node, below = mark.node, None
        while node.resident == 0 and node.parent is not None:
            node, below = node.parent, node
        first = min(node.start + node.resident, mark.position)
        return first, node if node.resident < len(node.tokens) else below

    def nodes(self) -> Iterator[Node]:
        """All nodes, parents before children."""
        stack = [self.root]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())


def _common_run(a: Tokens, b: Tokens) -> int:
    """Length of the longest common prefix."""
    size = min(len(a), len(b))
    if size == 0 or a[0] != b[0]:
        return 0
    different = np.flatnonzero(a[:size] != b[:size])
    return int(different[0]) if len(different) else size
