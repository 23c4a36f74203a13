"""What the rules of types, statements and expressions make. A method's name is that of its rule."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..ir.diagnostics import Diagnostics
from ..ir.source import SourceFile, Span
from . import ast
from .tokens import Token

_OBJECTIVES = ("latency", "throughput", "ttft", "deadline")


@dataclasses.dataclass
class _Values:
    """The values that a block gives, before the block is known: they must be the last of its statements."""

    span: Span
    values: tuple[ast.Expr, ...]
    is_yield: bool


class ExpressionBuilder:
    """Makes nodes of one file; what the grammar cannot say is checked here."""

    def __init__(self, source: SourceFile, diagnostics: Diagnostics) -> None:
        self.source = source
        self.diagnostics = diagnostics
        self._in_parentheses: set[tuple[int, int]] = set()
        self.yields: dict[Span, Span] = {}  # of blocks that end with `yield`

    def span_of(self, token: Token) -> Span:
        return Span(self.source, token.start, token.end)

    # ---- types

    def named_type(self, span: Span, c: list[Any]) -> ast.NamedType:
        name, arguments, bounds = c
        return ast.NamedType(span, name[0], tuple(arguments or ()), tuple(bounds or ()))

    def option_type(self, span: Span, c: list[Any]) -> ast.OptionType:
        return ast.OptionType(span, c[0])

    def types(self, span: Span, c: list[Any]) -> list[ast.TypeExpr]:
        return c

    def range_bounds(self, span: Span, c: list[Any]) -> list[tuple[str, ast.Expr]]:
        return [("low", c[0])] + ([("high", c[1])] if c[1] is not None else [])

    def upper_bound(self, span: Span, c: list[Any]) -> list[tuple[str, ast.Expr]]:
        return [("high", c[0])]

    def named_bounds(self, span: Span, c: list[Any]) -> list[tuple[str, ast.Expr]]:
        return c

    def bound(self, span: Span, c: list[Any]) -> tuple[str, ast.Expr]:
        return c[0].text, c[1]

    def dotted_name(self, span: Span, c: list[Any]) -> tuple[str, Span]:
        return ".".join(token.text for token in c), span

    # ---- statements

    def block(self, span: Span, c: list[Any]) -> ast.Block:
        statements: list[ast.Statement] = []
        values: tuple[ast.Expr, ...] = ()
        found = [statement for statement in c if statement is not None]
        for number, statement in enumerate(found):
            if not isinstance(statement, _Values):
                statements.append(statement)
            elif number == len(found) - 1:
                values = statement.values
                if statement.is_yield:
                    self.yields[span] = statement.span
            elif statement.is_yield:
                self.diagnostics.error("E0034", "`yield` is not the last statement of its block", statement.span,
                                       fix="move what follows before the `yield`")
            elif len(statement.values) > 1:
                self.diagnostics.error("E0034", "only the last line of a block gives values", statement.span)
            else:
                statements.append(ast.ExpressionStatement(statement.span, statement.values[0]))
        return ast.Block(span, tuple(statements), values)

    def let(self, span: Span, c: list[Any]) -> ast.Let:
        name, declared, value = c
        return ast.Let(span, (name.text,), (self.span_of(name),), declared, value, False)

    def let_tuple(self, span: Span, c: list[Any]) -> ast.Let:
        names, value = c
        return ast.Let(span, names.names, names.name_spans, None, value, True)

    def names(self, span: Span, c: list[Any]) -> ast.Target:
        return ast.Target(span, tuple(token.text for token in c), tuple(self.span_of(token) for token in c))

    def yield_values(self, span: Span, c: list[Any]) -> _Values:
        return _Values(span, self._flattened(c), True)

    def values(self, span: Span, c: list[Any]) -> _Values:
        return _Values(span, self._flattened(c), False)

    @staticmethod
    def _flattened(values: list[ast.Expr]) -> tuple[ast.Expr, ...]:
        """`(a, b)` alone gives two values, as `a, b` does."""
        if len(values) == 1 and isinstance(values[0], ast.TupleExpr):
            return values[0].elements
        return tuple(values)

    def return_values(self, span: Span, c: list[Any]) -> ast.Return:
        if len(c) == 1 and isinstance(c[0].value, ast.TupleExpr) and c[0].objective is None:
            return ast.Return(span, tuple(ast.Returned(v.span, v, None) for v in c[0].value.elements))
        return ast.Return(span, tuple(c))

    def returned(self, span: Span, c: list[Any]) -> ast.Returned:
        value, name, duration = c
        if name is None:
            return ast.Returned(span, value, None)
        where = Span(self.source, name.start, span.end)
        if name.text not in _OBJECTIVES:
            self.diagnostics.error("E0035", f"`{name.text}` is not an objective", where,
                                   fix="the objectives are `latency`, `throughput`, `ttft` and `deadline(2s)`")
        elif (name.text == "deadline") != (duration is not None):
            fix = "write `deadline(2s)`" if duration is None else f"write `@ {name.text}`"
            self.diagnostics.error("E0035", "only `deadline` takes a duration, and needs one", where, fix=fix)
        return ast.Returned(span, value, ast.Objective(where, name.text, duration and duration.value))

    def assertion(self, span: Span, c: list[Any]) -> ast.Assert:
        return ast.Assert(span, c[0])

    def if_statement(self, span: Span, c: list[Any]) -> ast.ExpressionStatement:
        return ast.ExpressionStatement(span, c[0])

    def broken_statement(self, span: Span, c: list[Any]) -> None:
        return None

    def if_only(self, span: Span, c: list[Any]) -> ast.If:
        return self.if_else(span, c if len(c) == 3 else [*c, None])

    # ---- expressions

    def if_else(self, span: Span, c: list[Any]) -> ast.If:
        condition, then, otherwise = c
        if isinstance(otherwise, ast.If):
            has_value = otherwise.otherwise is not None
            otherwise = ast.Block(otherwise.span, () if has_value else (
                ast.ExpressionStatement(otherwise.span, otherwise),), (otherwise,) if has_value else ())
        return ast.If(span, condition, then, otherwise)

    def with_options(self, span: Span, c: list[Any]) -> ast.Expr:
        call, *options = c
        if not isinstance(call, ast.Call) or call.options:
            self.diagnostics.error("E0036", "`with` does not follow a call", call.span, "this is not a call",
                                   fix="put the call and its `with` in parentheses: `(f(x) with …)`")
            result: ast.Expr = call
            return result
        return dataclasses.replace(call, span=span, options=tuple(options))

    def option(self, span: Span, c: list[Any]) -> ast.Argument:
        return ast.Argument(span, c[0].text, c[1])

    def engine_option(self, span: Span, c: list[Any]) -> ast.Argument:
        if c[0].text != "engine":
            self.diagnostics.error("E0037", f"`{c[0].text}` needs a `=`", span,
                                   fix=f"write `{c[0].text} = {c[1].text}`")
        return ast.Argument(span, c[0].text, self.name(self.span_of(c[1]), [c[1]]))

    def try_else(self, span: Span, c: list[Any]) -> ast.Try:
        return ast.Try(span, c[0], c[1])

    def binary(self, span: Span, c: list[Any]) -> ast.Binary:
        left, operator, right = c
        return ast.Binary(span, operator.text, left, right, self.span_of(operator))

    def compare(self, span: Span, c: list[Any]) -> ast.Binary:
        self._check_chain(span, c)
        return self.binary(span, c)

    def not_in(self, span: Span, c: list[Any]) -> ast.Unary:
        left, negation, operator, right = c
        self._check_chain(span, c)
        where = Span(self.source, negation.start, operator.end)
        return ast.Unary(span, "not", ast.Binary(span, "in", left, right, where))

    def _check_chain(self, span: Span, c: list[Any]) -> None:
        left = c[0]
        inner = left.operand if isinstance(left, ast.Unary) else left
        is_parenthesised = (left.span.start, left.span.end) in self._in_parentheses
        if isinstance(inner, ast.Binary) and inner.operator in ("==", "!=", "<", "<=", ">", ">=", "in") \
                and not is_parenthesised:
            self.diagnostics.error("E0038", "comparisons do not chain", span,
                                   fix="write `a < b and b < c`, or put parentheses around the first")

    def unary(self, span: Span, c: list[Any]) -> ast.Expr:
        operator, operand = c
        if operator.text == "-" and isinstance(operand, ast.Literal) and type(operand.value) in (int, float):
            assert operand.value is not None
            return ast.Literal(span, -operand.value)
        return ast.Unary(span, operator.text, operand)

    def field_access(self, span: Span, c: list[Any]) -> ast.FieldAccess:
        return ast.FieldAccess(span, c[0], c[1].text, self.span_of(c[1]))

    def call(self, span: Span, c: list[Any]) -> ast.Call:
        return ast.Call(span, c[0], tuple(c[1] or ()))

    def arguments(self, span: Span, c: list[Any]) -> list[ast.Argument]:
        return c

    def argument(self, span: Span, c: list[Any]) -> ast.Argument:
        return ast.Argument(span, c[0] and c[0].text, c[1])

    def index(self, span: Span, c: list[Any]) -> ast.Index:
        return ast.Index(span, c[0], c[1])

    def slice_expr(self, span: Span, c: list[Any]) -> ast.Slice:
        return ast.Slice(span, c[0], c[1], c[2])

    def name(self, span: Span, c: list[Any]) -> ast.Name:
        return ast.Name(span, c[0].text)

    def literal(self, span: Span, c: list[Any]) -> ast.Literal:
        words = {"true": True, "false": False, "none": None}
        return ast.Literal(span, words[c[0].kind] if c[0].kind in words else c[0].value)

    def text(self, span: Span, c: list[Any]) -> ast.TextExpr:
        parts = [part.value if isinstance(part, Token) else part for part in c]
        return ast.TextExpr(span, tuple(part for part in parts if part != ""))

    def parenthesised(self, span: Span, c: list[Any]) -> ast.Expr:
        expression: ast.Expr = dataclasses.replace(c[0], span=span)
        self._in_parentheses.add((span.start, span.end))
        return expression

    def tuple_expr(self, span: Span, c: list[Any]) -> ast.TupleExpr:
        return ast.TupleExpr(span, (*c,))

    def list_expr(self, span: Span, c: list[Any]) -> ast.ListExpr:
        return ast.ListExpr(span, tuple(element for element in c if element is not None))

    def empty_map(self, span: Span, c: list[Any]) -> ast.MapExpr:
        return ast.MapExpr(span, ())

    def map_expr(self, span: Span, c: list[Any]) -> ast.MapExpr:
        return ast.MapExpr(span, tuple(c))

    def entry(self, span: Span, c: list[Any]) -> tuple[ast.Expr, ast.Expr]:
        return c[0], c[1]

    def comprehension(self, span: Span, c: list[Any]) -> ast.Comprehension:
        return ast.Comprehension(span, *c)

    def match(self, span: Span, c: list[Any]) -> ast.Match:
        return ast.Match(span, c[0], tuple(c[1]))

    def arms(self, span: Span, c: list[Any]) -> list[ast.MatchArm]:
        return [arm for arm in c if arm is not None]

    def arm(self, span: Span, c: list[Any]) -> ast.MatchArm | None:
        if isinstance(c[0], Token):
            return None
        return ast.MatchArm(span, tuple(c[:-1]), c[-1])

    def pattern(self, span: Span, c: list[Any]) -> ast.Expr:
        pattern: ast.Expr = c[0]
        return pattern

    def name_pattern(self, span: Span, c: list[Any]) -> ast.Expr:
        pattern: ast.Expr = self.name(self.span_of(c[0]), [c[0]])
        for token in c[1:]:
            so_far = Span(self.source, span.start, token.end)
            pattern = ast.FieldAccess(so_far, pattern, token.text, self.span_of(token))
        return pattern

    def negative_pattern(self, span: Span, c: list[Any]) -> ast.Literal:
        return ast.Literal(span, -c[1].value)

    def target(self, span: Span, c: list[Any]) -> ast.Target:
        names: ast.Target = c[0]
        return names

    def for_each(self, span: Span, c: list[Any]) -> ast.For:
        return ast.For(span, *c)

    def unordered_for(self, span: Span, c: list[Any]) -> ast.For:
        return ast.For(span, c[0], c[1], c[2], unordered=True)

    def carried(self, span: Span, c: list[Any]) -> ast.Carried:
        return ast.Carried(span, c[0].text, c[1], c[2])

    def fold(self, span: Span, c: list[Any]) -> ast.Fold:
        *carried, target, iterable, body = c
        return ast.Fold(span, tuple(carried), target, iterable, body)

    def loop(self, span: Span, c: list[Any]) -> ast.Loop:
        *carried, condition, limit, body = c
        return ast.Loop(span, tuple(item for item in carried if item is not None), condition, limit, body)
