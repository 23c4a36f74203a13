"""Warns of a prompt part that grows as one text from turn to turn, where a list would keep its pieces shared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..ir.types import Text, Type
from . import ast
from .body import Body
from .names import static_symbol
from .symbols import SemanticSymbol
from .walk import nodes


def warn_of_growing_texts(body: Body, carried: Sequence[ast.Carried], types: Sequence[Type], block: ast.Block) -> None:
    """`acc` becomes `acc + …` each turn and is given to a semantic function in the same body."""
    for position, value in enumerate(carried):
        if not isinstance(types[position], Text):
            continue
        grown = next((e for e in _given(block, position, len(carried)) if _extends(e, value.name)), None)
        if grown is not None and _is_prompted(body, block, value.name):
            body.diagnostics.warning(
                "W0105", f"`{value.name}` grows as one text, so each turn fills its prompt anew", grown.span,
                fix=f"carry a list, `{value.name} + [ … ]`, and insert it with `{{{{for x in {value.name}}}}}`: "
                    "the turns before stay shared")


def _given(block: ast.Block, position: int, count: int) -> Iterator[ast.Expr]:
    """The expressions that may give the value at `position` of a block."""
    if len(block.values) == count:
        yield from _alternatives(block.values[position])
    elif len(block.values) == 1:
        for alternative in _alternatives(block.values[0]):
            if isinstance(alternative, ast.TupleExpr) and len(alternative.elements) == count:
                yield from _alternatives(alternative.elements[position])


def _alternatives(expression: ast.Expr) -> Iterator[ast.Expr]:
    """The expressions whose value `expression` may have: itself, or those of its branches."""
    stack = [expression]
    while stack:
        match stack.pop():
            case ast.If(then=then, otherwise=otherwise):
                stack += [v for b in (then, otherwise) if b is not None for v in _block_value(b)]
            case ast.Match(arms=arms):
                stack += [arm.value for arm in arms]
            case ast.Block() as inner:
                stack += _block_value(inner)
            case other:
                yield other


def _block_value(block: ast.Block) -> list[ast.Expr]:
    if len(block.values) > 1:
        return [ast.TupleExpr(block.span, block.values)]
    return list(block.values)


def _extends(expression: ast.Expr, name: str) -> bool:
    """Whether a text begins with the variable `name` and goes on."""
    match expression:
        case ast.Binary(operator="+", left=left):
            while isinstance(left, ast.Binary) and left.operator == "+":
                left = left.left
            return (isinstance(left, ast.Name) and left.name == name) or _extends(left, name)
        case ast.TextExpr(parts=parts) if len(parts) > 1:
            return isinstance(parts[0], ast.Name) and parts[0].name == name
        case _:
            return False


def _is_prompted(body: Body, block: ast.Block, name: str) -> bool:
    """Whether a call of a semantic function in `block` gets the text `name`."""
    for node in nodes(block):
        if isinstance(node, ast.Call) and isinstance(static_symbol(body, node.callee), SemanticSymbol):
            for argument in node.arguments:
                if isinstance(argument.value, ast.Name) and argument.value.name == name:
                    return True
    return False
