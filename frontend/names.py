"""Names and fields: variables, members of enums, outputs of calls, what is behind an alias."""

from __future__ import annotations

from ..ir.source import Span
from ..ir.types import (
    Enum,
    List,
    Option,
    Record,
    Type,
)
from . import ast
from .body import Body
from .coercion import none_remedy
from .inference import Unknown, describe
from .symbols import EnumSymbol, FileScope, FunctionSymbol, RecordSymbol, Symbol
from .syntax_help import FOREIGN_NAMES
from .terms import Term, poison

PROMPT_WORDS = "a prompt"
"""`Body.calls_forbidden_in` inside prompts."""


def name(body: Body, node: ast.Name, expected: Type | None) -> Term:
    """A variable, or a member of the enum that is expected here."""
    variable = body.variables.find(node.name)
    if variable is not None:
        variable.used = True
        found = variable.term
        return body.narrowed(node, lambda: found)
    wanted = body.inference.resolve(expected) if expected is not None else None
    if isinstance(wanted, Option):
        wanted = wanted.element
    if isinstance(wanted, Enum):
        if any(m.name == node.name for m in wanted.members):
            return Term(wanted, body.builder.const(node.name, wanted, node.span))
        if node.name not in body.scope.names:
            return unknown_member(body, wanted, node.name, node.span)
    return unknown_name(body, node)


def unknown_name(body: Body, node: ast.Name) -> Term:
    """Report a name that is no variable."""
    if node.name in body.later_outputs:
        return body.error("E0707", f"the output `{node.name}` is not generated yet at this place", node.span,
                          fix=f"insert it after `{{{{output:{node.name}}}}}`")
    symbol = body.scope.names.get(node.name)
    if symbol is not None:
        article = "an" if symbol.kind == "enum" else "a"
        remedies = {"enum": f"its members are values: `{node.name}.member`", "type": f"make one: `{node.name}(…)`"}
        return body.error("E0208", f"`{node.name}` is {article} {symbol.kind}, not a value", node.span,
                          fix=remedies.get(symbol.kind, f"call it: `{node.name}(…)`"))
    enums = [s for s in body.scope.names.values()
             if isinstance(s, EnumSymbol) and s.type and any(m.name == node.name for m in s.type.members)]
    known = [*body.variables.names(), *body.scope.aliases, *body.scope.names]
    fix = f"write `{enums[0].name}.{node.name}`" if enums else body.suggestion(node.name, known)
    if node.name in FOREIGN_NAMES:
        fix = f"write `{FOREIGN_NAMES[node.name]}`"
    if fix is None and body.calls_forbidden_in == PROMPT_WORDS:
        fix = f"make it a parameter, or generate it: `{{{{output:{node.name}}}}}`"
    return body.error("E0201", f"unknown name `{node.name}`", node.span, "not defined here", fix=fix)


def unknown_member(body: Body, enum: Enum, member: str, span: Span) -> Term:
    """Report a name that is no member of `enum`."""
    fix = body.suggestion(member, [m.name for m in enum.members])
    names = ", ".join(f"`{m.name}`" for m in enum.members[:8])
    return body.error("E0210", f"`{enum.name}` has no member `{member}`", span,
                      notes=[f"its members are {names}"], fix=fix)


def static_symbol(body: Body, expression: ast.Expr) -> Symbol | FileScope | None:
    """The declaration that a name or `alias.name` stands for; None where a variable is meant or nothing is known."""
    if isinstance(expression, ast.Name):
        if body.variables.find(expression.name) is not None:
            return None
        return body.scope.names.get(expression.name) or body.scope.aliases.get(expression.name)
    if isinstance(expression, ast.FieldAccess):
        base = static_symbol(body, expression.base)
        if isinstance(base, FileScope):
            return next((s for s in base.own if s.name == expression.name and s.kind != "model"), None)
    return None


def field_access(body: Body, node: ast.FieldAccess, expected: Type | None) -> Term:
    """`record.field`, an output or the `.chat` of a call, `Severity.low`."""
    base = static_symbol(body, node.base)
    if isinstance(base, EnumSymbol) and base.type is not None:
        if any(m.name == node.name for m in base.type.members):
            return Term(base.type, body.builder.const(node.name, base.type, node.span))
        return unknown_member(body, base.type, node.name, node.name_span)
    if isinstance(base, FileScope):
        return _of_alias(body, node, base)
    if isinstance(base, Symbol):
        return unknown_name(body, node.base) if isinstance(node.base, ast.Name) else poison()
    return body.narrowed(node, lambda: _field(body, node))


def _of_alias(body: Body, node: ast.FieldAccess, file: FileScope) -> Term:
    symbol = next((s for s in file.own if s.name == node.name), None)
    if isinstance(symbol, FunctionSymbol | RecordSymbol):
        return body.error("E0208", f"`{node.name}` is a {symbol.kind}, not a value", node.span,
                          fix="call it: add `(…)`")
    if isinstance(symbol, EnumSymbol):
        return body.error("E0208", f"`{node.name}` is an enum, not a value", node.span, fix="name one of its members")
    fix = body.suggestion(node.name, [s.name for s in file.own])
    return body.error("E0201", f"`{file.path}` declares no `{node.name}`", node.name_span, fix=fix)


def _field(body: Body, node: ast.FieldAccess) -> Term:
    base = body.expression(node.base)
    part = base.part(node.name)
    if part is not None:
        return part
    if node.name == "chat" and base.chat is not None:
        return Term(base.chat.type, base.chat)
    if node.name == "logprobs" and base.logprobs is not None:
        return Term(base.logprobs.type, base.logprobs)
    type = body.type_of(base)
    if isinstance(type, Record) and (found := type.field(node.name)) is not None:
        value = body.builder.pure("field", [body.value(base, node.base.span)], found.type, node.span, name=node.name)
        return Term(found.type, value)
    return _no_field(body, node, type)


def _no_field(body: Body, node: ast.FieldAccess, type: Type) -> Term:
    match type:
        case Unknown():
            return poison()
        case Option(Record()):
            return body.error("E0307", f"this may be none; it has no field `{node.name}` then", node.base.span,
                              f"`{describe(type)}`", fix=none_remedy(node.base.span))
        case Record(_, fields):
            names = [f.name for f in fields]
            fix = body.suggestion(node.name, names) or "its fields are " + ", ".join(f"`{n}`" for n in names[:8])
            return body.error("E0204", f"{describe(type)} has no field `{node.name}`", node.name_span, fix=fix)
    if node.name == "chat":
        return body.error("E0204", "only the call of a semantic function has a `.chat`", node.name_span,
                          fix="name the call and use its `.chat`: `let r = F(…)`, then `r.chat`")
    if node.name == "logprobs":
        return body.error("E0204", "this has no `.logprobs`", node.name_span,
                          fix="ask for them in the output's hole: `{{output:y logprobs=5}}`")
    remedy: str | None = None
    if isinstance(type, List):
        remedy = f"iterate over the elements: `[x.{node.name} for x in …]`"
    elif _is_output(body, node):
        remedy = f"one output is the value of the call itself: drop `.{node.name}`"
    message = f"a value of type {describe(type)} has no field `{node.name}`"
    return body.error("E0204", message, node.name_span, fix=remedy)


def _is_output(body: Body, node: ast.FieldAccess) -> bool:
    """Whether a field is named like the only output of the call that it is asked of."""
    if not isinstance(node.base, ast.Call):
        return False
    symbol = static_symbol(body, node.base.callee)
    return isinstance(symbol, FunctionSymbol) and [o.name for o in symbol.outputs] == [node.name]
