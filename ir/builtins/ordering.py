"""Orders for lists whose order does not matter: such that prompts made of them begin alike for as long as possible."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import TypeAlias

from ..core import Literal
from ..rendering import canonical_bytes, render
from ..types import List, Type, strip_bounds
from ..values import RuntimeValue, first_failure
from .base import Operands, PureContext, PureFunction, Strictness, element_of

Item: TypeAlias = tuple[bytes, int]
"""An element of a list: its canonical bytes, and how many equal ones stand before it."""


def _canonical_order(args: Operands, context: PureContext) -> RuntimeValue:
    element = element_of(context.operand_types[0])
    return sorted(args[0], key=lambda value: canonical_bytes(value, element))


def _common_first(args: Operands, context: PureContext) -> RuntimeValue:
    element = element_of(element_of(context.operand_types[0]))
    rows: list[dict[Item, RuntimeValue]] = []
    weights: dict[bytes, int] = {}
    result: list[RuntimeValue] = [first_failure([row]) or [] for row in args[0]]
    for row, ordered in zip(args[0], result, strict=True):
        items: dict[Item, RuntimeValue] = {}
        seen: dict[bytes, int] = {}
        for value in row if isinstance(ordered, list) else []:
            key = canonical_bytes(value, element)
            weights.setdefault(key, len(render(value, element)) + 1)
            seen[key] = seen.get(key, 0) + 1
            items[key, seen[key]] = value
        rows.append(items)
    for number, order in enumerate(best_orders(rows, weights)):
        if isinstance(result[number], list):
            result[number] = [rows[number][item] for item in order]
    return result


def best_orders(rows: Sequence[Mapping[Item, object]], weights: Mapping[bytes, int]) -> list[list[Item]]:
    """What `orders` gives, or the rows as they are where their prefix tree is no larger."""
    given = [list(row) for row in rows]
    found = orders(rows, weights)
    return found if tree_weight(found, weights) < tree_weight(given, weights) else given


def tree_weight(rows: Iterable[Sequence[Item]], weights: Mapping[bytes, int]) -> int:
    """The weight of the prefix tree of rows: of everything but what a row has in common with an earlier one."""
    tree: dict[tuple[int, bytes], int] = {}
    total = 0
    for row in rows:
        node = 0
        for key, _ in row:
            if (node, key) not in tree:
                tree[node, key] = len(tree) + 1
                total += weights[key]
            node = tree[node, key]
    return total


def orders(rows: Sequence[Mapping[Item, object]], weights: Mapping[bytes, int]) -> list[list[Item]]:
    """An order of the items of each row that makes the prefix tree of all rows small.

    Greedy group recursion (Liu et al., "Optimizing LLM queries in relational data analytics workloads", MLSys 2025),
    for a tree instead of neighbours: the item that saves most, its weight for each further row that has it, goes first
    in these rows, which are then ordered among themselves without it; so are the rows that do not have it. What no
    other row has keeps its order, at the end. Work: the items times the levels of the tree, and a logarithm.
    """
    result: list[list[Item]] = [[] for _ in rows]
    left: list[dict[Item, None]] = [dict.fromkeys(row) for row in rows]
    stack = [list(range(len(rows)))]
    while stack:
        group = stack.pop()
        having: dict[Item, list[int]] = {}
        for row in group:
            for item in left[row]:
                having.setdefault(item, []).append(row)
        for item in [item for item, found in having.items() if len(found) == len(group) > 1]:
            for row in having.pop(item):
                result[row].append(item)
                del left[row][item]
        stack += _parts(group, having, left, weights, result)
    for row, rest in enumerate(left):
        result[row] += rest
    return result


def _parts(group: list[int], having: dict[Item, list[int]], left: list[dict[Item, None]],
           weights: Mapping[bytes, int], result: list[list[Item]]) -> list[list[int]]:
    """Part a group by the items that save most; the parts, whose rows have got their item."""
    counts = {item: len(found) for item, found in having.items() if len(found) > 1}
    place = {item: number for number, item in enumerate(counts)}
    heap = [(-weights[item[0]] * (count - 1), place[item], item) for item, count in counts.items()]
    heapify(heap)
    free = set(group)
    parts = []
    while heap:
        gain, number, item = heappop(heap)
        count = counts[item]
        if count < 2:
            continue
        if -gain != weights[item[0]] * (count - 1):
            heappush(heap, (-weights[item[0]] * (count - 1), number, item))
            continue
        part = [row for row in having[item] if row in free]
        free.difference_update(part)
        for row in part:
            for other in left[row]:
                if other in counts:
                    counts[other] -= 1
            del left[row][item]
            result[row].append(item)
        parts.append(part)
    return parts


def _list_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    return List(strip_bounds(element_of(types[0])))


def _rows_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    return List(List(strip_bounds(element_of(element_of(types[0]), "an element of the operand"))))


FUNCTIONS = (
    PureFunction("canonical_order", "{{unordered for x in xs}}", "The elements in the order of their canonical bytes.",
                 (1, 1), _list_type, _canonical_order),
    PureFunction("common_first", "{{unordered for x in xs}}",
                 "Lists, each ordered so that they begin alike as long as possible; one with a failed element fails.",
                 (1, 1), _rows_type, _common_first, Strictness.SHALLOW),
)
