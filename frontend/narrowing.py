"""What a condition says about options: which of them hold a value where it is true, and where it is false."""

from __future__ import annotations

from . import ast


def known_where(condition: ast.Expr, truth: bool) -> list[ast.Expr]:
    """The variables and fields that are not none wherever `condition` is `truth`."""
    match condition:
        case ast.Unary(operator="not", operand=operand):
            return known_where(operand, not truth)
        case ast.Binary(operator="and", left=left, right=right) if truth:
            return known_where(left, True) + known_where(right, True)
        case ast.Binary(operator="or", left=left, right=right) if not truth:
            return known_where(left, False) + known_where(right, False)
        case ast.Binary(operator="!=" | "==" as operator, left=left, right=right) if (operator == "!=") == truth:
            sides = [left, right]
            if not any(isinstance(s, ast.Literal) and s.value is None for s in sides):
                return []
            return [s for s in sides if isinstance(s, ast.Name | ast.FieldAccess)]
        case _:
            return []
