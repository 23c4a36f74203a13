"""What the built-in functions have in common: how they take arguments, and how a signature becomes one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..ir.core import Value
from ..ir.types import Option, Type
from . import ast
from .arguments import bind_arguments
from .body import Body
from .coercion import none_remedy
from .inference import Unknown, describe
from .terms import Term, poison

BuiltIn = Callable[[Body, ast.Call, "Type | None"], Term]


@dataclass(frozen=True)
class Signature:
    """A function of fixed types; the last `optional` parameters may be left out."""

    parameters: tuple[tuple[str, Type], ...]
    result: Type
    optional: int = 0


def fixed(name: str, signature: Signature) -> BuiltIn:
    names = [n for n, _ in signature.parameters]
    least = len(names) - signature.optional

    def built_in(body: Body, node: ast.Call, expected: Type | None) -> Term:
        bound = bind_arguments(body, node, name, names)
        values: dict[int, Value] = {}
        for number, expression in bound.items():
            parameter, type = signature.parameters[number]
            values[number] = body.typed(expression, type, f"`{parameter}` of `{name}`")
        lacking = [n for i, n in enumerate(names[:least]) if i not in values]
        if lacking:
            return missing(body, node, name, lacking)
        args = [values[i] for i in sorted(values)]
        return Term(signature.result, body.builder.pure(name, args, signature.result, node.span))

    return built_in


def missing(body: Body, node: ast.Call, name: str, parameters: Sequence[str]) -> Term:
    """Report arguments that a call of a built-in lacks."""
    listed = ", ".join(f"`{p}`" for p in parameters)
    return body.error("E0401", f"`{name}` needs {listed}", node.span)


def positional(body: Body, node: ast.Call, name: str, least: int, most: int | None) -> list[Term] | None:
    """The arguments of a built-in that takes them by position only; None after an error."""
    arguments = node.arguments
    if any(a.name is not None for a in arguments):
        body.error("E0402", f"`{name}` takes its arguments by position", node.span)
        return None
    if len(arguments) < least or (most is not None and len(arguments) > most):
        count = str(least) if least == most else f"{least} or more" if most is None else f"{least} to {most}"
        body.error("E0403", f"`{name}` takes {count} argument{'s' if count != '1' else ''}, not {len(arguments)}",
                   node.span)
        return None
    return [body.operand(a.value) for a in arguments]


def unary(name: str, result: Callable[[Body, Type], Type | None], takes: str) -> BuiltIn:
    """A function of one value whose result type follows from its argument's; None says that it does not take it."""

    def built_in(body: Body, node: ast.Call, expected: Type | None) -> Term:
        terms = positional(body, node, name, 1, 1)
        if terms is None or isinstance(terms[0].type, Unknown):
            return poison()
        type = result(body, terms[0].type)
        if type is None:
            return wrong_argument(body, node, 0, terms[0].type, name, takes)
        return Term(type, body.builder.pure(name, [body.value(terms[0], node.span)], type, node.span))

    return built_in


def wrong_argument(body: Body, node: ast.Call, number: int, type: Type, name: str, takes: str) -> Term:
    """Report an argument of a type that a built-in does not take."""
    span = node.arguments[number].value.span
    return body.error("E0301", f"`{name}` takes {takes}, not {describe(type)}", span, f"this is {describe(type)}",
                      fix=none_remedy(span) if isinstance(type, Option) else None)
