"""Numbers, truth values, none and texts with values in them."""

from __future__ import annotations

from ..ir.core import Value
from ..ir.source import Span
from ..ir.types import (
    BOOL,
    FLOAT,
    INT,
    TEXT,
    Float,
    Option,
    Prompt,
    Text,
    Type,
    contains,
    strip_bounds,
)
from . import ast
from .body import Body
from .coercion import none_remedy
from .inference import UNKNOWN, Unknown, describe
from .terms import Term

LARGEST_INT = 2**63 - 1


def literal(body: Body, node: ast.Literal, expected: Type | None) -> Term:
    """A number, `true`, `false` or `none`; an int is a float where one is expected."""
    return number(body, node.value, node.span, expected)


def number(body: Body, value: int | float | bool | None, span: Span, expected: Type | None) -> Term:
    """The constant `value`."""
    expected = body.inference.resolve(expected) if expected is not None else None
    if value is None:
        element = expected.element if isinstance(expected, Option) else body.inference.fresh(span, "`none`")
        option = strip_bounds(Option(element))
        return Term(option, body.builder.const(None, option, span))
    if isinstance(value, bool):
        return Term(BOOL, body.builder.const(value, BOOL, span))
    wanted = expected.element if isinstance(expected, Option) else expected
    if isinstance(value, int) and isinstance(wanted, Float):
        value = float(value)
    if isinstance(value, float):
        return Term(FLOAT, body.builder.const(value, FLOAT, span))
    if not -LARGEST_INT - 1 <= value <= LARGEST_INT:
        return body.error("E0312", f"{value} is not an int: it needs more than 64 bits", span)
    return Term(INT, body.builder.const(value, INT, span))


def text(body: Body, node: ast.TextExpr, expected: Type | None) -> Term:
    """A text with values in it."""
    pieces: list[Value] = []
    for part in node.parts:
        if isinstance(part, str):
            if part or len(node.parts) == 1:
                pieces.append(body.builder.const(part, TEXT, node.span))
        else:
            pieces.append(rendered(body, body.operand(part), part.span))
    if not pieces:
        return Term(TEXT, body.builder.const("", TEXT, node.span))
    if len(pieces) == 1:
        return Term(TEXT, pieces[0])
    return Term(TEXT, body.builder.pure("concat", pieces, TEXT, node.span))


def rendered(body: Body, term: Term, span: Span) -> Value:
    """The text of a value in a hole or in `${}`."""
    type = body.type_of(term)
    value = body.value(term, span)
    match type:
        case Text() | Unknown():
            return value
        case Option():
            body.error("E0307", f"`{describe(type)}` may be none, which has no text", span, "may be none",
                       fix=none_remedy(span))
            return Value(UNKNOWN)
    if contains(type, (Prompt,)):
        body.error("E0313", "a chat has no text", span,
                   fix="insert it at the very start of a prompt: `{{input:h}}`")
        return Value(UNKNOWN)
    return body.builder.pure("render", [value], TEXT, span)
