"""The options of outputs and of `with` clauses: their types, ranges, and where each may stand."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from ..ir.core import Literal, Value
from ..ir.types import FLOAT, INT, TEXT, List, Text, Type
from . import ast
from .body import Body
from .constants import ConstantEvaluator, NotConstant
from .symbols import FileScope, ModelSymbol

Check = Callable[[Literal], str | None]


def _at_least(low: int) -> Check:
    return lambda value: None if isinstance(value, int | float) and value >= low else f"it is at least {low}"


def _between(low: float, high: float, *, open_low: bool = False) -> Check:
    def check(value: Literal) -> str | None:
        assert isinstance(value, float)
        inside = low <= value <= high and not (open_low and value == low)
        return None if inside else f"it is {'above' if open_low else 'at least'} {low:g} and at most {high:g}"

    return check


def _texts(value: Literal) -> str | None:
    assert isinstance(value, tuple)
    if not value:
        return "the list is empty"
    return "a text in it is empty" if "" in value else None


def _regex(value: Literal) -> str | None:
    assert isinstance(value, str)
    try:
        with warnings.catch_warnings():  # of what a later Python may read differently
            warnings.simplefilter("ignore")
            re.compile(value)
    except re.error as error:
        return f"it is not a regular expression: {error}"
    return None


@dataclass(frozen=True)
class OptionRule:
    """The type of an option's value, what constants must satisfy, and where it applies."""

    type: Type
    check: Check
    text_only: bool = False
    in_call: bool = True


RULES: dict[str, OptionRule] = {
    "max_tokens": OptionRule(INT, _at_least(1)),
    "max_words": OptionRule(INT, _at_least(1), text_only=True),
    "temperature": OptionRule(FLOAT, _at_least(0)),
    "top_p": OptionRule(FLOAT, _between(0, 1, open_low=True)),
    "top_k": OptionRule(INT, _at_least(0)),
    "min_p": OptionRule(FLOAT, _between(0, 1)),
    "seed": OptionRule(INT, lambda value: None),
    "stop": OptionRule(List(TEXT), _texts, text_only=True),
    "regex": OptionRule(TEXT, _regex, text_only=True, in_call=False),
    "choices": OptionRule(List(TEXT), lambda v: None if v else "the list is empty", text_only=True, in_call=False),
    "n": OptionRule(INT, _at_least(1), in_call=False),
    "logprobs": OptionRule(INT, _at_least(0), in_call=False),
}
CALL_OPTIONS = [name for name, rule in RULES.items() if rule.in_call] + ["model"]


def call_option(body: Body, name: str, option: ast.Argument) -> Literal | Value:
    """The value of an option in a `with` clause: a literal, or a value that is known at run time."""
    if name == "model":
        return model_option(body, option.value)
    rule = RULES.get(name)
    if rule is None or not rule.in_call:
        if rule is not None:
            fix: str | None = f"write it into the output's hole: `{{{{output:y {name}=…}}}}`"
        else:
            fix = body.suggestion(name, CALL_OPTIONS) or "the options are " + ", ".join(f"`{n}`" for n in CALL_OPTIONS)
        if name == "engine":
            fix = "choose the engine with `--engine`; only a test says `with engine …`"
        body.error("E0406", f"a call has no option `{name}`", option.span, fix=fix)
        return None
    return option_value(body, name, rule, option.value)


def option_value(body: Body, name: str, rule: OptionRule, node: ast.Expr) -> Literal | Value:
    """A checked constant, or the value of an expression; None after an error."""
    if is_constant(node):
        if isinstance(rule.type, List) and not isinstance(node, ast.ListExpr):
            node = ast.ListExpr(node.span, (node,))
        try:
            literal = ConstantEvaluator(body.scope).evaluate(node, rule.type)
        except NotConstant as error:
            body.error("E0409", f"the option `{name}` has a wrong value", error.span, str(error))
            return None
        problem = rule.check(literal)
        if problem:
            body.error("E0409", f"the option `{name}` has a wrong value", node.span, problem)
            return None
        return literal
    term = body.operand(node, rule.type)
    if isinstance(rule.type, List) and isinstance(term.type, Text):
        return body.builder.pure("list", [body.value(term, node.span)], rule.type, node.span)
    return body.value(body.coerce(term, rule.type, node.span, f"the option `{name}`"), node.span)


def is_constant(node: ast.Expr) -> bool:
    """Whether an expression is spelled as a constant."""
    match node:
        case ast.Literal():
            return True
        case ast.TextExpr(parts=parts):
            return all(isinstance(p, str) for p in parts)
        case ast.ListExpr(elements=elements):
            return all(map(is_constant, elements))
        case ast.Unary(operator="-", operand=operand):
            return is_constant(operand)
        case _:
            return False


def model_option(body: Body, node: ast.Expr) -> Literal:
    """The alias that `model = small` names."""
    if isinstance(node, ast.Name):
        name = node.name
    elif isinstance(node, ast.FieldAccess) and isinstance(node.base, ast.Name):
        name = f"{node.base.name}.{node.name}"
    else:
        body.error("E0205", "a model is named by its alias", node.span,
                   fix='declare one: `model small = "…"`, then `model = small`')
        return None
    symbol = find_model(body.scope, name)
    if symbol is None:
        body.error("E0205", f"unknown model `{name}`", node.span, fix=body.suggestion(name, body.scope.models)
                   or f'declare it: `model {name} = "…"`')
        return None
    return symbol.ir_name


def find_model(scope: FileScope, name: str) -> ModelSymbol | None:
    """The model alias `name` or `file.name`."""
    if "." in name:
        alias, _, inner = name.partition(".")
        file = scope.aliases.get(alias)
        found = next((s for s in file.own if isinstance(s, ModelSymbol) and s.name == inner), None) if file else None
        return found
    return scope.models.get(name)
