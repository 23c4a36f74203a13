"""`prune-barriers`: wait for the values that are used, and for no others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from ..ir.core import Module, Op, Region, Symbol, Value, definitions, walk
from ..ir.target import Target
from ..ir.types import EFFECT, List
from .base import Pass, Report
from .failures import Failures
from .free_contexts import place_frees, remove_frees
from .loop_fusion import fuse
from .projections import project
from .record_splitting import split_branch_records, split_list_records
from .regions import iterated
from .rewriting import Replacements

ARRIVING = frozenset({"list", "zip", "enumerate", "reverse", "values", "slice", "flatten"})
"""Functions that hand on elements which are not known yet."""


@dataclass(frozen=True)
class PruneBarriers(Pass):
    """An operation waits for the parts of values that it uses, not for the whole.

    * A field of a record, or an element of a list, that was just put together is taken from its source.
    * A `flow.if` that yields a record gives the fields that are used as results of their own, so that one field does
      not wait for its siblings; a `flow.for` that yields records does the same as lists of fields for loops that
      look at some fields only.
    * The length of what a `flow.for` gives is the length of its list: it does not wait for the bodies.
    * A result for which both branches of a `flow.if` yield the same value is that value, if the condition cannot fail.
    * A `flow.for` over the results of another one, which nobody else uses, is fused with it: element i of the second
      begins when element i of the first is done.
    * Other loops over lists whose elements arrive one by one say `stream = true`: turn i needs element i only.

    No operand, attribute or order of a prompt changes, so tokens and keys stay; a fused body has the same index. Where
    an operation fails, its users fail with the same failure as before: aggregates do not fail with their parts, and a
    fused loop fails with the first list that fails, as the two did.

    ```before
    sem.program(@Main) |%xs: list<text>| {
      %ys = flow.for(%xs) |%i: int, %x: text| {
        %0 = prompt.start() : prompt
        %1 = prompt.append(%0, %x) : prompt
        %y, %2 = prompt.generate(%1) {output = "y"} : text, prompt
        flow.yield(%y)
      } : list<text>
      %zs = flow.for(%ys) |%j: int, %e: text| {
        %z = flow.pure(@upper, %e) : text
        flow.yield(%z)
      } : list<text>
      sem.return(%zs) {names = ["zs"]}
    }
    ```

    ```after
    sem.program(@Main) |%xs: list<text>| {
      %zs = flow.for(%xs) |%j: int, %x: text| {
        %0 = prompt.start() : prompt
        %1 = prompt.append(%0, %x) : prompt
        %y, %2 = prompt.generate(%1) {output = "y"} : text, prompt
        %z = flow.pure(@upper, %y) : text
        flow.yield(%z)
      } : list<text>
      sem.return(%zs) {names = ["zs"]}
    }
    ```

    ```before
    sem.program(@Main) |%xs: list<text>| {
      %empty = flow.const("") : text
      %ys = flow.for(%xs) |%i: int, %x: text| {
        %y = flow.pure(@upper, %x) : text
        flow.yield(%y)
      } : list<text>
      %all = flow.fold(%ys, %empty) |%j: int, %e: text, %so_far: text| {
        %next = flow.pure(@concat, %so_far, %e) : text
        flow.yield(%next)
      } : text
      sem.return(%all) {names = ["all"]}
    }
    ```

    ```after
    sem.program(@Main) |%xs: list<text>| {
      %empty = flow.const("") : text
      %ys = flow.for(%xs) |%i: int, %x: text| {
        %y = flow.pure(@upper, %x) : text
        flow.yield(%y)
      } : list<text>
      %all = flow.fold(%ys, %empty) {stream = true} |%j: int, %e: text, %so_far: text| {
        %next = flow.pure(@concat, %so_far, %e) : text
        flow.yield(%next)
      } : text
      sem.return(%all) {names = ["all"]}
    }
    ```
    """

    name: ClassVar[str] = "prune-barriers"

    fuse: bool = True
    """Whether loops are fused."""

    def run(self, module: Module, target: Target) -> Report:
        """Prune everywhere, at any level; contexts are freed anew where they were freed before."""
        had_frees = remove_frees(module.ops)
        counts: Counter[str] = Counter()
        counts["records"] = split_branch_records(module) + split_list_records(module)
        _Parts(module, counts).run()
        counts["fused"] = fuse(module) if self.fuse else 0
        counts["streamed"] = _mark_streams(module)
        if had_frees:
            place_frees(module.ops)
        return Report(
            f"{counts['parts']} parts taken from their source, {counts['records']} records split, {counts['fused']} "
            f"loops fused, {counts['streamed']} loops start on the first element", dict(counts))


class _Parts:
    """Takes parts of values from where they come from, in one pass over all regions."""

    def __init__(self, module: Module, counts: Counter[str]) -> None:
        self._module = module
        self._counts = counts
        self._definitions = definitions(module.ops)
        self._failures = Failures(module if _asks_for_failures(module) else [])
        self._replaced = Replacements()

    def run(self) -> None:
        """Rewrite the module."""
        # In the order of the text: what an operand stands for is known before its use.
        stack: list[tuple[Op, Region | None]] = [(op, None) for op in reversed(self._module.ops)]
        while stack:
            op, done = stack.pop()
            if done is not None:
                done.ops = [o for o in done.ops if o.name != "flow.pure" or o.result not in self._replaced]
                continue
            self._replaced.rewrite(op)
            if op.name == "flow.pure":
                self._pure(op)
            for region in reversed(op.regions):
                stack.append((op, region))
                stack.extend((inner, None) for inner in reversed(region.ops))
        for op in walk(self._module.ops):
            if op.name == "flow.if":
                self._agreeing(op)
        self._replaced.apply(self._module.ops)

    def _pure(self, op: Op) -> None:
        while op.name == "flow.pure":
            projected = project(op, self._definitions, self._failures) or self._length(op)
            if projected is None:
                return
            self._counts["parts"] += 1
            if isinstance(projected, Value):
                self._replaced.add(op.result, projected)
                return
            op.name, op.args, op.attributes = projected.name, projected.args, projected.attributes

    def _length(self, op: Op) -> Op | None:
        """`len` of what a loop over one list gives: a failed body fails its element only, so the lengths are equal."""
        operand = found = op.args[1] if op.symbol == "len" else None
        while isinstance(found, Value):
            loop = self._definitions.get(found)
            if loop is None or loop.name != "flow.for" or len(iterated(loop)) != 1:
                break
            found = iterated(loop)[0]
        if found is operand:
            return None
        return Op("flow.pure", [Symbol("len"), found], op.results, {}, [], op.location)

    def _agreeing(self, op: Op) -> None:
        """A result that does not depend on the branch does not wait for the condition, unless that may fail."""
        for result, first, second in zip(op.results, *(r.terminator.args for r in op.regions), strict=True):
            if result.type != EFFECT and isinstance(first, Value) and isinstance(second, Value):
                same = self._replaced.find(first)
                if same is self._replaced.find(second) and self._failures.never_itself(op.args[0]):
                    self._replaced.add(result, same)
                    self._counts["parts"] += 1


def _asks_for_failures(module: Module) -> bool:
    """Whether there is something of which a part may only be taken where another value cannot fail."""
    return any(op.name == "flow.if" or (op.name == "flow.pure" and op.symbol == "is_some") for op in walk(module.ops))


def _mark_streams(module: Module) -> int:
    """Mark loops over lists whose elements become known one by one."""
    loops = [op for op in walk(module.ops) if op.name in ("flow.for", "flow.fold") and not op.attributes.get("stream")]
    source = definitions(module.ops) if loops else {}
    marked = 0
    for op in loops:
        makers = [source.get(a) for a in iterated(op) if isinstance(a, Value) and isinstance(a.type, List)]
        if any(m is not None and _arrives(m) for m in makers):
            op.attributes["stream"] = True
            marked += 1
    return marked


def _arrives(maker: Op) -> bool:
    return maker.name == "flow.for" or (maker.name == "flow.pure" and maker.symbol in ARRIVING)
