"""The built-in pure functions: one table for the checker, the verifier, the `fold` pass and the executor.

`evaluate` is the only way to run one: it applies the function's strictness, so that failures mean the same at
compile time and at run time. Nothing here depends on a model but `chunk` by tokens, whose tokenizer is passed in.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from .builtins import arithmetic, conversions, lists, ordering, records, texts
from .builtins.base import EvaluationError, OperandMismatch, PureContext, PureFunction, Strictness
from .builtins.records import outcome_type
from .core import Literal
from .types import Type, strip_bounds
from .values import Failure, RuntimeValue, first_failure

__all__ = ["FUNCTIONS", "EvaluationError", "OperandMismatch", "PureContext", "PureFunction", "Strictness", "evaluate",
           "outcome_type", "result_type"]

FUNCTIONS: dict[str, PureFunction] = {
    f.name: f for subject in (arithmetic, texts, lists, ordering, records, conversions) for f in subject.FUNCTIONS
}


def evaluate(name: str, args: Sequence[RuntimeValue], context: PureContext) -> RuntimeValue:
    """The result of `name` on operands that may have failed or hold failed components.

    Returns the Failure that the operands make of it, or a component that had failed; raises EvaluationError when the
    function itself fails. `context` holds the operand and result types of the operation.
    """
    function = FUNCTIONS[name]
    match function.strictness:
        case Strictness.DEEP:
            failure = first_failure(args)
        case Strictness.SHALLOW:
            failure = next((a for a in args if isinstance(a, Failure)), None)
        case _:
            failure = None
    return function.evaluate(args, context) if failure is None else failure


def result_type(name: str, operand_types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type | None:
    """The type of the result, without decoding bounds; None where only the context of the call can tell.

    Raises OperandMismatch, with what the function takes, for an unknown function and for operands that it does not
    take.
    """
    function = FUNCTIONS.get(name)
    if function is None:
        near = difflib.get_close_matches(name, FUNCTIONS, 1)
        raise OperandMismatch("there is no such function" + (f"; did you mean `{near[0]}`?" if near else ""))
    low, high = function.arity
    if len(operand_types) < low or (high is not None and len(operand_types) > high):
        count = str(low) if high == low else f"{low} or more" if high is None else f"{low} to {high}"
        raise OperandMismatch(f"takes {count} operands, not {len(operand_types)}")
    type = function.result_type(operand_types, attributes)
    return None if type is None else strip_bounds(type)
