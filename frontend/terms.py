"""What an expression elaborates to: a value of the IR with its type, or several of them."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.core import Value
from ..ir.types import Field, Record, Type
from .inference import UNIT, UNKNOWN, Tuple


@dataclass(frozen=True)
class Term:
    """An elaborated expression.

    `value` is None for nothing (`UNIT`) and for what has `parts`: the outputs of a call or the values of a
    loop, by name (names are empty for a tuple). A call keeps where it ended in `chat`.
    """

    type: Type
    value: Value | None = None
    parts: tuple[tuple[str, Term], ...] | None = None
    chat: Value | None = None
    logprobs: Value | None = None

    def part(self, name: str) -> Term | None:
        """The part called `name`."""
        return next((term for n, term in self.parts or () if n == name), None)


NOTHING = Term(UNIT)


def poison() -> Term:
    """The term of an expression that has an error."""
    return Term(UNKNOWN, Value(UNKNOWN))


def record_term(parts: list[tuple[str, Term]], chat: Value | None = None) -> Term:
    """Several named terms as one."""
    return Term(Record(None, tuple(Field(n, t.type) for n, t in parts)), None, tuple(parts), chat)


def tuple_term(parts: list[Term]) -> Term:
    """Several terms by position."""
    return Term(Tuple(tuple(t.type for t in parts)), None, tuple(("", t) for t in parts))
