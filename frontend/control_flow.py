"""Blocks, `if` and `try`."""

from __future__ import annotations

from ..ir.core import Region
from ..ir.source import Span
from ..ir.types import BOOL, EFFECT, Type, strip_bounds
from . import ast
from .body import Body
from .branches import branch
from .inference import UNIT, Unknown, describe
from .narrowing import known_where
from .terms import NOTHING, Term, poison


def block(body: Body, node: ast.Block, expected: Type | None) -> Term:
    """`{ let …; value }`: a scope of its own."""
    with body.new_scope():
        return block_contents(body, node, expected)


def block_contents(body: Body, node: ast.Block, expected: Type | None) -> Term:
    """The statements of a block and what it gives, in the scope that is open."""
    for statement in node.statements:
        body.statement(statement)
    if expected == UNIT and len(node.values) > 1:
        for value in node.values:
            body.expression(value, UNIT)
        return NOTHING
    return body.block_values(node.values, expected)


def if_else(body: Body, node: ast.If, expected: Type | None) -> Term:
    """`if c { … } else { … }`; without `else` it gives nothing."""
    condition = body.typed(node.condition, BOOL, "the condition of `if`")
    otherwise = node.otherwise
    if otherwise is None and expected != UNIT:
        body.error("E0604", "this `if` has no value where it does not hold", node.span, "needs an `else`",
                   fix="add `else { … }`")
        expected = UNIT
    return branch(
        body, condition, node.span,
        lambda hint: block(body, node.then, hint),
        lambda hint: NOTHING if otherwise is None else block(body, otherwise, hint),
        expected=expected,
        known=known_where(node.condition, True),
        otherwise_known=known_where(node.condition, False),
        spans=(_value_span(node.then), _value_span(otherwise) if otherwise else _value_span(node.then)),
    )


def _value_span(node: ast.Block) -> Span:
    return node.values[0].span if node.values else node.span


def try_else(body: Body, node: ast.Try, expected: Type | None) -> Term:
    """`try e else d`: `d` where `e` failed. `e` stands outside; only `d` is in the region."""
    tried = body.expression(node.body, expected if expected != UNIT else None)
    if tried.type == UNIT:
        return body.error("E0310", "`try` needs a value", node.body.span, "this gives none",
                          fix="a failed host call without a result is reported, and breaks nothing")
    value = body.value(tried, node.body.span)
    builder = body.builder
    before = builder.effect
    with builder.inside(Region()) as region:
        other = body.operand(node.otherwise, body.type_of(tried))
    actual = body.type_of(tried)
    type = body.inference.join(actual, other.type)
    if type is None:
        return body.error("E0303", f"`try` gives {describe(actual)}, its `else` {describe(other.type)}",
                          node.otherwise.span, f"expected {describe(actual)}, found {describe(other.type)}")
    type = strip_bounds(type)
    after = builder.effect
    builder.effect = before
    converted = body.coerce(Term(actual, value), type, node.body.span, "what `try` gives")
    with builder.inside(region):
        yields = [body.value(body.coerce(other, type, node.otherwise.span, "the `else` of `try`"), node.span)]
    args, types = [body.value(converted, node.span)], [type]
    if after is not before and before is not None and after is not None:
        args.append(before)
        yields.append(after)
        types.append(EFFECT)
    builder.finish(region, yields, node.otherwise.span)
    results = builder.emit("flow.try", args, types, node.span, regions=[region])
    if len(results) == 2:
        builder.effect = results[1]
    return poison() if isinstance(type, Unknown) else Term(body.inference.resolve(type), results[0])
