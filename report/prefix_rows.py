"""The tree of prompt beginnings as rows of a page: which tokens, how many, and who begins with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..ir.core import Op, TokenList, Value
from .call_rows import CallRow
from .explain_text import number
from .measurement import Measurement
from .prefix_tree import Node, PrefixTree

MOST_ROWS = 300
MOST_SERVED = 200
"""Calls that are named beside one node."""
SNIPPET = 140


@dataclass(frozen=True)
class PrefixRow:
    """A node at a depth. `text`: its pieces, (text, is a value); `width`: its tokens in percent of the longest."""

    depth: int
    pieces: tuple[tuple[str, bool], ...]
    tokens: str
    width: float
    identifiers: tuple[str, ...]
    call_count: int
    is_shared: bool
    is_output: bool
    note: str


def served_calls(tree: PrefixTree, rows: Sequence[CallRow]) -> dict[Op, tuple[str, ...]]:
    """The identifiers of the calls whose prompts hold the tokens of each fill or output; some of many."""
    found: dict[Op, list[str]] = {}
    for row in rows:
        node = tree.node(row.op).parent
        while node is not None:
            served = found.setdefault(node.op, [])
            if len(served) >= MOST_SERVED:
                break  # and so have all nodes above it
            served.append(row.identifier)
            node = node.parent
    return {op: tuple(served) for op, served in found.items()}


def prefix_rows(tree: PrefixTree, served: Mapping[Op, tuple[str, ...]], measured: Measurement | None) -> list[PrefixRow]:
    """The first rows of the tree, parents before children."""
    nodes = []
    for node in tree.nodes():
        nodes.append(node)
        if len(nodes) == MOST_ROWS:
            break
    longest = max((node.tokens for node in nodes), default=1.0) or 1.0
    depths: dict[Node, int] = {}
    rows = []
    for node in nodes:
        depths[node] = depths[node.parent] + 1 if node.parent in depths else 0
        rows.append(_row(node, depths[node], longest, served.get(node.op, ()), measured))
    return rows


def _row(node: Node, depth: int, longest: float, served: tuple[str, ...], measured: Measurement | None) -> PrefixRow:
    note = ""
    if measured is not None and node.op in measured.prefix_uses:
        made, used = measured.prefix_uses[node.op]
        note = f"filled {_times(made)}, used by {used} call{'s' * (used != 1)}"
    elif node.is_output:
        note = "an answer that the next prompt continues"
    elif node.is_shared:
        note = f"used {number(node.uses)} times" if node.uses < 1000 else "used many times"
    return PrefixRow(min(depth, 12), _pieces(node.op), number(node.tokens), round(100 * node.tokens / longest, 1), served,
                     node.call_count, node.is_shared, node.is_output, note)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _pieces(op: Op) -> tuple[tuple[str, bool], ...]:
    if op.name != "engine.fill":
        return ((str(op.attributes.get("output", "")), True),)
    found: list[tuple[str, bool]] = []
    for piece in op.args[1:]:
        match piece:
            case TokenList(_, text) | str(text):
                found.append((_cut(text), False))
            case Value():
                found.append((piece.name or "value", True))
            case _:
                pass
    return tuple(found)


def _cut(text: str) -> str:
    text = text.replace("\n", "⏎")
    return text if len(text) <= SNIPPET else f"{text[: SNIPPET // 2]} … {text[-SNIPPET // 2 :]}"
