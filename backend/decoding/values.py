"""From the text of a generated value to the value.

Values: text str, int, float, bool, an enum's member name (str), record dict by field, list, map dict, none None.
"""

from __future__ import annotations

import json
import math
from typing import Any

from ...ir.types import Bool, Enum, Float, Int, List, Map, Option, Record, Text, Type
from .grammar import INT_HIGH, INT_LOW


def parse_value(text: str, type: Type) -> Any:
    """The value that `text` spells. Raises ValueError where `text` is no value of `type`."""
    match type:
        case Text():
            return _checked_text(text)
        case Enum():
            return _enum_member(text, type)
        case Bool():
            if text not in ("true", "false"):
                raise ValueError(f"{text!r} is not true or false")
            return text == "true"
        case _:
            try:
                return _from_json(json.loads(text, parse_constant=_reject_constant), type)
            except RecursionError as error:
                raise ValueError("the value is nested too deeply") from error


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not a value")


def _from_json(value: Any, type: Type) -> Any:
    match type:
        case Text():
            return _checked_text(_expect(value, str, type))
        case Int(low, high):
            number = _expect(value, int, type)
            if not (INT_LOW if low is None else low) <= number <= (INT_HIGH if high is None else high):
                raise ValueError(f"{number} is not within the bounds of {type}")
            return number
        case Float():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{value!r} is not a finite number")
            return float(value)
        case Bool():
            return _expect(value, bool, type)
        case Enum():
            return _enum_member(_expect(value, str, type), type)
        case Option(element):
            return None if value is None else _from_json(value, element)
        case List(element, maximum):
            items = _expect(value, list, type)
            if maximum is not None and len(items) > maximum:
                raise ValueError(f"{len(items)} elements, but {type} holds at most {maximum}")
            return [_from_json(item, element) for item in items]
        case Map(element):
            return {_checked_text(k): _from_json(v, element) for k, v in _expect(value, dict, type).items()}
        case Record(_, fields):
            members = _expect(value, dict, type)
            if set(members) != {f.name for f in fields}:
                raise ValueError(f"fields {sorted(members)}, but {type} has {[f.name for f in fields]}")
            return {f.name: _from_json(members[f.name], f.type) for f in fields}
        case _:
            raise ValueError(f"a value of type {type} has no text")


def _expect(value: Any, kind: type, type: Type) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{value!r} is not a value of {type}")
    return value


def _enum_member(text: str, enum: Enum) -> str:
    for member in enum.members:
        if member.text == text:
            return member.name
    raise ValueError(f"{text!r} is no member of {enum.name}")


def _checked_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("the text holds half of a surrogate pair") from error
    return text
