"""Records, maps, options and outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..core import Literal
from ..types import BOOL, TEXT, Field, List, Map, Option, Record, Text, Type, strip_bounds
from ..values import Failure, RuntimeValue
from .base import (
    EvaluationError,
    OperandMismatch,
    Operands,
    PureContext,
    PureFunction,
    Strictness,
    always,
    expect,
    option,
    same,
)

COMPONENTS, SHALLOW = Strictness.COMPONENTS, Strictness.SHALLOW


def _record(args: Operands, context: PureContext) -> RuntimeValue:
    assert isinstance(context.result_type, Record)
    return {f.name: value for f, value in zip(context.result_type.fields, args, strict=True)}


def _map(args: Operands, context: PureContext) -> RuntimeValue:
    failed = next((key for key in args[::2] if isinstance(key, Failure)), None)
    return dict(zip(args[::2], args[1::2], strict=True)) if failed is None else failed


def _map_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type | None:
    expect(len(types) % 2 == 0, "takes keys and values in turn")
    expect(all(isinstance(t, Text) for t in types[::2]), "the keys of a map are texts")
    return Map(same(types[1::2])) if types else None


def _field(args: Operands, context: PureContext) -> RuntimeValue:
    return args[0][context.attributes["name"]]


def _field_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    name, record = attributes.get("name"), types[0]
    if not isinstance(name, str):
        raise OperandMismatch("the attribute `name` is missing")
    if not isinstance(record, Record):
        raise OperandMismatch(f"takes a record, not {record}")
    found = record.field(name)
    if found is None:
        raise OperandMismatch(f"{record} has no field {name}")
    return found.type


def _map_of(type: Type) -> Map:
    if not isinstance(type, Map):
        raise OperandMismatch(f"takes a map, not {type}")
    return type


def _unwrap(args: Operands, context: PureContext) -> RuntimeValue:
    if args[0] is None:
        raise EvaluationError("value is none")
    return args[0]


def _unwrap_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    if not isinstance(types[0], Option):
        raise OperandMismatch(f"takes an option, not {types[0]}")
    return strip_bounds(types[0].element)


def outcome_type(type: Type) -> Record:
    """The record that `outcome` gives for a value of `type`."""
    return Record(None, (Field("ok", BOOL), Field("value", option(strip_bounds(type))), Field("message", TEXT)))


def _outcome(args: Operands, context: PureContext) -> RuntimeValue:
    value = args[0]
    if isinstance(value, Failure):
        return {"ok": False, "value": None, "message": value.message}
    return {"ok": True, "value": value, "message": ""}


FUNCTIONS = (
    PureFunction("record", "Name(a = x, …)", "A record of its operands, in the order of its fields.", (0, None),
                 lambda t, a: None, _record, COMPONENTS),
    PureFunction("map", '["k": v]', "A map of keys and values in turn; the last of equal keys counts.", (0, None),
                 _map_type, _map, COMPONENTS),
    PureFunction("field", "r.name", "A field of a record.", (1, 1), _field_type, _field, SHALLOW),
    PureFunction("keys", "for k, v in m", "The keys of a map, sorted by code point.", (1, 1),
                 lambda t, a: List(TEXT) if _map_of(t[0]) else None, lambda a, c: sorted(a[0]), SHALLOW),
    PureFunction("values", "for k, v in m", "The values of a map, in the order of their sorted keys.", (1, 1),
                 lambda t, a: List(strip_bounds(_map_of(t[0]).element)), lambda a, c: [a[0][k] for k in sorted(a[0])],
                 SHALLOW),
    PureFunction("some", "a T where a T? is wanted", "The value as one that might have been none.", (1, 1),
                 lambda t, a: option(strip_bounds(t[0])), lambda a, c: a[0], SHALLOW),
    PureFunction("is_some", "x != none", "Whether an option holds a value.", (1, 1), always(BOOL, Option),
                 lambda a, c: a[0] is not None, SHALLOW),
    PureFunction("unwrap", "x, where x != none", "The value that an option holds; fails for none.", (1, 1),
                 _unwrap_type, _unwrap, SHALLOW, fallible=True),
    PureFunction("outcome", "outcome(x)", "A record `ok`, `value`, `message` of a value that may have failed.", (1, 1),
                 lambda t, a: outcome_type(t[0]), _outcome, Strictness.NONE),
)
