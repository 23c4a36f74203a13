"""`cse`: merge operations that give the same values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from ..ir.core import Module, Op, Region, Value, walk
from ..ir.definition import Trait
from ..ir.dialects import has_trait
from ..ir.source import Location
from ..ir.target import Target
from ..ir.types import Type
from .base import Pass, Report
from .effects import GENERATES, MERGEABLE, REGION_OPS, Contents, attributes_key, literal_key
from .free_contexts import place_frees, remove_frees
from .liveness import Liveness
from .rewriting import Replacements


@dataclass(frozen=True)
class Cse(Pass):
    """Equal operations become one: appends to the same prompt, pure functions, and generates with the same key.

    Two operations are equal when name, literals, attributes, result types and the values of their operands are
    equal; objective, slack, group and the like are not compared. A greedy generate is decided by its prompt and
    options, a sampled one by its stream key besides, so equal ones would decode the same tokens: one call serves
    both. An operation with regions equals another when its operands and what its regions yield are equal; regions
    with effectful hosts are never merged, and hosts are left to the run, which remembers the results of pure ones.
    An operation is replaced only by one that dominates it and that a result needs, so nothing runs that would not
    run otherwise: a dead call stays dead. What is equal fails equally; the operation that stays keeps every place in
    the source that it stands for.

    Method: value numbers by hashing (Click, "Global code motion, global value numbering", 1995) with scopes that follow
    the regions. A parameter's number is made of its operation's operands, so equal loops give equal numbers inside;
    all work is one hash per operation.

    ```before
    sem.program(@Main) |%a: text| {
      %0 = prompt.start() : prompt
      %1 = prompt.append(%0, "Translate ") : prompt
      %2 = prompt.append(%1, %a) : prompt
      %x, %3 = prompt.generate(%2) {output = "x"} : text, prompt
      %4 = prompt.start() : prompt
      %5 = prompt.append(%4, "Translate ") : prompt
      %6 = prompt.append(%5, %a) : prompt
      %y, %7 = prompt.generate(%6) {output = "x"} : text, prompt
      %z = flow.pure(@concat, %x, %y) : text
      sem.return(%z) {names = ["z"]}
    }
    ```

    ```after
    sem.program(@Main) |%a: text| {
      %0 = prompt.start() : prompt
      %1 = prompt.append(%0, "Translate ") : prompt
      %2 = prompt.append(%1, %a) : prompt
      %x, %3 = prompt.generate(%2) {output = "x"} : text, prompt
      %z = flow.pure(@concat, %x, %x) : text
      sem.return(%z) {names = ["z"]}
    }
    ```
    """

    name: ClassVar[str] = "cse"

    def run(self, module: Module, target: Target) -> Report:
        """Merge everything that is equal, at any level; contexts are freed anew where they were freed before."""
        had_frees = remove_frees(module.ops)
        contents = Contents.of(module.ops)
        merger = _Merger(contents, Liveness(module.ops, contents))
        for op in module.ops:
            if op.regions:
                merger.run(op)
        merger.finish()
        if had_frees:
            place_frees(module.ops)
        return Report(f"{merger.merged} operations merged, {merger.generates} of them generates",
                      {"operations": merger.merged - merger.generates, "generates": merger.generates})


@dataclass(slots=True)
class _Scope:
    """A region on its way through: what is left of it, what stays, and the numbers whose leaders it defines."""

    ops: Iterator[Op]
    region: Region
    owner: Op
    rest: Iterator[tuple[int, Region]]
    kept: list[Op] = field(default_factory=list)
    defined: list[int] = field(default_factory=list)


class _Merger:
    """Numbers values so that equal numbers in scope mean equal values."""

    def __init__(self, contents: Contents, liveness: Liveness) -> None:
        self.merged = 0
        self.generates = 0
        self._contents = contents
        self._liveness = liveness
        self._replaced = Replacements()
        self._numbers: dict[Value, int] = {}
        self._table: dict[object, list[int]] = {}
        self._count = 0
        self._leaders: dict[int, tuple[Value, Op]] = {}
        """For each number the value in scope that has it, and its operation."""
        self._around: dict[object, int] = {}
        """How many of the regions around belong to an operation with these operands."""
        self._type_numbers: dict[int, int] = {}
        """A number for each type, equal ones the same, by the identity of the type; `_alive` keeps these alive."""
        self._equal_types: dict[Type, int] = {}
        self._alive: list[Type] = []
        self._places: dict[Op, list[Location]] = {}
        """Where the operations that an operation stands for were written."""

    def run(self, top: Op) -> None:
        """Merge inside one function or program. The stack of scopes is explicit."""
        stack = [self._enter(top)]
        while stack:
            scope = stack[-1]
            op = next(scope.ops, None)
            if op is not None:
                self._replaced.rewrite(op)
                if op.regions:
                    stack.append(self._enter(op))
                else:
                    self._visit(op, scope)
                continue
            scope.region.ops = scope.kept
            for number in scope.defined:
                del self._leaders[number]
            stack.pop()
            following = next(scope.rest, None)
            if following is not None:
                stack.append(self._open(scope.owner, *following, scope.rest))
            elif stack:
                self._around[self._signature(scope.owner)] -= 1
                self._visit(scope.owner, stack[-1])

    def finish(self) -> None:
        """Write down every place that an operation stands for."""
        for op, others in self._places.items():
            chains = [chain for location in (op.location, *others) for chain in location.chains]
            op.location = Location(tuple(dict.fromkeys(chains)))

    def _enter(self, op: Op) -> _Scope:
        signature = self._signature(op)
        self._around[signature] = self._around.get(signature, 0) + 1
        regions = iter(enumerate(op.regions))
        return self._open(op, *next(regions), regions)

    def _open(self, op: Op, number: int, region: Region, rest: Iterator[tuple[int, Region]]) -> _Scope:
        """Begin a region: its parameters get the numbers of any equal operation's parameters.

        Inside an operation with equal operands the count keeps the parameters of both apart.
        """
        signature = self._signature(op)
        key = ("parameters", signature, self._around[signature], number)
        scope = _Scope(iter(region.ops), region, op, rest)
        for parameter, given in zip(region.parameters, self._known(key, len(region.parameters)), strict=True):
            self._numbers[parameter] = given
        return scope

    def _signature(self, op: Op) -> object:
        if op.name not in REGION_OPS:
            return op
        return op.name, self._operands(op), tuple(sorted((k, literal_key(v)) for k, v in op.attributes.items()))

    def _operands(self, op: Op) -> tuple[object, ...]:
        numbers = self._numbers
        return tuple([numbers[a] if isinstance(a, Value) else literal_key(a) for a in op.args])

    def _types(self, op: Op) -> object:
        """The types of the results of an operation, by number: each object is hashed once."""
        found = tuple([self._type_numbers.get(id(r.type), -1) for r in op.results])
        if -1 in found:
            for result in op.results:
                self._alive.append(result.type)
                self._type_numbers[id(result.type)] = self._equal_types.setdefault(result.type, len(self._equal_types))
            return self._types(op)
        return found

    def _known(self, key: object, count: int) -> list[int]:
        """The numbers that belong to `key`, new ones at first."""
        numbers = self._table.get(key)
        if numbers is None:
            numbers = self._table[key] = list(range(self._count, self._count + count))
            self._count += count
        return numbers

    def _key(self, op: Op) -> object | None:
        """What an equal operation has in common with `op`; None where none is equal."""
        if op.name in REGION_OPS:
            if op in self._contents.effectful:
                return None
            yields = tuple(self._operands(region.terminator) for region in op.regions)
            return op.name, self._operands(op), attributes_key(op), self._types(op), yields
        if op.name not in MERGEABLE:
            return None
        return op.name, self._operands(op), attributes_key(op), self._types(op)

    def _visit(self, op: Op, scope: _Scope) -> None:
        """Merge an operation whose regions are done, or keep it."""
        if not op.results:
            scope.kept.append(op)
            return
        key = self._key(op)
        results = op.results
        numbers = self._known(op if key is None else key, len(results))
        for result, number in zip(results, numbers, strict=True):
            self._numbers[result] = number
        leader = self._leaders.get(numbers[0])
        if leader is not None:
            self._merge(op, leader[1])
            return
        scope.kept.append(op)
        if op not in self._liveness.ops:
            return  # Standing for a call in a region that may not run, a dead call would come to life.
        for result, number in zip(results, numbers, strict=True):
            self._leaders[number] = result, op
        scope.defined += numbers

    def _merge(self, op: Op, leader: Op) -> None:
        """Let `leader` stand for `op`; operations in their regions are merged pairwise, for their places."""
        for old, new in zip(op.results, leader.results, strict=True):
            self._replaced.add(old, new)
        if not op.regions:
            self._places.setdefault(leader, []).append(op.location)
            self.merged += 1
            self.generates += op.name in GENERATES
            return
        same = {self._numbers[o.results[0]]: o for o in walk([leader]) if o.results and o.results[0] in self._numbers}
        for inner in walk([op]):
            partner = same.get(self._numbers[inner.results[0]]) if inner.results else None
            if partner is not None:
                self._places.setdefault(partner, []).append(inner.location)
            if not has_trait(inner, Trait.TERMINATOR):
                self.merged += 1
                self.generates += inner.name in GENERATES
