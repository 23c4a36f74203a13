"""What each rule of the grammar makes: the nodes of `ast`. A method's name is that of its rule.

The value of a PROMPT token is its `ast.Template` already.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ..ir.diagnostics import Diagnostics
from ..ir.source import SourceFile, Span
from . import ast
from .tokens import Token

_HOST_OPTIONS = {"pure": "flag", "idempotent": "flag", "timeout": "duration", "retries": "count"}
_ROLES = ("system", "user", "assistant")
_OBJECTIVES = ("latency", "throughput", "ttft", "deadline")


@dataclasses.dataclass
class _Values:
    """The values that a block gives, before the block is known: they must be the last of its statements."""

    span: Span
    values: tuple[ast.Expr, ...]
    is_yield: bool


class TreeBuilder:
    """Makes nodes of one file; what the grammar cannot say is checked here."""

    def __init__(self, source: SourceFile, diagnostics: Diagnostics) -> None:
        self.source = source
        self.diagnostics = diagnostics
        self._in_parentheses: set[tuple[int, int]] = set()

    def _span(self, token: Token) -> Span:
        return Span(self.source, token.start, token.end)

    def _plain_text(self, token: Token) -> str:
        return str(token.value)

    # ---- declarations

    def use_decl(self, span: Span, c: list[Any]) -> ast.Use:
        return ast.Use(span, self._plain_text(c[0]), c[1] and c[1].text, self._span(c[0]))

    def enum_decl(self, span: Span, c: list[Any]) -> ast.EnumDecl:
        return ast.EnumDecl(span, c[0].text, self._span(c[0]), tuple(c[1] or ()))

    def enum_members(self, span: Span, c: list[Any]) -> list[ast.EnumMemberDecl]:
        return [member for member in c if member is not None]

    def enum_member(self, span: Span, c: list[Any]) -> ast.EnumMemberDecl | None:
        if c[0].kind == "ERROR":
            return None
        return ast.EnumMemberDecl(span, c[0].text, c[1] and self._plain_text(c[1]))

    def type_decl(self, span: Span, c: list[Any]) -> ast.TypeDecl:
        return ast.TypeDecl(span, c[0].text, self._span(c[0]), tuple(c[1] or ()))

    def fields(self, span: Span, c: list[Any]) -> list[ast.FieldDecl]:
        return [field for field in c if field is not None]

    def field(self, span: Span, c: list[Any]) -> ast.FieldDecl | None:
        return None if c[0].kind == "ERROR" else self.output(span, c)

    def output(self, span: Span, c: list[Any]) -> ast.FieldDecl:
        return ast.FieldDecl(span, c[0].text, self._span(c[0]), c[1])

    def single_output(self, span: Span, c: list[Any]) -> tuple[ast.FieldDecl, ...]:
        return (self.output(span, c),)

    def outputs(self, span: Span, c: list[Any]) -> tuple[ast.FieldDecl, ...]:
        return tuple(c)

    def model_decl(self, span: Span, c: list[Any]) -> ast.ModelDecl:
        return ast.ModelDecl(span, c[0].text, self._span(c[0]), self._plain_text(c[1]))

    def host_decl(self, span: Span, c: list[Any]) -> ast.HostDecl:
        name, parameters, result, target, options = c
        return ast.HostDecl(span, name.text, self._span(name), tuple(parameters or ()), result,
                            self._plain_text(target), self._span(target), tuple(options or ()))

    def host_options(self, span: Span, c: list[Any]) -> list[ast.HostOption]:
        return c

    def host_option(self, span: Span, c: list[Any]) -> ast.HostOption:
        name, value = c[0].text, c[1]
        wanted = _HOST_OPTIONS.get(name)
        if wanted is None:
            self.diagnostics.error("E0030", f"a host has no option `{name}`", self._span(c[0]),
                                   fix="the options are `pure`, `idempotent`, `timeout = 10s` and `retries = 2`")
            return ast.HostOption(span, name, True)
        number: Any = None if value is None else value.value
        if wanted == "flag" and (value is None or value.kind in ("true", "false")):
            return ast.HostOption(span, name, value is None or value.kind == "true")
        if wanted == "duration" and value is not None and value.kind == "DURATION" and number > 0:
            return ast.HostOption(span, name, number)
        if wanted == "count" and value is not None and value.kind == "INT":
            return ast.HostOption(span, name, number)
        fixes = {"flag": f"write `{name}` alone", "duration": f"write `{name} = 10s` (`ms`, `s`, `m` or `h`)",
                 "count": f"write `{name} = 2`"}
        self.diagnostics.error("E0031", f"`{name}` takes no such value", span, fix=fixes[wanted])
        return ast.HostOption(span, name, True)

    def host_value(self, span: Span, c: list[Any]) -> Token:
        token: Token = c[0]
        return token

    def semantic_decl(self, span: Span, c: list[Any]) -> ast.SemanticDecl:
        name, parameters, outputs, model, parts = c
        return ast.SemanticDecl(span, name.text, self._span(name), tuple(parameters or ()), outputs,
                                model and model[0], model and model[1], self._checked_parts(parts))

    def _checked_parts(self, parts: list[ast.PromptPart]) -> tuple[ast.PromptPart, ...]:
        """A body is one raw prompt or any number of role parts."""
        raw = [part for part in parts if isinstance(part, ast.Template)]
        if raw and len(parts) > 1:
            self.diagnostics.error("E0032", "a prompt without a role stands alone", raw[-1].span,
                                   fix="give every prompt of the body a role: `system`, `user` or `assistant`")
        return tuple(parts)

    def prompt_parts(self, span: Span, c: list[Any]) -> list[ast.PromptPart]:
        return [part for part in c if part is not None]

    def raw_part(self, span: Span, c: list[Any]) -> ast.Template:
        template: ast.Template = c[0].value
        return template

    def role_part(self, span: Span, c: list[Any]) -> ast.RolePart:
        role, prompt = c
        if role.text not in _ROLES:
            self.diagnostics.error("E0033", f"`{role.text}` is not a role", self._span(role),
                                   fix="the roles are `system`, `user` and `assistant`")
        return ast.RolePart(span, role.text, prompt.value)

    def role_for(self, span: Span, c: list[Any]) -> ast.RoleFor:
        return ast.RoleFor(span, c[0], c[1], self._checked_parts(c[2]))

    def broken_part(self, span: Span, c: list[Any]) -> None:
        return None

    def program_decl(self, span: Span, c: list[Any]) -> ast.ProgramDecl:
        name, parameters, outputs, block = c
        return ast.ProgramDecl(span, name.text, self._span(name), tuple(parameters or ()), outputs or (),
                               self._body(block))

    def test_decl(self, span: Span, c: list[Any]) -> ast.TestDecl:
        return ast.TestDecl(span, self._plain_text(c[0]), self._body(c[1]))

    def _body(self, block: ast.Block) -> tuple[ast.Statement, ...]:
        """The statements of a program or test: it ends with `return` or an assertion, not with a value."""
        values = [ast.ExpressionStatement(value.span, value) for value in block.values]
        return (*block.statements, *values)

    def parameters(self, span: Span, c: list[Any]) -> list[ast.Parameter]:
        return c

    def parameter(self, span: Span, c: list[Any]) -> ast.Parameter:
        return ast.Parameter(span, c[0].text, self._span(c[0]), c[1], c[2])

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
        return ast.Let(span, (name.text,), (self._span(name),), declared, value, False)

    def let_tuple(self, span: Span, c: list[Any]) -> ast.Let:
        names, value = c
        return ast.Let(span, names.names, names.name_spans, None, value, True)

    def names(self, span: Span, c: list[Any]) -> ast.Target:
        return ast.Target(span, tuple(token.text for token in c), tuple(self._span(token) for token in c))

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
        return ast.Argument(span, c[0].text, self.name(self._span(c[1]), [c[1]]))

    def try_else(self, span: Span, c: list[Any]) -> ast.Try:
        return ast.Try(span, c[0], c[1])

    def binary(self, span: Span, c: list[Any]) -> ast.Binary:
        left, operator, right = c
        return ast.Binary(span, operator.text, left, right, self._span(operator))

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
        return ast.FieldAccess(span, c[0], c[1].text, self._span(c[1]))

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
        pattern: ast.Expr = self.name(self._span(c[0]), [c[0]])
        for token in c[1:]:
            pattern = ast.FieldAccess(Span(self.source, span.start, token.end), pattern, token.text, self._span(token))
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

    # ---- tags

    def input_tag(self, span: Span, c: list[Any]) -> ast.InputHole:
        return ast.InputHole(span, c[0], True)

    def short_tag(self, span: Span, c: list[Any]) -> ast.InputHole:
        return ast.InputHole(span, c[0], False)

    def short_output(self, span: Span, c: list[Any]) -> ast.OutputHole:
        return ast.OutputHole(span, c[0].text, self._span(c[0]), None, tuple(c[1:]))

    def output_tag(self, span: Span, c: list[Any]) -> ast.OutputHole:
        return ast.OutputHole(span, c[0].text, self._span(c[0]), c[1], tuple(c[2]))

    def tag_options(self, span: Span, c: list[Any]) -> list[ast.OutputOption]:
        return c

    def tag_option(self, span: Span, c: list[Any]) -> ast.OutputOption:
        return ast.OutputOption(span, c[0].text, c[1])

    def if_tag(self, span: Span, c: list[Any]) -> ast.Expr:
        condition: ast.Expr = c[0]
        return condition

    def for_tag(self, span: Span, c: list[Any]) -> tuple[ast.Target, ast.Expr, bool]:
        return c[0], c[1], False

    def unordered_for_tag(self, span: Span, c: list[Any]) -> tuple[ast.Target, ast.Expr, bool]:
        return c[0], c[1], True
