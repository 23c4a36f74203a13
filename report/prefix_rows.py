"""The tree of prompt beginnings as rows of a page: which tokens, how many, and who begins with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..ir.core import Op, TokenList, Value
from .call_rows import CallRow
from .explain_text import number
from .measurement import MeasuredFill, Measurement
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


def prefix_rows(tree: PrefixTree, served: Mapping[Op, tuple[str, ...]],
                measured: Measurement | None) -> list[PrefixRow]:
    """The first rows of the tree, parents before children. What always follows stands in one row."""
    fills = measured.fills if measured is not None else {}
    runs: list[list[Node]] = []
    run_of: dict[Node, list[Node]] = {}
    for node in tree.nodes():
        before = run_of.get(node.parent) if node.parent is not None else None
        if before is not None and node.parent is not None and _always_follows(node.parent, node, fills):
            before.append(node)
            run_of[node] = before
            continue
        if len(runs) == MOST_ROWS:
            break
        runs.append([node])
        run_of[node] = runs[-1]
    tokens = [sum(fills[n.op].tokens if n.op in fills else n.tokens for n in run) for run in runs]
    longest = max(tokens, default=1.0) or 1.0
    depths: dict[Node, int] = {}
    rows = []
    for run, count in zip(runs, tokens, strict=True):
        parent = run[0].parent
        depths[run[0]] = depths[run_of[parent][0]] + 1 if parent is not None else 0
        rows.append(_row(tree, run, depths[run[0]], count, longest, served.get(run[-1].op, ()), fills))
    return rows


def _always_follows(first: Node, second: Node, fills: Mapping[Op, MeasuredFill]) -> bool:
    """Whether the tokens of `second` follow those of `first` wherever these stand."""
    same = first.count == second.count and first.uses == second.uses and first.is_output == second.is_output
    if same and first.op in fills and second.op in fills:
        return fills[first.op].count == fills[second.op].count and fills[first.op].calls == fills[second.op].calls
    return same and not first.is_output


def _row(tree: PrefixTree, run: list[Node], depth: int, tokens: float, longest: float, served: tuple[str, ...],
         fills: Mapping[Op, MeasuredFill]) -> PrefixRow:
    node = run[-1]
    note, is_shared = "", node.is_shared
    if node.op in fills:
        found = fills[node.op]
        is_shared = found.calls > found.count
        note = f"filled {_times(found.count)}, used by {found.calls} call{'s' * (found.calls != 1)}"
    elif node.is_output:
        note = "an answer that the next prompt continues"
    elif node.is_shared:
        note = f"used {number(node.uses)} times" if node.uses < 1000 else "used many times"
    pieces = [piece for part in run for piece in _pieces(tree, part.op)]
    return PrefixRow(min(depth, 12), tuple(pieces), number(tokens), round(100 * tokens / longest, 1), served,
                     node.call_count, is_shared, node.is_output, note)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _pieces(tree: PrefixTree, op: Op) -> list[tuple[str, bool]]:
    if op.name != "engine.fill":
        return [(str(op.attributes.get("output", "")), True)]
    spaced = op.attributes.get("spaced") or ()
    assert isinstance(spaced, tuple)
    found: list[tuple[str, bool]] = []
    for position, piece in enumerate(op.args[1:]):
        match piece:
            case TokenList(_, text) | str(text):
                found.append((_cut(text), False))
            case Value():
                found += [(" ", False)] * (position in spaced)
                found.append((tree.name_of(piece) or "value", True))
            case _:
                pass
    return found


def _cut(text: str) -> str:
    text = text.replace("\n", "⏎")
    return text if len(text) <= SNIPPET else f"{text[: SNIPPET // 2]} … {text[-SNIPPET // 2 :]}"
