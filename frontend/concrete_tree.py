"""A syntax tree with all its tokens, for the formatter, and what its neighbours are to one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .tokens import RESERVED_WORDS, Token

CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, eq=False)
class ConcreteNode:
    """A rule with all its tokens; `name` is that of the rule or its alias."""

    name: str
    children: list[Tree]


Tree = ConcreteNode | Token


def first_token(tree: Tree) -> Token:
    """The token with which a tree begins."""
    while isinstance(tree, ConcreteNode):
        tree = tree.children[0]
    return tree


def last_token(tree: Tree) -> Token:
    """The token with which a tree ends."""
    while isinstance(tree, ConcreteNode):
        tree = tree.children[-1]
    return tree


def is_token(tree: Tree, *kinds: str) -> bool:
    """Whether a tree is a token of one of these kinds."""
    return isinstance(tree, Token) and tree.kind in kinds


def split_at_commas(children: Sequence[Tree]) -> tuple[list[tuple[list[Tree], Token | None]], bool]:
    """The elements between commas, each with the comma behind it, and whether one stands behind the last."""
    elements: list[tuple[list[Tree], Token | None]] = []
    current: list[Tree] = []
    for child in children:
        if isinstance(child, Token) and child.kind == ",":
            elements.append((current, child))
            current = []
        else:
            current.append(child)
    has_trailing_comma = not current and bool(elements)
    if current:
        elements.append((current, None))
    return elements, has_trailing_comma


def needs_space(before: Tree, after: Tree) -> bool:
    """Whether a space stands between two neighbours of a sequence."""
    if isinstance(after, Token):
        if after.kind in (",", ":", "?", ".", ")", "]", ".."):
            return False
        if after.kind in ("(", "["):
            is_word = isinstance(before, Token) and (before.kind in RESERVED_WORDS or before.kind == "TEXT")
            return is_word or (isinstance(before, Token) and before.kind in ("=", ":", ",", "->"))
    return not (isinstance(before, Token) and before.kind in ("(", "[", ".", ".."))
