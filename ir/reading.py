"""Values from outside: arguments, results of hosts, decoded outputs. Everything is checked and copied deeply."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from numbers import Integral, Real

from .types import Bool, Enum, Float, Int, List, Map, Option, Record, Text, Type
from .values import INT_MAX, INT_MIN, RuntimeValue

_SURROGATE = re.compile("[\ud800-\udfff]")


class ValueMismatch(ValueError):
    """A value is not of the type that it should have; the message says where in it and what was found."""


def from_json(value: object, type: Type) -> RuntimeValue:
    """The run-time value of `type` that Python (or JSON) data stands for, copied deeply.

    Accepted beside the exact types: an int for a float, a tuple for a list, a dataclass or pydantic object for a
    record, a missing field of type `T?`, an enum's member by text or name. Raises ValueMismatch for everything else:
    a bool for an int, extra or missing keys, lone surrogates, floats that are not finite, ints beyond 64 bits or
    their bounds, lists longer than their bound.
    """
    return _read(value, type, "")


def parse_value(text: str, type: Type) -> RuntimeValue:
    """The value that `text` spells, on the command line or as a decoded output.

    Text is taken as it is, an enum by the text or name of its member, everything else as JSON. Raises ValueMismatch.
    """
    if isinstance(type, Text):
        return _read(text, type, "")
    if isinstance(type, Enum) and _member(text, type) is not None:
        return _member(text, type)
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except ValueMismatch:
        raise
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "it is nested too deep or too long"
        raise ValueMismatch(f"expected {_description(type)} as JSON: {reason}") from None
    return _read(data, type, "")


def _no_constant(name: str) -> object:
    raise ValueMismatch(f"{name} is not a value: floats are finite")


def _read(value: object, type: Type, path: str) -> RuntimeValue:
    match type:
        case Text():
            return _text(value, path)
        case Bool() if isinstance(value, bool):
            return value
        case Int() if isinstance(value, Integral) and not isinstance(value, bool):
            return _int(int(value), type, path)
        case Float() if isinstance(value, Real) and not isinstance(value, bool):
            return _float(value, path)
        case Enum():
            member = _member(value, type)
            if member is not None:
                return member
        case Option(element):
            return None if value is None else _read(value, element, path)
        case List(element, maximum) if isinstance(value, (list, tuple)):
            if maximum is not None and len(value) > maximum:
                raise ValueMismatch(f"{_where(path)}expected at most {maximum} elements, found {len(value)}")
            return [_read(v, element, f"{path}[{i}]") for i, v in enumerate(value)]
        case Map(element) if isinstance(value, Mapping):
            return {_text(k, f"{path} key".strip()): _read(v, element, f"{path}[{k!r}]") for k, v in value.items()}
        case Record():
            return _record(value, type, path)
    raise ValueMismatch(f"{_where(path)}expected {_description(type)}, found {_found(value)}")


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise ValueMismatch(f"{_where(path)}expected a text, found {_found(value)}")
    if _SURROGATE.search(value):
        raise ValueMismatch(f"{_where(path)}the text holds a lone surrogate")
    return str.__str__(value)


def _int(value: int, type: Int, path: str) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise ValueMismatch(f"{_where(path)}{'the integer' if abs(value) > 10**30 else value} is beyond 64 bits")
    if (type.low is not None and value < type.low) or (type.high is not None and value > type.high):
        low, high = ("" if bound is None else bound for bound in (type.low, type.high))
        raise ValueMismatch(f"{_where(path)}{value} is not within {low}..{high}")
    return value


def _float(value: Real, path: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueMismatch(f"{_where(path)}a float must be finite")
    return number


def _member(value: object, type: Enum) -> str | None:
    """The name of the member whose text, or else whose name, is `value`."""
    for member in type.members:
        if member.text == value:
            return member.name
    return next((m.name for m in type.members if m.name == value), None)


def _record(value: object, type: Record, path: str) -> RuntimeValue:
    data = _as_mapping(value)
    if data is None:
        raise ValueMismatch(f"{_where(path)}expected {_description(type)}, found {_found(value)}")
    names = [f.name for f in type.fields]
    extra = [k for k in data if k not in names]
    if extra:
        raise ValueMismatch(f"{_where(path)}{_description(type)} has no field {extra[0]!r}, only {', '.join(names)}")
    for f in type.fields:
        if f.name not in data and not isinstance(f.type, Option):
            raise ValueMismatch(f"{_where(path)}the field {f.name} of {_description(type)} is missing")
    return {f.name: _read(data.get(f.name), f.type, f"{path}.{f.name}" if path else f.name) for f in type.fields}


def _as_mapping(value: object) -> Mapping[object, object] | None:
    """A dict, dataclass or pydantic object as a mapping from field names; None for anything else."""
    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    fields = getattr(type(value), "model_fields", None)  # pydantic, which need not be installed
    return {name: getattr(value, name) for name in fields} if isinstance(fields, Mapping) else None


def _where(path: str) -> str:
    return f"{path}: " if path else ""


def _description(type: Type) -> str:
    match type:
        case Text():
            return "a text"
        case Int():
            return "an int" if type == Int() else f"an {type}"
        case Float():
            return "a float"
        case Bool():
            return "true or false"
        case Enum(_, members):
            return "one of " + ", ".join(m.text for m in members)
        case List():
            return "a list"
        case Map():
            return "a map"
        case Record(name, _):
            return f"the record {name}" if name else "a record"
        case Option(element):
            return f"{_description(element)} or none"
        case _:
            return str(type)


def _found(value: object) -> str:
    """A short description of a Python value for a message."""
    names = {"str": "text", "NoneType": "none", "dict": "map", "tuple": "list"}
    kind = names.get(type(value).__name__, type(value).__name__)
    if value is None:
        return "none"
    if isinstance(value, (str, int, float)):
        shown = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a large int"
        return f"the {kind} {shown if len(shown) <= 40 else shown[:37] + '…'}"
    return f"a {kind}"
