"""Options of outputs that are operands, as attributes where their values are known."""

from __future__ import annotations

from ..ir.core import Arg, Literal, Op, Table
from ..ir.values import RuntimeValue, constant_literal
from .constants import UNKNOWN, Constants
from .effects import count_of, is_greedy, names_of
from .failures import Failures
from .inline import drop_key
from .regions import effect_operand


def fix_generate(op: Op, constants: Constants, failures: Failures) -> int:
    """Make known options attributes; a generate that turns out greedy loses its key. How many options were known."""
    names = names_of(op.attributes.get("options"))
    if not names:
        return 0
    rest = op.args[1 + len(names) :]
    operands = _unknown(op.attributes, names, op.args[1:], constants)
    op.args = [op.args[0], *operands.values(), *rest]
    _set_names(op, operands)
    count = count_of(op.attributes.get("indices"))
    keyed = op.args[len(op.args) - count :]
    if len(operands) < len(names) and is_greedy(op) and all(map(failures.never_itself, keyed)):
        drop_key(op)
    return len(names) - len(operands)


def fix_call(op: Op, constants: Constants) -> int:
    """Make known `with` operands of a call constants of it; how many were known."""
    names = names_of(op.attributes.get("options"))
    if not names:
        return 0
    first = len(op.args) - len(names) - count_of(op.attributes.get("indices")) - (effect_operand(op) is not None)
    given = op.attributes.get("with")
    table: dict[str, Literal] = dict(given.entries) if isinstance(given, Table) else {}
    operands = _unknown(table, names, op.args[first:], constants)
    op.args = [*op.args[:first], *operands.values(), *op.args[first + len(names) :]]
    _set_names(op, operands)
    if table:
        op.attributes["with"] = Table(tuple(table.items()))
    return len(names) - len(operands)


def _set_names(op: Op, operands: dict[str, Arg]) -> None:
    op.attributes.pop("options")
    if operands:
        op.attributes["options"] = tuple(operands)


def _unknown(fixed: dict[str, Literal], names: tuple[str, ...], args: list[Arg],
             constants: Constants) -> dict[str, Arg]:
    """The operands that are not known, by option; the others go into `fixed`."""
    operands: dict[str, Arg] = {}
    for name, arg in zip(names, args, strict=False):
        value = constants.get(arg)
        try:
            if value is UNKNOWN:
                raise ValueError("not known")
            fixed[name] = _option_literal(name, value)
        except ValueError:
            operands[name] = arg
    return operands


def _option_literal(name: str, value: RuntimeValue) -> Literal:
    """The attribute for a known option of a generate. ValueError for a value that the option may not have.

    Such a value stays an operand, so that the generate fails in the run as it does unoptimised.
    """
    match name:
        case "max_tokens" | "max_words" | "n":
            valid = type(value) is int and value >= 1
        case "top_k" | "logprobs":
            valid = type(value) is int and value >= 0
        case "seed":
            valid = type(value) is int
        case "temperature":
            valid = type(value) in (int, float) and value >= 0
        case "top_p":
            valid = type(value) in (int, float) and 0 < value <= 1
        case "min_p":
            valid = type(value) in (int, float) and 0 <= value <= 1
        case "stop" | "choices":
            texts = [value] if isinstance(value, str) and name == "stop" else value
            valid = isinstance(texts, list) and bool(texts) and all(isinstance(t, str) and t for t in texts)
            value = texts
        case "regex":
            valid = isinstance(value, str)
        case _:
            valid = False
    if not valid:
        raise ValueError(f"{value!r} is no {name}")
    return constant_literal(float(value) if name in ("temperature", "top_p", "min_p") else value)

