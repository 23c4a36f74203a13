"""Applies built-in pure functions to runtime values, of which some may be failed or not known yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir.builtins.base import EvaluationError, PureContext, Strictness
from ..ir.core import Arg, Op, Value
from ..ir.functions import FUNCTIONS
from ..ir.target import Tokenizer
from ..ir.types import BOOL, FLOAT, INT, TEXT, Type
from ..ir.values import Failure
from .cells import NOT_PLAIN, NotReady, collect_pending, force, known, partial_levels
from .failures import FailureKind, failure

NEW_LEVELS = {"record": 1, "list": 1, "map": 1, "slice": 1, "select": 1, "reverse": 1, "flatten": 1, "values": 1,
              "outcome": 1, "common_first": 1, "zip": 2, "enumerate": 2}
"""Of functions that pass components on: how many levels of the result are new; the others give a component itself."""


class PureCall:
    """One `flow.pure` operation, made ready to be applied many times."""

    __slots__ = ("context", "evaluate", "levels", "name", "op", "strictness")

    def __init__(self, op: Op, tokenizer: Tokenizer | None) -> None:
        function = FUNCTIONS[op.symbol]
        self.op = op
        self.name = op.symbol
        self.evaluate = function.evaluate
        self.strictness = function.strictness
        self.levels = NEW_LEVELS.get(op.symbol, 0)
        self.context = PureContext(tuple(map(_type_of, op.args[1:])), op.result.type, op.attributes, tokenizer)

    def __call__(self, operands: Sequence[Any]) -> Any:
        """The result: a value, a failure, or a cell that will have it. Raises NotReady."""
        partial = False
        for value in operands:
            if type(value) in NOT_PLAIN:
                partial = True
                break
        if not partial:
            return self._apply(operands)
        match self.strictness:
            case Strictness.DEEP:
                arguments = self._deep(operands)
            case Strictness.SHALLOW:
                arguments = self._shallow(operands)
            case Strictness.COMPONENTS:
                arguments = self._components(operands)
            case Strictness.NONE:
                arguments = [known(value) for value in operands]
        if type(arguments) is Failure:
            return arguments
        return partial_levels(self._apply(arguments), self.levels)

    def _apply(self, arguments: Sequence[Any]) -> Any:
        try:
            return self.evaluate(arguments, self.context)
        except EvaluationError as error:
            return failure(self.op, str(error), FailureKind.PURE)

    def _deep(self, operands: Sequence[Any]) -> Any:
        """All operands as plain values, or the first failure inside them."""
        cells: list[Any] = []
        for value in operands:
            collect_pending(value, cells)
        if cells:
            raise NotReady(cells)
        return _until_failure([force(value) for value in operands])

    def _shallow(self, operands: Sequence[Any]) -> Any:
        """All operands with their outermost level known, or the first of them that failed."""
        arguments = [known(value) for value in operands]
        if self.name == "select":  # the mask decides which elements there are
            arguments[1:] = [value if type(value) is Failure else force(value) for value in arguments[1:]]
        elif self.name == "flatten" and type(arguments[0]) is not Failure:
            arguments = [[known(items) for items in arguments[0]]]
        elif self.name == "common_first" and type(arguments[0]) is not Failure:
            cells: list[Any] = []
            collect_pending(arguments[0], cells)
            if cells:
                raise NotReady(cells)
            arguments = [[force(row) for row in arguments[0]]]
        return _until_failure(arguments)

    def _components(self, operands: Sequence[Any]) -> Any:
        """The operands as they are, but for the keys of a map."""
        if self.name != "map":
            return operands
        return [value if position % 2 else known(value) for position, value in enumerate(operands)]


def _until_failure(values: list[Any]) -> Any:
    return next((value for value in values if type(value) is Failure), values)


def _type_of(arg: Arg) -> Type:
    match arg:
        case Value():
            return arg.type
        case bool():
            return BOOL
        case int():
            return INT
        case float():
            return FLOAT
        case _:
            return TEXT
