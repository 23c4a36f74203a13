"""Constants at compile time: what is known, what functions make of it, and how options become attributes."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.core import Arg, Op, Value
from ..ir.functions import FUNCTIONS, EvaluationError, PureContext, evaluate
from ..ir.types import Type
from ..ir.values import RuntimeValue, constant_literal, constant_value

UNKNOWN = object()
"""Stands for "no constant" (None is one)."""


class Constants:
    """The values that are known; none is larger than `limit`, in characters and elements."""

    def __init__(self, limit: int) -> None:
        self._known: dict[Value, RuntimeValue] = {}
        self._limit = limit

    def get(self, arg: Arg) -> RuntimeValue:
        """The value of an operand or literal; UNKNOWN where it is not known."""
        return self._known.get(arg, UNKNOWN) if isinstance(arg, Value) else arg

    def define(self, op: Op) -> None:
        """Remember a `flow.const`, if its literal is one of its type."""
        literal = op.args[0]
        assert not isinstance(literal, Value)
        try:
            self._known[op.result] = constant_value(literal, op.result.type)
        except ValueError:  # the verifier's business
            return

    def evaluate(self, op: Op) -> RuntimeValue:
        """What a `flow.pure` gives; UNKNOWN unless all operands are known and it succeeds with something small."""
        function = FUNCTIONS.get(op.symbol)
        arguments = [self.get(a) for a in op.args[1:]]
        if function is None or any(a is UNKNOWN for a in arguments) or function.needs_tokenizer:
            return UNKNOWN
        if op.symbol == "range" and not self._small_range(arguments):
            return UNKNOWN
        types = tuple(a.type if isinstance(a, Value) else Type() for a in op.args[1:])
        try:
            result = evaluate(op.symbol, arguments, PureContext(types, op.result.type, op.attributes))
        except EvaluationError:
            return UNKNOWN  # it fails at run time, for those who use it
        return result if self.is_small(result) else UNKNOWN

    def _small_range(self, arguments: Sequence[RuntimeValue]) -> bool:
        try:
            return len(range(*arguments)) <= self._limit
        except (TypeError, ValueError, OverflowError):
            return False

    def is_small(self, value: RuntimeValue) -> bool:
        """Whether a value has at most `limit` characters and elements."""
        size, stack = 0, [value]
        while stack and size <= self._limit:
            match stack.pop():
                case str() as text:
                    size += len(text)
                case list() as items:
                    size += len(items)
                    stack.extend(items[: self._limit])
                case dict() as items:
                    size += len(items)
                    stack.extend(items.values())
        return size <= self._limit


def constant_op(value: RuntimeValue, result: Value, like: Op) -> Op:
    """The `flow.const` that gives `value` as `result`, where `like` stands in the source."""
    return Op("flow.const", [constant_literal(value)], [result], {}, [], like.location)
