"""Between values and text: rendering and parsing. What cannot be parsed is none."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence

from ..core import Literal
from ..reading import ValueMismatch, from_json
from ..rendering import json_text, render
from ..types import FLOAT, INT, TEXT, Ctx, Effect, Option, Prompt, Text, Tokens, Type, contains
from ..values import INT_MAX, INT_MIN, RuntimeValue
from .base import OperandMismatch, Operands, PureContext, PureFunction, always

_INT = re.compile(r"\s*([+-]?)0*([0-9]+)\s*")
_FLOAT = re.compile(r"\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")


def _rendered_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    if contains(types[0], (Prompt, Ctx, Tokens, Effect)):
        raise OperandMismatch(f"a {types[0]} has no rendering")
    return TEXT


def parse_int(text: str) -> int | None:
    """Digits with an optional sign and white space around, within 64 bits; None for anything else."""
    match = _INT.fullmatch(text)
    if match is None or len(match[2]) > 19:
        return None
    value = int(match[1] + match[2])
    return value if INT_MIN <= value <= INT_MAX else None


def parse_float(text: str) -> float | None:
    """A decimal number with an optional sign, exponent and white space around; None for anything else."""
    if _FLOAT.fullmatch(text) is None:
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _parse_json(args: Operands, context: PureContext) -> RuntimeValue:
    assert isinstance(context.result_type, Option)
    try:
        return from_json(json.loads(args[0]), context.result_type.element)
    except (ValueMismatch, ValueError, RecursionError):
        return None


def _parse_json_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> None:
    if not isinstance(types[0], Text):
        raise OperandMismatch(f"takes a text, not {types[0]}")


FUNCTIONS = (
    PureFunction("render", "${x}", "The text of a value: text raw, an enum its text, aggregates as compact JSON.",
                 (1, 1), _rendered_type, lambda a, c: render(a[0], c.operand_types[0])),
    PureFunction("json", "json(x)", "A value as compact JSON: texts quoted, fields in declared order, keys sorted.",
                 (1, 1), _rendered_type, lambda a, c: json_text(a[0], c.operand_types[0])),
    PureFunction("parse_json", "let x: T? = parse_json(a)",
                 "The value of type T that a JSON text spells, or none; T is what the context wants. Ints stand for "
                 "floats, a missing field of type `T?` is none, further fields make it none.",
                 (1, 1), _parse_json_type, _parse_json),
    PureFunction("parse_int", "parse_int(a)", "The int that decimal digits spell, or none.", (1, 1),
                 always(Option(INT), Text), lambda a, c: parse_int(a[0])),
    PureFunction("parse_float", "parse_float(a)", "The float that a decimal number spells, or none.", (1, 1),
                 always(Option(FLOAT), Text), lambda a, c: parse_float(a[0])),
)
