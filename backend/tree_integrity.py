"""What must hold of a context tree between two steps."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from .context_tree import ContextTree, Mark, Node


def check_tree(tree: ContextTree, marks: list[Mark], lent: Collection[int] = ()) -> None:
    """Raise AssertionError unless counts, pages and links agree and exactly `marks` are placed; the slots `lent` are
    held by others."""
    placed: list[Mark] = []
    live_tokens = 0
    for node in tree.nodes():
        placed += node.marks
        live_tokens += node.held
        _check_node(tree, node)
    assert sorted(map(id, placed)) == sorted(map(id, marks)), "marks leaked or lost"
    assert live_tokens == tree.live_tokens, "live tokens are miscounted"
    runs = [node.slots.view() for node in tree.nodes() if len(node.slots)]
    tree.allocator.check(runs + [np.array([slot]) for slot in lent])


def _check_node(tree: ContextTree, node: Node) -> None:
    assert [m.position for m in node.marks] == sorted(m.position for m in node.marks), "marks are not sorted"
    lowest = node.end if node.parent is None else node.start + 1
    assert all(m.node is node and lowest <= m.position <= node.end for m in node.marks), "a mark is misplaced"
    assert node.resident == len(node.slots) <= node.computed <= len(node.tokens), "residency is miscounted"
    children = list(node.children.values())
    assert all(node.children[c.key] is c and c.parent is node and c.start == node.end for c in children), "bad link"
    assert node.claimed <= len(node.tokens), "claimed tokens are miscounted"
    assert node.resident_children == sum(c.resident > 0 for c in children), "resident children are miscounted"
    assert node.live_children == sum(c.live for c in children), "live children are miscounted"
    assert node.live == (node.live_end > node.start) or node.parent is None, "liveness is wrong"
    assert node.held == tree.held_tokens(node), "held tokens are miscounted"
    assert not node.resident_children or node.resident == len(node.tokens), "KV below a hole"
    if node.parent is not None:
        assert len(node.tokens), "an empty node"
        assert not tree.share or node.key == node.tokens[0], "a child under a wrong key"
        assert children or node.live or (tree.share and node.resident), "a node that nobody needs"
