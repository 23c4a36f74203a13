"""`{{output:y …}}`: the options of an output and its `prompt.generate`."""

from __future__ import annotations

from ..ir.core import Literal, Value
from ..ir.types import PROMPT, Bool, Enum, Int, List, Option, Record, Text, Type
from . import ast
from .body import Body
from .inference import Unknown, describe
from .names import static_symbol
from .options import RULES, is_constant, option_value
from .prompt_outputs import generated_type, is_text
from .symbols import OutputSymbol

_CHARACTERS_PER_TOKEN = 8
"""A budget that would need more than this is pointed out: few tokens stand for so many characters."""


def generate(body: Body, hole: ast.InputHole | ast.OutputHole, output: OutputSymbol, prompt: Value, *,
             is_last: bool, spaced: bool) -> list[Value]:
    """`prompt.generate` of an output: its value, the prompt that holds it, and its log-probabilities if asked for."""
    attributes: dict[str, Literal] = {"output": output.name}
    operands: dict[str, Value] = {}
    options = hole.options if isinstance(hole, ast.OutputHole) else ()
    for option in options:
        _option(body, option, output, attributes, operands)
    _check_together(body, hole, output, attributes, operands, is_last)
    if operands:
        attributes["options"] = tuple(operands)
    if spaced:
        attributes["strip_space"] = True
    attributes["stream"] = ""
    types: list[Type] = [output.type, PROMPT]
    if output.logprobs is not None:
        types.append(output.logprobs)
    return body.builder.emit("prompt.generate", [prompt, *operands.values()], types, hole.span, attributes=attributes,
                             names=[output.name])


def _option(body: Body, option: ast.OutputOption, output: OutputSymbol, attributes: dict[str, Literal],
            operands: dict[str, Value]) -> None:
    name = option.name
    rule = RULES.get(name)
    if rule is None:
        fix = body.suggestion(name, RULES) or "the options are " + ", ".join(f"`{n}`" for n in RULES)
        if name == "model":
            fix = "the whole function uses one model: `semantic F(…) -> … using small { … }`"
        body.error("E0406", f"an output has no option `{name}`", option.span, fix=fix)
    elif name in attributes or name in operands:
        body.error("E0404", f"the option `{name}` is given twice", option.span)
    elif rule.text_only and not is_text(output) and not isinstance(generated_type(output), Unknown):
        body.error("E0406", f"`{name}` is for texts, but `{output.name}` is {describe(generated_type(output))}",
                   option.span, fix="the type of the output decides where it ends")
    elif not is_constant(option.value) and not _is_parameter(body, option.value):
        body.error("E0409", f"the option `{name}` must be a constant or a parameter", option.value.span,
                   fix="make it a parameter of the semantic function")
    else:
        value = option_value(body, name, rule, option.value)
        if isinstance(value, Value):
            operands[name] = value
        elif value is not None:
            attributes[name] = value


def _is_parameter(body: Body, value: ast.Expr) -> bool:
    """Whether an option's value comes from a parameter: itself, a field of it, or a list of such."""
    match value:
        case ast.Name(name=name):
            variable = body.variables.find(name)
            return variable is not None and variable.kind == "parameter"
        case ast.FieldAccess(base=base):
            return static_symbol(body, base) is None and _is_parameter(body, base)
        case ast.ListExpr(elements=elements):
            return all(is_constant(e) or _is_parameter(body, e) for e in elements)
        case ast.Binary(left=left, right=right):
            return all(is_constant(e) or _is_parameter(body, e) for e in (left, right))
        case _:
            return False


def _check_together(body: Body, hole: ast.InputHole | ast.OutputHole, output: OutputSymbol,
                    attributes: dict[str, Literal], operands: dict[str, Value], is_last: bool) -> None:
    """What options mean for each other, for the type and for the place."""
    given = {*attributes, *operands}
    if {"regex", "choices"} <= given:
        body.error("E0409", "`regex` and `choices` exclude each other", hole.span, fix="keep one of them")
    if "n" in given and not is_last:
        body.error("E0708", f"`{output.name}` has `n` samples; no output can follow it", hole.span,
                   "must be the last output of the prompt", fix="generate it in a function of its own")
    type = generated_type(output)
    budget = attributes.get("max_tokens")
    if isinstance(type, Text) and type.max_tokens is not None and "max_tokens" not in operands:
        attributes["max_tokens"] = min(type.max_tokens, budget) if isinstance(budget, int) else type.max_tokens
    if isinstance(budget, int) and _fewest_characters(type) > budget * _CHARACTERS_PER_TOKEN:
        body.diagnostics.warning(
            "W0106", f"`{output.name}` has at least {_fewest_characters(type)} characters, "
            f"{budget} tokens will hardly hold them", hole.span, fix="raise `max_tokens`")


def _fewest_characters(type: Type, in_json: bool = False) -> int:
    """Characters of the shortest value of `type` as it is decoded."""
    match type:
        case Text():
            return 2 if in_json else 0
        case Bool():
            return 4
        case Enum(_, members):
            return min((len(m.text) for m in members), default=0) + (2 if in_json else 0)
        case Int(low, high):
            if low is not None and low > 0:
                return len(str(low))
            return len(str(high)) if high is not None and high < 0 else 1
        case List():
            return 2
        case Option(element):
            return min(4, _fewest_characters(element, in_json))
        case Record(_, fields):
            inner = sum(len(f.name) + 3 + _fewest_characters(f.type, True) for f in fields)
            return 2 + inner + max(0, len(fields) - 1)
        case _:
            return 1
