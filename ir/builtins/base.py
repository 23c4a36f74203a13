"""What a built-in pure function declares, and the shape of its evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum as PythonEnum
from typing import TypeAlias

from ..core import Literal
from ..target import Tokenizer
from ..types import TEXT, Float, Int, List, Map, Option, Text, Type, strip_bounds
from ..values import RuntimeValue


class EvaluationError(Exception):
    """The function fails on these operands: the message becomes that of the failed value."""


LONGEST_TEXT = 1 << 28
"""Code points of the longest text that a function gives: beyond it, memory would be the limit."""
LONGEST_LIST = 10_000_000
"""Elements of the longest list that `range` and `+` give."""


def within(count: int, longest: int, what: str) -> None:
    """EvaluationError where a result of `count` code points or elements (`what`) would be too long."""
    if count > longest:
        raise EvaluationError(f"a {what} of {count:,} would be longer than {longest:,}")


class OperandMismatch(ValueError):
    """The function does not take operands of these types; the message says what it takes."""


class Strictness(PythonEnum):
    """How a function meets failures in its operands."""

    DEEP = "deep"
    """Fails with the first failure in operand order, components included."""
    SHALLOW = "shallow"
    """Fails with the first operand that failed itself; failed components are passed on where they are used."""
    COMPONENTS = "components"
    """Makes an aggregate: operands that failed become failed components."""
    NONE = "none"
    """Looks at the failure (`outcome`)."""


@dataclass(frozen=True)
class PureContext:
    """What an evaluation may know beside its operands."""

    operand_types: tuple[Type, ...] = ()
    result_type: Type = TEXT
    attributes: Mapping[str, Literal] = field(default_factory=dict)
    tokenizer: Tokenizer | None = None
    """For `chunk` by tokens; None where no target is known, which then raises EvaluationError."""


Operands: TypeAlias = Sequence[RuntimeValue]
Evaluate: TypeAlias = Callable[[Operands, PureContext], RuntimeValue]
ResultType: TypeAlias = Callable[[Sequence[Type], Mapping[str, Literal]], Type | None]
"""The result type; None where the context decides (an empty list, `parse_json`). Raises OperandMismatch."""


@dataclass(frozen=True)
class PureFunction:
    """A built-in: `summary` opens with its signature; `arity` is the fewest and most operands (None: any number)."""

    name: str
    signature: str
    summary: str
    arity: tuple[int, int | None]
    result_type: ResultType
    evaluate: Evaluate
    """Called with operands that are well typed and hold no failures that `strictness` excludes."""
    strictness: Strictness = Strictness.DEEP
    fallible: bool = False
    """Whether it can fail on operands that did not."""
    needs_tokenizer: bool = False

    @property
    def strict(self) -> bool:
        """Whether any failure inside the operands fails the result."""
        return self.strictness == Strictness.DEEP


def expect(condition: bool, message: str) -> None:
    """Raise OperandMismatch with `message` unless `condition`."""
    if not condition:
        raise OperandMismatch(message)


def always(result: Type, *kinds: type[Type] | Type) -> ResultType:
    """A result type that does not depend on the operands: each is of its kind, or has its type, bounds aside."""

    def rule(types: Sequence[Type], attributes: Mapping[str, Literal]) -> Type:
        for number, (operand, kind) in enumerate(zip(types, kinds, strict=False), 1):
            fits = strip_bounds(operand) == kind if isinstance(kind, Type) else isinstance(operand, kind)
            expect(fits, f"operand {number} is {operand}, not {_kind_name(kind)}")
        return result

    return rule


def _kind_name(kind: type[Type] | Type) -> str:
    return str(kind) if isinstance(kind, Type) else f"of kind {kind.__name__.lower()}"


def element_of(type: Type, what: str = "the operand") -> Type:
    """The element type of a list; OperandMismatch for other types."""
    if not isinstance(type, List):
        raise OperandMismatch(f"{what} is {type}, not a list")
    return type.element


def same(types: Sequence[Type]) -> Type:
    """The type that all operands have, bounds aside."""
    plain = [strip_bounds(t) for t in types]
    expect(all(t == plain[0] for t in plain), "the operands are of different types: " + ", ".join(map(str, types)))
    return plain[0]


def option(type: Type) -> Type:
    """`T?`; options do not nest."""
    return type if isinstance(type, Option) else Option(type)


NUMBER = (Int, Float)
ORDERED = (Int, Float, Text)
AGGREGATE = (List, Map, Text)
