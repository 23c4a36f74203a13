"""Types while they are still being found: variables, unification, joins, and how types are shown to users.

`[]` and `none` get a type variable that the first use solves. Bounds of types play no part here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from ..ir.source import Span
from ..ir.types import (
    FLOAT,
    Bool,
    Effect,
    Enum,
    Field,
    Float,
    Int,
    List,
    Map,
    Option,
    Prompt,
    Record,
    Text,
    Type,
    strip_bounds,
)


@dataclass(frozen=True)
class Unknown(Type):
    """The type of an expression that has an error: fits everywhere, so that one mistake is reported once."""

    def __str__(self) -> str:
        return "unknown"


@dataclass(frozen=True)
class Unit(Type):
    """What a host function without a result gives: nothing."""

    def __str__(self) -> str:
        return "nothing"


@dataclass(frozen=True)
class Tuple(Type):
    """Several values by position: what `yield a, b` gives."""

    elements: tuple[Type, ...]


@dataclass(frozen=True)
class Variable(Type):
    """A type that is not known yet; `what` says of which expression, for the error when it never is."""

    span: Span = field(compare=False)
    what: str = field(compare=False)
    number: int

    def __str__(self) -> str:
        return f"?{self.number}"


UNKNOWN, UNIT = Unknown(), Unit()


class Inference:
    """The type variables of one function body and what has been found out about them."""

    def __init__(self) -> None:
        self.solutions: dict[Variable, Type] = {}
        self.variables: list[Variable] = []
        self._numbers = count(1)

    def fresh(self, span: Span, what: str) -> Variable:
        """A new variable for the type of `what` at `span`."""
        variable = Variable(span, what, next(self._numbers))
        self.variables.append(variable)
        return variable

    def unsolved(self) -> list[Variable]:
        """The variables that nothing determines."""
        return [v for v in self.variables if isinstance(self.resolve(v), Variable)]

    def resolve(self, type: Type) -> Type:
        """The type with every solved variable replaced, at any depth."""
        if not self.variables:
            return type
        match type:
            case Variable():
                while isinstance(type, Variable) and type in self.solutions:
                    type = self.solutions[type]
                return type if isinstance(type, Variable) else self.resolve(type)
            case List(element, maximum):
                return List(self.resolve(element), maximum)
            case Map(element):
                return Map(self.resolve(element))
            case Option(element):
                inner = self.resolve(element)
                return inner if isinstance(inner, Option) else Option(inner)
            case Record(None, fields):
                return Record(None, tuple(Field(f.name, self.resolve(f.type)) for f in fields))
            case Tuple(elements):
                return Tuple(tuple(self.resolve(e) for e in elements))
            case _:
                return type

    def unify(self, left: Type, right: Type) -> bool:
        """Make two types equal but for bounds, solving variables; False when they cannot be."""
        left, right = self.resolve(left), self.resolve(right)
        if isinstance(left, Unknown) or isinstance(right, Unknown):
            return True
        if isinstance(left, Variable):
            return self._solve(left, right)
        if isinstance(right, Variable):
            return self._solve(right, left)
        match left, right:
            case (List(a), List(b)) | (Map(a), Map(b)) | (Option(a), Option(b)):
                return self.unify(a, b)
            case Record(None, a), Record(None, b):
                same = [f.name for f in a] == [f.name for f in b]
                return same and all(self.unify(f.type, g.type) for f, g in zip(a, b, strict=True))
            case Tuple(a), Tuple(b):
                return len(a) == len(b) and all(self.unify(x, y) for x, y in zip(a, b, strict=True))
            case _:
                return left == right or strip_bounds(left) == strip_bounds(right)

    def _solve(self, variable: Variable, type: Type) -> bool:
        if variable is type:
            return True
        if occurs(variable, type):
            return False
        self.solutions[variable] = strip_bounds(type)
        return True

    def join(self, left: Type, right: Type) -> Type | None:
        """The type that values of both can become (int with float, `T` with `T?`), or None."""
        left, right = self.resolve(left), self.resolve(right)
        match left, right:
            case (Unknown(), _):
                return right
            case (_, Unknown()):
                return left
            case (Int(), Float()) | (Float(), Int()):
                return FLOAT
            case Tuple(a), Tuple(b) if len(a) == len(b):
                joined = [self.join(x, y) for x, y in zip(a, b, strict=True)]
                return Tuple(tuple(j for j in joined if j is not None)) if None not in joined else None
            case (Option(a), Option(b)) | (Option(a), b) | (a, Option(b)):
                element = self.join(a, b)
                return None if element is None else element if isinstance(element, Option) else Option(element)
        if not self.unify(left, right):
            return None
        return left if left == right else strip_bounds(self.resolve(left))


def occurs(variable: Variable, type: Type) -> bool:
    """Whether `variable` is a part of `type`."""
    match type:
        case List(element) | Option(element) | Map(element):
            return occurs(variable, element)
        case Record(None, fields):
            return any(occurs(variable, f.type) for f in fields)
        case Tuple(elements):
            return any(occurs(variable, e) for e in elements)
        case _:
            return variable is type


def has_variables(type: Type) -> bool:
    """Whether a part of `type` is a variable."""
    match type:
        case List(element) | Option(element) | Map(element):
            return has_variables(element)
        case Record(None, fields):
            return any(has_variables(f.type) for f in fields)
        case Tuple(elements):
            return any(has_variables(e) for e in elements)
        case _:
            return isinstance(type, Variable)


def describe(type: Type) -> str:
    """A type as a user writes it; types that cannot be written are put in words."""
    match type:
        case Text() | Int() | Float() | Bool():
            return str(strip_bounds(type))
        case Enum(name) | Record(str(name), _):
            return name
        case List(element):
            return f"list[{describe(element)}]"
        case Map(element):
            return f"map[text, {describe(element)}]"
        case Option(element):
            return "none" if isinstance(element, Variable) else f"{describe(element)}?"
        case Prompt():
            return "chat"
        case Record(None, fields):
            return "{" + ", ".join(f"{f.name}: {describe(f.type)}" for f in fields) + "}"
        case Tuple(elements):
            return "(" + ", ".join(map(describe, elements)) + ")"
        case Variable():
            return "…"
        case Effect():
            return "effect"
        case _:
            return str(type)
