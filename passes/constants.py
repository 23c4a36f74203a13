"""Constants at compile time: what is known, what functions make of it, and how options become attributes."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.core import Arg, Literal, Op, Value
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


def option_literal(name: str, value: RuntimeValue) -> Literal:
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

