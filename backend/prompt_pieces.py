"""The prompts of a run, cut wherever two of them part: equal pieces after equal pieces are one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count


class Piece:
    """A run of tokens after those of `parent`. `ids` is None for an output, of which no tokens are known."""

    __slots__ = ("children", "ids", "key", "parent")

    def __init__(self, key: int, parent: Piece | None, ids: Sequence[int] | None) -> None:
        self.key = key
        self.parent = parent
        self.ids = ids
        self.children: dict[int, Piece] = {}


class PromptPieces:
    """A radix tree. Without `share`, nothing is found again: every prompt has pieces of its own."""

    def __init__(self, *, share: bool) -> None:
        self._share = share
        self._keys = count(1)
        self.root = Piece(0, None, ())

    def fill(self, parent: Piece, ids: Sequence[int]) -> Piece:
        """The piece that ends with `ids` after the end of `parent`; the pieces of other prompts are cut as needed."""
        node, rest = parent, list(ids)
        while rest:
            child = node.children.get(rest[0]) if self._share else None
            if child is None or child.ids is None:
                return self._add(node, rest)
            run = _common(child.ids, rest)
            node = child if run == len(child.ids) else self._cut(child, run)
            rest = rest[run:]
        return node

    def output(self, parent: Piece) -> Piece:
        """A piece for an output after `parent`."""
        return Piece(next(self._keys), parent, None)

    def _add(self, parent: Piece, ids: list[int]) -> Piece:
        piece = Piece(next(self._keys), parent, ids)
        if self._share:
            parent.children[ids[0]] = piece
        return piece

    def _cut(self, piece: Piece, at: int) -> Piece:
        """Cut `piece`, which goes on being the lower part, as prompts end there; the upper part."""
        assert piece.ids is not None and piece.parent is not None
        upper = Piece(next(self._keys), piece.parent, piece.ids[:at])
        piece.parent.children[piece.ids[0]] = upper
        piece.parent, piece.ids = upper, piece.ids[at:]
        upper.children[piece.ids[0]] = piece
        return upper


def between(end: Piece, begin: Piece) -> list[tuple[int, int]]:
    """Key and length of each piece from the end of `begin` to that of `end`."""
    found: list[tuple[int, int]] = []
    piece: Piece | None = end
    while piece is not None and piece is not begin:
        assert piece.ids is not None, "an output is filled by its call only"
        found.append((piece.key, len(piece.ids)))
        piece = piece.parent
    assert piece is begin, "`begin` is above `end`"
    return found[::-1]


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    size = min(len(first), len(second))
    if first[:size] == second[:size]:
        return size
    return next(i for i in range(size) if first[i] != second[i])
