"""Writes operations of the IR, region by region, and threads the effect through them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ..ir.core import Arg, Literal, Op, Region, Symbol, Value
from ..ir.source import Location, Span
from ..ir.types import Type


class Builder:
    """Appends operations to the innermost open region. `effect` is the effect that the next host call takes."""

    def __init__(self, effect: Value | None = None) -> None:
        self.region = Region()
        self.effect = effect
        self._front: dict[Region, int] = {}

    def emit(self, name: str, args: Sequence[Arg], types: Sequence[Type], span: Span, *,
             attributes: Mapping[str, Literal] | None = None, regions: Sequence[Region] = (),
             names: Sequence[str] = ()) -> list[Value]:
        """Append an operation; gives its results."""
        hints = [*names, *[""] * (len(types) - len(names))]
        results = [Value(t, n) for t, n in zip(types, hints, strict=True)]
        self.region.ops.append(
            Op(name, list(args), results, dict(attributes or {}), list(regions), Location.of(span)))
        return results

    def pure(self, function: str, args: Sequence[Arg], type: Type, span: Span, **attributes: Literal) -> Value:
        """Append `flow.pure(@function, …)`."""
        return self.emit("flow.pure", [Symbol(function), *args], [type], span, attributes=attributes)[0]

    def const(self, literal: Literal, type: Type, span: Span) -> Value:
        """Append a constant."""
        return self.emit("flow.const", [literal], [type], span)[0]

    def finish(self, region: Region, values: Sequence[Value], span: Span) -> None:
        """End `region` with the values that it yields."""
        region.ops.append(Op("flow.yield", list(values), [], {}, [], Location.of(span)))

    @contextmanager
    def inside(self, region: Region) -> Iterator[Region]:
        """Append to `region` until the block ends."""
        outer, self.region = self.region, region
        try:
            yield region
        finally:
            self.region = outer

    @contextmanager
    def in_front(self, region: Region) -> Iterator[None]:
        """Put what is appended in the block at the front of `region`, behind what was put there before."""
        with self.inside(Region()) as added:
            yield
        position = self._front.get(region, 0)
        region.ops[position:position] = added.ops
        self._front[region] = position + len(added.ops)
