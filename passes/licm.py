"""`licm`: move what does not change out of loops, and what both branches begin with out of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import ClassVar

from ..ir.core import Module, Op, Region, Value, definitions, walk
from ..ir.definition import Trait
from ..ir.dialects import has_trait
from ..ir.target import Target
from ..ir.types import EFFECT
from .base import Pass, Report
from .effects import GENERATES, REGION_OPS
from .failures import Failures
from .free_contexts import place_frees, remove_frees
from .list_counts import least_count
from .regions import iterated
from .rewriting import Replacements
from .twins import Twins


@dataclass(frozen=True)
class Licm(Pass):
    """Operations whose operands do not change from turn to turn run once, before the loop.

    Pure functions, starts, appends and roles leave a loop even where it may not turn: they have no effects, a failure
    is a value that only its users receive, and a prompt that is filled in vain changes no output (it costs tokens:
    `speculate = false` keeps appends in loops that may not turn). A generate leaves a loop only where the loop
    certainly turns and runs it on every turn, because no generate may run that would not have run; its operands,
    indices included, do not change, so each turn would have decoded the same tokens. Hosts never move. A
    greedy generate that stays because the loop may not turn is one call for each turn; the report counts them, as a
    merge in the run would pay. Out of a branch leave constants, empty prompts, and what both branches compute alike.

    An operation that moves keeps its operands and attributes, so every prompt has the tokens that it had.

    ```before
    sem.program(@Main) |%rules: text, %xs: list<text>| {
      %ys = flow.for(%xs) |%i: int, %x: text| {
        %0 = prompt.start() : prompt
        %1 = prompt.append(%0, %rules) : prompt
        %2 = prompt.append(%1, %x) : prompt
        %y, %3 = prompt.generate(%2) {output = "y"} : text, prompt
        flow.yield(%y)
      } : list<text>
      sem.return(%ys) {names = ["ys"]}
    }
    ```

    ```after
    sem.program(@Main) |%rules: text, %xs: list<text>| {
      %0 = prompt.start() : prompt
      %1 = prompt.append(%0, %rules) : prompt
      %ys = flow.for(%xs) |%i: int, %x: text| {
        %2 = prompt.append(%1, %x) : prompt
        %y, %3 = prompt.generate(%2) {output = "y"} : text, prompt
        flow.yield(%y)
      } : list<text>
      sem.return(%ys) {names = ["ys"]}
    }
    ```

    ```before
    sem.program(@Main) |%a: text, %c: bool| {
      %y = flow.if(%c) {
        %0 = prompt.start() : prompt
        %1 = prompt.append(%0, %a) : prompt
        %2 = prompt.append(%1, "Long:") : prompt
        %long, %3 = prompt.generate(%2) {output = "long"} : text, prompt
        flow.yield(%long)
      } else {
        %4 = prompt.start() : prompt
        %5 = prompt.append(%4, %a) : prompt
        %6 = prompt.append(%5, "Short:") : prompt
        %short, %7 = prompt.generate(%6) {output = "short"} : text, prompt
        flow.yield(%short)
      } : text
      sem.return(%y) {names = ["y"]}
    }
    ```

    ```after
    sem.program(@Main) |%a: text, %c: bool| {
      %0 = prompt.start() : prompt
      %1 = prompt.append(%0, %a) : prompt
      %y = flow.if(%c) {
        %2 = prompt.append(%1, "Long:") : prompt
        %long, %3 = prompt.generate(%2) {output = "long"} : text, prompt
        flow.yield(%long)
      } else {
        %6 = prompt.append(%1, "Short:") : prompt
        %short, %7 = prompt.generate(%6) {output = "short"} : text, prompt
        flow.yield(%short)
      } : text
      sem.return(%y) {names = ["y"]}
    }
    ```
    """

    name: ClassVar[str] = "licm"

    speculate: bool = True
    """Whether appends leave loops that may not turn."""

    def run(self, module: Module, target: Target) -> Report:
        """Move everything that can move, at any level; contexts are freed anew where they were freed before."""
        had_frees = remove_frees(module.ops)
        is_nested = any(op.name in REGION_OPS for op in walk(module.ops))
        mover = _Mover(module if is_nested else Module(), self.speculate)
        for op in module.ops if is_nested else ():
            if op.regions:
                mover.run(op)
        if had_frees:
            place_frees(module.ops)
        counts = mover.counts
        return Report(
            f"{counts['moved']} operations and {counts['generates']} generates moved, {counts['shared']} shared by "
            f"branches; {mover.kept} generates stay in loops that may not turn", dict(counts))


BRANCHES = frozenset({"flow.if", "flow.try"})


class Kind(IntEnum):
    """What moving an operation may cost, cheapest first."""

    CONSTANT = 0
    """Nothing: it may leave the branches of a `flow.if` too."""
    FREE = 1
    """Some host time."""
    TOKENS = 2
    """Prompt tokens."""
    CALL = 3
    """A generate: it may not run in vain."""
    FIXED = 4
    """It stays where it is."""


def kind_of(op: Op) -> Kind:
    """The kind of an operation, regions apart."""
    if any(v.type == EFFECT for v in (*op.operands, *op.results)):
        return Kind.FIXED
    is_empty = op.name == "prompt.start" or (op.name == "engine.fill" and len(op.args) == 1 and not op.operands)
    if is_empty or op.name == "flow.const":
        return Kind.CONSTANT
    if op.name in GENERATES:
        return Kind.CALL
    if has_trait(op, Trait.CONTEXT):
        return Kind.TOKENS
    return Kind.FREE if has_trait(op, Trait.PURE) or op.name in REGION_OPS else Kind.FIXED


@dataclass(slots=True)
class _Frame:
    """A region that is being rebuilt. The frame's position on the stack is the depth of its values."""

    owner: Op
    ops: list[Op] = field(default_factory=list)
    kind: Kind = Kind.CONSTANT
    """The dearest operation that stayed inside."""
    uses: int = 0
    """A set of bits: the depths of the values that something inside uses."""


class _Mover:
    """Rebuilds regions from the outside in; an operation goes to the outermost region that it may go to."""

    def __init__(self, module: Module, speculate: bool) -> None:
        self.counts: Counter[str] = Counter()
        self.kept = 0
        self._speculate = speculate
        self._failures = Failures(module)
        self._definitions = definitions(module.ops)
        self._depths: dict[Value, int] = {}
        self._frames: list[_Frame] = []
        self._replaced = Replacements()

    def run(self, top: Op) -> None:
        """Move inside one function or program."""
        for region in top.regions:
            self._region(top, region)

    def _region(self, owner: Op, region: Region) -> _Frame:
        depth = len(self._frames)
        frame = _Frame(owner)
        self._frames.append(frame)
        for parameter in region.parameters:
            self._depths[parameter] = depth
        for op in region.ops:
            self._replaced.rewrite(op)
            if op is region.terminator:
                frame.uses |= self._uses(op.operands)
                frame.ops.append(op)
            elif op.name in REGION_OPS:
                self._region_op(op)
            else:
                self._place(op, kind_of(op), self._uses(op.operands))
        self._frames.pop()
        frame.uses &= (1 << depth) - 1
        region.ops = frame.ops
        return frame

    def _region_op(self, op: Op) -> None:
        """Rebuild the regions of an operation, then place it as a whole."""
        frames = [self._region(op, region) for region in op.regions]
        if op.name == "flow.if":
            self._share(op, frames)
            for frame in frames:
                self._release(frame)
            for region, frame in zip(op.regions, frames, strict=True):
                region.ops = frame.ops
        uses = self._uses(op.operands)
        for frame in frames:
            uses |= frame.uses
        self._place(op, max([kind_of(op), *(f.kind for f in frames)]), uses)

    def _uses(self, values: Iterable[Value]) -> int:
        uses = 0
        for value in values:
            uses |= 1 << self._depths[value]
        return uses

    def _place(self, op: Op, kind: Kind, uses: int) -> None:
        """Append `op` to the outermost region that has its operands and that it may reach."""
        need = max(0, uses.bit_length() - 1)
        depth = at = len(self._frames) - 1
        while at > need and self._may_leave(self._frames[at], kind):
            at -= 1
        if at < depth:
            self.counts["generates" if kind == Kind.CALL else "moved"] += 1
        elif at > need and kind == Kind.CALL and self._frames[at].owner.name not in BRANCHES:
            self.kept += 1
        frame = self._frames[at]
        frame.ops.append(op)
        frame.kind = max(frame.kind, kind)
        frame.uses |= uses
        for result in op.results:
            self._depths[result] = at

    def _may_leave(self, frame: _Frame, kind: Kind) -> bool:
        """Whether an operation of this kind, on the top level of a region, may go in front of the region's owner."""
        owner = frame.owner
        if owner.name not in REGION_OPS or owner.name in BRANCHES or kind == Kind.FIXED:
            return False
        if kind <= Kind.FREE or (kind == Kind.TOKENS and self._speculate):
            return True
        return owner.name != "flow.loop" and all(
            least_count(a, self._definitions) > 0 and self._failures.never_itself(a) for a in iterated(owner))

    def _release(self, branch: _Frame) -> None:
        """Move the constants of a branch, which cost nothing, in front of it."""
        constants = [op for op in branch.ops if kind_of(op) == Kind.CONSTANT]
        for op in constants:
            self._place(op, Kind.CONSTANT, 0)
            branch.uses |= self._uses(op.results)
        self.counts["moved"] += len(constants)
        gone = set(constants)
        branch.ops = [op for op in branch.ops if op not in gone]

    def _share(self, owner: Op, frames: list[_Frame]) -> None:
        """Move what both branches compute alike in front of the `flow.if`."""
        depth = len(self._frames)
        twins = Twins(self._depths, self._replaced, depth)
        for op in frames[1].ops:
            twins.offer(op)
        gone: set[Op] = set()
        for op in frames[0].ops:
            if not self._may_share(owner, op) or any(self._depths[v] >= depth for v in op.operands):
                continue
            twin = twins.take(op)
            if twin is not None:
                op.location = op.location.merged(twin.location)
                gone.update((op, twin))
                self._place(op, kind_of(op), self._uses(op.operands))
                twins.replace(twin, op)
                for frame in frames:
                    frame.uses |= self._uses(op.results)
        for frame in frames if gone else []:
            frame.ops = [op for op in frame.ops if op not in gone]
            self._replaced.apply(frame.ops)
        self.counts["shared"] += len(gone) // 2

    def _may_share(self, owner: Op, op: Op) -> bool:
        kind = kind_of(op)
        if op.regions or kind > Kind.TOKENS:
            return False
        return kind <= Kind.FREE or self._speculate or self._failures.never_itself(owner.args[0])
