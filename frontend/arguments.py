"""Which argument belongs to which parameter: by position, by name, or the default."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.core import Literal, Value
from ..ir.diagnostics import Diagnostics, Label
from ..ir.source import Span
from ..ir.types import Option, Type
from . import ast
from .body import Body
from .constants import emit_constant, evaluate_constant
from .inference import UNKNOWN, describe
from .symbols import FileScope, ParameterSymbol


def bind_arguments(body: Body, node: ast.Call, callee: str, names: Sequence[str],
                   what: str = "parameter") -> dict[int, ast.Expr]:
    """The argument of each parameter number, in the order in which they were written; reports what does not fit."""
    bound: dict[int, ast.Expr] = {}
    named_seen = False
    for position, argument in enumerate(node.arguments):
        span = argument.value.span
        if argument.name is None:
            if named_seen:
                body.error("E0405", "a positional argument follows a named one", span, fix="name it too")
                continue
            if position >= len(names):
                count = f"{len(names)} {what}{'' if len(names) == 1 else 's'}"
                body.error("E0403", f"`{callee}` has {count}, this is argument {position + 1}", span, "one too many")
                continue
            bound[position] = argument.value
            continue
        named_seen = True
        if argument.name not in names:
            fix = body.suggestion(argument.name, names) or (
                f"the {what}s are " + ", ".join(f"`{n}`" for n in names[:8]) if names else f"it has no {what}s")
            body.error("E0402", f"`{callee}` has no {what} `{argument.name}`", argument.span, fix=fix)
            continue
        number = list(names).index(argument.name)
        if number in bound:
            body.error("E0404", f"the {what} `{argument.name}` is given twice", argument.span,
                       labels=[Label(bound[number].span, "first given here")])
            continue
        bound[number] = argument.value
    return bound


def call_arguments(body: Body, node: ast.Call, callee: str, parameters: Sequence[ParameterSymbol],
                   scope: FileScope) -> list[Value]:
    """The values of all parameters of a function; defaults stand in for what is missing."""
    bound = bind_arguments(body, node, callee, [p.name for p in parameters])
    values = {
        number: body.typed(expression, parameters[number].type, f"`{parameters[number].name}` of `{callee}`")
        for number, expression in bound.items()
    }
    missing = [p for i, p in enumerate(parameters) if i not in bound and not p.optional]
    if missing and not (len(bound) < len(node.arguments)):
        names = ", ".join(f"`{p.name}`" for p in missing)
        example = ", ".join(f"{p.name} = …" for p in missing)
        types = ", ".join(f"`{p.name}: {describe(p.type)}`" for p in missing)
        body.error("E0401", f"`{callee}` needs {names}", node.span, f"without {types}", fix=f"add `{example}`")
    return [
        values[i] if i in values else default_value(body, parameter, scope, node.span)
        for i, parameter in enumerate(parameters)
    ]


def default_literal(parameter: ParameterSymbol, scope: FileScope, diagnostics: Diagnostics) -> Literal:
    """The literal of a parameter's default; None for an option without one."""
    if parameter.default is None:
        return None
    return evaluate_constant(scope, parameter.default, parameter.type, f"the default of `{parameter.name}`",
                             diagnostics)


def default_value(body: Body, parameter: ParameterSymbol, scope: FileScope, span: Span) -> Value:
    """The value of a parameter that a call leaves out. Errors in defaults are reported with their declaration."""
    if not parameter.optional:
        return Value(UNKNOWN)
    literal = default_literal(parameter, scope, Diagnostics())
    return emit_constant(body.builder, literal, parameter.type, span)


def is_optional(type: Type, default: ast.Expr | None) -> bool:
    """Whether a parameter may be left out."""
    return default is not None or isinstance(type, Option)
