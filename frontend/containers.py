"""Lists, maps and tuples: making them, and taking elements and parts."""

from __future__ import annotations

from ..ir.core import Value
from ..ir.source import Span
from ..ir.types import (
    INT,
    TEXT,
    Float,
    Int,
    List,
    Map,
    Option,
    Text,
    Type,
    strip_bounds,
)
from . import ast
from .body import Body
from .inference import UNKNOWN, Unknown, Variable, describe
from .terms import Term, poison, tuple_term


def index(body: Body, node: ast.Index, expected: Type | None) -> Term:
    """`xs[i]` and `m[k]`: none where there is no such element."""
    base = body.operand(node.base)
    match base.type:
        case List(element):
            key = body.typed(node.index, INT, "the index")
        case Map(element):
            key = body.typed(node.index, TEXT, "the key")
        case Unknown():
            return poison()
        case _:
            fix = "take a part of it: `x[0:1]`" if isinstance(base.type, Text) else None
            return body.error("E0302", f"a value of type {describe(base.type)} cannot be indexed", node.base.span,
                              fix=fix)
    type = element if isinstance(element, Option) else Option(element)
    return Term(type, body.builder.pure("index", [body.value(base, node.base.span), key], type, node.span))


def slice(body: Body, node: ast.Slice, expected: Type | None) -> Term:
    """`xs[a:b]` of a list or text."""
    base = body.operand(node.base)
    if isinstance(base.type, Unknown):
        return poison()
    if not isinstance(base.type, List | Text):
        return body.error("E0302", f"a value of type {describe(base.type)} cannot be sliced", node.base.span)
    ends = [_slice_end(body, end, node.span) for end in (node.low, node.high)]
    type = strip_bounds(base.type)
    return Term(type, body.builder.pure("slice", [body.value(base, node.base.span), *ends], type, node.span))


def _slice_end(body: Body, end: ast.Expr | None, span: Span) -> Value:
    if end is None:
        return body.builder.const(None, Option(INT), span)
    return body.typed(end, Option(INT), "the end of a slice")


def list_expression(body: Body, node: ast.ListExpr, expected: Type | None) -> Term:
    """`[a, b]`; the element type is what fits all elements."""
    wanted = body.inference.resolve(expected) if expected is not None else None
    hint = wanted.element if isinstance(wanted, List) else None
    if not node.elements:
        element = hint if hint is not None else body.inference.fresh(node.span, "`[]`")
        return Term(List(element), body.builder.pure("list", [], strip_bounds(List(element)), node.span))
    terms = [body.operand(e, hint) for e in node.elements]
    spans = [e.span for e in node.elements]
    common = common_type(body, terms, spans, "element", hint)
    values = [body.value(body.coerce(t, common, s, "an element"), s) for t, s in zip(terms, spans, strict=True)]
    return Term(List(common), body.builder.pure("list", values, List(common), node.span))


def common_type(body: Body, terms: list[Term], spans: list[Span], what: str, hint: Type | None) -> Type:
    """The type of all `terms`: the hint where they fit it, else their join; reports the first that does not fit."""
    if hint is not None and all(_fits(body, t.type, hint) for t in terms):
        return strip_bounds(body.inference.resolve(hint))
    common = terms[0].type
    for number, (term, span) in enumerate(zip(terms[1:], spans[1:], strict=True), 2):
        joined = body.inference.join(common, term.type)
        if joined is None:
            body.error("E0303", f"{what} {number} is {describe(term.type)}, the ones before are {describe(common)}",
                       span, f"expected {describe(common)}, found {describe(term.type)}")
            return UNKNOWN
        common = joined
    return strip_bounds(common)


def _fits(body: Body, actual: Type, wanted: Type) -> bool:
    wanted = body.inference.resolve(wanted)
    match actual, wanted:
        case _, Variable():
            return False
        case Int(), Float():
            return True
        case (Option(a), Option(b)) | (a, Option(b)):
            return _fits(body, a, b)
        case _:
            return body.inference.unify(actual, wanted)


def map_expression(body: Body, node: ast.MapExpr, expected: Type | None) -> Term:
    """`["k": v]`; a later entry replaces an earlier one with the same key."""
    wanted = body.inference.resolve(expected) if expected is not None else None
    hint = wanted.element if isinstance(wanted, Map) else None
    if not node.entries:
        element = hint if hint is not None else body.inference.fresh(node.span, "`[:]`")
        return Term(Map(element), body.builder.pure("map", [], strip_bounds(Map(element)), node.span))
    keys, terms = [], []
    for key, value in node.entries:
        keys.append(body.typed(key, TEXT, "a key"))
        terms.append(body.operand(value, hint))
    spans = [value.span for _, value in node.entries]
    common = common_type(body, terms, spans, "value", hint)
    args: list[Value] = []
    for key_value, term, span in zip(keys, terms, spans, strict=True):
        args += [key_value, body.value(body.coerce(term, common, span, "a value"), span)]
    return Term(Map(common), body.builder.pure("map", args, Map(common), node.span))


def tuple_expression(body: Body, node: ast.TupleExpr, expected: Type | None) -> Term:
    """`(a, b)`: several values by position."""
    term = body.block_values(node.elements, expected)
    return term if term.parts else tuple_term([term])
