"""Whether two modules are the same program text apart from value names and locations."""

from __future__ import annotations

from .core import Arg, Module, Op, Value
from .printer import print_literal


def equal_modules(first: Module, second: Module) -> bool:
    """Structural equality: same operations, literals, attributes, types and data flow, in the same order.

    1, 1.0 and true are different literals. Names of values, locations and the order of attributes do not matter.
    """
    pairs = [(first.ops, second.ops)]
    same: dict[Value, Value] = {}
    while pairs:
        left, right = pairs.pop()
        if len(left) != len(right):
            return False
        for a, b in zip(left, right, strict=True):
            if not _equal_ops(a, b, same):
                return False
            # Uses follow definitions in textual order only; a value seen later is checked when it is defined.
            pairs.extend((x.ops, y.ops) for x, y in zip(a.regions, b.regions, strict=True))
    return True


def _equal_ops(a: Op, b: Op, same: dict[Value, Value]) -> bool:
    if a.name != b.name or len(a.args) != len(b.args) or len(a.regions) != len(b.regions):
        return False
    if a.attributes.keys() != b.attributes.keys():
        return False
    if any(print_literal(literal) != print_literal(b.attributes[name]) for name, literal in a.attributes.items()):
        return False
    defined = [(a.results, b.results), *((x.parameters, y.parameters)
                                         for x, y in zip(a.regions, b.regions, strict=True))]
    if not all(_equal_definitions(x, y, same) for x, y in defined):
        return False
    return all(_equal_args(x, y, same) for x, y in zip(a.args, b.args, strict=True))


def _equal_definitions(left: list[Value], right: list[Value], same: dict[Value, Value]) -> bool:
    return len(left) == len(right) and all(
        x.type == y.type and same.setdefault(x, y) is y for x, y in zip(left, right, strict=True))


def _equal_args(x: Arg, y: Arg, same: dict[Value, Value]) -> bool:
    if isinstance(x, Value) and isinstance(y, Value):
        return same.setdefault(x, y) is y
    return not isinstance(x, Value) and not isinstance(y, Value) and print_literal(x) == print_literal(y)
