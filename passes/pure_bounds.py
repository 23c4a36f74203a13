"""How the built-in functions change the sizes of values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir.core import Op
from ..ir.types import Bool, List, Map, Option, Record, Text
from .intervals import ANY, Interval
from .value_bounds import (
    Bounds,
    list_bounds,
    option_bounds,
    plain,
    record_bounds,
    text_bounds,
    type_bounds,
)

CASE_EXPANSION = 3
"""Bytes that one byte may take in another case (`ΐ` has two, its upper case six)."""


def pure_bounds(op: Op, operands: Sequence[Bounds]) -> Bounds:
    """The bounds of what a `flow.pure` gives; those of its type for functions of which nothing better is known."""
    rule = _RULES.get(op.symbol)
    found = rule(op, operands) if rule is not None else None
    return type_bounds(op.result.type) if found is None else found


def _render(op: Op, operands: Sequence[Bounds]) -> Bounds:
    (value,) = operands
    return Bounds(value.bytes, text_bounds(value.bytes).json, value.texts)


def _json(op: Op, operands: Sequence[Bounds]) -> Bounds:
    return text_bounds(operands[0].json)


def _concat(op: Op, operands: Sequence[Bounds]) -> Bounds:
    return text_bounds(_total([o.bytes for o in operands]))


def _total(sizes: Sequence[Interval]) -> Interval:
    total = Interval.exactly(0)
    for size in sizes:
        total = total + size
    return total


def _add(op: Op, operands: Sequence[Bounds]) -> Bounds | None:
    if isinstance(op.result.type, Text):
        return _concat(op, operands)
    first, second = operands
    if first.count is None or second.count is None or first.element is None or second.element is None:
        return None
    return list_bounds(first.count + second.count, first.element.join(second.element))


def _join(op: Op, operands: Sequence[Bounds]) -> Bounds | None:
    items = operands[0]
    if items.count is None or items.element is None:
        return None
    separator = operands[1].bytes if len(operands) > 1 else Interval(0, 1)
    gaps = Interval(max(0, items.count.low - 1), None if items.count.high is None else max(0, items.count.high - 1))
    return text_bounds(items.count * items.element.bytes + gaps * separator)


def _cased(op: Op, operands: Sequence[Bounds]) -> Bounds:
    size = operands[0].bytes
    low = -(-size.low // CASE_EXPANSION)
    return text_bounds(Interval(low, None if size.high is None else CASE_EXPANSION * size.high))


def _shorter(op: Op, operands: Sequence[Bounds]) -> Bounds | None:
    """A part of a text, or some elements of a list."""
    whole = operands[0]
    if isinstance(op.result.type, Text):
        return text_bounds(Interval(0, whole.bytes.high))
    if whole.count is None or whole.element is None:
        return None
    return list_bounds(Interval(0, whole.count.high), whole.element)


def _same(op: Op, operands: Sequence[Bounds]) -> Bounds | None:
    return operands[0] if operands[0].element is not None else None


def _parts(op: Op, operands: Sequence[Bounds]) -> Bounds:
    """Parts of a text: no longer than it, no more than its bytes and one."""
    size = operands[0].bytes
    count = Interval(0, None if size.high is None else size.high + 1)
    return list_bounds(count, text_bounds(Interval(0, size.high)))


def _list(op: Op, operands: Sequence[Bounds]) -> Bounds | None:
    element: Bounds | None = None
    for operand in operands:
        element = operand if element is None else element.join(operand)
    return None if element is None else list_bounds(Interval.exactly(len(operands)), element)


def _record(op: Op, operands: Sequence[Bounds]) -> Bounds:
    type = op.result.type
    assert isinstance(type, Record)
    return record_bounds(tuple((f.name, o) for f, o in zip(type.fields, operands, strict=True)))


def _field(op: Op, operands: Sequence[Bounds]) -> Bounds | None:
    return operands[0].field(str(op.attributes["name"]))


def _element(op: Op, operands: Sequence[Bounds]) -> Bounds | None:
    container = op.operands[0].type
    if operands[0].element is None or not isinstance(container, List | Map):
        return None
    # Options do not nest.
    return operands[0].element if isinstance(container.element, Option) else option_bounds(operands[0].element)


def _some(op: Op, operands: Sequence[Bounds]) -> Bounds:
    return operands[0] if isinstance(op.operands[0].type, Option) else option_bounds(operands[0])


def _unwrap(op: Op, operands: Sequence[Bounds]) -> Bounds | None:
    return operands[0].element


def _len(op: Op, operands: Sequence[Bounds]) -> Bounds:
    value = operands[0]
    number = value.count or Interval(0, value.bytes.high)
    return plain(Interval(1, 20 if number.high is None else len(str(number.high))), number)


def _range(op: Op, operands: Sequence[Bounds]) -> Bounds | None:
    number = operands[0].number
    if len(operands) != 1 or number is None:
        return None
    return list_bounds(number, plain(Interval(1, 20 if number.high is None else len(str(number.high)))))


def _enumerate(op: Op, operands: Sequence[Bounds]) -> Bounds | None:
    count, element, type = operands[0].count, operands[0].element, op.result.type
    if count is None or element is None or not isinstance(type, List) or not isinstance(type.element, Record):
        return None
    index, value = (f.name for f in type.element.fields)
    return list_bounds(count, record_bounds(((index, plain(Interval(1, 20))), (value, element))))


def _outcome(op: Op, operands: Sequence[Bounds]) -> Bounds:
    truth = type_bounds(Bool())
    return record_bounds((("ok", truth), ("value", option_bounds(operands[0])), ("message", text_bounds(ANY))))


_RULES: dict[str, Callable[[Op, Sequence[Bounds]], Bounds | None]] = {
    "render": _render, "json": _json, "concat": _concat, "add": _add, "join": _join, "upper": _cased, "lower": _cased,
    "strip": _shorter, "slice": _shorter, "select": _shorter, "unique": _shorter, "reverse": _same, "sort": _same,
    "canonical_order": _same, "common_first": _same,
    "split": _parts, "lines": _parts, "words": _parts, "chunk": _parts, "list": _list, "record": _record,
    "field": _field, "index": _element, "some": _some, "unwrap": _unwrap, "len": _len, "range": _range,
    "enumerate": _enumerate, "outcome": _outcome,
}
