"""How many elements a list certainly has: what decides whether a loop turns at all."""

from __future__ import annotations

from collections.abc import Mapping

from ..ir.core import Arg, Op, Value
from .regions import iterated

KEEP_THE_COUNT = ("reverse", "sort", "canonical_order", "common_first", "enumerate", "zip")
"""Functions of lists whose result is as long as the shortest of them."""


def least_count(arg: Arg, definitions: Mapping[Value, Op]) -> int:
    """A lower bound of the number of elements of a list that has not failed. Does not recurse."""
    low: int | None = None
    stack = [arg]
    seen: set[Value] = set()
    while stack:
        value = stack.pop()
        source = definitions.get(value) if isinstance(value, Value) else None
        if source is None or value in seen:
            return 0
        assert isinstance(value, Value)
        seen.add(value)
        known = _known_count(source, definitions)
        if known is None:
            followed = _same_count(source)
            if not followed:
                return 0
            stack.extend(followed)
        else:
            low = known if low is None else min(low, known)
    return low or 0


def _known_count(source: Op, definitions: Mapping[Value, Op]) -> int | None:
    if source.name == "flow.const":
        return len(source.args[0]) if isinstance(source.args[0], tuple) else 0
    if source.name != "flow.pure":
        return None
    if source.symbol == "list":
        return len(source.args) - 1
    if source.symbol == "range":
        return _range_count(source, definitions)
    return None


def _range_count(source: Op, definitions: Mapping[Value, Op]) -> int:
    """The number of elements of a range of constants, which is not made for that."""
    bounds = []
    for arg in source.args[1:]:
        constant = definitions.get(arg) if isinstance(arg, Value) else None
        literal = constant.args[0] if constant is not None and constant.name == "flow.const" else None
        if not isinstance(literal, int) or isinstance(literal, bool):
            return 0
        bounds.append(literal)
    try:
        return len(range(*bounds))
    except (ValueError, OverflowError):  # a step of 0 fails in the run
        return 0


def _same_count(source: Op) -> list[Arg]:
    """Lists of which the shortest is as long as what `source` gives; empty where there are none."""
    if source.name == "flow.for":
        return iterated(source)
    if source.name == "flow.pure" and source.symbol in KEEP_THE_COUNT:
        return source.args[1:]
    return []
