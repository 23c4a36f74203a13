"""Unary and binary operators."""

from __future__ import annotations

from collections.abc import Callable

from ..ir.types import (
    BOOL,
    FLOAT,
    TEXT,
    Bool,
    Enum,
    Float,
    Int,
    List,
    Map,
    Option,
    Prompt,
    Text,
    Type,
    contains,
    strip_bounds,
)
from . import ast
from .body import Body
from .branches import branch
from .coercion import none_remedy
from .inference import Unknown, Variable, describe
from .literals import number
from .narrowing import known_where
from .terms import Term, poison

ARITHMETIC = {"+": "add", "-": "sub", "*": "mul", "/": "div", "//": "floordiv", "%": "mod"}
COMPARISONS = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}


def unary(body: Body, node: ast.Unary, expected: Type | None) -> Term:
    """`-e` and `not e`."""
    if node.operator == "not":
        negated = body.typed(node.operand, BOOL, "what `not` takes")
        return Term(BOOL, body.builder.pure("not", [negated], BOOL, node.span))
    inner = node.operand
    if isinstance(inner, ast.Literal) and isinstance(inner.value, int | float) and not isinstance(inner.value, bool):
        return number(body, -inner.value, node.span, expected)
    operand = body.operand(inner, expected)
    if isinstance(operand.type, Unknown):
        return poison()
    if not isinstance(operand.type, Int | Float):
        return body.error("E0302", f"`-` needs a number, not {describe(operand.type)}", inner.span)
    type = strip_bounds(operand.type)
    return Term(type, body.builder.pure("neg", [body.value(operand, inner.span)], type, node.span))


def binary(body: Body, node: ast.Binary, expected: Type | None) -> Term:
    """Any binary operator; `and`, `or` and `??` evaluate their right side only when it decides."""
    match node.operator:
        case "and" | "or":
            return _logical(body, node)
        case "??":
            return _coalesce(body, node, expected)
        case "==" | "!=" if (tested := _none_test(body, node)) is not None:
            return tested
        case "==" | "!=" | "<" | "<=" | ">" | ">=":
            return _comparison(body, node)
        case "in":
            return _membership(body, node)
        case _:
            return _arithmetic(body, node, expected)


def _logical(body: Body, node: ast.Binary) -> Term:
    purpose = f"what `{node.operator}` takes"
    left = body.typed(node.left, BOOL, purpose)

    def right(hint: Type | None) -> Term:
        return Term(BOOL, body.typed(node.right, BOOL, purpose))

    def constant(value: bool) -> Callable[[Type | None], Term]:
        return lambda hint: number(body, value, node.span, BOOL)

    if node.operator == "and":
        return branch(body, left, node.span, right, constant(False), expected=BOOL,
                      known=known_where(node.left, True))
    return branch(body, left, node.span, constant(True), right, expected=BOOL,
                  otherwise_known=known_where(node.left, False))


def _coalesce(body: Body, node: ast.Binary, expected: Type | None) -> Term:
    hint = Option(strip_bounds(expected)) if expected is not None and not isinstance(expected, Option) else expected
    left = body.operand(node.left, hint)
    if isinstance(left.type, Unknown):
        body.expression(node.right, expected)
        return poison()
    if not isinstance(left.type, Option):
        body.expression(node.right, expected)
        return body.error("E0302", f"`??` needs something that may be none, not {describe(left.type)}", node.left.span,
                          "never none", fix="drop `??` and what stands after it")
    element = left.type.element
    value = body.value(left, node.left.span)
    condition = body.builder.pure("is_some", [value], BOOL, node.span)
    return branch(
        body, condition, node.span,
        lambda hint: Term(element, body.builder.pure("unwrap", [value], element, node.span)),
        lambda hint: body.operand(node.right, expected if isinstance(element, Variable) else element),
        expected=expected,
    )


def _none_test(body: Body, node: ast.Binary) -> Term | None:
    """`x == none` and `x != none`; None for other comparisons."""
    sides = [node.left, node.right]
    constants = [s for s in sides if isinstance(s, ast.Literal) and s.value is None]
    if len(constants) != 1:
        return None
    (tested,) = [s for s in sides if s is not constants[0]]
    term = body.operand(tested)
    if isinstance(term.type, Unknown):
        return poison()
    if body.is_narrowed(tested):
        body.diagnostics.warning("W0110", "this is known not to be none here", node.span, fix="drop the comparison")
        return number(body, node.operator == "!=", node.span, BOOL)
    if not isinstance(term.type, Option):
        return body.error("E0302", f"this is never none: its type is {describe(term.type)}", tested.span,
                          fix="drop the comparison")
    some = body.builder.pure("is_some", [body.value(term, tested.span)], BOOL, node.span)
    return Term(BOOL, some if node.operator == "!=" else body.builder.pure("not", [some], BOOL, node.span))


def _comparison(body: Body, node: ast.Binary) -> Term:
    left, right = _both(body, node)
    if isinstance(left.type, Unknown) or isinstance(right.type, Unknown):
        return poison()
    common = body.inference.join(left.type, right.type)
    if common is None:
        return body.error("E0302", f"{describe(left.type)} and {describe(right.type)} cannot be compared", node.span,
                          fix=_comparison_fix(left.type, right.type))
    if contains(common, (Prompt,)):
        return body.error("E0313", "chats cannot be compared", node.span)
    if node.operator not in ("==", "!=") and not isinstance(common, Int | Float | Text):
        return body.error("E0302", f"`{node.operator}` needs numbers or texts, not {describe(common)}", node.span)
    operands = [
        body.value(body.coerce(term, common, side.span, "the operand"), side.span)
        for term, side in ((left, node.left), (right, node.right))
    ]
    return Term(BOOL, body.builder.pure(COMPARISONS[node.operator], operands, BOOL, node.span))


def _comparison_fix(left: Type, right: Type) -> str | None:
    for enum, other in ((left, right), (right, left)):
        if isinstance(enum, Enum) and isinstance(other, Text):
            return f"compare with a member: `{enum.name}.{enum.members[0].name}`" if enum.members else None
        if isinstance(enum, Int | Float | Bool) and isinstance(other, Text):
            return 'compare with its text: "${…}"'
    return None


def _both(body: Body, node: ast.Binary) -> tuple[Term, Term]:
    """Both operands; a bare enum member on the left takes its type from the right."""
    if isinstance(node.left, ast.Name) and body.variables.find(node.left.name) is None:
        right = body.operand(node.right)
        return body.operand(node.left, right.type), right
    left = body.operand(node.left)
    return left, body.operand(node.right, left.type)


def _membership(body: Body, node: ast.Binary) -> Term:
    container = None
    if isinstance(node.left, ast.Name | ast.ListExpr) and not (
            isinstance(node.left, ast.Name) and body.variables.find(node.left.name)):
        container = body.operand(node.right)
        element = container.type.element if isinstance(container.type, List) else None
        left = body.operand(node.left, element)
    else:
        left = body.operand(node.left)
        container = body.operand(node.right, List(left.type))
    right_span = node.right.span
    match container.type:
        case Unknown():
            return poison()
        case Text():
            item = body.coerce(left, TEXT, node.left.span, "what is looked for in a text")
            args = [body.value(container, right_span), body.value(item, node.left.span)]
            return Term(BOOL, body.builder.pure("contains", args, BOOL, node.span))
        case Map():
            item = body.coerce(left, TEXT, node.left.span, "the key")
        case List(element):
            item = body.coerce(left, element, node.left.span, "what is looked for in the list")
        case _:
            return body.error("E0302", f"`in` needs a list, map or text, not {describe(container.type)}", right_span)
    args = [body.value(item, node.left.span), body.value(container, right_span)]
    return Term(BOOL, body.builder.pure("in", args, BOOL, node.span))


def _arithmetic(body: Body, node: ast.Binary, expected: Type | None) -> Term:
    hint = expected if isinstance(expected, List) or (isinstance(expected, Float) and node.operator != "/") else None
    left = body.operand(node.left, hint)
    right = body.operand(node.right, left.type if isinstance(left.type, List | Float) else None)
    if isinstance(left.type, Unknown) or isinstance(right.type, Unknown):
        return poison()
    left_value, right_value = body.value(left, node.left.span), body.value(right, node.right.span)
    type = arithmetic_type(body, node.operator, left.type, right.type)
    if type is None:
        return _unsupported(body, node, left.type, right.type)
    if isinstance(type, Float):
        left_value, right_value = (
            body.value(body.coerce(term, FLOAT, side.span, "the operand"), side.span)
            for term, side in ((left, node.left), (right, node.right)))
    elif isinstance(type, List):
        left_value, right_value = (
            body.value(body.coerce(term, type, side.span, "the operand"), side.span)
            for term, side in ((left, node.left), (right, node.right)))
    return Term(type, body.builder.pure(ARITHMETIC[node.operator], [left_value, right_value], type, node.span))


def arithmetic_type(body: Body, operator: str, left: Type, right: Type) -> Type | None:
    """The type of `left operator right`, or None where the operator does not take them."""
    match left, right:
        case (Int(), Int()):
            return FLOAT if operator == "/" else strip_bounds(Int())
        case (Int() | Float(), Int() | Float()):
            return FLOAT
        case (Text(), Text()) if operator == "+":
            return TEXT
        case (List(), List()) if operator == "+" and body.inference.unify(left, right):
            return strip_bounds(body.inference.resolve(left))
        case (Variable(), Int() | Float() | Text()) if body.inference.unify(left, right):
            return arithmetic_type(body, operator, right, right)
        case _:
            return None


def _unsupported(body: Body, node: ast.Binary, left: Type, right: Type) -> Term:
    fix = None
    match left, right:
        case (Text(), Int() | Float() | Bool()) | (Int() | Float() | Bool(), Text()) if node.operator == "+":
            fix = 'write the value into the text: "…${…}…"'
        case (Option(), _) | (_, Option()):
            fix = none_remedy(node.left.span if isinstance(left, Option) else node.right.span)
        case (List(element), other) if node.operator == "+" and body.inference.unify(element, other):
            fix = "add a list: `xs + [x]`"
        case (Map(), Map()):
            fix = "maps cannot be joined"
    return body.error("E0302", f"`{node.operator}` does not take {describe(left)} and {describe(right)}",
                      node.operator_span, f"{describe(left)} {node.operator} {describe(right)}", fix=fix)
