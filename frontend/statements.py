"""Statements of blocks: `let` and calls for their effect. `return` and `assert` belong to programs and tests."""

from __future__ import annotations

from ..ir.types import Record, Type
from . import ast
from .body import Body
from .inference import UNIT, Tuple, Unknown, describe
from .names import static_symbol
from .symbols import HostSymbol
from .terms import Term, poison


def statement(body: Body, node: ast.Statement) -> None:
    """A statement that may stand in any block."""
    match node:
        case ast.Let():
            let(body, node)
        case ast.ExpressionStatement(value=value):
            expression_statement(body, value)
        case ast.Return():
            body.error("E0609", "`return` ends a program; it cannot stand in a block", node.span,
                       fix="end the block with its value, and return that")
        case ast.Assert():
            body.error("E0610", "`assert` stands in tests only, and in no inner block of them", node.span,
                       fix="give the value to the test and assert there")


def let(body: Body, node: ast.Let) -> None:
    """`let x: T = e` and `let (a, b) = e`."""
    if node.is_tuple:
        _let_tuple(body, node)
        return
    name, span = node.names[0], node.name_spans[0]
    if node.type is not None:
        type = body.resolve_type(node.type)
        term = body.expression(node.value, type)
        term = body.coerce(term, type, node.value.span, f"`{name}`")
    else:
        term = body.expression(node.value)
    if term.type == UNIT:
        body.error("E0310", "this gives no value", node.value.span, f"nothing to name `{name}`")
        term = poison()
    if isinstance(term.type, Tuple):
        count = len(term.parts or ())
        body.error("E0311", f"{count} values stand where one is needed", node.value.span,
                   fix=f"take them apart: `let ({', '.join('abcdefgh'[:count])}) = …`")
        term = poison()
    if term.value is not None and not term.value.name:
        term.value.name = name
    variable = body.define(name, span, term, unused_warning=f"`{name}` is never used")
    if isinstance(node.value, ast.Call):
        symbol = static_symbol(body, node.value.callee)
        if isinstance(symbol, HostSymbol) and not symbol.pure:
            variable.unused_code, variable.unused_warning = "W0102", f"nobody uses the result of `{symbol.name}`"


def _let_tuple(body: Body, node: ast.Let) -> None:
    term = body.expression(node.value)
    type = body.type_of(term)
    parts = _parts(body, term, type, node)
    if parts is None:
        if not isinstance(type, Unknown):
            body.error("E0311", f"a value of type {describe(type)} cannot be taken apart", node.value.span)
        parts = [poison() for _ in node.names]
    elif len(parts) != len(node.names):
        body.error("E0311", f"{len(node.names)} names for {len(parts)} values", node.span)
        parts = [poison() for _ in node.names]
    for name, span, part in zip(node.names, node.name_spans, parts, strict=True):
        if part.value is not None and not part.value.name:
            part.value.name = name
        body.define(name, span, part)


def _parts(body: Body, term: Term, type: Type, node: ast.Let) -> list[Term] | None:
    """The values of a call with several outputs, of a loop, or of an unnamed record; None for others."""
    if term.parts is not None:
        return [part for _, part in term.parts]
    if isinstance(type, Record) and type.name is None:
        value = body.value(term, node.value.span)
        return [Term(f.type, body.builder.pure("field", [value], f.type, node.value.span, name=f.name))
                for f in type.fields]
    return None


def expression_statement(body: Body, value: ast.Expr) -> None:
    """An expression whose value is dropped: a call of a host, or something with one inside."""
    before = body.builder.effect
    warnings = len(body.diagnostics.items)
    body.expression(value, UNIT)
    if body.builder.effect is before and len(body.diagnostics.items) == warnings:
        body.diagnostics.warning("W0103", "nobody uses this value, so it is never computed", value.span,
                                 fix="give it a name with `let`, or remove it")

