"""Values at run time and as constants.

text is str without lone surrogates, int 64-bit, float finite, bool, an enum the NAME of its member, a record a dict in
declared field order, a list a list, a map a dict, an option None or the value. A component of a list, record or map
may be a `Failure`: it fails whoever uses it, not the aggregate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from .core import Literal, Table, Word
from .types import Enum, Float, List, Map, Option, Record, Type

RuntimeValue: TypeAlias = Any
"""One of the Python values above, by the type of the IR value."""

INT_MIN, INT_MAX = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class Failure:
    """A value that could not be had. The first failure in operand order is what a use of several reports."""

    message: str
    location: str = "<unknown>"
    """`file:line:column` of the operation that failed first."""
    kind: str = "error"
    """What failed, in one word: `host`, `engine`, `pure`, `timeout`, …"""
    sites: tuple[str, ...] = ()
    """Every site that was merged into the operation, and its call chain."""


def first_failure(values: Iterable[RuntimeValue]) -> Failure | None:
    """The first failure among `values` or inside them, depth first; does not recurse."""
    stack = [iter(values)]
    while stack:
        for value in stack[-1]:
            if isinstance(value, Failure):
                return value
            if isinstance(value, list) and value:
                stack.append(iter(value))
                break
            if isinstance(value, dict) and value:
                stack.append(iter(value.values()))
                break
        else:
            stack.pop()
    return None


def constant_value(literal: Literal, type: Type) -> RuntimeValue:
    """The value of the literal of a `flow.const` of `type`. ValueError where it is none.

    Records and maps are tables, lists are lists, an enum is its member's name as text or bare word.
    """
    match type, literal:
        case Option(element), _:
            return None if literal is None else constant_value(literal, element)
        case List(element), tuple():
            return [constant_value(e, element) for e in literal]
        case Map(element), Table(entries):
            return {k: constant_value(v, element) for k, v in entries}
        case Record(_, fields), Table(entries):
            given = dict(entries)
            if given.keys() != {f.name for f in fields}:
                raise ValueError(f"the fields of {type} are {', '.join(f.name for f in fields)}")
            return {f.name: constant_value(given[f.name], f.type) for f in fields}
        case Enum(_, members), str() | Word(_, ()):
            name = literal.name if isinstance(literal, Word) else literal
            if all(m.name != name for m in members):
                raise ValueError(f"{type} has no member {name}")
            return name
        case Float(), int() | float() if not isinstance(literal, bool):
            return float(literal)
    # Text, int and bool are their own literals; `text` and so on print as the names of these types.
    expected = {"text": str, "int": int, "bool": bool}.get(str(type).partition("<")[0])
    if expected is None or not isinstance(literal, expected) or (expected is int and isinstance(literal, bool)):
        raise ValueError(f"the literal is no {type}")
    return literal


def constant_literal(value: RuntimeValue) -> Literal:
    """The literal that `constant_value` reads back as `value`; ValueError for failures and what is no plain value."""
    match value:
        case None | str() | bool() | int() | float():
            return value
        case list():
            return tuple(constant_literal(e) for e in value)
        case dict():
            return Table(tuple((k, constant_literal(v)) for k, v in value.items()))
    raise ValueError(f"{value!r} is no constant")
