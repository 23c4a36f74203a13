"""Numbers: operators, ranges, sums. Integers have 64 bits and floats are finite; what leaves that range fails."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..core import Literal
from ..types import BOOL, FLOAT, INT, Bool, Int, List, Text, Type, strip_bounds
from ..values import INT_MAX, INT_MIN, RuntimeValue
from .base import (
    LONGEST_LIST,
    LONGEST_TEXT,
    NUMBER,
    EvaluationError,
    OperandMismatch,
    Operands,
    PureContext,
    PureFunction,
    always,
    element_of,
    expect,
    same,
    within,
)


def checked(value: RuntimeValue) -> RuntimeValue:
    """A number within the range of its type; EvaluationError otherwise."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise EvaluationError("the result is beyond the range of floats")
    elif not INT_MIN <= value <= INT_MAX:
        raise EvaluationError("integer overflow: the result does not fit in 64 bits")
    return value


def _add(args: Operands, context: PureContext) -> RuntimeValue:
    left, right = args
    if isinstance(left, str):
        within(len(left) + len(right), LONGEST_TEXT, "text")
    elif isinstance(left, list):
        within(len(left) + len(right), LONGEST_LIST, "list")
    else:
        return checked(left + right)
    return left + right


def _nonzero(value: RuntimeValue) -> RuntimeValue:
    if value == 0:
        raise EvaluationError("division by zero")
    return value


def _div(args: Operands, context: PureContext) -> RuntimeValue:
    try:
        return checked(args[0] / _nonzero(args[1]))
    except OverflowError:
        raise EvaluationError("the result is beyond the range of floats") from None


def _arithmetic(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    expect(all(isinstance(t, NUMBER) for t in types), f"takes numbers, not {', '.join(map(str, types))}")
    return INT if all(isinstance(t, Int) for t in types) else FLOAT


def _add_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    if isinstance(types[0], Text | List):
        return same(types)
    return _arithmetic(types, attributes)


def _divide_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    _arithmetic(types, attributes)
    return FLOAT


def _range(args: Operands, context: PureContext) -> RuntimeValue:
    if len(args) == 3 and args[2] == 0:
        raise EvaluationError("the step of a range must not be 0")
    numbers = range(*args)
    # len() of a Python range is limited to what fits a C integer, so it is counted by hand.
    count = max(0, -((numbers.start - numbers.stop) // numbers.step))
    within(count, LONGEST_LIST, "list")
    return list(numbers)


def _sum(args: Operands, context: PureContext) -> RuntimeValue:
    if context.result_type == FLOAT:
        return _sum_of_floats(args[0])
    return checked(sum(args[0]))


def _sum_of_floats(values: Sequence[float]) -> float:
    """Rounded once, so that there is no order of addition to depend on."""
    try:
        return math.fsum(values)
    except OverflowError:  # a partial sum left the range; the whole may lie within
        pass
    from fractions import Fraction  # rarely needed, and slow to import

    try:
        return float(sum(map(Fraction, values)))
    except OverflowError:
        raise EvaluationError("the result is beyond the range of floats") from None


def _sum_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    element = element_of(types[0])
    expect(isinstance(element, NUMBER), f"takes a list of numbers, not {types[0]}")
    return strip_bounds(element)


def _comparison_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    if not all(isinstance(t, NUMBER) for t in types):
        expect(isinstance(same(types), Text), f"takes numbers or texts, not {', '.join(map(str, types))}")
    return BOOL


def _equality_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    if not all(isinstance(t, NUMBER) for t in types):
        same(types)
    return BOOL


def _not_type(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
    if not isinstance(types[0], Bool):
        raise OperandMismatch(f"takes a bool, not {types[0]}")
    return BOOL


FUNCTIONS = (
    PureFunction("add", "a + b", "Sum of numbers, or two texts or lists one after the other.", (2, 2), _add_type, _add,
                 fallible=True),
    PureFunction("sub", "a - b", "Difference.", (2, 2), _arithmetic, lambda a, c: checked(a[0] - a[1]), fallible=True),
    PureFunction("mul", "a * b", "Product.", (2, 2), _arithmetic, lambda a, c: checked(a[0] * a[1]), fallible=True),
    PureFunction("div", "a / b", "Quotient, a float; fails where b is 0.", (2, 2), _divide_type, _div, fallible=True),
    PureFunction("floordiv", "a // b", "Quotient rounded down; fails where b is 0.", (2, 2), _arithmetic,
                 lambda a, c: checked(a[0] // _nonzero(a[1])), fallible=True),
    PureFunction("mod", "a % b", "What `//` leaves, with the sign of b; fails where b is 0.", (2, 2), _arithmetic,
                 lambda a, c: checked(a[0] % _nonzero(a[1])), fallible=True),
    PureFunction("neg", "-a", "The negative.", (1, 1), _arithmetic, lambda a, c: checked(-a[0]), fallible=True),
    PureFunction("eq", "a == b", "Whether two values are equal; texts by code points.", (2, 2), _equality_type,
                 lambda a, c: a[0] == a[1]),
    PureFunction("ne", "a != b", "Whether two values differ.", (2, 2), _equality_type, lambda a, c: a[0] != a[1]),
    PureFunction("lt", "a < b", "Order of numbers, or of texts by code points.", (2, 2), _comparison_type,
                 lambda a, c: a[0] < a[1]),
    PureFunction("le", "a <= b", "Like `<`, or equal.", (2, 2), _comparison_type, lambda a, c: a[0] <= a[1]),
    PureFunction("gt", "a > b", "Order of numbers or texts.", (2, 2), _comparison_type, lambda a, c: a[0] > a[1]),
    PureFunction("ge", "a >= b", "Like `>`, or equal.", (2, 2), _comparison_type, lambda a, c: a[0] >= a[1]),
    PureFunction("not", "not a", "The other bool.", (1, 1), _not_type, lambda a, c: not a[0]),
    PureFunction("to_float", "an int where a float is wanted", "The nearest float.", (1, 1), always(FLOAT, Int),
                 lambda a, c: float(a[0])),
    PureFunction("range", "range(stop) | range(start, stop, step?)",
                 f"Integers from start (0) up to stop, which is not included; at most {LONGEST_LIST:,} of them.",
                 (1, 3), always(List(INT), Int, Int, Int), _range, fallible=True),
    PureFunction("sum", "sum(xs)", "Sum of a list of numbers; 0 for none. Floats are rounded once, at the end.",
                 (1, 1), _sum_type, _sum, fallible=True),
)
