"""`order-fields`: unordered pieces in an order that lets prompts begin alike."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

from ..ir.core import Module, Op, Region, Symbol, Value, clone, definitions, walk
from ..ir.definition import Level
from ..ir.target import Target
from ..ir.types import EFFECT, INT, List, Option, Type, holds_context
from .base import Pass, Preserves, Report
from .early_values import EarlyValues
from .regions import fold_lists, iterated
from .scopes import Scope, Scopes


@dataclass(frozen=True)
class OrderFields(Pass):
    """The pieces of `{{unordered for …}}` are put into an order that prompts have in common.

    Only a part that the source calls unordered is touched, only its list changes, and only by its order; the program
    does as if its source had been written in that order. The pieces of the turns of a `flow.for` or `flow.fold` are
    ordered together, once, before the loop, where their lists are computed without calls: `@common_first` puts first
    what most of them have in common, weighed by the length of its text, then orders these among themselves (greedy
    group recursion, Liu et al., MLSys 2025, for a prefix tree: in which order the turns come does not matter), and
    keeps the order of the source where that is as good. So are the lists of calls of one function that stand beside
    each other. For constant lists `fold` then computes the order at compile time. A list that
    waits for calls is not held back for others: it gets an order of its own, that of the elements' canonical bytes
    (`@canonical_order`), if it has others of its kind around it; so equal sets give equal prompts. Where the body asks
    for the place of a piece, nothing happens.

    ```before
    sem.program(@Main) |%rows: list<list<text>>| {
      %ys = flow.for(%rows) |%i: int, %row: list<text>| {
        %0 = prompt.start() : prompt
        %1 = prompt.append(%0, "Read: ") : prompt
        %2 = flow.fold(%row, %1) {unordered = true} |%k: int, %x: text, %p: prompt| {
          %3 = prompt.append(%p, %x) : prompt
          flow.yield(%3)
        } : prompt
        %y, %4 = prompt.generate(%2) {output = "y"} : text, prompt
        flow.yield(%y)
      } : list<text>
      sem.return(%ys) {names = ["ys"]}
    }
    ```

    ```after
    sem.program(@Main) |%rows: list<list<text>>| {
      %0 = flow.for(%rows) |%i: int, %row: list<text>| {
        flow.yield(%row)
      } : list<list<text>>
      %1 = flow.pure(@common_first, %0) : list<list<text>>
      %ys = flow.for(%rows, %1) |%i_1: int, %row_1: list<text>, %row_2: list<text>| {
        %2 = prompt.start() : prompt
        %3 = prompt.append(%2, "Read: ") : prompt
        %4 = flow.fold(%row_2, %3) |%k: int, %x: text, %p: prompt| {
          %5 = prompt.append(%p, %x) : prompt
          flow.yield(%5)
        } : prompt
        %y, %6 = prompt.generate(%4) {output = "y"} : text, prompt
        flow.yield(%y)
      } : list<text>
      sem.return(%ys) {names = ["ys"]}
    }
    ```
    """

    name: ClassVar[str] = "order-fields"
    preserves: ClassVar[Preserves] = "text"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.PROMPT})

    def run(self, module: Module, target: Target) -> Report:
        """Order every unordered part of a prompt that others may have pieces in common with."""
        counts: Counter[str] = Counter(turns=0, beside=0, alone=0)
        for op in module.ops:
            if op.name == "sem.program":
                counts += _Ordering(module, op).run()
        return Report(
            f"{counts['turns']} unordered parts ordered with those of the other turns, {counts['beside']} with those "
            f"beside them, {counts['alone']} each by itself",
            {name: counts[name] for name in ("turns", "beside", "alone")})


@dataclass
class _Slice:
    """What a list is computed from without calls: pure operations, and the innermost scope of what these begin with."""

    ops: dict[Op, None] = field(default_factory=dict)
    leaves: list[Value] = field(default_factory=list)
    scope: Scope | None = None


class _Ordering:
    """One program. A part that is done loses `unordered`, so that a second time changes nothing."""

    def __init__(self, module: Module, top: Op) -> None:
        scopes = Scopes(top)
        self._counts: Counter[str] = Counter()
        self._early = EarlyValues(module)
        self._definitions = definitions([top])
        self._scope_of = scopes.of_value
        self._position = {op: (scope, position) for op, scope, position in scopes.places}
        self._order = {op: number for number, (op, _, _) in enumerate(scopes.places)}
        self._before: dict[Op, list[Op]] = {}
        self._by_turn: dict[tuple[Op, Value], Value] = {}
        """The parameter that has a list in the common order, by the loop and the list."""

    def run(self) -> Counter[str]:
        """Order everything; how many parts in which way."""
        alike: dict[object, list[tuple[Op, Value]]] = {}
        for op in self._order:
            source = op.args[0] if op.args else None
            if isinstance(source, Value) and _is_free(op):
                alike.setdefault((_written_at(op), source.type), []).append((op, source))
        for parts in alike.values():
            rest = [(fold, source) for fold, source in parts if not self._with_turns(fold, source)]
            done = self._beside(rest)
            for fold, source in rest:
                if fold not in done and source not in self._early and (len(parts) > 1 or self._position[fold][0].loops):
                    self._replace(fold, self._insert(fold, "canonical_order", source), "alone")
        self._rebuild()
        return self._counts

    # ---- with the other turns of a loop

    def _with_turns(self, fold: Op, source: Value) -> bool:
        """Order a list that differs from turn to turn together with those of the other turns, before the loop."""
        if source not in self._early:
            return False
        made = self._slice(source)
        loop = made.scope.owner if made.scope is not None else None
        if loop is None or made.scope is None or loop.name not in ("flow.for", "flow.fold"):
            return False
        lists = len(iterated(loop))
        region = loop.regions[0]
        if (loop, source) not in self._by_turn:
            given = region.parameters[: 1 + lists]
            if any(self._scope_of[leaf] is made.scope and leaf not in given for leaf in made.leaves):
                return False  # it depends on what the turn before has carried
            parameter = Value(source.type, source.name)
            ordered = self._turns_of(loop, made, source)
            loop.args = [*loop.args[:lists], ordered, *loop.args[lists:]]
            region.parameters.insert(1 + lists, parameter)
            if loop.name == "flow.fold":
                loop.attributes["lists"] = lists + 1
            self._by_turn[loop, source] = parameter
        self._replace(fold, self._by_turn[loop, source], "turns")
        return True

    def _turns_of(self, loop: Op, made: _Slice, source: Value) -> Value:
        """The lists of all turns in their common order, computed before the loop."""
        assert made.scope is not None
        mapping: dict[Value, Value] = {}
        lists = iterated(loop)
        region = Region()
        for parameter in loop.regions[0].parameters[: 1 + len(lists)]:
            mapping[parameter] = copied = Value(parameter.type, parameter.name)
            region.parameters.append(copied)
        depth = made.scope.depth
        for op in sorted(made.ops, key=self._order.__getitem__):
            if self._position[op][0].depth >= depth:
                region.ops.append(clone(op, mapping))
        region.ops.append(Op("flow.yield", [mapping.get(source, source)], location=loop.location))
        rows = Op("flow.for", list(lists), [Value(List(source.type))], {}, [region], loop.location)
        self._before.setdefault(loop, []).append(rows)
        return self._insert(loop, "common_first", rows.result)

    def _slice(self, source: Value) -> _Slice:
        """The pure operations behind a list; what they cannot be followed beyond are leaves."""
        made = _Slice()
        stack, seen = [source], {source}
        while stack:
            value = stack.pop()
            op = self._definitions.get(value)
            used = _captured(op) if op is not None and _is_copyable(op) else None
            if op is None or used is None:
                made.leaves.append(value)
                scope = self._scope_of[value]
                if made.scope is None or scope.depth > made.scope.depth:
                    made.scope = scope
                continue
            made.ops[op] = None
            stack += [v for v in used if v not in seen]
            seen.update(used)
        return made

    # ---- with others of one region

    def _beside(self, parts: list[tuple[Op, Value]]) -> set[Op]:
        """Order lists that can be known before the first of several equal parts in a region; the parts that were done.
        """
        by_scope: dict[Scope, list[tuple[Op, Value]]] = {}
        for fold, source in parts:
            if source in self._early:
                by_scope.setdefault(self._position[fold][0], []).append((fold, source))
        done: set[Op] = set()
        for found in by_scope.values():
            first = found[0][0]
            made = {source: self._slice(source) for _, source in found}
            known = {source for source in made if self._is_known(made[source], first)}
            if len(known) > 1:
                found = [(fold, source) for fold, source in found if source in known]
                self._order_beside(found, {source: made[source] for _, source in found})
                done.update(fold for fold, _ in found)
        return done

    def _is_known(self, made: _Slice, fold: Op) -> bool:
        """Whether all that a list is computed from stands before `fold`."""
        sources = [self._definitions.get(leaf) for leaf in made.leaves]
        return all(op is None or self._order[op] < self._order[fold] for op in sources)

    def _order_beside(self, parts: list[tuple[Op, Value]], made: dict[Value, _Slice]) -> None:
        first, type = parts[0][0], parts[0][1].type
        mapping: dict[Value, Value] = {}
        rows = self._insert(first, "list", *(self._copy(s, made[s], first, mapping) for s in made), type=List(type))
        ordered = self._insert(first, "common_first", rows)
        by_source = {}
        for number, source in enumerate(made):
            index = Op("flow.const", [number], [Value(INT)], location=first.location)
            self._before[first].append(index)
            found = self._insert(first, "index", ordered, index.result, type=Option(type))
            by_source[source] = self._insert(first, "unwrap", found, type=type)
        for fold, source in parts:
            self._replace(fold, by_source[source], "beside")

    def _copy(self, source: Value, made: _Slice, first: Op, mapping: dict[Value, Value]) -> Value:
        """A list before `first`: what stands after that is computed another time."""
        for op in sorted(made.ops, key=self._order.__getitem__):
            if self._order[op] > self._order[first] and not all(result in mapping for result in op.results):
                self._before.setdefault(first, []).append(clone(op, mapping))
        return mapping.get(source, source)

    # ---- writing

    def _insert(self, before: Op, function: str, *operands: Value, type: Type | None = None) -> Value:
        """Put a pure function before an operation; its result has the type of its operand unless `type` is given."""
        result = Value(type or operands[0].type)
        op = Op("flow.pure", [Symbol(function), *operands], [result], location=before.location)
        self._before.setdefault(before, []).append(op)
        return result

    def _replace(self, fold: Op, ordered: Value, way: str) -> None:
        fold.args = [ordered, *fold.args[1:]]
        del fold.attributes["unordered"]
        self._counts[way] += 1

    def _rebuild(self) -> None:
        for region in {self._position[op][0].region for op in self._before}:
            region.ops = [o for op in region.ops for o in (*self._before.get(op, ()), op)]


def _is_free(op: Op) -> bool:
    """Whether an operation is an unordered part whose body does not ask at which place a piece stands."""
    if op.name != "flow.fold" or not op.attributes.get("unordered") or fold_lists(op) != 1:
        return False
    index = op.regions[0].parameters[0]
    return all(value is not index for inner in walk(op.regions[0].ops) for value in inner.operands)


def _written_at(op: Op) -> object:
    """The place of a part in the source: parts that were written there are the same part of different calls."""
    return op.location.chains[0][0] if op.location.chains else op


def _is_copyable(op: Op) -> bool:
    """Whether an operation may be run another time for nothing but its value."""
    return all(inner.name in ("flow.const", "flow.pure", "flow.yield", "flow.for", "flow.fold", "flow.if", "flow.try",
                              "flow.loop")
               and not any(v.type == EFFECT or holds_context(v.type) for v in (*inner.operands, *inner.results))
               for inner in walk([op]))


def _captured(op: Op) -> list[Value]:
    """The values that an operation and its regions use from around it."""
    inside: set[Value] = set()
    used: dict[Value, None] = {}
    for inner in walk([op]):
        used.update(dict.fromkeys(inner.operands))
        inside.update(inner.results)
        for region in inner.regions:
            inside.update(region.parameters)
    return [value for value in used if value not in inside]
