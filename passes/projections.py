"""Parts taken from aggregates that were just put together: the part is known without the whole."""

from __future__ import annotations

from collections.abc import Mapping

from ..ir.core import Arg, Op, Symbol, Value
from ..ir.types import Int, List, Option, Record, Text
from .failures import Failures


def project(op: Op, definitions: Mapping[Value, Op], failures: Failures) -> Value | Op | None:
    """What the `flow.pure` operation `op` gives, without the aggregate that it looks into: a value that exists, or an
    operation that makes it; None where the aggregate is needed.

    Aggregates hold failed components without failing, and taking a part gives that part's failure: so the part itself
    stands for the projection, failures included.
    """
    if len(op.args) < 2 or not isinstance(op.args[1], Value):
        return None
    operand = op.args[1]
    source = definitions.get(operand)
    match op.symbol:
        case "render" if isinstance(operand.type, Text):
            return operand
        case "concat" if len(op.args) == 2:
            return operand
        case "some" if isinstance(operand.type, Option):
            return operand
    if source is None or source.name != "flow.pure":
        return None
    match op.symbol, source.symbol:
        case "field", "record":
            return _field(op, source)
        case "index", "list":
            return _element(op, source, definitions)
        case "unwrap", "some":
            inner = source.args[1]
            return inner if isinstance(inner, Value) and not isinstance(inner.type, Option) else None
        case "is_some", "some":
            inner = source.args[1]
            certain = isinstance(inner, Value) and not isinstance(inner.type, Option) and failures.never_itself(inner)
            return _constant(op, True) if certain else None
        case "len", "list":
            return _constant(op, len(source.args) - 1)
        case "len", _:
            return _length(op, operand, definitions)
    return None


def _length(op: Op, operand: Value, definitions: Mapping[Value, Op]) -> Op | None:
    """Functions that reorder or wrap elements do not change how many there are."""
    found: Arg = operand
    while isinstance(found, Value):
        source = definitions.get(found)
        if source is None or source.name != "flow.pure" or source.symbol not in ("reverse", "enumerate", "values"):
            break
        found = source.args[1]
    if found is operand:
        return None
    return Op("flow.pure", [Symbol("len"), found], op.results, {}, [], op.location)


def _field(op: Op, record: Op) -> Value | None:
    type = record.result.type
    assert isinstance(type, Record)
    names = [f.name for f in type.fields]
    name = op.attributes.get("name")
    found = record.args[1 + names.index(name)] if isinstance(name, str) and name in names else None
    return found if isinstance(found, Value) else None


def _element(op: Op, source: Op, definitions: Mapping[Value, Op]) -> Op | None:
    """`[a, b][1]` is `b` as an option, and `[a, b][2]` is none."""
    position = constant_of(op.args[2], definitions)
    if not isinstance(position, int) or not isinstance(source.result.type, List):
        return None
    elements = source.args[1:]
    if not -len(elements) <= position < len(elements):
        return _constant(op, None)
    return Op("flow.pure", [Symbol("some"), elements[position]], op.results, {}, [], op.location)


def constant_of(arg: Arg, definitions: Mapping[Value, Op]) -> int | None:
    """The number that an integer operand is, where it is a constant."""
    if isinstance(arg, Value) and isinstance(arg.type, Int):
        source = definitions.get(arg)
        arg = source.args[0] if source is not None and source.name == "flow.const" else None
    return arg if isinstance(arg, int) and not isinstance(arg, bool) else None


def _constant(op: Op, literal: int | bool | None) -> Op:
    return Op("flow.const", [literal], op.results, {}, [], op.location)
