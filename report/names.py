"""How call sites are called on a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir.core import Module, Op, walk
from ..passes.effects import GENERATES
from .call_rows import CallRow

COLORS = 8


@dataclass(frozen=True)
class CallName:
    """A call site: its function and output, and the identifiers of the rows that it is."""

    function: str
    output: str
    identifiers: tuple[str, ...]

    @property
    def title(self) -> str:
        """`Function.output`."""
        return f"{self.function}.{self.output}" if self.function else self.output


def names_of(rows: Sequence[CallRow]) -> dict[Op, CallName]:
    """The names of the calls of a compiled program."""
    return {row.op: CallName(row.function, row.output, (row.identifier,)) for row in rows}


def earlier_names(module: Module, rows: Sequence[CallRow]) -> dict[Op, CallName]:
    """The names of the calls of an earlier stage: each is the rows that stand for the same place in the source."""
    by_place: dict[tuple[object, str], list[CallRow]] = {}
    for row in rows:
        for chain in row.op.location.chains or ((),):
            by_place.setdefault((chain, row.output), []).append(row)
    found: dict[Op, CallName] = {}
    for op in walk(module.ops):
        if op.name in GENERATES:
            output = str(op.attributes.get("output", ""))
            same = [row for chain in op.location.chains or ((),) for row in by_place.get((chain, output), ())]
            found[op] = CallName(same[0].function if same else "", output, tuple(r.identifier for r in same))
    return found


def colors_of(rows: Sequence[CallRow]) -> dict[str, int]:
    """A colour for each call, by identifier: the same for calls of one function."""
    numbers: dict[str, int] = {}
    return {row.identifier: numbers.setdefault(row.function or row.output, len(numbers)) % COLORS for row in rows}
