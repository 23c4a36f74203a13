"""Values as text: in holes and `${}`, as JSON, and as canonical bytes. See docs/language.md, Rendering."""

from __future__ import annotations

import json
from functools import lru_cache

from .reading import ValueMismatch, from_json, parse_value
from .types import Enum, List, Map, Option, Record, Text, Type, strip_bounds
from .values import Failure, RuntimeValue

__all__ = ["ValueMismatch", "canonical_bytes", "enum_text", "from_json", "json_text", "parse_value", "render",
           "to_json"]


def render(value: RuntimeValue, type: Type) -> str:
    """A value in a prompt: text raw, an enum its text, true/false, floats as Python's `repr`, the rest compact JSON.

    TypeError for a failure inside the value (callers force values first) and for prompts and contexts.
    """
    match type:
        case Text() if isinstance(value, str):
            return value
        case Enum() if isinstance(value, str):
            return enum_text(type, value)
        case Option(element) if value is not None:
            return render(value, element)
        case _:
            return json_text(value, type)


def json_text(value: RuntimeValue, type: Type) -> str:
    """Compact JSON: fields in declared order, map keys sorted by code point, nothing visible escaped."""
    return json.dumps(to_json(value, type), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def to_json(value: RuntimeValue, type: Type) -> RuntimeValue:
    """The value as plain data for `json.dumps`: enums as their text, fields in order, map keys sorted."""
    match type:
        case _ if isinstance(value, Failure):
            raise TypeError(f"a failure has no rendering: {value.message}")
        case Option(element):
            return None if value is None else to_json(value, element)
        case List(element):
            return [to_json(v, element) for v in value]
        case Map(element):
            return {key: to_json(value[key], element) for key in sorted(value)}
        case Record(_, fields):
            return {f.name: to_json(value[f.name], f.type) for f in fields}
        case Enum():
            return enum_text(type, value)
        case _ if isinstance(value, (str, bool, int, float)):
            return value
    raise TypeError(f"a {type} has no rendering")


def enum_text(enum: Enum, member: str) -> str:
    """The text of a member by its name; a name that the enum does not have stands for itself."""
    return _texts(enum).get(member, member)


def canonical_bytes(value: RuntimeValue, type: Type) -> bytes:
    """Equal for two values iff they are interchangeable: the type without its bounds, and the JSON rendering.

    Unlike `==`, 0.0 and -0.0 differ, and so do 1 and 1.0. The bytes are the same in every run.
    """
    return f"{type_key(strip_bounds(type))}\n{json_text(value, type)}".encode()


def type_key(type: Type) -> str:
    """The type with named enums and records spelled out."""
    match type:
        case Enum(name, members):
            return "enum " + json.dumps([name, *([m.name, m.text] for m in members)])
        case Record(name, fields):
            inside = ", ".join(f"{json.dumps(f.name)}: {type_key(strip_bounds(f.type))}" for f in fields)
            return f"record {json.dumps(name)} <{inside}>"
        case List(element):
            return f"list<{type_key(element)}>"
        case Option(element):
            return f"option<{type_key(element)}>"
        case Map(element):
            return f"map<{type_key(element)}>"
        case _:
            return str(type)


@lru_cache(maxsize=256)
def _texts(enum: Enum) -> dict[str, str]:
    return {m.name: m.text for m in enum.members}
