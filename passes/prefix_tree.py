"""Prefix trees over the pieces of prompts: one node for each beginning that prompts have in common.

A tree starts at a prompt that no append makes (the empty prompt of a model, an output's context, a parameter). An
edge is a run of constant tokens, or one piece that cannot be cut: a value, a text that the run tokenizes, a role.
Runs are cut where two prompts part (Morrison, "PATRICIA", 1968), and where one ends. Nothing here recurses.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..ir.core import Op, TokenList, Value
from .effects import literal_key
from .scopes import Scope


class PrefixNode:
    """A beginning of prompts: its parent's, followed by tokens `start..stop` of `source`, or by one other piece.

    `scope`: the innermost scope that defines something on the way from the root to here.
    """

    __slots__ = ("children", "ends", "level", "parent", "scope", "source", "start", "stop")

    def __init__(self, parent: PrefixNode | None, scope: Scope, source: TokenList | None = None, start: int = 0,
                 stop: int = 0) -> None:
        self.parent = parent
        self.scope = scope
        self.source = source
        self.start = start
        self.stop = stop
        self.children: dict[object, PrefixNode] = {}
        self.ends: list[Op] = []
        """The operations whose prompt ends here, in textual order."""
        self.level = 0
        """Edges between the root and here, once the tree is whole (`PrefixForest.nodes`)."""

    @property
    def length(self) -> int:
        """Constant tokens of the edge; 0 for a piece that is no run of tokens."""
        return self.stop - self.start


class PrefixForest:
    """All trees of one program, by the value or the model that they start from."""

    def __init__(self) -> None:
        self.roots: dict[Value | str, PrefixNode] = {}
        self._known: dict[tuple[PrefixNode, int, bool], PrefixNode] = {}
        """Where a token list ends that was inserted before, by the identity of its ids, which live as long as ops."""

    def root(self, key: Value | str, scope: Scope) -> PrefixNode:
        """The tree that starts from a value, or from the empty prompt of a model."""
        node = self.roots.get(key)
        if node is None:
            node = self.roots[key] = PrefixNode(None, scope)
        return node

    def insert(self, node: PrefixNode, op: Op, scope_of: dict[Value, Scope]) -> PrefixNode:
        """The node of what `op`, an append or role, makes of the prompt of `node`."""
        piece = op.args[1] if len(op.args) > 1 else None
        if isinstance(piece, TokenList) and piece.ids and "role" not in op.attributes:
            return self._insert_tokens(node, piece)
        what = piece if isinstance(piece, Value) else literal_key(piece)
        key = (op.name, what, bool(op.attributes.get("space")), literal_key(op.attributes.get("role")))
        child = node.children.get(key)
        if child is None:
            scope = node.scope
            if isinstance(piece, Value) and scope_of[piece].depth > scope.depth:
                scope = scope_of[piece]
            child = node.children[key] = PrefixNode(node, scope)
        return child

    def _insert_tokens(self, node: PrefixNode, tokens: TokenList) -> PrefixNode:
        known = (node, id(tokens.ids), tokens.scaffold)
        end = self._known.get(known)
        if end is not None:
            return end
        at, stop = 0, len(tokens.ids)
        while at < stop:
            key = tokens.ids[at], tokens.scaffold
            child = node.children.get(key)
            if child is None:
                child = node.children[key] = PrefixNode(node, node.scope, tokens, at, stop)
                at = stop
            else:
                run = _common_run(child, tokens.ids, at)
                child = _cut(child, key, run) if run < child.length else child
                at += run
            node = child
        self._known[known] = node
        return node

    def nodes(self) -> Iterator[PrefixNode]:
        """Every node, parents before children; writes down their levels."""
        for root in self.roots.values():
            stack = [root]
            while stack:
                node = stack.pop()
                node.level = node.parent.level + 1 if node.parent is not None else 0
                yield node
                stack.extend(reversed(node.children.values()))


def _cut(node: PrefixNode, key: object, length: int) -> PrefixNode:
    """Cut the edge of `node` after `length` tokens; the new node in its middle. `node` itself stays the lower end."""
    assert node.parent is not None and node.source is not None
    upper = PrefixNode(node.parent, node.scope, node.source, node.start, node.start + length)
    node.parent.children[key] = upper
    node.parent, node.start = upper, node.start + length
    upper.children[node.source.ids[node.start], node.source.scaffold] = node
    return upper


def _common_run(node: PrefixNode, ids: tuple[int, ...], at: int) -> int:
    """How many tokens of `ids` from `at` on the edge of `node` begins with."""
    assert node.source is not None
    own, start = node.source.ids, node.start
    most = min(node.length, len(ids) - at)
    if own[start : start + most] == ids[at : at + most]:
        return most
    run, size = 0, 16
    while size:
        if run + size <= most and own[start + run : start + run + size] == ids[at + run : at + run + size]:
            run += size
            size *= 2
        else:
            size //= 2
    return run
