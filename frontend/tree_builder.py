"""What the rules of declarations and tags make: the nodes of `ast`. A method's name is that of its rule.

The value of a PROMPT token is its `ast.Template` already.
"""

from __future__ import annotations

from typing import Any

from ..ir.source import Span
from . import ast
from .expression_builder import ExpressionBuilder
from .tokens import Token

_HOST_OPTIONS = {"pure": "flag", "idempotent": "flag", "timeout": "duration", "retries": "count"}
_ROLES = ("system", "user", "assistant")


class TreeBuilder(ExpressionBuilder):
    """Makes nodes of one file."""

    # ---- declarations

    def use_decl(self, span: Span, c: list[Any]) -> ast.Use:
        return ast.Use(span, str(c[0].value), c[1] and c[1].text, self.span_of(c[0]))

    def enum_decl(self, span: Span, c: list[Any]) -> ast.EnumDecl:
        return ast.EnumDecl(span, c[0].text, self.span_of(c[0]), tuple(c[1] or ()))

    def enum_members(self, span: Span, c: list[Any]) -> list[ast.EnumMemberDecl]:
        return [member for member in c if member is not None]

    def enum_member(self, span: Span, c: list[Any]) -> ast.EnumMemberDecl | None:
        if c[0].kind == "ERROR":
            return None
        return ast.EnumMemberDecl(span, c[0].text, c[1] and str(c[1].value))

    def type_decl(self, span: Span, c: list[Any]) -> ast.TypeDecl:
        return ast.TypeDecl(span, c[0].text, self.span_of(c[0]), tuple(c[1] or ()))

    def fields(self, span: Span, c: list[Any]) -> list[ast.FieldDecl]:
        return [field for field in c if field is not None]

    def field(self, span: Span, c: list[Any]) -> ast.FieldDecl | None:
        return None if c[0].kind == "ERROR" else self.output(span, c)

    def output(self, span: Span, c: list[Any]) -> ast.FieldDecl:
        return ast.FieldDecl(span, c[0].text, self.span_of(c[0]), c[1])

    def single_output(self, span: Span, c: list[Any]) -> tuple[ast.FieldDecl, ...]:
        return (self.output(span, c),)

    def outputs(self, span: Span, c: list[Any]) -> tuple[ast.FieldDecl, ...]:
        return tuple(c)

    def model_decl(self, span: Span, c: list[Any]) -> ast.ModelDecl:
        return ast.ModelDecl(span, c[0].text, self.span_of(c[0]), str(c[1].value))

    def host_decl(self, span: Span, c: list[Any]) -> ast.HostDecl:
        name, parameters, result, target, options = c
        return ast.HostDecl(span, name.text, self.span_of(name), tuple(parameters or ()), result,
                            str(target.value), self.span_of(target), tuple(options or ()))

    def host_options(self, span: Span, c: list[Any]) -> list[ast.HostOption]:
        return c

    def host_option(self, span: Span, c: list[Any]) -> ast.HostOption:
        name, value = c[0].text, c[1]
        wanted = _HOST_OPTIONS.get(name)
        if wanted is None:
            self.diagnostics.error("E0030", f"a host has no option `{name}`", self.span_of(c[0]),
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
        return ast.SemanticDecl(span, name.text, self.span_of(name), tuple(parameters or ()), outputs,
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
            self.diagnostics.error("E0033", f"`{role.text}` is not a role", self.span_of(role),
                                   fix="the roles are `system`, `user` and `assistant`")
        return ast.RolePart(span, role.text, prompt.value)

    def role_for(self, span: Span, c: list[Any]) -> ast.RoleFor:
        return ast.RoleFor(span, c[0], c[1], self._checked_parts(c[2]))

    def broken_part(self, span: Span, c: list[Any]) -> None:
        return None

    def program_decl(self, span: Span, c: list[Any]) -> ast.ProgramDecl:
        name, parameters, outputs, block = c
        return ast.ProgramDecl(span, name.text, self.span_of(name), tuple(parameters or ()), outputs or (),
                               self._body(block))

    def test_decl(self, span: Span, c: list[Any]) -> ast.TestDecl:
        return ast.TestDecl(span, str(c[0].value), self._body(c[1]))

    def _body(self, block: ast.Block) -> tuple[ast.Statement, ...]:
        """The statements of a program or test: it ends with `return` or an assertion, not with a value."""
        if block.span in self.yields:
            self.diagnostics.error("E0034", "`yield` gives the value of a block inside a program",
                                   self.yields[block.span], fix="a program ends with `return`")
        values = [ast.ExpressionStatement(value.span, value) for value in block.values]
        return (*block.statements, *values)

    def parameters(self, span: Span, c: list[Any]) -> list[ast.Parameter]:
        return c

    def parameter(self, span: Span, c: list[Any]) -> ast.Parameter:
        return ast.Parameter(span, c[0].text, self.span_of(c[0]), c[1], c[2])

    # ---- tags

    def input_tag(self, span: Span, c: list[Any]) -> ast.InputHole:
        return ast.InputHole(span, c[0], True)

    def short_tag(self, span: Span, c: list[Any]) -> ast.InputHole:
        return ast.InputHole(span, c[0], False)

    def short_output(self, span: Span, c: list[Any]) -> ast.OutputHole:
        return ast.OutputHole(span, c[0].text, self.span_of(c[0]), None, tuple(c[1:]))

    def output_tag(self, span: Span, c: list[Any]) -> ast.OutputHole:
        return ast.OutputHole(span, c[0].text, self.span_of(c[0]), c[1], tuple(c[2]))

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
